"""Standard errors against statsmodels, in one piece and in blocks; exact leave-one-out; the bootstrap of moments covers."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.outliers_influence import variance_inflation_factor

from assaymark.audits.scorer_mixture.method.collinearity import score_correlation, vif
from assaymark.audits.scorer_mixture.method.inference import (
    hc_from_blocks,
    leave_one_out_scores,
    leverages,
    robust_inference,
    weight_estimates,
)
from assaymark.audits.scorer_mixture.method.moments import block_moments, moments
from assaymark.audits.scorer_mixture.method.weight_bootstrap import bootstrap_intervals, bootstrap_weights
from assaymark.audits.scorer_mixture.method.weights import ols
from assaymark.audits.scorer_mixture.planted import planted_scores, population_weights


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    drawn = planted_scores(11, 500, experiment="A")
    return drawn.scores, drawn.labels, np.random.default_rng(0).random(500) + 0.1


@pytest.mark.parametrize("cov", ["HC0", "HC1", "HC2", "HC3", "classic"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_standard_errors_equal_statsmodels(table, cov, intercept, weighted) -> None:
    F, y, w = table
    weight = w if weighted else None
    X = np.column_stack([F, np.ones(len(F))]) if intercept else F
    oracle = sm.WLS(y, X, weights=np.ones(len(y)) if weight is None else weight)
    oracle = oracle.fit() if cov == "classic" else oracle.fit(cov_type=cov, use_t=True)
    fit = ols(F, y, intercept=intercept, sample_weight=weight)
    found = robust_inference(F, y, fit, cov=cov, intercept=intercept, sample_weight=weight)
    low, high = oracle.conf_int().T
    for name, ours, theirs in (
        ("coef", found.coef, oracle.params),
        ("se", found.se, oracle.bse),
        ("t", found.t, oracle.tvalues),
        ("p", found.p, oracle.pvalues),
        ("low", found.low, low),
        ("high", found.high, high),
        ("cov", found.cov, oracle.cov_params()),
    ):
        assert np.abs(ours - theirs).max() < 1e-8, name
    assert found.df == oracle.df_resid
    root = np.ones(len(y)) if weight is None else np.sqrt(weight)
    hat = np.diag((X * root[:, None]) @ np.linalg.pinv(X * root[:, None]))
    assert np.allclose(found.leverages, hat, atol=1e-12)
    assert found.leverages.sum() == pytest.approx(X.shape[1])
    shards = [(F[i::7], y[i::7], *(() if weight is None else (weight[i::7],))) for i in range(7)]
    blocks = hc_from_blocks(shards, fit, cov=cov, intercept=intercept)
    assert np.abs(blocks.se - found.se).max() < 1e-12
    assert blocks.max_leverage == pytest.approx(hat.max())
    assert blocks.leverages.size == 0


def test_two_passes_refuse_a_generator(table) -> None:
    F, y, _ = table
    with pytest.raises(ValueError, match="twice"):
        hc_from_blocks(((F, y) for _ in range(1)), ols(F, y))
    with pytest.raises(ValueError, match="none of"):
        robust_inference(F, y, ols(F, y), cov="HC9")  # type: ignore[arg-type]


def test_too_few_rows_have_no_standard_error(table) -> None:
    F, y, _ = table
    found = robust_inference(F[:6], y[:6], ols(F[:6], y[:6]))
    assert np.isnan(found.se).all()
    estimates = weight_estimates(found)
    assert not any(e.defined for e in estimates)
    assert all("6 rows for 6 coefficients" in e.reason for e in estimates)
    whole = weight_estimates(robust_inference(F, y, ols(F, y, intercept=True), intercept=True))
    assert len(whole) == 7 and all(e.defined and "HC3" in e.method for e in whole)


def test_duplicates_leave_the_inference_finite(table) -> None:
    F, y, _ = table
    twice = np.column_stack([F, F[:, 0]])
    found = robust_inference(twice, y, ols(twice, y))
    assert np.isfinite(found.se).all() and found.df == len(y) - 6
    assert "not to be interpreted" in found.note


def test_vif_equals_statsmodels(table) -> None:
    F = table[0]
    X = np.column_stack([np.ones(len(F)), F])
    expected = [variance_inflation_factor(X, i) for i in range(1, 7)]
    assert np.allclose(vif(F), expected, rtol=1e-10)
    assert np.allclose(vif(moments(F, table[1])), expected, rtol=1e-10)
    assert np.allclose(score_correlation(F), np.corrcoef(F.T))
    assert expected[4] > 4 > expected[0]  # the two that share an error


@pytest.mark.parametrize("intercept", [False, True])
def test_leave_one_out_equals_refitting(table, intercept) -> None:
    F, y = table[0][:60], table[1][:60]
    found = leave_one_out_scores(F, y, ols(F, y, intercept=intercept), intercept=intercept)
    for i in range(60):
        rest = np.arange(60) != i
        fit = ols(F[rest], y[rest], intercept=intercept)
        assert found[i] == pytest.approx(float(F[i] @ fit.weights + fit.intercept), abs=1e-10)
    alone = np.column_stack([F, np.arange(60) == 5])  # only row 5 tells about the last column
    assert leverages(alone)[5] == pytest.approx(1.0)
    assert np.isnan(leave_one_out_scores(alone, y, ols(alone, y))[5])


def test_bootstrap_of_single_rows_is_the_bootstrap_of_rows(table) -> None:
    F, y, _ = table
    draws = bootstrap_weights(block_moments(F, y, blocks=10_000), rng=np.random.default_rng(0), resamples=50, intercept=True)
    counts = np.random.default_rng(0).multinomial(500, np.full(500, 1 / 500), size=50)
    for draw, count in zip(draws, counts, strict=True):
        fit = ols(np.repeat(F, count, axis=0), np.repeat(y, count), intercept=True)
        assert np.allclose(draw, np.append(fit.weights, fit.intercept), atol=1e-9)
    fit = ols(F, y, intercept=True)
    many = bootstrap_weights(block_moments(F, y, blocks=100), rng=np.random.default_rng(1), resamples=1000, intercept=True)
    robust = robust_inference(F, y, fit, cov="HC0", intercept=True)
    assert np.allclose(many.std(axis=0), robust.se, rtol=0.25)
    for estimate, column in zip(bootstrap_intervals(fit, many, rows=500), many.T, strict=True):
        assert estimate.low == pytest.approx(np.quantile(column, 0.025))
        assert estimate.n == 500


def test_intervals_cover_the_population_weights() -> None:
    truth = population_weights("A", intercept=True)
    target = np.append(truth.weights, truth.intercept)
    boot, robust = [], []
    for seed in range(200):
        drawn = planted_scores(seed, 400, experiment="A")
        fit = ols(drawn.scores, drawn.labels, intercept=True)
        found = robust_inference(drawn.scores, drawn.labels, fit, intercept=True)
        robust.append((found.low <= target) & (target <= found.high))
        parts = block_moments(drawn.scores, drawn.labels, blocks=80)
        draws = bootstrap_weights(parts, rng=np.random.default_rng(seed), resamples=300, intercept=True)
        low, high = np.quantile(draws, [0.025, 0.975], axis=0)
        boot.append((low <= target) & (target <= high))
    # 1,400 intervals that hang together in sevens: three standard errors of 200 are 0.046
    assert 0.93 <= np.mean(robust) <= 0.975
    assert 0.91 <= np.mean(boot) <= 0.975
