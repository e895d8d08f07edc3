"""Paired comparisons against statsmodels, the double loop of DeLong, and planted equal classifiers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import f1_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as reference

from assaymark.errors import InputError
from assaymark.stats import (
    accuracy_difference,
    auroc_difference,
    delong_test,
    mcnemar,
    paired_difference,
    resample_weights,
    sign_test,
    wilson,
)


@pytest.mark.parametrize(("b", "c"), [(0, 1), (3, 3), (10, 2), (2, 10), (40, 25), (0, 12), (500, 430)])
def test_mcnemar_is_the_exact_binomial(b: int, c: int) -> None:
    found = mcnemar(b, c)
    assert found.p_value == pytest.approx(min(1.0, reference([[9, b], [c, 5]], exact=True).pvalue), rel=1e-10)
    assert (found.statistic, found.effect, found.n) == (b, b / (b + c), b + c)
    for alternative in ("greater", "less"):
        signs = sign_test([1.0] * b + [-1.0] * c, alternative=alternative)
        assert mcnemar(b, c, alternative=alternative).p_value == pytest.approx(signs.p_value)


def test_mcnemar_without_discordant_pairs_is_not_made() -> None:
    assert mcnemar(0, 0).reason == "the two never differ"
    with pytest.raises(InputError):
        mcnemar(-1, 3)


def test_accuracy_difference_keeps_the_pairs_together() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(400) < 0.9
    b = np.where(rng.random(400) < 0.1, ~a, a)
    found = accuracy_difference(a, b, rng=np.random.default_rng(1), resamples=500)
    assert found.value == pytest.approx(a.mean() - b.mean())
    # The standard error of the mean of the differences, not that of two independent shares.
    half = 1.96 * np.std(a.astype(float) - b) / 20
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.15)
    assert found.unit == "percentage points"
    assert found.method.startswith("paired bootstrap")


def test_accuracy_difference_covers_the_truth() -> None:
    rng, covered = np.random.default_rng(2), 0
    for _ in range(300):
        both = rng.random(250)
        a, b = both < 0.85, np.where(rng.random(250) < 0.3, rng.random(250) < 0.75, both < 0.85)
        truth = 0.85 - (0.7 * 0.85 + 0.3 * 0.75)
        found = accuracy_difference(a, b, rng=rng, resamples=200)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 300 <= 0.98


def test_no_difference_seen_is_not_no_difference() -> None:
    same = np.array([1, 0, 1, 1, 1, 0, 1, 1])
    found = accuracy_difference(same, same, rng=np.random.default_rng(0))
    assert found.value == 0.0
    assert found.high == -found.low == wilson(0, 8).high
    grouped = accuracy_difference(same, same, clusters=[0, 0, 1, 1, 2, 2, 3, 3], rng=np.random.default_rng(0))
    assert grouped.high == wilson(0, 4).high
    assert not accuracy_difference([1], [0], rng=np.random.default_rng(0)).defined
    with pytest.raises(InputError, match="correct_b: expected only 0 and 1"):
        accuracy_difference([1, 0], [0.5, 1], rng=np.random.default_rng(0))


def slow_difference(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Difference and variance by DeLong's definition: kernels of every pair, covariance matrices of the placements."""
    kernels = [np.array([[(p > q) + 0.5 * (p == q) for q in s[~y]] for p in s[y]]) for s in (a, b)]
    tens = np.cov([k.mean(axis=1) for k in kernels]) / y.sum() + np.cov([k.mean(axis=0) for k in kernels]) / (~y).sum()
    return float(kernels[0].mean() - kernels[1].mean()), float(tens[0, 0] + tens[1, 1] - 2 * tens[0, 1])


def planted(n: int, seed: int, weaker: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    shared = rng.normal(size=n)
    a = y + 0.7 * shared + 0.7 * rng.normal(size=n)
    b = (1 - weaker) * y + 0.7 * shared + 0.7 * rng.normal(size=n)
    return a.round(1), b.round(1), y


def test_delong_pairs_equal_the_double_loop() -> None:
    for seed in range(5):
        a, b, y = planted(60, seed)
        point, variance = slow_difference(a, b, y)
        found = auroc_difference(a, b, y)
        assert found.value == pytest.approx(point, abs=1e-12)
        assert found.value == pytest.approx(roc_auc_score(y, a) - roc_auc_score(y, b), abs=1e-12)
        assert found.high - found.value == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-6)


def test_bootstrap_of_areas_is_the_loop_and_agrees_with_delong() -> None:
    a, b, y = planted(50, 7)
    found = auroc_difference(a, b, y, rng=np.random.default_rng(5), resamples=80)
    weights = np.concatenate(list(resample_weights(np.ones(50), rng=np.random.default_rng(5), resamples=80)))
    draws = [roc_auc_score(y, a, sample_weight=w) - roc_auc_score(y, b, sample_weight=w) for w in weights]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=1e-10)
    a, b, y = planted(800, 8, weaker=0.3)
    by_delong, by_bootstrap = auroc_difference(a, b, y), auroc_difference(a, b, y, rng=np.random.default_rng(6))
    assert by_delong.low > 0
    assert by_bootstrap.high - by_bootstrap.low == pytest.approx(by_delong.high - by_delong.low, rel=0.12)


def test_equally_good_scores_are_rarely_told_apart() -> None:
    told = 0
    for seed in range(300):
        found = auroc_difference(*planted(120, 100 + seed))
        told += not found.low <= 0 <= found.high
    assert 0.02 <= told / 300 <= 0.09


def test_areas_without_classes_or_variance_are_undefined() -> None:
    assert "1 positive and 2 negative" in auroc_difference([1, 2, 3], [1, 2, 3], [1, 0, 0]).reason
    perfect = auroc_difference([1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 1, 1])
    assert "no variance" in perfect.reason
    with pytest.raises(ValueError, match="labels"):
        auroc_difference([1, 2], [1, 2, 3], [0, 1])


def test_delong_test_is_the_normal_test_of_the_difference() -> None:
    for seed in (1, 2):
        a, b, y = planted(70, seed, weaker=0.2)
        point, variance = slow_difference(a, b, y)
        found = delong_test(a, b, y)
        assert found.statistic == pytest.approx(point / np.sqrt(variance), rel=1e-9)
        assert found.p_value == pytest.approx(2 * scipy_stats.norm.sf(abs(point) / np.sqrt(variance)), rel=1e-9)
    assert delong_test([1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 1, 1]).reason


def test_any_statistic_of_pairs() -> None:
    rng = np.random.default_rng(3)
    y = rng.random(80) < 0.4
    a, b = y ^ (rng.random(80) < 0.1), y ^ (rng.random(80) < 0.3)
    found = paired_difference(lambda s, t: float(f1_score(t, s)), a, b, y, rng=np.random.default_rng(4), resamples=60)
    assert found.value == pytest.approx(f1_score(y, a) - f1_score(y, b))
    weights = np.concatenate(list(resample_weights(np.ones(80), rng=np.random.default_rng(4), resamples=60)))
    draws = [f1_score(y, a, sample_weight=w) - f1_score(y, b, sample_weight=w) for w in weights]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=1e-10)
