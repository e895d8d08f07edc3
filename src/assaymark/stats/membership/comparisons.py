"""Attacks on the same trials: what a defence took from one of them, and how bad the worst of several is.

References
----------
.. [1] Newcombe, R. G. (1998). Improved confidence intervals for the difference between binomial proportions based on paired
   data. Statistics in Medicine 17, 2635-2650.
.. [2] Fisher, R. A. (1935). The Design of Experiments. Oliver and Boyd, section 21 (randomisation of paired differences).
.. [3] Chernozhukov, V., Lee, S. and Rosen, A. M. (2013). Intersection bounds: estimation and inference. Econometrica 81,
   667-737 (why a maximum of estimates is biased, and one-sided limits of the maximum).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from assaymark.errors import ConfigError, InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.bootstrap_weights import BLOCK_ITEMS
from assaymark.stats.checks import FloatArray, normal_quantile
from assaymark.stats.membership.advantages import as_estimate, calls_at, cut_at, interval_name
from assaymark.stats.membership.shares import ShareTable, share_table, sum_of_shares
from assaymark.stats.membership.trials import AttackScores, IntArray, Units, trial_scores
from assaymark.stats.significance import TestOutcome

__all__ = ["AdvantageDifference", "WorstAdvantage", "advantage_difference", "worst_advantage"]

EXACT_SUM = 20_000
"""Largest sum of absolute differences for which the sign-flip distribution is computed exactly; normal beyond."""


class AdvantageDifference(NamedTuple):
    """After minus before, and the test that both advantages are equal."""

    difference: Estimate
    test: TestOutcome


def advantage_difference(
    before: AttackScores, after: AttackScores, *, units: Units = "trials", confidence: float = 0.95
) -> AdvantageDifference:
    """Advantage after minus advantage before, of one attack with and without a defence, or of two attacks, trial by trial.

    Parameters
    ----------
    before, after : AttackScores
        Scores of the same trials in the same order (same targets, same member and non-member), each with a threshold of its
        own, fitted elsewhere.
    units : "trials", "rows" or a pair of label arrays
        As for `trial_scores`; one description for both.

    Returns
    -------
    AdvantageDifference
        Difference: unit "percentage points" (a fraction in [-2, 2]); negative where `after` leaks less. Each share uses the
        answers that it has. Test: two-sided; its p value may go into `holm`; not made where the calls never differ.

    Notes
    -----
    Interval: square-and-add ([1]) of the four rates with their correlations over trials; never without width, even where
    all calls agree or both attacks are perfect. Test: flips of the sign of each trial's difference
    d = (call of member - call of non-member) after - before ([2]), over answers that both attacks gave. Exact while
    sum |d| <= 20,000, as `mcnemar` is for one share; normal beyond. It is exact when the two may be swapped within a trial,
    and right in large samples when only the advantages are equal.

    Share of 95 % intervals that hold the truth, 4,000 repetitions (percentile bootstrap over trials in parentheses, 1,000):

    @@DIFFERENCE@@
    """
    first, second = (trial_scores(a.member, a.nonmember, units=units) for a in (before, after))
    if first.units != second.units:
        raise InputError(f"{first.units} units before but {second.units} after: both attacks must be made on the same trials")
    cuts = [cut_at(a.threshold) for a in (before, after)]
    method = f"{interval_name(first, confidence)}, difference of two"
    lacks = [scores.lack or cut.reason for scores, cut in zip((first, second), cuts, strict=True)]
    if any(lacks):
        reason = "; ".join(f"{name}: {lack}" for name, lack in zip(("before", "after"), lacks, strict=True) if lack)
        none = TestOutcome(math.nan, math.nan, math.nan, math.nan, "advantage difference", 0, reason=reason)
        return AdvantageDifference(undefined(reason, n=first.n, method=method, unit="percentage points"), none)
    calls = [*calls_at(first, cuts[0].value), *calls_at(second, cuts[1].value)]
    table = share_table(calls, units=first.units, grouped=first.kind == "groups")
    found = sum_of_shares(table, (-1.0, 1.0, 1.0, -1.0), confidence=confidence)
    difference = as_estimate(found, second, method, unit="percentage points")
    return AdvantageDifference(difference, _sign_flips(_unit_differences(before, after, units), found.value))


def _unit_differences(before: AttackScores, after: AttackScores, units: Units) -> IntArray:
    """Each unit's sum of (member calls - non-member calls) after - before, over the answers that both gave."""
    attacks = [tuple(np.asarray(side, dtype=np.float64) for side in (a.member, a.nonmember)) for a in (before, after)]
    silent = [np.isnan(a) | np.isnan(b) for a, b in zip(*attacks, strict=True)]
    sums = np.zeros(0)
    for sign, attack, given in zip((-1.0, 1.0), attacks, (before, after), strict=True):
        scores = trial_scores(*(np.where(none, np.nan, side) for none, side in zip(silent, attack, strict=True)), units=units)
        members, nonmembers = calls_at(scores, cut_at(given.threshold).value)
        sums = np.zeros(scores.units) if sums.size == 0 else sums
        sums += sign * np.bincount(members.unit, weights=members.said, minlength=scores.units)
        sums -= sign * np.bincount(nonmembers.unit, weights=nonmembers.said, minlength=scores.units)
    return np.rint(sums).astype(np.int64)


