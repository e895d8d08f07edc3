"""Balanced accuracy, F1, predictive value, FPR at a TPR, lift and rank correlation against references and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn import metrics

from assaymark.errors import ConfigError, InputError
from assaymark.stats import (
    Rate,
    balanced_accuracy,
    balanced_accuracy_from_counts,
    f1_score,
    f1_score_from_counts,
    fpr_at_tpr,
    lift,
    lift_limits,
    mean_f1_from_counts,
    predictive_value,
    risk_ratio,
    spearman,
    wilson,
)


def test_summaries_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.8):
        y = rng.random(300) < share
        called = np.where(rng.random(300) < 0.2, ~y, y)
        assert balanced_accuracy(called, y).value == pytest.approx(metrics.balanced_accuracy_score(y, called))
        assert f1_score(called, y).value == pytest.approx(metrics.f1_score(y, called))
        tp, fp, fn = int((called & y).sum()), int((called & ~y).sum()), int((~called & y).sum())
        assert f1_score(called, y) == f1_score_from_counts(tp, fp, fn)


def test_summaries_cover_the_truth() -> None:
    rng = np.random.default_rng(1)
    se, sp, share, n = 0.85, 0.95, 0.15, 200
    f1 = 2 * se * share / (share + se * share + (1 - sp) * (1 - share))
    covered = np.zeros(2)
    for _ in range(600):
        y = rng.random(n) < share
        called = rng.random(n) < np.where(y, se, 1 - sp)
        for k, (found, truth) in enumerate(((balanced_accuracy(called, y), (se + sp) / 2), (f1_score(called, y), f1))):
            covered[k] += found.low <= truth <= found.high
    assert np.all((covered / 600 >= 0.92) & (covered / 600 <= 0.985))


def test_summaries_at_the_ends() -> None:
    best = balanced_accuracy_from_counts(Rate(10, 10), Rate(10, 10))
    assert (best.value, best.high) == (1.0, 1.0)
    assert best.low < 0.9
    assert balanced_accuracy([1, 0], [1, 1]).reason == "there are no negatives"
    assert f1_score([0, 0], [0, 0]).reason.startswith("nothing is positive")
    none = f1_score([0, 0, 1], [1, 1, 0])
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high > 0.5
    assert f1_score([1, 1], [1, 1]).high == 1.0


def test_predictive_value_is_what_a_reader_must_see() -> None:
    found = predictive_value(Rate(96, 100), Rate(96, 100), prevalence=0.01)
    assert found.value == pytest.approx(0.96 * 0.01 / (0.96 * 0.01 + 0.04 * 0.99))
    assert round(found.value, 3) == 0.195
    # The logit interval of Mercaldo et al., written out.
    error = np.sqrt((1 - 0.96) / 0.96 / 100 + 0.96 / 0.04 / 100)
    logit = np.log(0.96 * 0.01 / (0.04 * 0.99))
    expected = 1 / (1 + np.exp(-(logit + np.array([-1, 1]) * 1.959964 * error)))
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-6)


def test_predictive_value_covers_and_has_ends() -> None:
    rng, covered, truth = np.random.default_rng(2), 0, 0.9 * 0.02 / (0.9 * 0.02 + 0.03 * 0.98)
    for _ in range(600):
        found = predictive_value(Rate(rng.binomial(200, 0.9), 200), Rate(rng.binomial(800, 0.97), 800), prevalence=0.02)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 600 <= 0.98
    never_wrong = predictive_value(Rate(50, 60), Rate(100, 100), prevalence=0.01)
    assert (never_wrong.value, never_wrong.high) == (1.0, 1.0)
    assert never_wrong.low < 0.9
    useless = predictive_value(Rate(0, 60), Rate(90, 100), prevalence=0.01)
    assert (useless.value, useless.low) == (0.0, 0.0)
    for prevalence in (0.0, 1.0):
        edge = predictive_value(Rate(50, 60), Rate(90, 100), prevalence=prevalence)
        assert (edge.low, edge.value, edge.high) == (prevalence,) * 3
    assert predictive_value(Rate(0, 9), Rate(9, 9), prevalence=0.1).reason == "nothing was called positive"
    assert predictive_value(Rate(0, 0), Rate(9, 9), prevalence=0.1).reason == "there are no labelled positives"
    with pytest.raises(ConfigError, match="prevalence"):
        predictive_value(Rate(5, 6), Rate(9, 10), prevalence=1.2)


labelled = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 6), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda y: 0 < sum(y) < len(y)),
    )
)


@settings(max_examples=80, deadline=None)
@given(labelled, st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_fpr_at_tpr_equals_the_search_over_thresholds(case: tuple[list[int], list[bool]], least: float) -> None:
    scores, labels = np.array(case[0], float), np.array(case[1])
    rates = [(np.mean(scores[~labels] >= t), np.mean(scores[labels] >= t)) for t in [np.inf, *np.unique(scores)]]
    best = min(fpr for fpr, tpr in rates if tpr >= least - 1e-12)
    found = fpr_at_tpr(scores, labels, least)
    assert found.value == pytest.approx(best, abs=1e-12)
    assert found.n == (~labels).sum()
    assert f"FPR at TPR >= {least:g}" in found.method


def test_fpr_at_tpr_has_wilson_limits_or_a_bootstrap() -> None:
    rng = np.random.default_rng(3)
    y = rng.random(500) < 0.3
    scores = rng.normal(size=500) + 2 * y
    fixed, moved = fpr_at_tpr(scores, y, 0.95), fpr_at_tpr(scores, y, 0.95, rng=rng)
    expected = wilson(round(fixed.value * fixed.n), fixed.n)
    assert (fixed.low, fixed.high) == pytest.approx((expected.low, expected.high))
    assert moved.high - moved.low > fixed.high - fixed.low
    assert fpr_at_tpr([1, 2], [1, 1], 0.9).reason == "there are no negatives"
    with pytest.raises(ConfigError, match="tpr"):
        fpr_at_tpr(scores, y, 95)


def test_lift_knows_that_the_group_is_part_of_the_whole() -> None:
    found = lift(30, 100, 130, 1000)
    assert found.value == pytest.approx(0.3 / 0.13)
    rest = risk_ratio(30, 100, 100, 900)
    for limit, ratio in ((found.low, rest.low), (found.high, rest.high)):
        assert limit == pytest.approx(ratio / (0.1 * ratio + 0.9))
    covered, rng, truth = 0, np.random.default_rng(4), 0.3 / (0.4 * 0.3 + 0.6 * 0.1)
    for _ in range(600):
        k, r = rng.binomial(80, 0.3), rng.binomial(120, 0.1)
        one = lift(k, 80, k + r, 200)
        covered += one.low <= truth <= one.high
    assert 0.93 <= covered / 600 <= 0.98


def test_lift_of_many_groups_and_at_the_ends() -> None:
    k, n = np.array([0, 5, 40, 10]), np.array([50, 50, 50, 100])
    limits = lift_limits(k, n, 55, 250)
    for i in range(4):
        one = lift(int(k[i]), int(n[i]), 55, 250)
        assert (one.low, one.high) == pytest.approx((limits.low[i], limits.high[i]))
    assert lift(0, 50, 55, 250).low == 0.0
    assert lift(10, 50, 10, 250).high == pytest.approx(5.0)
    uniform = lift(10, 100, 100, 1000)
    assert uniform.value == pytest.approx(1.0)
    assert uniform.low < 1 < uniform.high
    assert lift(0, 0, 5, 10).reason == "the group has no trials"
    assert lift(0, 5, 0, 10).reason == "nothing succeeded in the whole"
    assert lift(5, 10, 5, 10).reason == "the group is the whole"


def test_spearman_equals_scipy_with_ties() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        a = rng.integers(0, 6, 30)
        b = a + rng.integers(-3, 4, 30)
        found = spearman(a, b)
        assert found.value == pytest.approx(scipy_stats.spearmanr(a, b).statistic, abs=1e-12)
        half = 1.959964 * np.sqrt((1 + found.value**2 / 2) / 27)
        assert np.arctanh(found.high) - np.arctanh(found.value) == pytest.approx(half, rel=1e-6)


def test_spearman_covers_the_truth() -> None:
    rng, covered, pearson = np.random.default_rng(6), 0, 0.7
    truth = 6 / np.pi * np.arcsin(pearson / 2)
    for _ in range(600):
        a, b = rng.multivariate_normal([0, 0], [[1, pearson], [pearson, 1]], 50).T
        found = spearman(np.exp(a), b)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 600 <= 0.98


def test_spearman_at_the_ends() -> None:
    perfect = spearman([1, 2, 3, 4, 5], [2, 4, 8, 16, 32])
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low < 0.95
    reverse = spearman([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    assert (reverse.low, reverse.value) == (-1.0, -1.0)
    assert reverse.high == pytest.approx(-perfect.low)
    assert "at least 4 pairs" in spearman([1, 2, 3], [1, 2, 3]).reason
    assert spearman([1, 1, 1, 1], [1, 2, 3, 4]).reason == "a does not vary"
    with pytest.raises(ValueError, match="pairs"):
        spearman([1, 2], [1])


def test_mean_f1_has_the_points_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        y, called = rng.random(60) < 0.3, rng.random(60) < 0.4
        cells = (np.sum(called & y), np.sum(called & ~y), np.sum(~called & y), np.sum(~called & ~y))
        for weighting in ("macro", "weighted"):
            found = mean_f1_from_counts(*cells, weighting=weighting)
            assert found.value == pytest.approx(metrics.f1_score(y, called, average=weighting))
            assert 0 < found.low < found.value < found.high < 1 and found.n == 60


@pytest.mark.parametrize("weighting", ["macro", "weighted"])
def test_mean_f1_covers_in_95_of_100(weighting: str) -> None:
    rng = np.random.default_rng(6)
    chances = np.array([0.25, 0.15, 0.05, 0.55])
    truth = mean_f1_from_counts(*(chances * 1e9).round(), weighting=weighting).value
    for n in (60, 400):
        found = [mean_f1_from_counts(*cells, weighting=weighting) for cells in rng.multinomial(n, chances, 2000)]
        assert np.mean([f.low <= truth <= f.high for f in found]) == pytest.approx(0.95, abs=0.02)


def test_mean_f1_at_the_ends() -> None:
    best, worst = mean_f1_from_counts(30, 0, 0, 20), mean_f1_from_counts(0, 20, 30, 0, weighting="weighted")
    assert best.high == best.value == 1.0 and 0.9 < best.low < 1.0
    assert worst.low == worst.value == 0.0 and 0.0 < worst.high < 0.1
    # one class never found: the other still counts
    half = mean_f1_from_counts(30, 20, 0, 0)
    assert half.value == pytest.approx(0.375) and half.low < 0.375 < half.high
    assert mean_f1_from_counts(0, 3, 0, 4).reason == "there are no positives"
    assert mean_f1_from_counts(3, 0, 4, 0).reason == "there are no negatives"
    with pytest.raises(InputError):
        mean_f1_from_counts(-1, 2, 3, 4)
