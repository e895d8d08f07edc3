"""Tests and corrections against scipy, statsmodels, enumeration and 40-digit arithmetic."""

from __future__ import annotations

import itertools
import time

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from assaymark.errors import ConfigError, InputError
from assaymark.stats import (
    EXACT_TOTAL,
    benjamini_hochberg,
    chi_square_yates,
    cohen_d,
    cohen_d_from_summary,
    fisher_exact,
    holm,
    mann_whitney,
    permutation_test,
    sign_test,
    welch,
    welch_from_summary,
)

ALTERNATIVES = ("two-sided", "greater", "less")
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_welch_equals_scipy(alternative: str) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.3, 2.0, size=32), rng.normal(0.0, 1.0, size=128)
    expected = scipy_stats.ttest_ind(a, b, equal_var=False, alternative=alternative)
    outcome = welch(a, b, alternative=alternative)
    assert (outcome.statistic, outcome.df) == pytest.approx((expected.statistic, expected.df), rel=1e-10)
    assert outcome.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    summary = welch_from_summary(a.mean(), a.std(ddof=1), 32, b.mean(), b.std(ddof=1), 128, alternative=alternative)
    assert summary == outcome
    assert (outcome.n, outcome.effect_name) == (160, "Cohen's d")


def test_welch_far_tails_and_degenerate_samples() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(50, 1, size=40), rng.normal(0, 1, size=40)
    expected = scipy_stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
    assert 0 < welch(a, b, alternative="greater").p_value == pytest.approx(expected, rel=1e-8)
    assert welch([1.0], [1.0, 2.0]).reason == "a sample has fewer than 2 values"
    assert welch([1.0, 1.0], [2.0, 2.0]).reason == "neither sample varies"
    assert np.isnan(welch([1.0], [1.0, 2.0]).p_value)
    with pytest.raises(ConfigError, match="alternative"):
        welch([1.0, 2.0], [1.0, 2.0], alternative="bigger")  # type: ignore[arg-type]


def test_cohen_d_value_and_coverage() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 2, size=20), rng.normal(0, 1, size=30)
    pooled = np.sqrt((19 * a.var(ddof=1) + 29 * b.var(ddof=1)) / 48)
    assert cohen_d(a, b).value == pytest.approx((a.mean() - b.mean()) / pooled, rel=1e-12)
    assert cohen_d(a, b).value == pytest.approx(welch(a, b).effect, rel=1e-12)
    assert not cohen_d([1.0], [2.0, 3.0]).defined
    assert not cohen_d_from_summary(1, 0, 5, 2, 0, 5).defined
    covered = 0
    for _ in range(400):
        estimate = cohen_d(rng.normal(0.8, 1, size=50), rng.normal(0, 1, size=50))
        covered += estimate.low <= 0.8 <= estimate.high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("decimals", [1, 12])
def test_mann_whitney_equals_scipy_with_and_without_ties(alternative: str, decimals: int) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.4, 1, size=25).round(decimals), rng.normal(0, 1, size=31).round(decimals)
    expected = scipy_stats.mannwhitneyu(a, b, alternative=alternative)
    outcome = mann_whitney(a, b, alternative=alternative)
    assert outcome.statistic == expected.statistic
    assert outcome.p_value == pytest.approx(expected.pvalue, rel=1e-10)


def test_mann_whitney_effects_and_exact_p_by_enumeration() -> None:
    a, b = np.array([1.0, 4.0, 6.5]), np.array([2.0, 0.5, 3.0, 3.5])
    outcome = mann_whitney(a, b, alternative="greater")
    auc = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert outcome.effect == pytest.approx(auc)
    assert outcome.cliffs_delta == pytest.approx(2 * auc - 1)
    pooled = np.concatenate([a, b])
    sums = [
        sum(x > y for x in pooled[list(pick)] for y in np.delete(pooled, pick)) for pick in itertools.combinations(range(7), 3)
    ]
    assert outcome.p_value == pytest.approx(np.mean(np.array(sums) >= outcome.statistic), rel=1e-12)


