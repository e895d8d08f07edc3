"""Two classifiers on the same items: how much better is one than the other?

The items are the same, so the errors are dependent, and intervals of the two figures side by side say little about their
difference. Here the pairs are kept together. The exact test beside these intervals is `significance.mcnemar`.

References
----------
.. [1] DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988). Comparing the areas under two or more correlated ROC
   curves. Biometrics 44, 837-845.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.bootstrap_weights import resample_weights
from assaymark.stats.checks import FloatArray, normal_quantile, percent, two_classes
from assaymark.stats.intervals import wilson
from assaymark.stats.ranking import placements
from assaymark.stats.resampling import bootstrap_difference, bootstrap_statistic, percentile_estimate
from assaymark.stats.significance import TestOutcome

__all__ = ["accuracy_difference", "auroc_difference", "delong_test", "paired_difference"]


def accuracy_difference(
    correct_a: Any,
    correct_b: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    clusters: Any = None,
    confidence: float = 0.95,
) -> Estimate:
    """Accuracy of a minus accuracy of b on the same items, with a paired bootstrap interval.

    Parameters
    ----------
    correct_a, correct_b : array_like, shape (n,), 0/1 or bool
        Whether each got item i right.
    clusters : array_like, shape (n,), optional
        Labels of groups of items that belong together (near duplicates); whole groups are drawn.

    Returns
    -------
    Estimate
        Unit "percentage points" (a fraction). Undefined below two items (clusters). Where the two differ on no item a
        bootstrap has no width: the limits are then Wilson's upper limit of the share of items on which they differ, either way.

    Notes
    -----
    O(n + resamples) without clusters.
    """
    first, second = _right_or_wrong(correct_a, "correct_a"), _right_or_wrong(correct_b, "correct_b")
    found = bootstrap_difference(
        first, second, rng=rng, resamples=resamples, paired=True, clusters_a=clusters, confidence=confidence,
        unit="percentage points",
    )  # fmt: skip
    if not found.defined or not np.array_equal(first, second):
        return replace(found, method=f"paired {found.method}")
    trials = first.size if clusters is None else np.unique(np.asarray(clusters)).size
    most = wilson(0, trials, confidence=confidence).high
    method = f"no item is told apart: Wilson {percent(confidence)} of the share that is"
    return Estimate(0.0, -(most or 0.0), most, first.size, method, "percentage points")


def _right_or_wrong(values: Any, name: str) -> FloatArray:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {array.shape}")
    if array.dtype != np.bool_ and not np.all((array == 0) | (array == 1)):
        raise InputError(f"{name}: expected only 0 and 1 (or booleans): whether each item was classified correctly")
    return array.astype(np.float64)


def auroc_difference(
    scores_a: Any,
    scores_b: Any,
    labels: Any,
    *,
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """AUROC of scores a minus AUROC of scores b on the same items.

    Parameters
    ----------
    scores_a, scores_b : array_like, shape (n,), finite
    labels : array_like, shape (n,), 0/1 or bool
    rng : numpy.random.Generator, optional
        Without it the interval is DeLong's, from the covariance of the paired placements ([1], eq. 4 to 6); with it a bootstrap
        that draws items, scores and label together.

    Returns
    -------
    Estimate
        In [-1, 1]; n is the number of items. Undefined without two items of each class, and by DeLong where the placements
        leave no variance (both perfect, say): no width is not certainty.

    Notes
    -----
    O(n log n) by DeLong; O(resamples * n) by bootstrap, bounded memory.
    """
    score_a, label = two_classes(scores_a, labels)
    score_b, _ = two_classes(scores_b, labels)
    n, m, k = label.size, int(label.sum()), int((~label).sum())
    name = f"DeLong, paired, {percent(confidence)}" if rng is None else f"paired bootstrap {percent(confidence)}"
    method = name if rng is None else f"{name}, {resamples} resamples"
    if m < 2 or k < 2:
        return undefined(f"there are {m} positive and {k} negative items, 2 of each are needed", n=n, method=method)
    if rng is not None:
        draws = _resampled_areas(score_a, score_b, label, rng, resamples)
        point = float(_areas(np.ones((1, n)), score_a, label)[0] - _areas(np.ones((1, n)), score_b, label)[0])
        if np.nanmax(draws) - np.nanmin(draws) < 1e-12:
            return undefined("the two order the classes alike in every resample, which leaves no width", n=n, method=method)
        return percentile_estimate(point, draws, n=n, method=method, confidence=confidence)
    point, variance = _delong(score_a, score_b, label)
    if variance == 0:
        return undefined(_NO_VARIANCE, n=n, method=method)
    half = normal_quantile(confidence) * math.sqrt(variance)
    return Estimate(point, max(point - half, -1.0), min(point + half, 1.0), n, method)


_NO_VARIANCE = "the two order the classes alike, item by item, so DeLong finds no variance"


class _Difference(NamedTuple):
    point: float
    variance: float


def _delong(score_a: FloatArray, score_b: FloatArray, label: npt.NDArray[np.bool_]) -> _Difference:
    """Difference of the areas and its variance, from the differences of the placements; 0 up to rounding is 0."""
    a, b = placements(score_a[label], score_a[~label]), placements(score_b[label], score_b[~label])
    point = float(a.beaten.mean() - b.beaten.mean())
    beaten, beaten_by = a.beaten - b.beaten, a.beaten_by - b.beaten_by
    variance = float(beaten.var(ddof=1) / beaten.size + beaten_by.var(ddof=1) / beaten_by.size)
    return _Difference(point, variance if variance > 1e-30 else 0.0)


def delong_test(scores_a: Any, scores_b: Any, labels: Any) -> TestOutcome:
    """Two-sided test that two scores have the same AUROC on the same items ([1], eq. 8 for two curves).

    Returns
    -------
    TestOutcome
        Statistic: z. Effect: AUROC of a minus AUROC of b. Not made where `auroc_difference` by DeLong is undefined.
    """
    from scipy.special import ndtr

    found = auroc_difference(scores_a, scores_b, labels)
    name = "AUROC difference"
    if found.value is None:
        return TestOutcome(math.nan, math.nan, math.nan, math.nan, name, found.n, reason=found.reason)
    score_a, label = two_classes(scores_a, labels)
    point, variance = _delong(score_a, two_classes(scores_b, labels)[0], label)
    z = point / math.sqrt(variance)
    return TestOutcome(z, math.nan, float(2 * ndtr(-abs(z))), point, name, found.n)


def paired_difference(
    statistic: Callable[[Any, Any], float],
    scores_a: Any,
    scores_b: Any,
    labels: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    clusters: Any = None,
    confidence: float = 0.95,
    unit: Unit = "number",
) -> Estimate:
    """statistic(scores_a, labels) - statistic(scores_b, labels) with a paired bootstrap interval.

    Parameters
    ----------
    statistic : callable
        `statistic(scores, labels) -> float`, NaN where undefined: F1 at a threshold, average precision, a loss.
    scores_a, scores_b, labels : array_like, length n
        Drawn together.
    clusters : array_like, shape (n,), optional
        Labels of groups of items that belong together; whole groups are drawn.

    Notes
    -----
    `statistic` is called twice for each resample: for accuracies and areas the functions of their own are far faster.
    """
    found = bootstrap_statistic(
        (scores_a, scores_b, labels), lambda a, b, y: statistic(a, y) - statistic(b, y), rng=rng, resamples=resamples,
        clusters=clusters, confidence=confidence, unit=unit,
    )  # fmt: skip
    return replace(found, method=f"paired {found.method}")


def _resampled_areas(
    score_a: FloatArray, score_b: FloatArray, label: npt.NDArray[np.bool_], rng: np.random.Generator, resamples: int
) -> FloatArray:
    draws = [
        _areas(weights, score_a, label) - _areas(weights, score_b, label)
        for weights in resample_weights(np.ones(label.size), rng=rng, resamples=resamples)
    ]
    return np.concatenate(draws)


def _areas(weights: FloatArray, scores: FloatArray, label: npt.NDArray[np.bool_]) -> FloatArray:
    """AUROC of each row of weights, ties counting half; NaN where a resample lacks a class."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    positive = np.add.reduceat(weights[:, order] * label[order], first, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~label[order], first, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1)))
