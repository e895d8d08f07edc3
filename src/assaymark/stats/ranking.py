"""How well scores rank positives over negatives: ROC and precision-recall curves, their areas, single operating points.

A score >= threshold calls an item positive. Tied scores are never split: curves have one point for each distinct score.

References
----------
.. [1] DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988). Comparing the areas under two or more correlated ROC
   curves. Biometrics 44, 837-845.
.. [2] Sun, X. and Xu, W. (2014). Fast implementation of DeLong's algorithm. IEEE Signal Processing Letters 21, 1389-1393.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.result import Estimate, undefined
from assaymark.stats.bootstrap_weights import resample_weights
from assaymark.stats.checks import FloatArray, percent, two_classes
from assaymark.stats.intervals import wilson, wilson_limits
from assaymark.stats.resampling import percentile_estimate

__all__ = [
    "OperatingPoint",
    "PrecisionRecallCurve",
    "RocCurve",
    "area_limits",
    "average_precision",
    "fpr_at_tpr",
    "operating_point",
    "pr_curve",
    "roc_auc",
    "roc_curve",
    "tpr_at_fpr",
]

BoolArray = npt.NDArray[np.bool_]
MOST_EFFECTIVE = 4.0
"""Most effective trials behind an area for each item of the smaller class."""


class RocCurve(NamedTuple):
    """Points from (0, 0) at threshold infinity to (1, 1), with pointwise Wilson limits; arrays of one length."""

    thresholds: FloatArray
    fpr: FloatArray
    tpr: FloatArray
    fpr_low: FloatArray
    fpr_high: FloatArray
    tpr_low: FloatArray
    tpr_high: FloatArray


class PrecisionRecallCurve(NamedTuple):
    """Points by falling threshold, with pointwise Wilson limits; arrays of one length."""

    thresholds: FloatArray
    precision: FloatArray
    recall: FloatArray
    precision_low: FloatArray
    precision_high: FloatArray
    recall_low: FloatArray
    recall_high: FloatArray


class OperatingPoint(NamedTuple):
    """Counts and rates at one threshold."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    tpr: Estimate
    fpr: Estimate
    precision: Estimate
    accuracy: Estimate


class _Sorted(NamedTuple):
    """Items by falling score; `ends` are the positions of the last item of each group of equal scores."""

    scores: FloatArray
    positive: BoolArray
    ends: npt.NDArray[np.int64]


def _by_falling_score(scores: Any, labels: Any) -> _Sorted:
    score, label = two_classes(scores, labels)
    order = np.argsort(-score, kind="stable")
    score, label = score[order], label[order]
    last = np.ones(score.size, dtype=np.bool_)
    last[:-1] = score[1:] != score[:-1]
    return _Sorted(score, label, np.flatnonzero(last))


def _lack_of_class(label: BoolArray) -> str:
    missing = [name for name, count in (("positives", label.sum()), ("negatives", (~label).sum())) if count == 0]
    return f"there are no {' and no '.join(missing)}" if missing else ""


def midranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, ties sharing their average."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    upto = np.cumsum(sizes)
    return np.asarray((upto - (sizes - 1) / 2.0)[group])


class Placements(NamedTuple):
    """Share of negatives that each positive beats, and of positives that beat each negative; ties count half."""

    beaten: FloatArray
    beaten_by: FloatArray


def placements(positives: FloatArray, negatives: FloatArray) -> Placements:
    """DeLong's components ([1]) of two samples of scores, by midranks ([2]); O(n log n)."""
    m, k = positives.size, negatives.size
    ranks = midranks(np.concatenate([positives, negatives]))
    return Placements((ranks[:m] - midranks(positives)) / k, 1.0 - (ranks[m:] - midranks(negatives)) / m)


def untied_share(positives: FloatArray, negatives: FloatArray) -> float:
    """Share of the pairs of a positive and a negative whose scores differ; O(n log n)."""
    falling = np.sort(negatives)
    equal = np.searchsorted(falling, positives, side="right") - np.searchsorted(falling, positives, side="left")
    return 1.0 - float(equal.sum()) / (positives.size * negatives.size)