def _sign_flips(sums: IntArray, effect: float) -> TestOutcome:
    """P(|sum of +-d| >= |sum of d|) with every sign equally likely."""
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    observed, total = abs(int(sums.sum())), int(sizes @ counts)
    name, n = "advantage difference", sums.size
    if total == 0:
        return TestOutcome(math.nan, math.nan, math.nan, math.nan, name, n, reason="the two never differ")
    if total > EXACT_SUM:
        p = 2.0 * NormalDist().cdf(-observed / math.sqrt(float((sizes.astype(np.float64) ** 2) @ counts)))
        return TestOutcome(float(sums.sum()), math.nan, p, effect, name, n)
    law = np.ones(1)  # of the sum of the d that keep a plus: position k holds P(k)
    for size, count in zip(sizes, counts, strict=True):
        law = np.convolve(law, _spaced_binomial(int(count), int(size)))
    plus = np.arange(total + 1)
    p = float(law[np.abs(2 * plus - total) >= observed].sum())
    return TestOutcome(float(sums.sum()), math.nan, min(p, 1.0), effect, name, n)


def _spaced_binomial(count: int, size: int) -> FloatArray:
    """Law of size x Binomial(count, 1/2) on 0 .. count x size."""
    from scipy.special import gammaln

    k = np.arange(count + 1)
    law = np.zeros(count * size + 1)
    law[::size] = np.exp(gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1) - count * math.log(2.0))
    return law


class WorstAdvantage(NamedTuple):
    """The attack with the highest advantage, the limits of the highest advantage of all, and each attack by itself."""

    attack: str
    advantage: Estimate
    each: dict[str, Estimate]


def worst_advantage(
    attacks: Mapping[str, AttackScores],
    *,
    rng: np.random.Generator,
    draws: int = 10_000,
    units: Units = "trials",
    confidence: float = 0.95,
) -> WorstAdvantage:
    """The highest of several attacks' advantages (or of one attack under several wordings), on the same trials.

    Parameters
    ----------
    attacks : mapping of name to AttackScores
        Scores on the same trials; each threshold fitted elsewhere.
    rng : numpy.random.Generator
    draws : int
        Normal draws from which the critical value of the lower limit is read.
    units : "trials", "rows" or a pair of label arrays
        As for `trial_scores`; one description for all.

    Returns
    -------
    WorstAdvantage
        `advantage` is the highest observed one, with limits for the highest *true* one. `attack` is its name ("" without
        any). Attacks without answers or without a threshold are undefined in `each` and take no part.

    Notes
    -----
    The highest of several estimates is too high on average: the luckiest attack wins. Resampling the maximum does not show
    this, it adds the same bias once more. Here the lower limit is the highest of lower limits that hold *for all attacks at
    once*: its critical value is the quantile of the maximum of normals with the attacks' correlation over trials, so twenty
    wordings of one inquiry cost little more than one. The upper limit needs no such care: the truly worst attack's own
    limit holds it ([3]). Both together hold the highest true advantage with at least the confidence, and are those of
    `advantage` where there is one attack.

    Coverage of 95 % intervals in 1,000 repetitions: @@WORST@@
    """
    if not attacks:
        raise ConfigError("there is no attack to choose from")
    scores = {name: trial_scores(a.member, a.nonmember, units=units) for name, a in attacks.items()}
    first = next(iter(scores.values()))
    if any(found.units != first.units for found in scores.values()):
        raise InputError("the attacks have different numbers of units: all must be made on the same trials")
    each: dict[str, Estimate] = {}
    tables: dict[str, ShareTable] = {}
    for name, attack in attacks.items():
        found, cut, method = scores[name], cut_at(attack.threshold), interval_name(scores[name], confidence)
        if reason := found.lack or cut.reason:
            each[name] = found.undefined(reason, method, unit="percentage points")
            continue
        tables[name] = share_table(calls_at(found, cut.value), units=found.units, grouped=found.kind == "groups")
        total = sum_of_shares(tables[name], (1.0, -1.0), confidence=confidence)
        each[name] = as_estimate(total, found, method, unit="percentage points")
    method = f"highest of {len(tables)} attacks, lower limit for all at once, {interval_name(first, confidence)}"
    if not tables:
        return WorstAdvantage(
            "", undefined("no attack has an advantage", n=first.n, method=method, unit="percentage points"), each
        )
    joint = _joint_confidence(list(tables.values()), rng=rng, draws=draws, confidence=confidence)
    low = max(sum_of_shares(table, (1.0, -1.0), confidence=joint).low for table in tables.values())
    high = max(each[name].high or 0.0 for name in tables)
    name = max(tables, key=lambda candidate: each[candidate].value or 0.0)
    value = each[name].value or 0.0
    return WorstAdvantage(name, Estimate(value, low, high, each[name].n, method, "percentage points"), each)


def _joint_confidence(tables: list[ShareTable], *, rng: np.random.Generator, draws: int, confidence: float) -> float:
    """Two-sided confidence whose one-sided lower limits hold for all attacks at once with (1 + confidence) / 2.

    The maximum of correlated normals is simulated. An attack without variance (all right, say) is taken as independent of
    the others, which is cautious. The answer lies between the single interval and Bonferroni's.
    """
    tail = (1.0 - confidence) / 2.0
    normal_quantile(confidence)
    influence = np.column_stack([t.residuals[:, 0] / t.sizes[0] - t.residuals[:, 1] / t.sizes[1] for t in tables])
    covariance = influence.T @ influence
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 1e-12, scale, 1.0)
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    roots, axes = np.linalg.eigh(correlation)
    factor = axes * np.sqrt(np.maximum(roots, 0.0))
    rows = max(1, BLOCK_ITEMS // len(tables))
    highest = np.concatenate(
        [(rng.standard_normal((min(rows, draws - at), len(tables))) @ factor.T).max(axis=1) for at in range(0, draws, rows)]
    )
    reached = 1.0 - NormalDist().cdf(float(np.quantile(highest, 1.0 - tail)))
    return 1.0 - 2.0 * min(max(reached, tail / len(tables)), tail)
