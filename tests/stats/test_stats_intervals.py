"""Closed-form intervals against published figures, statsmodels and their defining properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import Table2x2
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from assaymark.errors import ConfigError, InputError
from assaymark.stats import (
    mean,
    mean_from_summary,
    newcombe,
    newcombe_limits,
    odds_ratio,
    ratio_limits,
    ratio_points,
    risk_ratio,
    wilson,
    wilson_limits,
)

counts = st.integers(0, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
some_counts = st.integers(1, 10**4).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("k", "n", "low", "high", "digits"),
    [
        (11_782, 34_516, 0.3364, 0.3464, 4),
        (164, 11_782, 0.0120, 0.0162, 4),
        (9_533, 3_200_000, 0.00291994, 0.00303937, 8),
        (44_081, 12_800_000, 0.00341188, 0.00347607, 8),
    ],
)
def test_wilson_gives_the_published_limits(k: int, n: int, low: float, high: float, digits: int) -> None:
    estimate = wilson(k, n)
    assert round(estimate.low, digits) == low
    assert round(estimate.high, digits) == high
    assert estimate.value == pytest.approx(k / n, rel=1e-15)
    assert (estimate.n, estimate.method, estimate.unit) == (n, "Wilson 95 %", "share")


def test_wilson_limits_to_eight_digits() -> None:
    # evaluated by hand from the quadratic z^2 p (1 - p) / n = (p - k/n)^2 with z = 1.959963984540054
    z, k, n = 1.959963984540054, 9_533, 3_200_000
    roots = np.sort(np.roots([1 + z * z / n, -(2 * k / n + z * z / n), (k / n) ** 2]))
    assert wilson_limits(k, n) == pytest.approx(tuple(roots), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(some_counts, st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]))
def test_wilson_equals_statsmodels(pair: tuple[int, int], confidence: float) -> None:
    k, n = pair
    expected = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
    assert wilson_limits(k, n, confidence=confidence) == pytest.approx(expected, abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(counts)
def test_wilson_contains_the_share_and_stays_inside(pair: tuple[int, int]) -> None:
    k, n = pair
    estimate = wilson(k, n)
    if n == 0:
        assert not estimate.defined
        assert estimate.reason == "no trials"
        assert np.isnan(wilson_limits(k, n).low)
        return
    assert 0.0 <= estimate.low <= k / n <= estimate.high <= 1.0
    assert estimate.low < estimate.high
    assert (estimate.low == 0.0) == (k == 0)
    assert (estimate.high == 1.0) == (k == n)


def test_wilson_limits_are_vectorised_and_monotone_in_successes() -> None:
    low, high = wilson_limits(np.arange(51), 50)
    assert np.all(np.diff(low) > 0)
    assert np.all(np.diff(high) > 0)
    low, high = wilson_limits([0, 3], [0, 10])
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


def test_wilson_covers_at_its_confidence() -> None:
    rng = np.random.default_rng(1)
    draws = rng.binomial(400, 0.02, size=4000)
    low, high = wilson_limits(draws, 400)
    assert 0.93 < np.mean((low <= 0.02) & (high >= 0.02)) < 0.98


@pytest.mark.parametrize(("k", "n"), [(-1, 10), (11, 10), (float("nan"), 10), (1, float("inf"))])
def test_impossible_counts_are_refused(k: float, n: float) -> None:
    with pytest.raises(InputError, match="not a count between 0 and n"):
        wilson_limits(k, n)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.1])
def test_confidence_is_a_fraction(confidence: float) -> None:
    with pytest.raises(ConfigError, match=r"write 0\.95"):
        wilson(1, 2, confidence=confidence)


@settings(max_examples=60, deadline=None)
@given(some_counts, some_counts)
def test_newcombe_equals_statsmodels(first: tuple[int, int], second: tuple[int, int]) -> None:
    expected = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=0.05)
    estimate = newcombe(*first, *second)
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-10)
    assert estimate.value == pytest.approx(first[0] / first[1] - second[0] / second[1], abs=1e-15)
    assert estimate.n == first[1] + second[1]


def test_newcombe_published_example() -> None:
    # 56/70 against 48/80: the hybrid score interval is 0.0524 to 0.3339
    estimate = newcombe(56, 70, 48, 80)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.0524, 0.3339)
    swapped = newcombe(48, 80, 56, 70)
    assert (swapped.low, swapped.high) == pytest.approx((-estimate.high, -estimate.low), abs=1e-15)


def test_newcombe_without_trials() -> None:
    assert "second group has no trials" in newcombe(1, 2, 0, 0).reason
    assert "both groups have no trials" in newcombe(0, 0, 0, 0).reason
    assert np.isnan(newcombe_limits([1, 1], [2, 2], [0, 1], [0, 3]).low).tolist() == [True, False]


positive_tables = st.tuples(*[st.integers(1, 5000)] * 4)


@settings(max_examples=60, deadline=None)
@given(positive_tables)
def test_ratios_equal_statsmodels(cells: tuple[int, int, int, int]) -> None:
    a, b, c, d = cells
    oracle = Table2x2(np.array([[a, b], [c, d]], dtype=float))
    risk, odds = risk_ratio(a, a + b, c, c + d), odds_ratio(a, a + b, c, c + d)
    expected_risk = (oracle.riskratio, *oracle.riskratio_confint())
    expected_odds = (oracle.oddsratio, *oracle.oddsratio_confint())
    assert (risk.value, risk.low, risk.high) == pytest.approx(expected_risk, rel=1e-10)
    assert (odds.value, odds.low, odds.high) == pytest.approx(expected_odds, rel=1e-10)
    assert "0.5" not in risk.method + odds.method


@pytest.mark.parametrize(("k1", "n1", "k2", "n2"), [(0, 20, 3, 40), (20, 20, 3, 40), (5, 20, 0, 40), (5, 20, 40, 40)])
def test_a_zero_cell_adds_one_half_to_each_cell(k1: int, n1: int, k2: int, n2: int) -> None:
    cells = np.array([[k1, n1 - k1], [k2, n2 - k2]]) + 0.5
    oracle = Table2x2(cells, shift_zeros=False)
    risk, odds = risk_ratio(k1, n1, k2, n2), odds_ratio(k1, n1, k2, n2)
    assert (risk.value, risk.low, risk.high) == pytest.approx((oracle.riskratio, *oracle.riskratio_confint()), rel=1e-10)
    assert (odds.value, odds.low, odds.high) == pytest.approx((oracle.oddsratio, *oracle.oddsratio_confint()), rel=1e-10)
    assert "0.5 added to each cell" in risk.method
    assert "0.5 added to each cell" in odds.method


def test_ratios_that_cannot_be_known() -> None:
    assert risk_ratio(0, 5, 0, 7).reason == "neither group has a success"
    assert odds_ratio(5, 5, 7, 7).reason == "neither group has a failure"
    assert risk_ratio(5, 5, 7, 7).defined
    assert risk_ratio(0, 0, 1, 7).reason == "a group has no trials"
    with pytest.raises(ValueError, match="kind"):
        ratio_limits(1, 2, 1, 2, kind="hazard")  # type: ignore[arg-type]


def test_ratio_arrays_equal_the_single_estimates() -> None:
    k1, n1 = np.array([0, 3, 9, 0]), np.array([10, 10, 9, 0])
    for kind, single in (("risk", risk_ratio), ("odds", odds_ratio)):
        limits, points = ratio_limits(k1, n1, 5, 50, kind=kind), ratio_points(k1, n1, 5, 50, kind=kind)
        for i in range(3):
            estimate = single(int(k1[i]), int(n1[i]), 5, 50)
            expected = (estimate.low, estimate.value, estimate.high)
            assert (limits.low[i], points[i], limits.high[i]) == pytest.approx(expected, rel=1e-12)
        assert np.isnan([limits.low[3], points[3], limits.high[3]]).all()


def test_mean_equals_the_t_interval_of_scipy() -> None:
    values = np.random.default_rng(2).gamma(2.0, size=37)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.9)
    estimate = mean(values, confidence=0.9, unit="number")
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), rel=1e-10)
    summary = mean_from_summary(float(values.mean()), float(values.std(ddof=1)), values.size, confidence=0.9)
    assert summary == estimate


def test_mean_of_too_little_or_broken_data() -> None:
    assert not mean([3.0]).defined
    assert not mean([]).defined
    assert mean([2.0, 2.0]).low == mean([2.0, 2.0]).high == 2.0
    with pytest.raises(InputError, match="1 of 3 values are missing or infinite, the first at position 1"):
        mean([1.0, float("nan"), 2.0])
    with pytest.raises(ValueError, match="one dimension"):
        mean([[1.0], [2.0]])
