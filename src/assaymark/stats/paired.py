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
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.bootstrap_weights import resample_weights
from assaymark.stats.checks import FloatArray, normal_quantile, percent, two_classes
from assaymark.stats.intervals import wilson
from assaymark.stats.ranking import placements
from assaymark.stats.resampling import bootstrap_difference, percentile_estimate

__all__ = ["accuracy_difference", "auroc_difference"]


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
        return percentile_estimate(point, draws, n=n, method=method, confidence=confidence)
    a, b = placements(score_a[label], score_a[~label]), placements(score_b[label], score_b[~label])
    point = float(a.beaten.mean() - b.beaten.mean())
    variance = float((a.beaten - b.beaten).var(ddof=1) / m + (a.beaten_by - b.beaten_by).var(ddof=1) / k)
    if variance <= 1e-30:
        return undefined("the two order the classes alike, item by item, so DeLong finds no variance", n=n, method=method)
    half = normal_quantile(confidence) * math.sqrt(variance)
    return Estimate(point, max(point - half, -1.0), min(point + half, 1.0), n, method)


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
