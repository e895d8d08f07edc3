"""Measures that ask for no threshold: the area under the ROC curve and the TPR at low false positive rates.

An attack that is right about a few people with hardly a false alarm harms them, whatever its average: the low end of the
ROC curve says so, on logarithmic axes ([1]).

References
----------
.. [1] Carlini, N. et al. (2022). Membership inference attacks from first principles. IEEE S&P 2022.
.. [2] DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988). Comparing the areas under two or more correlated ROC
   curves. Biometrics 44, 837-845.
.. [3] David, H. A. and Nagaraja, H. N. (2003). Order Statistics. Wiley, section 7.1 (limits of quantiles).
.. [4] Obuchowski, N. A. (1997). Nonparametric analysis of clustered ROC curve data. Biometrics 53, 567-578.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.result import Estimate
from assaymark.stats.checks import FloatArray, percent
from assaymark.stats.intervals import wilson_limits
from assaymark.stats.membership.shares import Calls, group_confidence, share_table
from assaymark.stats.membership.trials import IntArray, TrialScores, Units, distinct_units, trial_scores
from assaymark.stats.ranking import area_limits, placements, untied_share

__all__ = ["LogRoc", "attack_auc", "log_roc", "tpr_at_fprs"]


def attack_auc(member: Any, nonmember: Any, *, units: Units = "trials", confidence: float = 0.95) -> Estimate:
    """Area under the ROC curve: P(member's score > non-member's) + P(equal) / 2.

    Parameters
    ----------
    member, nonmember, units : as for `trial_scores`

    Returns
    -------
    Estimate
        Unit "number"; n is the number of trials (rows) with an answer. Undefined when a side has no answer.

    Notes
    -----
    O(n log n). DeLong's variance ([2]) with the two scores of a trial, or all of a group, summed before squaring ([4]), turned
    into an effective number of trials A (1 - A) / V, of which the interval is Wilson's. At most 4 for each real trial; where
    nothing varies (perfect separation, all scores tied) it is the size of the smaller side.

    Share of 95 % intervals that hold the truth, normal scores with correlations of 0 and 0.6 in a trial, 2,000 repetitions
    (`python -m benchmarks membership_intervals` makes 1,000); in parentheses the percentile bootstrap over trials, 500:

    ======== ====================== ====================== ======================
    true AUC T = 50                 T = 100                T = 500
    ======== ====================== ====================== ======================
    .5       .952 .952  (.936 .940) .954 .958  (.948 .942) .947 .948  (.954 .934)
    .8019    .952 .958  (.946 .954) .956 .956  (.958 .958) .952 .949  (.960 .940)
    .9615    .931 .953  (.896 .880) .948 .945  (.922 .920) .944 .952  (.948 .944)
    .9945    .968 .977  (.786 .804) .978 .973  (.864 .844) .978 .977  (.920 .934)
    .9994    .974 .976  (.386 .400) .984 .989  (.732 .714) .995 .992  (.876 .868)
    ======== ====================== ====================== ======================
    """
    scores = trial_scores(member, nonmember, units=units)
    method = f"Wilson {percent(confidence)} on effective trials (DeLong variance by {scores.kind})"
    if scores.lack:
        return scores.undefined(scores.lack, method, unit="number")
    beaten, beaten_by = placements(scores.member, scores.nonmember)
    area = min(max(float(beaten.mean()), 0.0), 1.0)
    sides = ((beaten, scores.member_unit), (beaten_by, scores.nonmember_unit))
    counts = [distinct_units(scores.units, unit) if scores.kind == "groups" else unit.size for _, unit in sides]
    inner = group_confidence(confidence, min(counts) if scores.kind == "groups" else 0)
    variance = _variance(sides, counts, area, scores.units) if min(counts) >= 2 else 0.0
    untied = untied_share(scores.member, scores.nonmember)
    low, high = area_limits(area, variance, smaller=float(min(counts)), untied=untied, confidence=inner)
    return Estimate(area, low, high, scores.n, scores.described(method), "number")


def _variance(sides: Sequence[tuple[FloatArray, IntArray]], counts: Sequence[int], area: float, units: int) -> float:
    influence = np.zeros(units)
    for (placed, unit), count in zip(sides, counts, strict=True):
        part = np.bincount(unit, weights=placed - area, minlength=units) / placed.size
        influence += part * math.sqrt(count / (count - 1.0))
    return float(influence @ influence)


class _Curve(NamedTuple):
    """TPR at several bounds of the FPR with limits, arrays of one length; `resolved` is False where no limit can be had."""

    tpr: FloatArray
    low: FloatArray
    high: FloatArray
    resolved: npt.NDArray[np.bool_]


def _tpr_above(scores: TrialScores, false_positives: npt.NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """TPR and threshold of the lowest cut with at most so many false positives: above the next non-member's score."""
    falling = np.sort(scores.nonmember)[::-1]
    count = np.maximum(np.asarray(false_positives, dtype=np.int64), -1)
    above = np.where(count < falling.size, falling[np.clip(count, 0, falling.size - 1)], -np.inf)
    called = scores.member.size - np.searchsorted(np.sort(scores.member), above, side="right")
    # a bound of no rank at all (-1) is a cut above everything; a bound of all non-members is a cut below everything
    called = np.where(count >= falling.size, scores.member.size, np.where(count < 0, 0, called))
    return called / scores.member.size, np.where(count < 0, np.inf, above)


