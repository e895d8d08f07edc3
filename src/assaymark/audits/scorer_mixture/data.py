"""What goes into the audit: a table of scores or pictures with labels, and inputs with a planted answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
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
DIMENSION = 16
SENSITIVITY, SPECIFICITY = 0.8, 0.85
"""Of the scripted model that scores stored embeddings beside the six columns."""
MODEL = "head"


def planting(seed: int, folder: Path, *, null: bool, full: bool) -> Planting:
    """Experiment A as a Parquet table, with a seventh scorer that is a model; the null has six equally good columns.

    Truth: accuracies of the single scorers (Phi(q / sigma) for the columns) and the least-squares weights of the population.
    """
    from assaymark.audits.scorer_mixture.planted import planted_scores, population_weights

    rows = 40_000 if full else 6_000
    drawn = planted_scores(seed, rows, experiment="A", null=null)
    later = planted_scores(seed + 10_000, rows // 2, experiment="A", null=null)
    rng = np.random.default_rng([seed, 0x51CE])
    table = pa.table(
        {
            "id": pa.array([f"planted-image-{i:07d}" for i in range(rows)]),
            "label": pa.array(np.where(drawn.labels == 1, "unsafe", "safe")),
            "medium": pa.array(rng.choice(SLICE_VALUES, rows)),
            "embedding": _embeddings(drawn.labels, rng, seed=seed),
            **{name: pa.array(drawn.scores[:, i]) for i, name in enumerate(drawn.names)},
        }
    )
    unlabelled = {name: pa.array(later.scores[:, i]) for i, name in enumerate(later.names)}
    unlabelled["embedding"] = _embeddings(later.labels, rng, seed=seed)
    path, production = folder / "scores.parquet", folder / "production.parquet"
    pq.write_table(table, path)
    pq.write_table(pa.table(unlabelled), production)
    single = population_weights("A", null=null).single_accuracies
    known = {f"single.{name}.accuracy": float(p) for name, p in zip(drawn.names, single, strict=True)}
    known[f"single.{MODEL}.accuracy"] = (SENSITIVITY + SPECIFICITY) / 2
    weights = _weights(null=null)
    known |= {f"weights.{name}": float(w) for name, w in zip((*drawn.names, MODEL, "intercept"), weights, strict=True)}
    settings = {"slices": ["medium"], "resamples": 200, "costs": {name: float(i + 1) for i, name in enumerate(drawn.names)}}
    rates = f"sensitivity={SENSITIVITY}&specificity={SPECIFICITY}"
    models = {f"scorer.{MODEL}": f"fake:embedding-scorer?dimension={DIMENSION}&seed={seed}&unsafe=red&{rates}"}
    return Planting({"scores": str(path), "production": str(production)}, known, settings, models, null)


def _embeddings(labels: npt.NDArray[np.int64], rng: np.random.Generator, *, seed: int) -> pa.Array:
    """Unit vectors near the scripted model's directions: red for unsafe images, blue for the others."""
    from assaymark.models.fake import COLOURS, colour_directions

    directions = colour_directions(DIMENSION, seed)
    towards = np.where(labels == 1, list(COLOURS).index("red"), list(COLOURS).index("blue"))
    vectors = directions[towards] + 0.05 * rng.standard_normal((len(labels), DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), DIMENSION)


def _weights(*, null: bool) -> npt.NDArray[np.float64]:
    """Least-squares weights and intercept of the population of the six columns and the model.

    Given the label the model is independent of the columns: 0.9 or 0.1, and uniform noise of width 0.1.
    """
    from assaymark.audits.scorer_mixture.method.moments import Moments
    from assaymark.audits.scorer_mixture.method.weights import ols_from_moments
    from assaymark.audits.scorer_mixture.planted import population_moments

    columns = population_moments("A", null=null)
    k = columns.networks
    means_1 = 2.0 * columns.xty[:k]
    means_0 = 2.0 * columns.xtx[:k, k] - means_1
    right = np.array([1.0 - SPECIFICITY, SENSITIVITY])  # probability of 0.9, given 0 and given 1
    means, squares = 0.1 + 0.8 * right, 0.01 + 0.8 * right + 0.1**2 / 12
    cross = np.append(0.5 * (means_0 * means[0] + means_1 * means[1]), [squares.mean(), means.mean()])
    xtx = np.zeros((k + 2, k + 2))
    at = [*range(k), k + 1]
    xtx[np.ix_(at, at)] = columns.xtx
    xtx[k] = cross
    xtx[:, k] = xtx[k]
    xty = np.append(columns.xty[:k], [0.5 * means[1], columns.xty[k]])
    fit = ols_from_moments(Moments(1.0, 1, xtx, xty, columns.yty), intercept=True)
    return np.append(fit.weights, fit.intercept)
