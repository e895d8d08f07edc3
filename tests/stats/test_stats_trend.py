from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from assaymark.errors import ConfigError, InputError
from assaymark.stats import binomial_trend, mann_kendall, natural_spline, theil_sen


def test_mann_kendall_is_exact_on_a_short_series() -> None:
    y = [2.0, 1.0, 4.0, 3.0, 5.0]
    scores = [
        sum(np.sign(order[j] - order[i]) for i in range(5) for j in range(i + 1, 5)) for order in itertools.permutations(y)
    ]
    found = mann_kendall(y)
    assert found.statistic == 6 and found.effect == pytest.approx(0.6) and found.n == 5
    assert found.p_value == pytest.approx(np.mean(np.abs(scores) >= 6))
    assert mann_kendall(y, alternative="greater").p_value == pytest.approx(np.mean(np.array(scores) >= 6))


def test_mann_kendall_with_ties_has_the_textbook_variance() -> None:
    y = np.repeat([1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 5.0, 8.0], 5) + np.tile([0, 1, 0, 0, 1], 8)
    n, (_, ties) = y.size, np.unique(y, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - np.sum(ties * (ties - 1) * (2 * ties + 5))) / 18
    found = mann_kendall(y)
    from scipy.stats import norm

    assert found.p_value == pytest.approx(2 * norm.sf(abs(found.statistic) / np.sqrt(variance)), rel=1e-6)


def test_mann_kendall_rejects_a_flat_series_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    rejected = np.mean([mann_kendall(rng.standard_normal(34)).p_value <= 0.05 for _ in range(400)])
    assert 0.02 <= rejected <= 0.08


def test_what_no_trend_can_be_found_in() -> None:
    assert "at least 4 periods" in mann_kendall([1, 2, 3]).reason
    assert mann_kendall([0.2] * 9).reason == "the values do not vary"
    assert "one time" in mann_kendall([1, 2, 3, 4], [5, 5, 5, 5]).reason
    assert "at least 4 periods" in theil_sen([1, 2, 3]).reason
    flat = theil_sen([0.2] * 9)
    assert flat.value == flat.low == flat.high == 0.0
    with pytest.raises(InputError, match="missing or infinite"):
        mann_kendall([1, 2, np.nan, 4])
    with pytest.raises(ValueError, match="times"):
        theil_sen([1, 2, 3, 4], [1, 2])


def test_theil_sen_is_the_median_of_all_slopes_and_covers() -> None:
    rng, covered, t = np.random.default_rng(1), 0, np.arange(24) * 2.0
    for _ in range(300):
        y = 0.1 + 0.01 * t + 0.03 * rng.standard_t(3, 24)
        found = theil_sen(y, t, unit="percentage points")
        covered += found.low <= 0.01 <= found.high
    slopes = [(y[j] - y[i]) / (t[j] - t[i]) for i in range(24) for j in range(i + 1, 24)]
    assert found.value == pytest.approx(np.median(slopes)) and found.unit == "percentage points"
    assert 0.92 <= covered / 300 <= 0.99


def test_an_error_that_all_periods_share_enters_by_the_draws() -> None:
    """A detector's rate is off by 10 % (1 sd): every slope is, and the scatter around the line shows nothing of it."""
    rng, covered, t = np.random.default_rng(2), np.zeros(2), np.arange(20.0)
    for _ in range(200):
        y = (0.01 * t + 0.005 * rng.standard_normal(20)) * (1 + 0.1 * rng.standard_normal())
        draws = y * (1 + 0.1 * rng.standard_normal((200, 1)))
        for i, found in enumerate((theil_sen(y), theil_sen(y, draws=draws))):
            covered[i] += found.low <= 0.01 <= found.high
    assert covered[0] / 200 < 0.6 and covered[1] / 200 >= 0.92


def test_draws_that_cannot_be_used() -> None:
    draws = np.full((10, 5), np.nan)
    draws[:3] = np.arange(5)
    assert "7 of 10" in theil_sen(np.arange(5.0), draws=draws).reason
    with pytest.raises(ValueError, match="expected"):
        theil_sen(np.arange(5.0), draws=np.zeros((3, 4)))


