"""Two attacks on the same trials, or one with and without a defence: how far apart their advantages are.

References
----------
.. [1] Newcombe, R. G. (1998). Improved confidence intervals for the difference between binomial proportions based on paired
   data. Statistics in Medicine 17, 2635-2650.
.. [2] Fisher, R. A. (1935). The Design of Experiments. Oliver and Boyd, section 21 (randomisation of paired differences).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray
from assaymark.stats.membership.advantages import as_estimate, calls_at, cut_at, interval_name
from assaymark.stats.membership.shares import share_table, sum_of_shares
from assaymark.stats.membership.trials import AttackScores, IntArray, Units, trial_scores
from assaymark.stats.significance import TestOutcome

__all__ = ["AdvantageDifference", "advantage_difference"]

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

    Share of 95 % intervals that hold the truth at T = 50, 100, 500, all four scores of a trial correlated by 0.5, 4,000
    repetitions (`python -m benchmarks membership_intervals`); in parentheses the percentile bootstrap over trials, 1,000.
    TPR/FPR before, after: .95/.70, .60/.10: .966 .953 .949 (.944 .955 .943); .90/.02 twice: .984 .971 .955 (.942 .955 .942);
    .95/.05, .20/.15: .969 .962 .951 (.945 .952 .957); 1/0, .90/.02: .993 .988 .960 (.941 .942 .942), cautious because the
    perfect side still has width; .50/.50 twice: .953 .951 .947 (.942 .950 .943).
    """
    check_same_trials({"before": before, "after": after})
    first, second = (trial_scores(a.member, a.nonmember, units=units) for a in (before, after))
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


def check_same_trials(attacks: Mapping[str, AttackScores]) -> None:
    """Refuse attacks that scored different numbers of members or of non-members.

    Raises
    ------
    InputError
        Naming the first two that differ.
    """
    sizes = {name: (np.size(attack.member), np.size(attack.nonmember)) for name, attack in attacks.items()}
    first, *others = sizes
    for name in others:
        if sizes[name] != sizes[first]:
            (m, n), (k, q) = sizes[first], sizes[name]
            raise InputError(
                f"{first!r} scores {m} members and {n} non-members but {name!r} {k} and {q}: all must score the same trials, "
                "with NaN where one has no answer"
            )


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
        sd = math.sqrt(float((sizes.astype(np.float64) ** 2) @ counts))
        half_step = int(np.gcd.reduce(sizes))  # flipping a sign moves the sum by at least twice this
        p = 2.0 * NormalDist().cdf(-max(observed - half_step, 0) / sd)
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
