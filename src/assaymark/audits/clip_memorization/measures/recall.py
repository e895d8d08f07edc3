"""Deja vu: whether captions of candidates lead to pictures with the label that only their own picture tells."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.scoring import Scores
from assaymark.audits.clip_memorization.method.deja_vu import DejaVu, deja_vu, object_recall

__all__ = ["measure_deja_vu"]


def measure_deja_vu(
    scores: Scores, config: ClipMemorizationConfig, context: Context, *, sentences: Any = None
) -> DejaVu | None:
    """Recall of a pair's label from the labels of the held-out pictures that are nearest to its caption.

    The reference is the model g where there is one, else a text encoder, which compares captions with captions. None without
    either, or without labels. A label that stands in the caption is not looked for.
    """
    pool, tests = scores.pool, scores.tests
    names = sorted({label for label in (*pool.labels, *tests.labels) if label})
    candidates = np.flatnonzero(pool.sets == "C") if "g" in scores.models else np.arange(len(pool))
    if not names or not len(tests) or not len(candidates):
        return None
    place = {name: at for at, name in enumerate(names)}
    shown = _one_hot(tests.labels, place)
    wanted = _one_hot([pool.labels[row] if _unsaid(pool, row) else "" for row in candidates.tolist()], place)
    f = scores.models["f"].first_text[candidates]
    recalls = [object_recall(np.nan_to_num(f), scores.held_out["f"].images, wanted, shown, neighbours=config.neighbours)]
    if "g" in scores.models:
        other = np.nan_to_num(scores.models["g"].first_text[candidates])
        recalls.append(object_recall(other, scores.held_out["g"].images, wanted, shown, neighbours=config.neighbours))
    elif sentences is not None:
        asked = np.asarray(sentences.embed_texts([pool.captions[row][0] for row in candidates]))
        public = np.asarray(sentences.embed_texts([own[0] for own in tests.captions]))
        recalls.append(object_recall(np.nan_to_num(asked), np.nan_to_num(public), wanted, shown, neighbours=config.neighbours))
    else:
        return None
    options: dict[str, Any] = {"resamples": config.resamples, "confidence": config.confidence}
    return deja_vu(*recalls, rng=context.rng("deja vu"), **options)


def _unsaid(pool: Any, row: int) -> bool:
    label = re.escape(pool.labels[row].lower())
    return not any(re.search(rf"(?<!\w){label}(?!\w)", caption.lower()) for caption in pool.captions[row])


def _one_hot(labels: list[str], place: dict[str, int]) -> npt.NDArray[np.bool_]:
    found = np.zeros((len(labels), len(place)), dtype=bool)
    for row, label in enumerate(labels):
        if label:
            found[row, place[label]] = True
    return found
