"""How much an attack gains: TPR - FPR at a threshold fitted elsewhere, and the rates it is made of.

References
----------
.. [1] Yeom, S., Giacomelli, I., Fredrikson, M. and Jha, S. (2018). Privacy risk in machine learning: analyzing the connection
   to overfitting. CSF 2018 (membership advantage).
.. [2] Newcombe, R. G. (1998). Improved confidence intervals for the difference between binomial proportions based on paired
   data. Statistics in Medicine 17, 2635-2650.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from assaymark.errors import ConfigError
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.checks import normal_quantile, percent
from assaymark.stats.intervals import wilson_limits
from assaymark.stats.membership.shares import Calls, ShareTable, SumOfShares, share_table, sum_of_shares
from assaymark.stats.membership.thresholds import Threshold
from assaymark.stats.membership.trials import TrialScores, Units, trial_scores

__all__ = ["DecisionRates", "advantage", "decision_rates", "detectable_advantage"]


class Cut(NamedTuple):
    """A threshold as a number, or why there is none."""

    value: float
    reason: str


def cut_at(threshold: Any) -> Cut:
    """The number behind a threshold given as a number or as a `Threshold`."""
    if isinstance(threshold, Threshold):
        return Cut(threshold.value, f"no threshold: {threshold.reason}" if threshold.reason else "")
    value = float(threshold)
    if math.isnan(value):
        raise ConfigError("the threshold is NaN: give a number, or the Threshold that says why there is none")
    return Cut(value, "")


def calls_at(scores: TrialScores, cut: float) -> tuple[Calls, Calls]:
    """Calls of the members and of the non-members: member iff score >= cut."""
    return (
        Calls((scores.member >= cut).astype(np.float64), scores.member_unit),
        Calls((scores.nonmember >= cut).astype(np.float64), scores.nonmember_unit),
    )


def interval_name(scores: TrialScores, confidence: float) -> str:
    """How the interval of a sum of shares of these scores is named."""
    kind = {"trials": "Newcombe paired hybrid score", "rows": "Newcombe hybrid score"}.get(scores.kind)
    return f"{kind or 'Newcombe hybrid score by groups'} {percent(confidence)}"


def advantage(member: Any, nonmember: Any, threshold: Any, *, units: Units = "trials", confidence: float = 0.95) -> Estimate:
    """Membership advantage TPR - FPR ([1]), which is 2 x balanced accuracy - 1, at a threshold fitted on other trials.

    Parameters
    ----------
    member, nonmember : array_like, shapes (n,) and (m,)
        Scores; NaN is no answer, is left out, and is counted in the estimate's method. A trial keeps the side it has.
    threshold : float or Threshold
        Member iff score >= threshold.
    units : "trials", "rows" or a pair of label arrays
        As for `trial_scores`.

    Returns
    -------
    Estimate
        Unit "percentage points" (a fraction in [-1, 1]); n is the number of trials (rows) with an answer. Undefined when a
        side has no answer or the threshold is undefined.

    Notes
    -----
    O(n), in closed form: square-and-add of Wilson's limits with the correlation of the two calls of a trial (method 10 of
    [2] when no answer is missing). At TPR 1 and FPR 0 in 100 trials the interval is 94.8 to 100 pp.

    Share of 95 % intervals that hold the truth, 4,000 repetitions (`python -m benchmarks membership_intervals`), without and
    with a correlation of 0.6 between the normal scores behind the two calls; in parentheses that of the percentile bootstrap
    over trials, 1,000 repetitions:

    ========= ====================== ====================== ======================
    TPR / FPR T = 50                 T = 100                T = 500
    ========= ====================== ====================== ======================
    .95 / .70 .965 .963  (.946 .924) .956 .958  (.935 .951) .951 .952  (.960 .947)
    .60 / .10 .950 .959  (.947 .948) .943 .953  (.947 .951) .956 .950  (.949 .949)
    .90 / .02 .959 .961  (.935 .935) .954 .958  (.960 .963) .948 .953  (.949 .952)
    .50 / .50 .942 .954  (.945 .952) .943 .956  (.950 .956) .944 .954  (.941 .960)
    1 / 0     1 at width 10.1 pp (0) 1 at width 5.2 pp  (0) 1 at width 1.1 pp  (0)
    ========= ====================== ====================== ======================

    In 10 (50) groups of ten rows that share half of the variance: .955 (.953), bootstrap over groups .909 (.945).
    """
    scores = trial_scores(member, nonmember, units=units)
    cut, method = cut_at(threshold), interval_name(scores, confidence)
    if reason := scores.lack or cut.reason:
        return scores.undefined(reason, method, unit="percentage points")
    table = advantage_table(scores, cut.value)
    return as_estimate(sum_of_shares(table, (1.0, -1.0), confidence=confidence), scores, method, unit="percentage points")


def advantage_table(scores: TrialScores, cut: float) -> ShareTable:
    """TPR and FPR at a cut, with how they vary together."""
    return share_table(calls_at(scores, cut), units=scores.units, grouped=scores.kind == "groups")


def as_estimate(found: SumOfShares, scores: TrialScores, method: str, *, unit: Unit, n: int | None = None) -> Estimate:
    """A sum of shares as an estimate that says on how many of these scores it rests."""
    return Estimate(found.value, found.low, found.high, scores.n if n is None else n, scores.described(method), unit)


class DecisionRates(NamedTuple):
    """Rates at one threshold, all of unit "share" but `advantage`, which is in percentage points."""

    tpr: Estimate
    fpr: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    advantage: Estimate


def decision_rates(
    member: Any, nonmember: Any, threshold: Any, *, units: Units = "trials", confidence: float = 0.95
) -> DecisionRates:
    """TPR, FPR, accuracy, balanced accuracy and advantage at a threshold fitted on other trials.

    Parameters
    ----------
    member, nonmember, threshold, units : as for `advantage`

    Returns
    -------
    DecisionRates
        n is the number of scores behind a share (members, non-members, both), and of trials behind the advantage. Accuracy
        weighs every answered score alike, balanced accuracy both sides alike. All undefined when one side has no answer.

    Notes
    -----
    Wilson's interval for the two rates (on effective sizes where rows come in groups), square-and-add for the others.
    """
    scores = trial_scores(member, nonmember, units=units)
    cut = cut_at(threshold)
    single, sums = f"Wilson {percent(confidence)}", interval_name(scores, confidence)
    if reason := scores.lack or cut.reason:
        rate, total = (scores.undefined(reason, name, unit="share") for name in (single, sums))
        return DecisionRates(rate, rate, total, total, scores.undefined(reason, sums, unit="percentage points"))
    table = advantage_table(scores, cut.value)
    members, nonmembers = scores.member.size, scores.nonmember.size
    both = members + nonmembers

    def share(weights: tuple[float, float], name: str, n: int, constant: float = 0.0) -> Estimate:
        found = sum_of_shares(table, weights, confidence=confidence)
        # 1 - FPR enters as a constant and a negative weight; clipping takes off what rounding adds
        shifted = SumOfShares(*(min(max(x + constant, 0.0), 1.0) for x in found))
        return as_estimate(shifted, scores, name, unit="share", n=n)

    return DecisionRates(
        tpr=share((1.0, 0.0), single, members),
        fpr=share((0.0, 1.0), single, nonmembers),
        accuracy=share((members / both, -nonmembers / both), sums, both, nonmembers / both),
        balanced_accuracy=share((0.5, -0.5), sums, both, 0.5),
        advantage=as_estimate(sum_of_shares(table, (1.0, -1.0), confidence=confidence), scores, sums, unit="percentage points"),
    )


def detectable_advantage(trials: int, *, power: float = 0.8, confidence: float = 0.95) -> Estimate:
    """Least advantage whose interval lies above 0 with this power, from this many trials.

    Parameters
    ----------
    trials : int, >= 1
        Trials, each with one member and one non-member.
    power, confidence : float in (0, 1)

    Returns
    -------
    Estimate
        Unit "percentage points"; without width, for it is a property of the design and not measured. Undefined when even an
        advantage of 1 would not be shown with this power.

    Notes
    -----
    Taken at the worst place, TPR and FPR symmetric about 1/2, with the two calls of a trial independent. With the critical
    value c, the least observed advantage whose Newcombe interval excludes 0, it is the a that solves
    a - c = z_power sqrt((1 - a^2) / (2 T)): about 2.8 sqrt(1 / (2 T)) for 80 % power at 95 % confidence and large T.

    Examples
    --------
    >>> print(detectable_advantage(500))
    8.85 pp (8.85 pp to 8.85 pp), n = 500
    """
    if trials < 1:
        raise ConfigError(f"trials = {trials}: a design has at least 1")
    if not 0.0 < power < 1.0:
        raise ConfigError(f"power {power!r} is not between 0 and 1: write 0.8 for 80 %")
    normal_quantile(confidence)
    from scipy.optimize import brentq

    method = f"power {percent(power)} of a Newcombe {percent(confidence)} interval at TPR and FPR about 1/2"
    z = NormalDist().inv_cdf(power)

    def lower_limit(c: float) -> float:
        share = (1.0 + c) / 2.0
        # the other share mirrors this one about 1/2, and so do its limits
        low = float(wilson_limits(share * trials, trials, confidence=confidence).low)
        return c - math.sqrt(2.0) * (share - low)

    critical = float(brentq(lower_limit, 0.0, 1.0)) if lower_limit(1.0) > 0 else 1.0

    def excess(a: float) -> float:
        return a - critical - z * math.sqrt((1.0 - a * a) / (2.0 * trials))

    if excess(1.0) <= 0:
        reason = f"no advantage, however large, is shown with a power of {percent(power)} by so few trials: {trials}"
        return undefined(reason, n=trials, method=method, unit="percentage points")
    least = float(brentq(excess, 0.0 if z > 0 else -1.0, 1.0))
    return Estimate(least, least, least, trials, method, "percentage points")