def test_mann_whitney_without_information() -> None:
    assert mann_whitney([], [1.0]).reason == "a sample is empty"
    tied = mann_whitney([1.0] * 9, [1.0] * 12)
    assert (tied.p_value, tied.effect, tied.cliffs_delta) == (1.0, 0.5, 0.0)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_fisher_equals_scipy_on_many_tables(alternative: str) -> None:
    rng = np.random.default_rng(5)
    scale = 10 ** rng.integers(0, 4, size=(150, 1))
    tables = rng.integers(0, 20 * scale, size=(150, 4))
    tables[:20] = rng.integers(0, 3, size=(20, 4))
    p = fisher_exact(*tables.T, alternative=alternative)
    expected = [scipy_stats.fisher_exact(t.reshape(2, 2), alternative=alternative)[1] for t in tables]
    assert p == pytest.approx(expected, rel=1e-9, abs=1e-300)


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(0, 12)] * 4))
def test_fisher_equals_enumeration_and_is_symmetric(cells: tuple[int, int, int, int]) -> None:
    a, b, c, d = cells
    n, row, column = a + b + c + d, a + b, a + c
    low, high = max(0, row + column - n), min(row, column)
    weight = {x: mpmath.binomial(column, x) * mpmath.binomial(n - column, row - x) for x in range(low, high + 1)}
    expected = sum(w for w in weight.values() if w <= weight[a]) / sum(weight.values())
    assert float(fisher_exact(a, b, c, d)) == pytest.approx(float(expected), rel=1e-10)
    assert fisher_exact(a, b, c, d) == pytest.approx(fisher_exact(d, c, b, a), rel=1e-10)
    assert fisher_exact(a, b, c, d) == pytest.approx(fisher_exact(a, c, b, d), rel=1e-10)


def test_fisher_at_a_billion_against_forty_digits() -> None:
    mpmath.mp.dps = 40
    n, column, row, a = 10**9, 10**7, 10**6, 10_300
    choose = lambda m, k: mpmath.loggamma(m + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(m - k + 1)  # noqa: E731
    term = mpmath.exp(choose(column, a) + choose(n - column, row - a) - choose(n, row))
    tail, x = mpmath.mpf(0), a
    while term > tail * mpmath.mpf("1e-25"):
        tail += term
        term *= mpmath.mpf(column - x) * (row - x) / ((x + 1) * mpmath.mpf(n - column - row + x + 1))
        x += 1
    p = fisher_exact(a, row - a, column - a, n - column - row + a, alternative="greater")
    assert float(p) == pytest.approx(float(tail), rel=1e-6)


def test_fisher_is_fast_for_thousands_of_terms() -> None:
    rng = np.random.default_rng(6)
    n1 = rng.integers(10, 100_000, size=5000)
    a = rng.binomial(n1, 0.01)
    start = time.perf_counter()
    p = fisher_exact(a, n1 - a, 4_000_000 - a, 396_000_000 - (n1 - a))
    assert time.perf_counter() - start < 5
    assert p.shape == (5000,)
    assert np.all((p > 0) & (p <= 1))
    # a discrete exact test of a true null is level: at most 5 % below 0.05
    assert np.mean(p < 0.05) < 0.06


def test_beyond_the_exact_total_yates_takes_over_and_agrees_at_the_switch() -> None:
    row, column = 10**6, 10**7
    for alternative in ALTERNATIVES:
        for a in (9_800, 10_050, 10_250):
            below = (a, row - a, column - a, EXACT_TOTAL - column - row + a)
            above = (*below[:3], below[3] + 1)
            exact, approximate = fisher_exact(*below, alternative=alternative), fisher_exact(*above, alternative=alternative)
            assert exact == pytest.approx(approximate, rel=0.05)
            assert exact != approximate
            assert approximate == chi_square_yates(*above, alternative=alternative)


def test_yates_equals_scipy() -> None:
    table = np.array([[30, 70], [55, 45]])
    expected = scipy_stats.chi2_contingency(table, correction=True).pvalue
    assert chi_square_yates(*table.ravel()) == pytest.approx(expected, rel=1e-10)
    assert chi_square_yates(0, 0, 3, 4) == 1.0


def test_fisher_edges() -> None:
    assert fisher_exact([0, 0, 5], [0, 3, 0], [0, 0, 5], [0, 4, 0]).tolist() == [1.0, 1.0, 1.0]
    assert fisher_exact([], [], [], []).shape == (0,)
    with pytest.raises(InputError, match="cell b"):
        fisher_exact(1, 1.5, 1, 1)
    with pytest.raises(InputError, match="cell a"):
        fisher_exact(-1, 1, 1, 1)


@settings(max_examples=40, deadline=None)
@given(p_values)
def test_corrections_equal_statsmodels_and_are_monotone(values: list[float]) -> None:
    p = np.array(values)
    for correct, name in ((benjamini_hochberg, "fdr_bh"), (holm, "holm")):
        adjusted = correct(p)
        assert adjusted == pytest.approx(multipletests(p, method=name)[1], abs=1e-10)
        assert np.all(adjusted >= p)
        assert np.all(adjusted <= 1)
        assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)
    assert np.all(holm(p) >= benjamini_hochberg(p) - 1e-15)


