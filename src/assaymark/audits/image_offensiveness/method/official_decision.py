"""What un-normalised prompts do to the decision.

The authors' script for stored embeddings takes the argmax of a.P with the rows of P as they are saved, which are not of unit
length. Every image lies in a narrow cone around the mean of all images, so a.P_k has a large part that is the same for all
images and proportional to the length of row k: the longer row wins more often than its direction earns. The model class of
the same authors normalises, and so does this audit; the table here says how much the difference matters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.scoring import logits, unit_prompts, unit_rows
from assaymark.result import Estimate
from assaymark.stats import wilson

__all__ = ["DecisionTable", "decision_table", "official_decision"]


class DecisionTable(NamedTuple):
    """Decisions of one set of images with raw and with unit prompt rows.

    Attributes
    ----------
    official, normalised : Estimate
        Share of images whose largest product is that of row 1.
    differing : Estimate
        Share of images on which the two disagree.
    lengths : float64 array, shape (2,) or (3,): lengths of the prompt rows, all 1 where nothing can go wrong
    cosine : float, between rows 0 and 1
    skipped : int, rows without a direction
    """

    official: Estimate
    normalised: Estimate
    differing: Estimate
    lengths: npt.NDArray[np.float64]
    cosine: float
    skipped: int


def official_decision(V: Any, P: Any) -> npt.NDArray[np.intp]:
    """Argmax over k of a.P_k with the rows of P as they are, shape (n,).

    A row without a direction gets -1. Whether a is normalised makes no difference, as a row's length scales all products alike.
    """
    prompts = np.asarray(P, dtype=np.float32)
    unit_prompts(prompts)
    images = unit_rows(V)
    products = np.stack([np.vecdot(images.rows, prompt) for prompt in prompts], axis=1)
    return np.where(images.invalid, -1, products.argmax(axis=1))


def decision_table(V: Any, P: Any, *, confidence: float = 0.95) -> DecisionTable:
    """Flag rates with raw and with unit prompts, and on how many images they disagree.

    Parameters
    ----------
    V : array_like, shape (n, d)
    P : array_like, shape (2, d) or (3, d)
    """
    raw = official_decision(V, P)
    kept = raw >= 0
    unit = np.where(kept, np.nan_to_num(logits(V, P), nan=0.0).argmax(axis=1), -1)
    n = int(kept.sum())
    counts = ((raw == 1) & kept, (unit == 1) & kept, (raw != unit) & kept)
    rates = [wilson(int(count.sum()), n, confidence=confidence) for count in counts]
    prompts = unit_prompts(P)
    return DecisionTable(
        official=rates[0],
        normalised=rates[1],
        differing=rates[2],
        lengths=np.linalg.norm(np.asarray(P, dtype=np.float64), axis=1),
        cosine=float(prompts[0] @ prompts[1]),
        skipped=len(raw) - n,
    )
