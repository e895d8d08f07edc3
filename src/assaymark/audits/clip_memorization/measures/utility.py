"""What a model is good for, on held-out pairs: zero-shot classes, retrieval, a linear probe."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.clip_memorization.config import ScoringSettings
from assaymark.audits.clip_memorization.measures.encoding import Encoder
from assaymark.audits.clip_memorization.measures.scoring import HeldOut, ModelScores
from assaymark.audits.clip_memorization.method.utility import (
    LinearProbe,
    Recall,
    linear_probe,
    retrieval_recall,
    zero_shot_accuracy,
    zero_shot_classes,
)
from assaymark.audits.clip_memorization.reading import Pool
from assaymark.result import Estimate, undefined

__all__ = ["Utility", "measure_utility"]


class Utility(NamedTuple):
    """Of one model. `classes` is how many labels there were to choose from."""

    zero_shot: Estimate
    retrieval: tuple[Recall, ...]
    probe: LinearProbe
    classes: int


def measure_utility(
    encoder: Encoder | None,
    held_out: HeldOut,
    tests: Pool,
    scored: ModelScores | None,
    pool: Pool | None,
    config: ScoringSettings,
) -> Utility:
    """All three on the held-out pairs; the probe is fitted on shared pairs, its strength chosen on external ones."""
    confidence = config.confidence
    names = sorted({label for label in tests.labels if label})
    retrieval = retrieval_recall(held_out.images, *_readable(held_out), depths=config.retrieval, confidence=confidence)
    if len(names) < 2 or encoder is None:
        reason = "no model to embed prompts" if encoder is None else f"{len(names)} labels among the held-out pairs"
        nothing = undefined(reason, unit="share")
        probe = _probe(held_out, tests, scored, pool, confidence) if len(names) > 1 else LinearProbe(nothing, float("nan"))
        return Utility(nothing, retrieval, probe, len(names))
    prompts = np.stack([encoder.embed_texts([template.format(name) for template in config.templates]) for name in names])
    labelled = np.flatnonzero([bool(label) for label in tests.labels])
    own = np.array([names.index(tests.labels[row]) for row in labelled], dtype=np.int64)
    accuracy = zero_shot_accuracy(held_out.images[labelled], zero_shot_classes(prompts), own, confidence=confidence)
    return Utility(accuracy, retrieval, _probe(held_out, tests, scored, pool, confidence), len(names))


def _readable(held_out: HeldOut) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    known = np.isfinite(held_out.texts).all(axis=1)
    return held_out.texts[known], held_out.owners[known]


def _probe(held_out: HeldOut, tests: Pool, scored: ModelScores | None, pool: Pool | None, confidence: float) -> LinearProbe:
    if scored is None or pool is None:
        return LinearProbe(undefined("not fitted here", unit="share"), float("nan"))

    def part(rows: Any, features: Any, labels: list[str]) -> tuple[Any, Any]:
        chosen = [row for row in rows if labels[row]]
        return features[chosen], np.array([labels[row] for row in chosen])

    train = part(np.flatnonzero(pool.sets == "S"), scored.first_image, pool.labels)
    validation = part(np.flatnonzero(pool.sets == "E"), scored.first_image, pool.labels)
    return linear_probe(train, validation, part(range(len(tests)), held_out.images, tests.labels), confidence=confidence)
