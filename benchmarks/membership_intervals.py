"""Share of 95 % intervals of membership-inference metrics that hold the truth, beside the interval usually quoted.

The scores of a trial are normal with a given correlation, so every truth is known in closed form. `ours` and `peer` are
coverages (0.95 wanted; 1 where the rates are 1 and 0, which always show themselves); the note has the peer and mean widths.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import (
    AttackScores,
    advantage,
    advantage_difference,
    attack_auc,
    detectable_advantage,
    resample_weights,
    tpr_at_fpr,
    tpr_at_fprs,
    worst_advantage,
)
from benchmarks import Row, Target

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]
NORMAL = NormalDist()
RATES = ((0.95, 0.70), (0.60, 0.10), (0.90, 0.02), (0.50, 0.50), (1.0, 0.0))
PAIRS_OF_ATTACKS = (
    (0.95, 0.70, 0.60, 0.10),
    (0.90, 0.02, 0.90, 0.02),
    (0.95, 0.05, 0.20, 0.15),
    (1.0, 0.0, 0.90, 0.02),
    (0.50, 0.50, 0.50, 0.50),
)
SHIFTS = (0.0, 1.2, 2.5, 3.6, 4.6)
BOOTSTRAPS = 500


class Coverage(NamedTuple):
    share: float
    width: float


def held(intervals: list[Interval], truth: float) -> Coverage:
    """Share of the intervals that hold the truth, and their mean width."""
    inside = [low - 1e-12 <= truth <= high + 1e-12 for low, high in intervals]
    return Coverage(float(np.mean(inside)), float(np.mean([high - low for low, high in intervals])))


def limits(estimate: Estimate) -> Interval:
    """The limits; an undefined estimate promises nothing and is not expected here."""
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def correlated(rng: np.random.Generator, trials: int, columns: int, rho: float) -> FloatArray:
    """Normal scores, shape (trials, columns), every two columns correlated by rho."""
    common = rng.standard_normal((trials, 1))
    return np.sqrt(rho) * common + np.sqrt(1.0 - rho) * rng.standard_normal((trials, columns))


def cut_for(rate: float) -> float:
    """Threshold that a standard normal score reaches at this rate."""
    if rate in (0.0, 1.0):
        return -math.inf if rate else math.inf
    return NORMAL.inv_cdf(1.0 - rate)


def calls(rng: np.random.Generator, trials: int, rates: tuple[float, ...], rho: float) -> FloatArray:
    """0/1 calls, shape (trials, rates), with the rates given."""
    return (correlated(rng, trials, len(rates), rho) >= np.array([cut_for(rate) for rate in rates])).astype(np.float64)


def percentile(values: FloatArray, rng: np.random.Generator) -> Interval:
    """Percentile bootstrap of the mean of one value for each trial."""
    weights = np.concatenate(list(resample_weights(np.ones(values.size), rng=rng, resamples=BOOTSTRAPS)))
    low, high = np.quantile(weights @ values / values.size, (0.025, 0.975))
    return float(low), float(high)


def percentile_area(member: FloatArray, nonmember: FloatArray, rng: np.random.Generator) -> Interval:
    """Percentile bootstrap over trials of the area under the ROC curve."""
    weights = np.concatenate(list(resample_weights(np.ones(member.size), rng=rng, resamples=BOOTSTRAPS)))
    beaten = (member[:, None] > nonmember[None, :]).astype(np.float64)
    low, high = np.quantile(((weights @ beaten) * weights).sum(axis=1) / member.size**2, (0.025, 0.975))
    return float(low), float(high)


BOOTSTRAP_PEER = "percentile bootstrap over trials"


def compared(
    case: str,
    trial: Callable[[], tuple[Interval, Callable[[], Interval]]],
    truth: float,
    repetitions: int,
    peer: str = BOOTSTRAP_PEER,
) -> Row:
    """One row: coverage of ours in all repetitions, of the peer in a quarter of them."""
    own: list[Interval] = []
    other: list[Interval] = []
    for repetition in range(repetitions):
        interval, peers = trial()
        own.append(interval)
        if repetition % 4 == 0:
            other.append(peers())
    ours, theirs = held(own, truth), held(other, truth)
    note = f"peer: {peer}; truth {truth:.4g}; width {ours.width:.3f}, peer {theirs.width:.3f}; {repetitions:,} repetitions"
    # a few repetitions only show that the code runs
    target = Target("ours", ">=", 0.92) if repetitions >= 1000 else None
    return Row(case, ours.share, theirs.share, "coverage", note, target)


def advantages(rng: np.random.Generator, trials: int, repetitions: int) -> list[Row]:
    """`advantage` at known rates."""

    def row(rates: tuple[float, float], rho: float) -> Row:
        def trial() -> tuple[Interval, Callable[[], Interval]]:
            said = calls(rng, trials, rates, rho)
            return limits(advantage(said[:, 0], said[:, 1], 0.5)), lambda: percentile(said[:, 0] - said[:, 1], rng)

        return compared(f"advantage, T {trials}, {rates[0]}/{rates[1]}, rho {rho}", trial, rates[0] - rates[1], repetitions)

    return [row(rates, rho) for rates in RATES for rho in (0.0, 0.6)]


def differences(rng: np.random.Generator, trials: int, repetitions: int) -> list[Row]:
    """`advantage_difference` of two attacks whose four calls are correlated."""

    def row(rates: tuple[float, float, float, float]) -> Row:
        def trial() -> tuple[Interval, Callable[[], Interval]]:
            said = calls(rng, trials, rates, 0.5)
            before, after = AttackScores(said[:, 0], said[:, 1], 0.5), AttackScores(said[:, 2], said[:, 3], 0.5)
            gained = said @ np.array([-1.0, 1.0, 1.0, -1.0])
            return limits(advantage_difference(before, after).difference), lambda: percentile(gained, rng)

        truth = (rates[2] - rates[3]) - (rates[0] - rates[1])
        return compared(f"difference, T {trials}, {'/'.join(map(str, rates))}", trial, truth, repetitions)

    return [row(rates) for rates in PAIRS_OF_ATTACKS]


def areas(rng: np.random.Generator, trials: int, repetitions: int) -> list[Row]:
    """`attack_auc` of normal scores a shift apart."""

    def row(shift: float, rho: float) -> Row:
        def trial() -> tuple[Interval, Callable[[], Interval]]:
            scores = correlated(rng, trials, 2, rho) + np.array([shift, 0.0])
            member, nonmember = scores.T
            return limits(attack_auc(member, nonmember)), lambda: percentile_area(member, nonmember, rng)

        truth = NORMAL.cdf(shift / math.sqrt(2.0))
        return compared(f"AUC, T {trials}, {truth:.4f}, rho {rho}", trial, truth, repetitions)

    return [row(shift, rho) for shift in SHIFTS for rho in (0.0, 0.6)]


def low_fpr(rng: np.random.Generator, trials: int, fpr: float, repetitions: int) -> list[Row]:
    """`tpr_at_fprs` of normal scores a shift apart."""

    def row(shift: float, rho: float) -> Row:
        def trial() -> tuple[Interval, Callable[[], Interval]]:
            scores = correlated(rng, trials, 2, rho) + np.array([shift, 0.0])
            labels = np.repeat([1, 0], trials)
            ours = limits(tpr_at_fprs(scores[:, 0], scores[:, 1], (fpr,))[fpr])
            return ours, lambda: limits(tpr_at_fpr(scores.T.ravel(), labels, fpr))

        truth = 1.0 - NORMAL.cdf(NORMAL.inv_cdf(1.0 - fpr) - shift)
        case = f"TPR at FPR {fpr}, T {trials}, {truth:.4f}, rho {rho}"
        return compared(case, trial, truth, repetitions, "Wilson with the threshold taken as known")

    return [row(shift, rho) for shift in (0.0, 1.2, 2.5, 4.5) for rho in (0.0, 0.6)]


def worst(rng: np.random.Generator, trials: int, attacks: int, repetitions: int) -> list[Row]:
    """`worst_advantage` of attacks that are all alike, and of one that is worse than the others; the calls correlated."""

    def row(gap: float, rho: float) -> Row:
        rates = [(0.6 + (gap if i == 0 else 0.0), 0.5) for i in range(attacks)]

        def trial() -> tuple[Interval, Callable[[], Interval]]:
            sides = [calls(rng, trials, tuple(pair[side] for pair in rates), rho) for side in (0, 1)]
            named = {str(i): AttackScores(sides[0][:, i], sides[1][:, i], 0.5) for i in range(attacks)}
            each = sides[0] - sides[1]

            def maximum() -> Interval:
                weights = np.concatenate(list(resample_weights(np.ones(trials), rng=rng, resamples=BOOTSTRAPS)))
                low, high = np.quantile((weights @ each / trials).max(axis=1), (0.025, 0.975))
                return float(low), float(high)

            return limits(worst_advantage(named, rng=rng, draws=4000).advantage), maximum

        case = f"worst of {attacks}, T {trials}, one {gap:g} ahead, rho {rho}"
        return compared(case, trial, 0.1 + gap, repetitions)

    return [row(gap, rho) for gap in (0.0, 0.2) for rho in (0.0, 0.9)]


def grouped(rng: np.random.Generator, groups: int, repetitions: int) -> Row:
    """`advantage` of rows in groups of ten that share half of the variance, on both sides together."""
    labels = np.repeat(np.arange(groups), 10)

    def trial() -> tuple[Interval, Callable[[], Interval]]:
        common = np.repeat(rng.standard_normal((groups, 1)), 10, axis=0)
        scores = np.sqrt(0.5) * (common + rng.standard_normal((labels.size, 2)))
        said = (scores >= np.array([cut_for(0.8), cut_for(0.3)])).astype(np.float64)
        means = (said[:, 0] - said[:, 1]).reshape(groups, 10).mean(axis=1)
        found = advantage(said[:, 0], said[:, 1], 0.5, units=(labels, labels))
        return limits(found), lambda: percentile(means, rng)

    return compared(f"advantage, {groups} groups of 10, 0.8/0.3", trial, 0.5, repetitions)


def power(rng: np.random.Generator, trials: int, repetitions: int) -> Row:
    """Share of experiments that show the advantage that `detectable_advantage` says they show with 80 %."""
    least = detectable_advantage(trials).value or 0.0
    said = [calls(rng, trials, (0.5 + least / 2, 0.5 - least / 2), 0.0) for _ in range(repetitions)]
    shown = float(np.mean([limits(advantage(pair[:, 0], pair[:, 1], 0.5))[0] > 0 for pair in said]))
    return Row(f"power at the detectable advantage, T {trials}", shown, 0.8, "power", f"{least:.3f}; peer: the power asked for")


def run(quick: bool = False) -> list[Row]:
    """Rows by metric, number of trials and truth."""
    rng = np.random.default_rng(0)
    many, fewer = (40, 20) if quick else (4000, 1000)
    sizes = (50,) if quick else (50, 100, 500)
    rows: list[Row] = []
    for trials in sizes:
        rows += advantages(rng, trials, many)
        rows += differences(rng, trials, many)
        rows += areas(rng, trials, fewer)
    for trials, fpr in (
        ((100, 0.05),) if quick else ((80, 0.05), (100, 0.05), (500, 0.05), (370, 0.01), (500, 0.01), (2000, 0.01))
    ):
        rows += low_fpr(rng, trials, fpr, fewer)
    rows += worst(rng, 100 if quick else 500, 10, fewer)
    rows += [grouped(rng, groups, many) for groups in (10, 50)]
    return [*rows, *(power(rng, trials, many) for trials in sizes)]