def area_limits(area: float, variance: float, *, smaller: float, untied: float = 1.0, confidence: float) -> tuple[float, float]:
    """Wilson's interval of an area under the ROC curve, for the number of trials that its variance is worth.

    Parameters
    ----------
    area : float in [0, 1]
    variance : float
        Of the area; DeLong's ([1]).
    smaller : float
        Items (or trials) of the smaller class. The area counts as a share of area (1 - area) / variance trials, at most 4 times
        `smaller`: near an area of 1 the variance seen is often far too small. Without variance there are `smaller` trials.
    untied : float in [0, 1]
        `untied_share`. A tied pair adds 1/2 to the area without any variance, so that mostly tied scores are rightly worth
        more trials than that: at most 4 `smaller` / `untied`.
    """
    effective = smaller
    if smaller >= 2 and variance > 1e-30 and 0.0 < area < 1.0:
        effective = min(area * (1.0 - area) / variance, MOST_EFFECTIVE * smaller / untied)
    limits = wilson_limits(area * effective, effective, confidence=confidence)
    return min(float(limits.low), area), max(float(limits.high), area)


def roc_auc(scores: Any, labels: Any, *, confidence: float = 0.95) -> Estimate:
    """Area under the ROC curve, P(positive > negative) + P(tie) / 2, with Wilson's interval on DeLong's variance ([1]).

    Parameters
    ----------
    scores : array_like, shape (n,), finite
    labels : array_like, shape (n,), 0/1 or bool

    Returns
    -------
    Estimate
        n is the number of items. Undefined without two items of each class.

    Notes
    -----
    O(n log n) by midranks ([2]). The area plus and minus DeLong's error, which is what most software gives, holds the truth too
    rarely near 1, where detectors are. Share of 95 % intervals that hold it, normal scores, 600 repetitions; in parentheses
    those of area plus and minus error:

    ======== =========== =========== =========== =============
    true AUC 10 and 10   24 and 136  50 and 50   100 and 1,000
    ======== =========== =========== =========== =============
    .5       .957 (.937) .963 (.953) .953 (.948) .962 (.962)
    .7377    .957 (.923) .958 (.952) .965 (.952) .942 (.937)
    .9426    .980 (.902) .973 (.862) .957 (.910) .972 (.908)
    .9882    .962 (1.00) .987 (.788) .965 (.800) .995 (.892)
    ======== =========== =========== =========== =============
    """
    score, label = two_classes(scores, labels)
    method, n = f"Wilson {percent(confidence)} on effective items (DeLong variance)", score.size
    positives, negatives = score[label], score[~label]
    m, k = positives.size, negatives.size
    if m < 2 or k < 2:
        return undefined(f"DeLong needs 2 items of each class, there are {m} positive and {k} negative", n=n, method=method)
    beaten, beaten_by = placements(positives, negatives)
    area = min(max(float(beaten.mean()), 0.0), 1.0)
    variance = float(beaten.var(ddof=1) / m + beaten_by.var(ddof=1) / k)
    untied = untied_share(positives, negatives)
    low, high = area_limits(area, variance, smaller=min(m, k), untied=untied, confidence=confidence)
    return Estimate(area, low, high, n, method)


def roc_curve(scores: Any, labels: Any, *, confidence: float = 0.95) -> RocCurve:
    """ROC curve with pointwise Wilson limits of both rates; NaN rates for a class that is absent. O(n log n)."""
    items = _by_falling_score(scores, labels)
    tp = np.concatenate([[0], np.cumsum(items.positive)[items.ends]])
    fp = np.concatenate([[0], np.cumsum(~items.positive)[items.ends]])
    thresholds = np.concatenate([[np.inf], items.scores[items.ends]])
    tpr_low, tpr_high = wilson_limits(tp, tp[-1], confidence=confidence)
    fpr_low, fpr_high = wilson_limits(fp, fp[-1], confidence=confidence)
    return RocCurve(thresholds, _share(fp, fp[-1]), _share(tp, tp[-1]), fpr_low, fpr_high, tpr_low, tpr_high)


def _share(counts: Any, of: Any) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.divide(counts, of), dtype=np.float64)


