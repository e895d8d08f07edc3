"""Ranking measures against scikit-learn and the definitions, DeLong against the double loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from assaymark.errors import ConfigError, InputError
from assaymark.stats import (
    average_precision,
    fpr_at_tpr,
    operating_point,
    pr_curve,
    resample_weights,
    roc_auc,
    roc_curve,
    tpr_at_fpr,
    wilson,
)
from assaymark.stats.ranking import placements

labelled = st.integers(4, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 8), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda y: 2 <= sum(y) <= len(y) - 2),
    )
)


def planted(n: int = 300, seed: int = 0, decimals: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    return (rng.normal(size=n) + labels).round(decimals), labels


def slow_delong(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Area and variance by the definition: the kernel of every pair."""
    x, y = scores[labels], scores[~labels]
    kernel = np.array([[1.0 if p > q else 0.5 if p == q else 0.0 for q in y] for p in x])
    v10, v01 = kernel.mean(axis=1), kernel.mean(axis=0)
    return float(kernel.mean()), float(v10.var(ddof=1) / len(x) + v01.var(ddof=1) / len(y))


@settings(max_examples=60, deadline=None)
@given(labelled)
def test_delong_equals_the_double_loop(case: tuple[list[int], list[bool]]) -> None:
    scores, labels = np.array(case[0], dtype=float), np.array(case[1])
    area, variance = slow_delong(scores, labels)
    estimate = roc_auc(scores, labels)
    assert estimate.value == pytest.approx(area, abs=1e-12)
    assert estimate.value == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    smaller = min(labels.sum(), (~labels).sum())
    untied = np.mean(scores[labels][:, None] != scores[~labels][None, :])
    trials = min(area * (1 - area) / variance, 4 * smaller / untied) if variance > 1e-30 and area not in (0.0, 1.0) else smaller
    expected = wilson(area * trials, trials)
    assert estimate.low == pytest.approx(expected.low, abs=1e-9)
    assert estimate.high == pytest.approx(expected.high, abs=1e-9)


def test_delong_covers_the_true_area() -> None:
    from statistics import NormalDist

    rng, truth, covered = np.random.default_rng(1), NormalDist().cdf(1 / np.sqrt(2)), 0
    for _ in range(400):
        estimate = roc_auc(np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 80)]), np.repeat([1, 0], [60, 80]))
        covered += estimate.low <= truth <= estimate.high
    assert 0.91 <= covered / 400 <= 0.98


@pytest.mark.parametrize(("positives", "negatives", "distance"), [(24, 136, 2.23), (50, 50, 3.2), (10, 200, 2.23)])
def test_area_near_one_is_covered_where_plus_and_minus_the_error_is_not(
    positives: int, negatives: int, distance: float
) -> None:
    """Good detectors on few items: area plus and minus DeLong's error holds the truth in 74 to 86 % of these draws."""
    from statistics import NormalDist

    rng, truth = np.random.default_rng(5), NormalDist().cdf(distance / np.sqrt(2))
    labels, covered, plain = np.repeat([True, False], [positives, negatives]), 0, 0
    for _ in range(300):
        scores = rng.standard_normal(labels.size) + distance * labels
        estimate = roc_auc(scores, labels)
        covered += estimate.low <= truth <= estimate.high
        beaten, beaten_by = placements(scores[labels], scores[~labels])
        error = 1.96 * np.sqrt(beaten.var(ddof=1) / positives + beaten_by.var(ddof=1) / negatives)
        plain += abs(estimate.value - truth) <= error
    assert covered / 300 >= 0.94 and plain / 300 <= 0.9


def test_ties_do_not_make_an_interval_wider_than_what_is_seen() -> None:
    """Counts that are mostly zero: most pairs are tied, and the rest still say as much as DeLong's variance says."""
    rng, covered, width, plain = np.random.default_rng(7), 0, 0.0, 0.0
    first, second = 0.05, 0.035
    truth = first * (1 - second) + (first * second + (1 - first) * (1 - second)) / 2
    labels = np.repeat([True, False], 1_000)
    for _ in range(200):
        scores = np.r_[rng.random(1_000) < first, rng.random(1_000) < second].astype(float)
        found = roc_auc(scores, labels)
        covered += found.low <= truth <= found.high
        beaten, beaten_by = placements(scores[labels], scores[~labels])
        width += found.high - found.low
        plain += 2 * 1.96 * np.sqrt(beaten.var(ddof=1) / 1_000 + beaten_by.var(ddof=1) / 1_000)
    assert 0.91 <= covered / 200 <= 0.985 and width < 1.1 * plain


def test_perfect_separation_keeps_an_interval() -> None:
    estimate = roc_auc([1, 2, 3, 7, 8, 9, 10], [0, 0, 0, 1, 1, 1, 1])
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == wilson(3, 3).low
    reverse = roc_auc([7, 8, 9, 10, 1, 2, 3], [0, 0, 0, 0, 1, 1, 1])
    assert (reverse.value, reverse.low, reverse.high) == (0.0, 0.0, wilson(0, 3).high)
    flat = roc_auc([1.0] * 6, [0, 0, 0, 1, 1, 1])
    assert flat.value == 0.5 and flat.low == wilson(1.5, 3).low


def test_area_needs_both_classes() -> None:
    assert "1 positive and 3 negative" in roc_auc([1, 2, 3, 4], [1, 0, 0, 0]).reason
    assert not roc_auc([], []).defined
    with pytest.raises(InputError, match="only 0 and 1"):
        roc_auc([1, 2], [1, 2])
    with pytest.raises(InputError, match="scores"):
        roc_auc([1, np.nan], [1, 0])
    with pytest.raises(ValueError, match="labels"):
        roc_auc([1, 2], [1])


