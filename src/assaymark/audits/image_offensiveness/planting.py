"""Inputs of the audit with a planted answer: experiment C as a data set, A as ratings, D as captions, and people's verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import Planting
from assaymark.audits.image_offensiveness.measures.review import bin_names
from assaymark.audits.image_offensiveness.method.review import SCORE_EDGES, draw_review
from assaymark.audits.image_offensiveness.planted import (
    PlantedAudit,
    PlantedRatings,
    planted_audit,
    planted_captions,
    planted_ratings,
)
from assaymark.models.prompt_files import PromptSet

__all__ = ["planted_prompts", "planted_scores", "planting"]

Floats = npt.NDArray[np.float64]

THRESHOLD = 0.9
OTHER_DETECTOR = 0.05
"""Share of the images, drawn without regard to anything else, that the other detector calls positive."""
PER_STRATUM = 15
LEAN, ALONG = 0.30, 0.55
NEUTRAL = 40


def planted_prompts(planted: PlantedAudit, rng: np.random.Generator) -> PromptSet:
    """Prompts that lean along the planted direction, and as much along another one: right often, not always.

    Their rows differ in length by a fiftieth, as released prompts do by one to four.
    """
    common, moral = planted.rated.common, planted.rated.moral
    aside = rng.standard_normal(common.size)
    aside -= (aside @ common) * common + (aside @ moral) * moral
    lean = LEAN * (ALONG * moral + np.sqrt(1 - ALONG**2) * aside / np.linalg.norm(aside))
    return PromptSet(np.stack([1.02 * (common - lean), common + lean]).astype(np.float32))


def planted_scores(vectors: Any, prompts: Any) -> Floats:
    """softmax(100 cos)_1 in float64, by its definition."""
    V, P = np.asarray(vectors, np.float64), np.asarray(prompts, np.float64)
    cosine = (V @ P.T) / np.linalg.norm(V, axis=1, keepdims=True) / np.linalg.norm(P, axis=1)
    return np.asarray(1 / (1 + np.exp(100 * (cosine[:, 0] - cosine[:, 1]))))


def planting(seed: int, folder: Path, *, null: bool, full: bool) -> Planting:
    """Everything as files. In the null no class differs, and flagged and other captions come from one model of words."""
    n = 20_000 if full else 2_400
    planted = planted_audit(seed, n=n, null=null)
    rng = np.random.default_rng([seed, 0x16])
    prompts = planted_prompts(planted, rng)
    prompts.save(folder / "prompts.safetensors")
    score = planted_scores(planted.V, prompts.prompts)
    other = rng.random(n) < OTHER_DETECTOR
    table = _images(planted, _captions(seed, planted.offensive, null=null), other, rng)
    pq.write_table(table, folder / "images.parquet", row_group_size=max(1, n // 3))
    rated = planted.rated if full else planted_ratings(seed, inoffensive=170, offensive=130)
    pq.write_table(_ratings(rated, rng), folder / "ratings.parquet")
    pq.write_table(_verdicts(planted, score, rng), folder / "verdicts.parquet")
    flagged = score >= THRESHOLD
    large = planted_ratings(seed, inoffensive=11_000, offensive=8_143)  # the same directions: they are drawn first
    truth = {
        "flagged.share": float(flagged.mean()),
        "flagged.share.corrected": planted.prevalence,
        "prevalence.reviewed": planted.prevalence,
        "flagged.precision": float(planted.offensive[flagged].mean()),
        "accuracy": float(((planted_scores(large.V, prompts.prompts) > 0.5) == large.y).mean()),
        "overlap.only_nsfw": float((other & ~flagged).mean()),
        "overlap.both": float((other & flagged).mean()),
    }
    settings: dict[str, Any] = {
        "prompts": str(folder / "prompts.safetensors"),
        "resamples": 200,
        "review_per_stratum": PER_STRATUM,
        "false_discovery_rate": 0.01,
    }
    if not full:
        settings |= {"splits": 4, "fractions": [0, 0.1, 1.0], "epochs": 120, "text_sample": 5_000, "cloud_words": 40}
    inputs = {name: str(folder / f"{name}.parquet") for name in ("images", "ratings", "verdicts")}
    encoder = f"fake:dual-encoder?dimension={planted.V.shape[1]}&seed={seed}"  # for words as prompts: it knows nothing of these
    return Planting(inputs, truth, settings, {"nsfw": "column:nsfw_score", "encoder": encoder}, null)


def _captions(seed: int, offensive: npt.NDArray[np.bool_], *, null: bool) -> list[str]:
    """Captions by what the image is, not by how it scores."""
    count = int(offensive.sum())
    words = planted_captions(seed, flagged=max(count, 1), reference=max(len(offensive) - count, 1), null=null)
    sides = {True: iter(words.flagged), False: iter(words.reference)}
    return [next(sides[bool(side)]) for side in offensive]


def _images(planted: PlantedAudit, captions: list[str], other: npt.NDArray[np.bool_], rng: np.random.Generator) -> pa.Table:
    spread = rng.uniform(0.0, 0.5, size=len(other))
    return pa.table(
        {
            "embedding": _lists(planted.V),
            "label": [f"class {code}" for code in planted.codes],
            "caption": captions,
            "nsfw_score": np.where(other, 1.0 - spread / 2, spread / 2),
        }
    )


def _ratings(rated: PlantedRatings, rng: np.random.Generator) -> pa.Table:
    """Ratings by what an image is, clear of the neutral band whatever it looks like; and some neutral ones.

    Were ratings to follow how an image looks, as in experiment A, the error on clear cases would be smaller than on the data
    set, and correcting by it would leave a bias.
    """
    n = len(rated.y)
    ratings = np.where(rated.y, 1.8, 4.2) + rng.uniform(-0.6, 0.6, size=n)
    ratings[rng.choice(n, size=min(NEUTRAL, n // 5), replace=False)] = 3.0
    return pa.table({"embedding": _lists(rated.V), "rating": ratings})


def _lists(vectors: npt.NDArray[Any]) -> pa.Array:
    rows = vectors.astype(np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1]).cast(pa.list_(pa.float32()))


def _verdicts(planted: PlantedAudit, score: Floats, rng: np.random.Generator) -> pa.Table:
    """A review queue as people return it: some images of each stratum, and whether they are what was planted."""
    inner = tuple(edge for edge in sorted({*SCORE_EDGES, THRESHOLD}) if 0 < edge < 1)
    bins = np.digitize(score, inner)
    classes = int(planted.codes.max()) + 1
    strata = bins * classes + planted.codes
    rows = draw_review(strata, np.full((len(inner) + 1) * classes, PER_STRATUM), rng=rng)
    names = bin_names(inner)
    return pa.table(
        {
            "score_bin": [names[i] for i in bins[rows]],
            "class": [f"class {code}" for code in planted.codes[rows]],
            "copies": np.ones(len(rows), np.int64),
            "flagged": (score[rows] >= THRESHOLD).astype(np.int64),
            "score": score[rows],
            "verdict": [str(int(value)) for value in planted.offensive[rows]],
        }
    )