def pr_curve(scores: Any, labels: Any, *, confidence: float = 0.95) -> PrecisionRecallCurve:
    """Precision and recall at each distinct score, with pointwise Wilson limits; NaN recall without positives. O(n log n)."""
    items = _by_falling_score(scores, labels)
    tp = np.cumsum(items.positive)[items.ends]
    called = items.ends + 1
    total = int(items.positive.sum())
    precision_limits = wilson_limits(tp, called, confidence=confidence)
    recall_limits = wilson_limits(tp, total, confidence=confidence)
    thresholds = items.scores[items.ends]
    return PrecisionRecallCurve(thresholds, _share(tp, called), _share(tp, total), *precision_limits, *recall_limits)


def operating_point(scores: Any, labels: Any, threshold: float, *, confidence: float = 0.95) -> OperatingPoint:
    """Counts, and TPR, FPR, precision and accuracy with Wilson intervals, where score >= threshold is positive."""
    score, label = two_classes(scores, labels)
    called = score >= threshold
    tp, fp = int(np.sum(called & label)), int(np.sum(called & ~label))
    fn, tn = int(label.sum()) - tp, int((~label).sum()) - fp
    rates = ((tp, tp + fn), (fp, fp + tn), (tp, tp + fp), (tp + tn, score.size))
    return OperatingPoint(float(threshold), tp, fp, tn, fn, *(wilson(k, n, confidence=confidence) for k, n in rates))


def _weighted_bootstrap(
    items: _Sorted, statistic: Callable[[FloatArray, FloatArray], FloatArray], rng: np.random.Generator, resamples: int
) -> FloatArray:
    """`statistic(tp, fp)` on resamples of the items; both arguments are cumulated at group ends, shape (b, groups)."""
    draws = []
    for weights in resample_weights(np.ones(items.scores.size), rng=rng, resamples=resamples):
        tp = np.cumsum(weights * items.positive, axis=1)[:, items.ends]
        fp = np.cumsum(weights, axis=1)[:, items.ends] - tp
        draws.append(statistic(tp, fp))
    return np.concatenate(draws)


def _average_precisions(tp: FloatArray, fp: FloatArray) -> FloatArray:
    """Average precision of each row of cumulated counts; NaN without positives."""
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.diff(tp, axis=1, prepend=0.0) / tp[:, -1:]
        # before the first drawn item precision is 0/0; recall does not move there either
        precision = np.where(tp + fp > 0, tp / (tp + fp), 0.0)
    return np.asarray((steps * precision).sum(axis=1))