def test_tests_not_made_do_not_count_in_the_correction() -> None:
    adjusted = benjamini_hochberg([0.01, np.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[1])
    assert np.isnan(holm([np.nan])[0])
    assert holm([]).size == 0
    with pytest.raises(InputError, match=r"1\.5 at position 1"):
        holm([0.1, 1.5])


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_sign_test_equals_the_binomial_test(alternative: str) -> None:
    differences = np.array([1, 2, -1, 3, 0, 4, 5, -2, 6, 0, 7], dtype=float)
    outcome = sign_test(differences, alternative=alternative)
    expected = scipy_stats.binomtest(7, 9, 0.5, alternative=alternative).pvalue
    assert outcome.p_value == pytest.approx(expected, rel=1e-10)
    assert (outcome.n, outcome.effect) == (9, 7 / 9)
    assert sign_test([0.0, 0.0]).reason == "no difference is other than 0"
    assert sign_test([1.0, -1.0]).p_value == 1.0


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_permutation_equals_enumeration(alternative: str) -> None:
    a, b = np.array([2.0, 3.5, 5.0, 4.1]), np.array([1.0, 2.2, 3.0, 0.3, 2.9])
    expected = scipy_stats.permutation_test(
        (a, b), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf, alternative=alternative
    ).pvalue
    outcome = permutation_test(a, b, rng=np.random.default_rng(0), resamples=20_000, alternative=alternative)
    two_sided = np.mean(
        [
            abs(np.mean(np.concatenate([a, b])[list(i)]) - np.mean(np.delete(np.concatenate([a, b]), i)))
            >= a.mean() - b.mean() - 1e-12
            for i in itertools.combinations(range(9), 4)
        ]
    )
    assert outcome.p_value == pytest.approx(two_sided if alternative == "two-sided" else expected, abs=0.012)
    assert outcome.effect == pytest.approx(a.mean() - b.mean())


def test_paired_permutation_equals_all_sign_flips() -> None:
    d = np.array([0.3, 1.2, -0.4, 0.8, 0.9, 1.1, -0.1, 0.6])
    flips = np.array(list(itertools.product([-1, 1], repeat=8))) @ d / 8
    outcome = permutation_test(
        d, np.zeros(8), rng=np.random.default_rng(0), resamples=20_000, paired=True, alternative="greater"
    )
    assert outcome.p_value == pytest.approx(np.mean(flips >= d.mean() - 1e-12), abs=0.006)


def test_permutation_of_shares_is_fisher_and_never_zero() -> None:
    a, b = np.repeat([1.0, 0.0], [12, 28]), np.repeat([1.0, 0.0], [6, 44])
    outcome = permutation_test(a, b, rng=np.random.default_rng(1), resamples=50_000, alternative="greater")
    assert outcome.p_value == pytest.approx(float(fisher_exact(12, 28, 6, 44, alternative="greater")), abs=0.004)
    extreme = permutation_test(np.ones(50), np.zeros(50), rng=np.random.default_rng(1), resamples=999)
    assert extreme.p_value == 1 / 1000
    assert permutation_test([1.0], [], rng=np.random.default_rng(0)).reason
