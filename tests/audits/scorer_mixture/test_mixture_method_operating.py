"""Thresholds against brute force, abstention; cascades decide as the full mixture; drift against its definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from assaymark.audits.scorer_mixture.method.cascade import cost_accuracy_curve, plan_cascade, run_cascade
from assaymark.audits.scorer_mixture.method.drift import psi, score_drift, score_histogram
from assaymark.audits.scorer_mixture.method.operating import (
    abstention,
    best_threshold,
    coverage_risk_curve,
    decision_cost,
)
from assaymark.audits.scorer_mixture.planted import planted_scores
from assaymark.stats.combination import combine_scores


def _scores(seed: int, n: int, *, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return np.round(0.3 * y + rng.random(n), decimals), y


def _loss(score, y, cut, weight, fn, fp) -> float:
    called = score >= cut
    return float(fn * weight[(y == 1) & ~called].sum() + fp * weight[(y == 0) & called].sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("criterion", ["accuracy", "balanced", "cost"])
@pytest.mark.parametrize("weighted", [False, True])
def test_threshold_is_the_best_of_all_cuts(seed, criterion, weighted) -> None:
    score, y = _scores(seed, 60)
    weight = np.random.default_rng(seed).random(60) if weighted else np.ones(60)
    positives, negatives = weight[y == 1].sum(), weight[y == 0].sum()
    fn, fp, scale = {
        "accuracy": (1.0, 1.0, positives + negatives),
        "balanced": (0.5 / positives, 0.5 / negatives, 1.0),
        "cost": (5.0, 1.0, positives + negatives),
    }[criterion]
    cuts = [*np.unique(score), 9.0]
    best = min(_loss(score, y, cut, weight, fn, fp) for cut in cuts) / scale
    found = best_threshold(score, y, criterion=criterion, cost_fn=5.0, cost_fp=1.0, sample_weight=weight if weighted else None)
    assert found.loss == pytest.approx(best, abs=1e-12)
    assert _loss(score, y, found.threshold, weight, fn, fp) / scale == pytest.approx(best, abs=1e-12)
    assert found.false_negatives == pytest.approx(weight[(y == 1) & (score < found.threshold)].sum())


def test_threshold_at_the_ends() -> None:
    ones = best_threshold([0.2, 0.9], [1, 1])
    assert ones.threshold <= 0.2 and "one class" in ones.note
    zeros = best_threshold([0.2, 0.9], [0, 0])
    assert zeros.threshold > 0.9 and zeros.loss == 0
    assert best_threshold([0.2, 0.8], [0, 1]).threshold == pytest.approx(0.5)
    # three equally good cuts, at 0.15, 0.6 and 0.85: the middle one
    assert best_threshold([0.1, 0.2, 0.5, 0.7, 0.8, 0.9], [0, 1, 0, 1, 0, 1]).threshold == pytest.approx(0.6)
    near = np.nextafter(0.5, 1)
    assert best_threshold([0.5, near], [0, 1]).threshold == near
    alone = best_threshold([0.4], [1])
    assert alone.threshold <= 0.4
    with pytest.raises(ValueError, match="no rows"):
        best_threshold([], [])
    with pytest.raises(ValueError, match="missing"):
        best_threshold([np.nan, 1.0], [0, 1])


def test_costs_move_the_threshold() -> None:
    score, y = _scores(1, 4000, decimals=6)
    cuts = [best_threshold(score, y, criterion="cost", cost_fn=c, cost_fp=1.0).threshold for c in (0.1, 1.0, 10.0)]
    assert cuts[0] > cuts[1] > cuts[2]
    costs = [decision_cost(score, y, cut, cost_fn=10.0, cost_fp=1.0).value for cut in cuts]
    assert costs[2] == min(costs)
    assert costs[2] == pytest.approx(_loss(score, y, cuts[2], np.ones(4000), 10.0, 1.0) / 4000)


def test_abstention_and_the_coverage_risk_curve() -> None:
    score, y = _scores(3, 900)
    wrong = (score >= 0.6) != (y == 1)
    found = abstention(score, y, threshold=0.6, delta=0.2)
    kept = np.abs(score - 0.6) >= 0.2
    assert found.coverage.value == pytest.approx(kept.mean()) and found.referred == int((~kept).sum())
    assert found.risk.value == pytest.approx(wrong[kept].mean()) and found.risk.n == int(kept.sum())
    assert not abstention(score, y, threshold=0.6, delta=9.0).risk.defined
    curve = coverage_risk_curve(score, y, threshold=0.6, points=1000)
    assert curve.coverage[0] == 1.0 and curve.risk[0] == pytest.approx(wrong.mean())
    assert (np.diff(curve.coverage) < 0).all()
    for i in range(0, len(curve.delta), 11):
        inside = np.abs(score - 0.6) >= curve.delta[i]
        assert curve.coverage[i] == pytest.approx(inside.mean())
        assert curve.risk[i] == pytest.approx(wrong[inside].mean())
        assert curve.low[i] <= curve.risk[i] <= curve.high[i]
    assert len(coverage_risk_curve(score, y, threshold=0.6, points=7).delta) == 7
    assert curve.area < wrong.mean()


@pytest.mark.parametrize("seed", range(8))
def test_cascade_decides_as_the_full_mixture(seed) -> None:
    rng = np.random.default_rng(seed)
    k = 7
    F = np.round(rng.random((10_000, k)), 1 if seed % 2 else 9)  # coarse scores hit the threshold exactly
    weights = np.round(rng.normal(0.2, 0.5, k), 1 if seed % 2 else 9)
    weights[0] = -0.4
    intercept, costs = float(rng.normal(0, 0.2)), rng.random(k) + 0.1
    if seed % 2:
        intercept = round(intercept, 1)
    cascade = plan_cascade(weights, costs=costs, threshold=0.5, intercept=intercept)
    run = run_cascade(F, cascade)
    full = combine_scores(F, "linear", weights=weights, intercept=intercept) >= 0.5
    assert np.array_equal(run.decisions, full)
    used = costs[weights != 0].sum()
    assert run.full_cost == pytest.approx(used)
    assert run.mean_cost.value < used
    for row in range(0, 10_000, 997):
        asked = cascade.order[: run.asked[row]]
        assert run.cost[row] == pytest.approx(costs[asked].sum())
        left = np.setdiff1d(cascade.order, asked)
        sure = intercept + F[row, asked] @ weights[asked]
        low, high = sure + np.minimum(weights[left], 0).sum(), sure + np.maximum(weights[left], 0).sum()
        assert low >= 0.5 - 1e-9 or high < 0.5 + 1e-9
    assert (np.diff(costs[cascade.order]) >= 0).all()


def test_cascade_of_nothing_and_refusals() -> None:
    idle = run_cascade(np.full((3, 2), 0.5), plan_cascade([0.0, 0.0], costs=[1, 2], intercept=0.7))
    assert idle.decisions.all() and idle.asked.sum() == 0 and idle.full_cost == 0
    sure = run_cascade(np.full((3, 2), 0.5), plan_cascade([0.1, 0.1], costs=[1, 2], intercept=0.7))
    assert sure.decisions.all() and sure.mean_cost.value == 0
    cascade = plan_cascade([0.5, 0.5], costs=[1, 2])
    for bad in ([[0.2, np.nan]], [[0.2, 1.5]]):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            run_cascade(bad, cascade)
    with pytest.raises(ValueError, match="cost"):
        plan_cascade([0.5, 0.5], costs=[1, -2])
    with pytest.raises(ValueError, match="slack"):
        run_cascade([[0.2, 0.3]], cascade, slack=2)


def test_slack_trades_accuracy_for_cost() -> None:
    drawn = planted_scores(0, 4000, experiment="E")
    cascade = plan_cascade(np.full(5, 0.2), costs=[1, 2, 4, 8, 16])
    points = cost_accuracy_curve(drawn.scores, drawn.labels, cascade)
    costs = [p.mean_cost.value for p in points]
    assert points[0].changed.value == 0
    assert (np.diff(costs) <= 0).all() and costs[-1] == 1.0
    assert points[0].accuracy.value > points[-1].accuracy.value
    assert points[-1].accuracy.value == pytest.approx(np.mean((drawn.scores[:, 0] >= 0.5) == drawn.labels))


def test_histograms_and_drift() -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.beta(2, 5, 5000), rng.beta(2, 5, 4000), rng.beta(3, 4, 4000)
    counts = score_histogram(a)
    assert np.array_equal(counts, np.histogram(a, np.linspace(0, 1, 21))[0])
    assert np.array_equal(score_histogram(a[:99]) + score_histogram(a[99:]), counts)
    assert score_histogram([np.nan, -0.1, 1.0, 0.5], bins=2).tolist() == [1, 2]
    same = score_drift(counts, score_histogram(b), rng=rng, resamples=300)
    moved = score_drift(counts, score_histogram(c), rng=rng, resamples=300)
    assert same.psi_p > 0.01 and same.ks_p > 0.05 and same.psi.value < 3 * same.psi_by_chance
    assert moved.psi_p < 1e-6 and moved.ks_p < 1e-6 and moved.psi.low > 0.3
    exact = ks_2samp(a, c).statistic
    assert exact - 0.03 < moved.ks.value <= exact + 1e-12  # read at bin edges only
    p, q = ((h + 0.5) / (h + 0.5).sum() for h in (counts, score_histogram(c)))
    assert psi(counts, score_histogram(c)) == pytest.approx(np.sum((q - p) * np.log(q / p)))
    assert not score_drift(counts, np.zeros(20, int), rng=rng).psi.defined


def test_psi_test_keeps_its_level() -> None:
    rng = np.random.default_rng(1)
    shares = np.diff(np.linspace(0, 1, 11) ** 1.5)
    alarms, values = 0, []
    for _ in range(1500):
        before, after = rng.multinomial(3000, shares), rng.multinomial(2000, shares)
        found = score_drift(before, after, rng=rng, resamples=2)
        alarms += found.psi_p < 0.05
        values.append(found.psi.value)
    assert 0.033 <= alarms / 1500 <= 0.067
    assert np.mean(values) == pytest.approx(found.psi_by_chance, rel=0.05)


def test_few_new_scores_are_no_drift() -> None:
    rng = np.random.default_rng(5)
    before = score_histogram(rng.random(3_000))
    alarms = [score_drift(before, score_histogram(rng.random(60)), rng=rng, resamples=200).psi.low > 0.25 for _ in range(200)]
    assert np.mean(alarms) < 0.01
    # of populations with a known index of 0.36: the interval finds it as often as it says
    p, q = np.full(10, 0.1), np.array([0.19, 0.17, 0.15, 0.13, 0.11, 0.09, 0.07, 0.05, 0.03, 0.01])
    truth = float(np.sum((q - p) * np.log(q / p)))
    found = [score_drift(rng.multinomial(2_000, p), rng.multinomial(2_000, q), rng=rng, resamples=200).psi for _ in range(200)]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.9