def _months(seed: int, slope: float = 0.08, over: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    t = np.arange(34.0)
    eta = -3.0 + slope * np.maximum(t - 12, 0)
    p = 1 / (1 + np.exp(-eta))
    if over:
        p = rng.beta(p * over, (1 - p) * over)
    n = rng.integers(200, 500, 34)
    return rng.binomial(n, p), n, t


@pytest.mark.parametrize("over", [0.0, 60.0])
def test_the_broken_line_equals_statsmodels(over: float) -> None:
    sm = pytest.importorskip("statsmodels.api")
    k, n, t = _months(3, over=over)
    design = np.column_stack([np.ones(34), np.minimum(t - 12, 0), np.maximum(t - 12, 0)])
    # counts in two columns leave the trials out of statsmodels' scale; shares weighted by trials do not
    result = sm.GLM(k / n, design, family=sm.families.Binomial(), var_weights=n).fit(scale="X2", tol=1e-12)
    found = binomial_trend(k, n, t, knot=12)
    np.testing.assert_allclose([found.before.value, found.after.value], result.params[1:], rtol=1e-6)
    np.testing.assert_allclose(found.fitted, result.fittedvalues, rtol=1e-6)
    phi = float(result.scale)
    assert found.dispersion == pytest.approx(max(phi, 1.0), rel=1e-6) and (phi > 2) == bool(over)
    from scipy.stats import t as student

    half = student.ppf(0.975, 31) * result.bse[2] * np.sqrt(found.dispersion / phi)
    np.testing.assert_allclose((found.after.low, found.after.high), result.params[2] + np.array([-half, half]), rtol=1e-6)
    change = np.array([0.0, -1.0, 1.0])
    error = np.sqrt(change @ result.cov_params() @ change * found.dispersion / phi)
    assert found.change.high - found.change.value == pytest.approx(student.ppf(0.975, 31) * error, rel=1e-6)


def test_the_spline_is_natural_and_its_fit_equals_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    k, n, t = _months(4)
    found = binomial_trend(k, n, t, spline_df=4)
    assert "no single slope" in found.before.reason
    result = sm.GLM(k / n, sm.add_constant(natural_spline(t, 4)), family=sm.families.Binomial(), var_weights=n).fit(tol=1e-12)
    np.testing.assert_allclose(found.fitted, result.fittedvalues, rtol=1e-6)
    basis = natural_spline(np.arange(33.0), 4)  # the knots 0, 8, 16, 24, 32 are among the times
    assert np.linalg.matrix_rank(np.column_stack([np.ones(33), basis])) == 5
    for column in basis.T:
        natural = CubicSpline(np.arange(0, 33, 8), column[::8], bc_type="natural")
        np.testing.assert_allclose(natural(np.arange(33)), column, atol=1e-9)


def test_the_slope_covers_and_a_flat_series_is_rarely_rejected() -> None:
    covered = rejected = 0
    for seed in range(200):
        found = binomial_trend(*_months(seed, over=60.0), knot=12)
        covered += found.after.low <= 0.08 <= found.after.high
        flat = binomial_trend(*_months(seed + 1000, slope=0.0, over=60.0))
        rejected += not flat.after.low <= 0.0 <= flat.after.high
        assert flat.before == flat.after and flat.change.reason == "no knot was given"
    assert covered / 200 >= 0.9 and rejected / 200 <= 0.09


def test_counts_without_a_finite_fit_are_undefined_without_warnings() -> None:
    t, n = np.arange(20.0), np.full(20, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert binomial_trend(np.zeros(20), n, t).reason == "no period has a success"
        assert binomial_trend(n, n, t, knot=5).reason == "no period has a failure"
        separated = binomial_trend(np.where(t < 10, 0, 50), n, t)
        one_side = binomial_trend(np.where(t < 10, 0, 5), n, t, knot=9)
        assert "separated" in separated.reason and "separated" in one_side.reason
        assert np.isnan(separated.fitted).all() and separated.after.reason == separated.reason
        assert "undetermined" in binomial_trend(np.full(20, 3), n, t, knot=-1).reason
        assert "at least 3 periods" in binomial_trend([1, 2], [9, 9], [0, 1]).reason
        assert binomial_trend([], [], []).reason == "there are no periods"
        assert "undetermined" in binomial_trend([1, 2, 3, 4], [9] * 4, [1, 1, 1, 1]).reason


def test_periods_without_trials_are_fitted_but_do_not_count() -> None:
    k, n, t = _months(5)
    gap = n * (np.arange(34) != 20)
    with_gap, without = (
        binomial_trend(k * (gap > 0), gap, t, knot=12),
        binomial_trend(k[gap > 0], n[gap > 0], t[gap > 0], knot=12),
    )
    assert with_gap.after.value == pytest.approx(without.after.value, rel=1e-9) and with_gap.fitted.size == 34
    assert with_gap.low[20] < with_gap.fitted[20] < with_gap.high[20]


def test_settings_that_exclude_one_another_or_ask_too_much() -> None:
    with pytest.raises(ConfigError, match="exclude"):
        binomial_trend([1, 2, 3], [9] * 3, [0, 1, 2], knot=1, spline_df=2)
    with pytest.raises(ConfigError, match="different times"):
        natural_spline([0, 0, 0, 1], 3)
    with pytest.raises(ConfigError, match="at least one column"):
        natural_spline([0, 1], 0)