def test_roc_curve_equals_scikit_learn_with_wilson_limits() -> None:
    scores, labels = planted()
    fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    curve = roc_curve(scores, labels)
    assert curve.fpr == pytest.approx(fpr)
    assert curve.tpr == pytest.approx(tpr)
    assert np.array_equal(curve.thresholds, thresholds)
    at = 17
    expected = wilson(int(np.sum(labels & (scores >= thresholds[at]))), int(labels.sum()))
    assert (curve.tpr_low[at], curve.tpr_high[at]) == pytest.approx((expected.low, expected.high))
    assert np.all(curve.fpr_low <= curve.fpr)
    assert np.all(curve.fpr <= curve.fpr_high)


def test_pr_curve_equals_scikit_learn_with_wilson_limits() -> None:
    scores, labels = planted(seed=2)
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    curve = pr_curve(scores, labels)
    assert curve.precision == pytest.approx(precision[-2::-1])
    assert curve.recall == pytest.approx(recall[-2::-1])
    assert np.array_equal(curve.thresholds, thresholds[::-1])
    assert np.all(curve.precision_low <= curve.precision)
    assert np.all(curve.recall <= curve.recall_high)
    assert np.isnan(pr_curve([1.0, 2.0], [0, 0]).recall).all()


def test_average_precision_and_its_bootstrap_equal_scikit_learn() -> None:
    scores, labels = planted(n=80, seed=3)
    estimate = average_precision(scores, labels, rng=np.random.default_rng(4), resamples=100)
    assert estimate.value == pytest.approx(metrics.average_precision_score(labels, scores), rel=1e-12)
    order = np.argsort(-scores, kind="stable")
    blocks = resample_weights(np.ones(80), rng=np.random.default_rng(4), resamples=100)
    draws = [
        metrics.average_precision_score(labels[order], scores[order], sample_weight=w) for w in np.concatenate(list(blocks))
    ]
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), rel=1e-10)
    assert average_precision([1, 2], [0, 0], rng=np.random.default_rng(0)).reason == "there are no positives"


def test_average_precision_leaves_out_resamples_without_positives() -> None:
    estimate = average_precision([5, 4, 3, 2, 1], [1, 0, 0, 0, 0], rng=np.random.default_rng(0))
    assert estimate.defined
    assert "left out" in estimate.method
    assert estimate.high == 1.0


def test_operating_point_counts() -> None:
    point = operating_point([0.9, 0.8, 0.5, 0.5, 0.2, 0.1], [1, 0, 1, 0, 0, 1], 0.5)
    assert point[1:5] == (2, 2, 1, 1)
    assert point.tpr == wilson(2, 3)
    assert point.fpr == wilson(2, 3)
    assert point.precision == wilson(2, 4)
    assert point.accuracy == wilson(3, 6)
    assert not operating_point([0.1], [1], 0.5).precision.defined


@settings(max_examples=60, deadline=None)
@given(labelled, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0]))
def test_tpr_at_fpr_equals_the_search_over_thresholds(case: tuple[list[int], list[bool]], limit: float) -> None:
    scores, labels = np.array(case[0], dtype=float), np.array(case[1])
    rates = [(np.mean(scores[~labels] >= t), np.mean(scores[labels] >= t)) for t in [np.inf, *np.unique(scores)]]
    best = max(tpr for fpr, tpr in rates if fpr <= limit + 1e-12)
    fixed = tpr_at_fpr(scores, labels, limit)
    assert fixed.value == pytest.approx(best, abs=1e-12)
    assert fixed.n == labels.sum()
    assert fixed.method.endswith("threshold fixed")
    moved = tpr_at_fpr(scores, labels, limit, rng=np.random.default_rng(0), resamples=50)
    assert moved.value == pytest.approx(best, abs=1e-12)


def test_tpr_bootstrap_equals_the_loop_and_is_wider() -> None:
    scores, labels = planted(n=400, seed=5, decimals=6)
    order = np.argsort(-scores, kind="stable")
    s, y = scores[order], labels[order]
    draws = []
    for w in np.concatenate(list(resample_weights(np.ones(400), rng=np.random.default_rng(6), resamples=60))):
        reached = [w[(s >= t) & y].sum() for t in s if w[(s >= t) & ~y].sum() <= 0.05 * w[~y].sum() + 1e-9]
        draws.append(max(reached, default=0.0) / w[y].sum())
    moved = tpr_at_fpr(scores, labels, 0.05, rng=np.random.default_rng(6), resamples=60)
    assert (moved.low, moved.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), rel=1e-10)
    fixed = tpr_at_fpr(scores, labels, 0.05)
    wide = tpr_at_fpr(scores, labels, 0.05, rng=np.random.default_rng(7))
    assert wide.high - wide.low > fixed.high - fixed.low
    with pytest.raises(ConfigError, match="fpr"):
        tpr_at_fpr(scores, labels, 5)


def test_perfect_separation_is_not_certainty() -> None:
    scores, labels = np.r_[np.linspace(0.6, 1, 30), np.linspace(0, 0.4, 50)], np.r_[np.ones(30), np.zeros(50)]
    rng = np.random.default_rng(0)
    for found, point in (
        (average_precision(scores, labels, rng=rng, resamples=100), 1.0),
        (tpr_at_fpr(scores, labels, 0.01, rng=rng, resamples=100), 1.0),
        (fpr_at_tpr(scores, labels, 0.95, rng=rng, resamples=100), 0.0),
    ):
        assert found.value == point
        assert found.high - found.low > 0.05, found.method  # type: ignore[operator]
        assert "Wilson" in found.method