def _effective_sizes(scores: TrialScores, cuts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Effective numbers of members and of non-members at each cut; the real ones without groups."""
    if scores.kind != "groups":
        return np.full(cuts.size, float(scores.member.size)), np.full(cuts.size, float(scores.nonmember.size))
    sizes = [
        share_table(
            [Calls((side > cut).astype(np.float64), unit) for side, unit in _sides(scores)], units=scores.units, grouped=True
        ).effective
        for cut in cuts
    ]
    members, nonmembers = np.array(sizes).T
    return members, nonmembers


def _sides(scores: TrialScores) -> tuple[tuple[FloatArray, IntArray], tuple[FloatArray, IntArray]]:
    return (scores.member, scores.member_unit), (scores.nonmember, scores.nonmember_unit)


def _tpr_curve(scores: TrialScores, fprs: FloatArray, confidence: float) -> _Curve:
    from scipy.stats import binom

    n = scores.nonmember.size
    # the slack absorbs rounding in fpr x n
    tpr, cuts = _tpr_above(scores, np.floor(fprs * n * (1 + 1e-12)))
    groups = min(distinct_units(scores.units, unit) for _, unit in _sides(scores)) if scores.kind == "groups" else 0
    inner = group_confidence(confidence, groups)
    members, nonmembers = _effective_sizes(scores, cuts)
    tail, whole = (1.0 - inner) / 2.0, np.floor(nonmembers)
    # the FPR above the j-th highest non-member is at most f if and only if a Binomial(n, f) reaches j ([3])
    surely, hardly = binom.ppf(tail, whole, fprs), binom.ppf(1.0 - tail, whole, fprs) + 1.0
    strict, _ = _tpr_above(scores, np.floor((surely - 1.0) / whole * n + 1e-9))
    loose, _ = _tpr_above(scores, np.floor((hardly - 1.0) / whole * n + 1e-9))
    low, high = wilson_limits(tpr * members, members, confidence=inner)
    below = np.hypot(tpr - np.minimum(low, tpr), tpr - strict)
    above = np.hypot(np.maximum(high, tpr) - tpr, loose - tpr)
    return _Curve(tpr, np.maximum(tpr - below, 0.0), np.minimum(tpr + above, 1.0), surely >= 1)


def tpr_at_fprs(
    member: Any,
    nonmember: Any,
    fprs: Sequence[float] = (0.01, 0.05),
    *,
    units: Units = "trials",
    confidence: float = 0.95,
) -> dict[float, Estimate]:
    """Largest true positive rate at a false positive rate of at most each of `fprs`, without interpolation.

    Parameters
    ----------
    member, nonmember, units : as for `trial_scores`
    fprs : sequence of float in (0, 1)

    Returns
    -------
    dict of FPR to Estimate
        Unit "share"; n is the number of members. Undefined, not resolvable, where even the cut above the highest non-member
        may have a higher FPR: below 368 independent non-members for 1 %, 72 for 5 %, 3,688 for 0.1 % at 95 % confidence.

    Notes
    -----
    O(n log n). The cut is itself estimated. The ranks between which the true cut lies are binomial quantiles ([3]); the TPR
    is read off at both, and what it moves there is added in squares to Wilson's distances. With the cut taken as known,
    Wilson's interval holds the truth in as few as 45 of 100 repetitions.

    Share of 95 % intervals that hold the truth, true TPR of 1 % to 99.8 %, correlations of 0 and 0.6 in a trial, 1,000
    repetitions (`python -m benchmarks membership_intervals`): FPR 5 %, T = 80, 100, 500: .949-.995, .981-.999, .964-.986;
    FPR 1 %, T = 370, 500, 2,000: .965-.998, .977-.994, .961-.989. It is cautious by design: ranks are whole numbers.
    """
    bounds = np.asarray(fprs, dtype=np.float64)
    if bounds.ndim != 1 or np.any((bounds <= 0) | (bounds >= 1)):
        raise ConfigError(f"fprs {list(fprs)} are not all between 0 and 1: write (0.01, 0.05) for 1 % and 5 %")
    scores = trial_scores(member, nonmember, units=units)
    methods = [f"TPR at FPR <= {f:g}, order statistics and Wilson {percent(confidence)}" for f in bounds]
    if scores.lack:
        return {float(f): scores.undefined(scores.lack, m, unit="share") for f, m in zip(bounds, methods, strict=True)}
    curve = _tpr_curve(scores, bounds, confidence)
    found: dict[float, Estimate] = {}
    for i, (f, method) in enumerate(zip(bounds, methods, strict=True)):
        if not curve.resolved[i]:
            need = math.ceil(math.log((1.0 - confidence) / 2.0) / math.log1p(-f))
            kind = "independent non-members" if scores.kind == "groups" else "non-members"
            reason = (
                f"not resolvable: an FPR of {100 * f:g} % needs {need:,} {kind}, there are {scores.nonmember.size:,} scores"
            )
            found[float(f)] = scores.undefined(reason, method, unit="share")
            continue
        value, low, high = float(curve.tpr[i]), float(curve.low[i]), float(curve.high[i])
        found[float(f)] = Estimate(value, low, high, scores.member.size, scores.described(method), "share")
    return found


class LogRoc(NamedTuple):
    """Points of a ROC curve for logarithmic axes, arrays of one length.

    Attributes
    ----------
    fpr : array
        Evenly spaced in logarithm, from one false positive (1 / non-members) to 1. An attack without power has tpr = fpr.
    tpr, tpr_low, tpr_high : array
        Largest TPR at an FPR of at most this, with pointwise limits; 0 where no member is found.
    resolved : array of bool
        False where the non-members are too few to bound such an FPR: nothing but the upper limit can be relied upon.
    floor : float
        Half a member, 1 / (2 members): where to draw a zero that a logarithmic axis does not have.
    """

    fpr: FloatArray
    tpr: FloatArray
    tpr_low: FloatArray
    tpr_high: FloatArray
    resolved: npt.NDArray[np.bool_]
    floor: float


def log_roc(member: Any, nonmember: Any, *, points: int = 60, units: Units = "trials", confidence: float = 0.95) -> LogRoc:
    """ROC curve for log-log axes, with the limits of `tpr_at_fprs` at every point.

    Parameters
    ----------
    member, nonmember, units : as for `trial_scores`
    points : int, >= 2

    Returns
    -------
    LogRoc
        Without points when a side has no answer.

    Notes
    -----
    O(n log n + points), with groups O(points * n).
    """
    if points < 2:
        raise ConfigError(f"points = {points}: a curve needs at least 2")
    scores = trial_scores(member, nonmember, units=units)
    if scores.lack:
        none = np.zeros(0)
        return LogRoc(none, none, none, none, np.zeros(0, dtype=np.bool_), math.nan)
    fprs = np.unique(np.geomspace(1.0 / scores.nonmember.size, 1.0, points))
    fprs[-1] = 1.0
    curve = _tpr_curve(scores, fprs, confidence)
    return LogRoc(fprs, curve.tpr, curve.low, curve.high, curve.resolved, 0.5 / scores.member.size)
