"""What goes into the audit: a table of scores or pictures with labels, and inputs with a planted answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import InputSpec, ModelRole, Planting

__all__ = ["INPUTS", "ROLES", "planting"]

INPUTS = (
    InputSpec(
        "scores",
        "images",
        "one row an image: a label, and score columns in [0, 1], or pictures that the models in the role scorer score, or both",
    ),
    InputSpec(
        "production", "images", "the same scorers without labels, as they are used: has a scorer drifted?", required=False
    ),
    InputSpec("pixels", "table", "labelled pixels B, G, R, label, for the skin-colour baseline", required=False),
)

ROLES = (
    ModelRole(
        "scorer",
        "scores pictures, or stored embeddings, as unsafe: one probability each (several classes: ?unsafe=a,b)",
        any_of=("scores-images", "scores-embeddings"),
        many=True,
    ),
)

SLICE_VALUES = ("photo", "drawing", "render")


def planting(seed: int, folder: Path, *, null: bool, full: bool) -> Planting:
    """Experiment A as a Parquet table; the null is six equally good scorers, in which nothing is wrong.

    Truth: accuracies of the single scorers (Phi(q / sigma)), the least-squares weights of the population, and no drift.
    """
    from assaymark.audits.scorer_mixture.planted import planted_scores, population_weights

    rows = 40_000 if full else 6_000
    drawn = planted_scores(seed, rows, experiment="A", null=null)
    later = planted_scores(seed + 10_000, rows // 2, experiment="A", null=null)
    truth = population_weights("A", intercept=True, null=null)
    rng = np.random.default_rng([seed, 0x51CE])
    columns = {name: pa.array(drawn.scores[:, i]) for i, name in enumerate(drawn.names)}
    table = pa.table(
        {
            "id": pa.array([f"planted-image-{i:07d}" for i in range(rows)]),
            "label": pa.array(np.where(drawn.labels == 1, "unsafe", "safe")),
            "medium": pa.array(rng.choice(SLICE_VALUES, rows)),
            **columns,
        }
    )
    path, production = folder / "scores.parquet", folder / "production.parquet"
    pq.write_table(table, path)
    pq.write_table(pa.table({name: pa.array(later.scores[:, i]) for i, name in enumerate(later.names)}), production)
    known = {f"single.{name}.accuracy": float(p) for name, p in zip(drawn.names, truth.single_accuracies, strict=True)}
    known |= {f"weights.{name}": float(w) for name, w in zip(drawn.names, truth.weights, strict=True)}
    known["weights.intercept"] = float(truth.intercept)
    settings = {"slices": ["medium"], "resamples": 200, "costs": {name: float(i + 1) for i, name in enumerate(drawn.names)}}
    return Planting({"scores": str(path), "production": str(production)}, known, settings, {}, null)