def average_precision(
    scores: Any,
    labels: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """Average precision, sum over thresholds of (R_k - R_(k-1)) P_k, with a bootstrap interval over items.

    No interpolation, tied scores as one step. Compare it with the share of positives, which a random ranking reaches.

    Returns
    -------
    Estimate
        Undefined without positives or negatives. Resamples without positives are left out, and the method says how many.
        Perfect separation leaves a bootstrap no width: the lower limit is then Wilson's for the smaller class.

    Notes
    -----
    O(n log n + resamples * n) time, bounded memory.
    """
    items = _by_falling_score(scores, labels)
    n = items.scores.size
    method = f"average precision, bootstrap {percent(confidence)}, {resamples} resamples"
    if reason := _lack_of_class(items.positive):
        return undefined(reason, n=n, method=method)
    tp = np.cumsum(items.positive)[items.ends][None, :].astype(np.float64)
    point = float(_average_precisions(tp, items.ends[None, :] + 1 - tp)[0])
    draws = _weighted_bootstrap(items, _average_precisions, rng, resamples)
    found = percentile_estimate(min(point, 1.0), np.minimum(draws, 1.0), n=n, method=method, confidence=confidence)
    fewest = min(int(items.positive.sum()), int((~items.positive).sum()))
    return _not_certain(found, fewest, confidence=confidence)


def _not_certain(found: Estimate, trials: int, *, confidence: float) -> Estimate:
    """Limits of its own for a bootstrap in which every resample gives the same extreme: Wilson's for as many trials."""
    if found.value is None or found.low is None or found.high is None or found.high - found.low > 1e-9:
        return found
    extreme = round(found.value)
    if abs(found.value - extreme) > 1e-9:
        return found
    limits = wilson(extreme * trials, trials, confidence=confidence)
    return replace(
        found,
        value=float(extreme),
        low=limits.low,
        high=limits.high,
        method=f"{found.method} (all equal: Wilson on {trials} items)",
    )


def _tpr_below(limit: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def statistic(tp: FloatArray, fp: FloatArray) -> FloatArray:
        with np.errstate(invalid="ignore", divide="ignore"):
            # the FPR rises along a row, so the points below the limit come first; the slack absorbs rounding in limit * n
            allowed = np.sum(fp <= limit * fp[:, -1:] * (1 + 1e-12), axis=1)
            reached = np.take_along_axis(tp, np.maximum(allowed - 1, 0)[:, None], axis=1)[:, 0]
            return np.where(fp[:, -1] > 0, np.where(allowed > 0, reached, 0.0) / tp[:, -1], np.nan)

    return statistic


def tpr_at_fpr(
    scores: Any,
    labels: Any,
    fpr: float,
    *,
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """Largest true positive rate at a false positive rate of at most `fpr`, without interpolation.

    Parameters
    ----------
    scores, labels : array_like, shape (n,)
    fpr : float in [0, 1]
    rng : numpy.random.Generator, optional
        With it the interval is a bootstrap over items, which moves the threshold too; without it the interval is Wilson's
        with the threshold taken as given, and too short when few negatives lie above the threshold.

    Returns
    -------
    Estimate
        Unit "share"; n is the number of positives. Undefined without positives or negatives.
    """
    if not 0.0 <= fpr <= 1.0:
        raise ConfigError(f"fpr {fpr!r} is not between 0 and 1")
    items = _by_falling_score(scores, labels)
    n = int(items.positive.sum())
    interval = f"Wilson {percent(confidence)}, threshold fixed"
    if rng is not None:
        interval = f"bootstrap {percent(confidence)}, {resamples} resamples"
    method = f"TPR at FPR <= {fpr:g}, {interval}"
    if reason := _lack_of_class(items.positive):
        return undefined(reason, n=n, method=method, unit="share")
    statistic = _tpr_below(fpr)
    tp = np.cumsum(items.positive)[items.ends][None, :].astype(np.float64)
    point = float(statistic(tp, items.ends[None, :] + 1 - tp)[0])
    if rng is not None:
        draws = _weighted_bootstrap(items, statistic, rng, resamples)
        found = percentile_estimate(point, draws, n=n, method=method, unit="share", confidence=confidence)
        return _not_certain(found, n, confidence=confidence)
    limits = wilson(round(point * n), n, confidence=confidence)
    return Estimate(limits.value, limits.low, limits.high, n, method, "share")


def fpr_at_tpr(
    scores: Any,
    labels: Any,
    tpr: float,
    *,
    rng: np.random.Generator | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """Smallest false positive rate at a true positive rate of at least `tpr`, without interpolation.

    Parameters
    ----------
    scores, labels, rng : as for `tpr_at_fpr`
    tpr : float in [0, 1]

    Returns
    -------
    Estimate
        Unit "share"; n is the number of negatives. Undefined without positives or negatives.

    Notes
    -----
    With the classes exchanged and the scores negated, the share of negatives that is spared while at most 1 - tpr of the
    positives is lost is a `tpr_at_fpr`; the FPR is what is missing to 1.
    """
    if not 0.0 <= tpr <= 1.0:
        raise ConfigError(f"tpr {tpr!r} is not between 0 and 1")
    score, label = two_classes(scores, labels)
    spared = tpr_at_fpr(-score, ~label, 1.0 - tpr, rng=rng, resamples=resamples, confidence=confidence)
    method = spared.method.replace(f"TPR at FPR <= {1.0 - tpr:g}", f"FPR at TPR >= {tpr:g}")
    if spared.value is None or spared.low is None or spared.high is None:
        return undefined(_lack_of_class(label), n=spared.n, method=method, unit="share")
    return Estimate(1.0 - spared.value, 1.0 - spared.high, 1.0 - spared.low, spared.n, method, "share")
