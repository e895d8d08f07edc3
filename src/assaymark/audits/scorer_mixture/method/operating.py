"""Where to cut the score, and whom to hand to a person.

A threshold is chosen on the fit rows and judged on others.

References
----------
.. [1] El-Yaniv, R. and Wiener, Y. (2010). On the foundations of noise-free selective classification. JMLR 11, 1605-1641
   (coverage and risk).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import mean, wilson, wilson_limits

__all__ = [
    "Abstention",
    "CoverageRisk",
    "Criterion",
    "ThresholdChoice",
    "abstention",
    "best_threshold",
    "coverage_risk_curve",
    "decision_cost",
]

Floats = npt.NDArray[np.float64]
Criterion = Literal["accuracy", "balanced", "cost"]


class ThresholdChoice(NamedTuple):
    """A threshold with what it does on the rows it was chosen on.

    Attributes
    ----------
    threshold : float
        A score at or above it is called positive.
    loss : float
        Minimum of the criterion: error rate, 1 - balanced accuracy, or mean cost.
    false_negatives, false_positives : float
        Sums of sample weights (counts without these).
    criterion : str
    note : str
    """

    threshold: float
    loss: float
    false_negatives: float
    false_positives: float
    criterion: str
    note: str = ""


def _checked(scores: Any, y: Any) -> tuple[Floats, npt.NDArray[np.bool_]]:
    score, label = np.asarray(scores, dtype=np.float64), np.asarray(y) > 0.5
    if score.ndim != 1 or label.shape != score.shape:
        raise ValueError(f"scores of shape {score.shape} and labels of shape {label.shape}: expected one length")
    if not np.isfinite(score).all():
        raise ValueError("scores are missing or infinite: leave these rows out and count them")
    return score, label


def best_threshold(
    scores: Any,
    y: Any,
    *,
    criterion: Criterion = "accuracy",
    cost_fn: float = 1.0,
    cost_fp: float = 1.0,
    sample_weight: Any = None,
) -> ThresholdChoice:
    """The cut with the least loss on these rows: t* = argmin c_FN FN + c_FP FP.

    Parameters
    ----------
    scores : array_like, shape (n,), n >= 1; y : array_like, shape (n,), 0/1
    criterion : "accuracy" (both costs 1), "balanced" (1 / positives and 1 / negatives), or "cost"
    cost_fn, cost_fp : float >= 0
        For "cost".

    Returns
    -------
    ThresholdChoice
        Half way between two neighbouring scores. Of equally good cuts the middle one.

    Notes
    -----
    O(n log n): one sort, two running sums.
    """
    score, label = _checked(scores, y)
    if not score.size:
        raise ValueError("no rows to choose a threshold on")
    weight = np.ones(score.size) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    order = np.argsort(score, kind="stable")
    score, positive, negative = score[order], (weight * label)[order], (weight * ~label)[order]
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
    # cut j calls everything before position at[j] negative
    at = np.append(starts, score.size)
    fn = np.concatenate([[0.0], np.cumsum(positive)])[at]
    fp = negative.sum() - np.concatenate([[0.0], np.cumsum(negative)])[at]
    total = float(positive.sum()), float(negative.sum())
    loss = _losses(fn, fp, total, criterion=criterion, cost_fn=cost_fn, cost_fp=cost_fp)
    equal = np.flatnonzero(loss <= loss.min() + 1e-12 * (1.0 + abs(float(loss.min()))))
    best = int(equal[(equal.size - 1) // 2])
    note = "" if min(total) > 0 else "all labels are of one class: the threshold calls everything so"
    return ThresholdChoice(_cut(score, at, best), float(loss[best]), float(fn[best]), float(fp[best]), criterion, note)


def _losses(fn: Floats, fp: Floats, total: tuple[float, float], *, criterion: str, cost_fn: float, cost_fp: float) -> Floats:
    if criterion == "balanced":
        halves = [
            0.5 * wrong / group if group > 0 else np.zeros_like(wrong) for wrong, group in zip((fn, fp), total, strict=True)
        ]
        return np.asarray(halves[0] + halves[1])
    if criterion == "accuracy":
        cost_fn = cost_fp = 1.0
    elif criterion != "cost":
        raise ValueError(f"criterion {criterion!r} is none of 'accuracy', 'balanced', 'cost'")
    if cost_fn < 0 or cost_fp < 0 or sum(total) <= 0:
        raise ValueError("costs are numbers >= 0, and some row has weight")
    return np.asarray((cost_fn * fn + cost_fp * fp) / sum(total))


def _cut(ascending: Floats, at: npt.NDArray[np.int64], j: int) -> float:
    if at[j] == 0:
        return float(ascending[0])
    if at[j] == ascending.size:
        return float(np.nextafter(ascending[-1], np.inf))
    below, above = float(ascending[at[j] - 1]), float(ascending[at[j]])
    middle = below + (above - below) / 2.0
    return middle if middle > below else above  # neighbouring floats have nothing between them


def decision_cost(scores: Any, y: Any, threshold: float, *, cost_fn: float = 1.0, cost_fp: float = 1.0) -> Estimate:
    """Mean cost of the decisions, c_FN for a missed positive and c_FP for a false alarm, with a t interval."""
    score, label = _checked(scores, y)
    called = score >= threshold
    return mean(cost_fn * (label & ~called) + cost_fp * (~label & called))


class Abstention(NamedTuple):
    """Decisions outside the band |M - t| < delta; the rest goes to a person."""

    delta: float
    coverage: Estimate
    risk: Estimate
    referred: int


class CoverageRisk(NamedTuple):
    """Error rate of the decided items as the band widens; arrays of one length, widest coverage first.

    Attributes
    ----------
    delta : half width of the band; coverage : share decided; risk, low, high : error rate among these, with Wilson limits
    area : float
        Mean risk over all coverages (AURC): smaller is better.
    """

    delta: Floats
    coverage: Floats
    risk: Floats
    low: Floats
    high: Floats
    area: float


def abstention(scores: Any, y: Any, *, threshold: float, delta: float, confidence: float = 0.95) -> Abstention:
    """Coverage and error rate when scores within `delta` of the threshold are handed on ([1])."""
    score, label = _checked(scores, y)
    kept = np.abs(score - threshold) >= delta
    wrong = int(((score >= threshold) != label)[kept].sum())
    decided = int(kept.sum())
    coverage, risk = (wilson(k, n, confidence=confidence) for k, n in ((decided, score.size), (wrong, decided)))
    return Abstention(float(delta), coverage, risk, score.size - decided)


def coverage_risk_curve(scores: Any, y: Any, *, threshold: float, points: int = 101, confidence: float = 0.95) -> CoverageRisk:
    """Risk at up to `points` coverages, from all items down to the surest. O(n log n).

    Items at equal distance from the threshold stay together.
    """
    score, label = _checked(scores, y)
    if not score.size:
        raise ValueError("no rows")
    distance = np.abs(score - threshold)
    order = np.argsort(-distance, kind="stable")
    distance, errors = distance[order], np.cumsum(((score >= threshold) != label)[order])
    ends = np.flatnonzero(np.r_[distance[1:] != distance[:-1], True])
    area = float((errors / np.arange(1, score.size + 1)).mean())
    picked = ends[np.unique(np.linspace(0, ends.size - 1, min(points, ends.size)).round().astype(int))][::-1]
    decided = picked + 1
    low, high = wilson_limits(errors[picked], decided, confidence=confidence)
    return CoverageRisk(distance[picked], decided / score.size, errors[picked] / decided, low, high, area)
