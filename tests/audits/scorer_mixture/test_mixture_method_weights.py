"""Weights against numpy, scikit-learn, scipy and statsmodels; moments in any order; what is deficient stays finite."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize
from scipy.optimize import nnls as reference_nnls
from sklearn.linear_model import LogisticRegression, Ridge

from assaymark.audits.scorer_mixture.method.collinearity import condition_number, effective_networks, vif
from assaymark.audits.scorer_mixture.method.moments import (
    Moments,
    balanced_weights,
    block_moments,
    merge,
    merge_all,
    moments,
    residual_sum,
)
from assaymark.audits.scorer_mixture.method.stacking import log_loss_of
from assaymark.audits.scorer_mixture.method.weights import (
    best_single,
    class_decisions,
    class_scores,
    greedy_selection,
    logistic,
    nnls,
    ols,
    ols_from_moments,
    ols_per_class,
    ridge,
    simplex,
    weighted_by_accuracy,
)
from assaymark.audits.scorer_mixture.planted import planted_scores
from assaymark.stats import clipped_logit


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    drawn = planted_scores(3, 9000, experiment="A")
    return drawn.scores, drawn.labels, np.random.default_rng(0).random(9000)


def _reference(F, y, *, intercept, weight=None) -> np.ndarray:
    X = np.column_stack([F, np.ones(len(F))]) if intercept else F
    root = np.ones(len(F)) if weight is None else np.sqrt(weight)
    found = np.linalg.lstsq(X * root[:, None], y * root, rcond=None)[0]
    return found if intercept else np.append(found, 0.0)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_ols_equals_lstsq_and_the_closed_form(table, intercept, weighted) -> None:
    F, y, w = table
    weight = w if weighted else None
    expected = _reference(F, y, intercept=intercept, weight=weight)
    fits = (
        ols(F, y, intercept=intercept, sample_weight=weight),
        ols_from_moments(moments(F, y, sample_weight=weight), intercept=intercept),
    )
    for fit in fits:
        assert np.abs(np.append(fit.weights, fit.intercept) - expected).max() < 1e-10
        assert fit.rank == 6 and fit.note == ""
    X = (F - F.mean(axis=0)) if intercept and not weighted else F
    if not weighted:
        assert fits[0].condition == pytest.approx(np.linalg.cond(X), rel=1e-9)
        assert fits[1].condition == pytest.approx(fits[0].condition, rel=1e-6)
        assert condition_number(F, intercept=intercept) == pytest.approx(np.linalg.cond(X), rel=1e-9)


def test_shards_merge_in_any_order(table) -> None:
    F, y, w = table
    rng = np.random.default_rng(1)
    whole = ols(F, y, intercept=True, sample_weight=w).weights
    for pieces in (2, 7, 40):
        edges = np.sort(rng.choice(np.arange(1, 9000), pieces - 1, replace=False))
        parts = [moments(f, a, sample_weight=b) for f, a, b in zip(*(np.split(x, edges) for x in (F, y, w)), strict=True)]
        order = rng.permutation(pieces)
        left = merge_all(parts[i] for i in order)
        tree = merge(merge_all(parts[: pieces // 2]), merge_all(parts[pieces // 2 :]))
        for total in (left, tree):
            assert total.rows == 9000
            assert np.abs(ols_from_moments(total, intercept=True).weights - whole).max() < 1e-9
    assert sum(m.rows for m in block_moments(F, y, blocks=13)) == 9000
    assert np.allclose(merge_all(block_moments(F, y, blocks=13)).xtx, moments(F, y).xtx, rtol=1e-12)


def test_float32_scores_are_summed_in_float64() -> None:
    # 2e5 values near 1: float32 sums of their squares would be off by 1e-4 of the value
    F = np.full((200_000, 1), 0.1, dtype=np.float32)
    assert moments(F, np.ones(200_000)).xtx[0, 0] == pytest.approx(200_000 * float(np.float32(0.1)) ** 2, rel=1e-12)
    rng = np.random.default_rng(0)
    G = rng.random((5000, 4)).astype(np.float32)
    y = rng.integers(0, 2, 5000)
    assert np.abs(ols(G, y).weights - _reference(G.astype(float), y, intercept=False)[:4]).max() < 1e-10


def test_residual_sum_from_moments(table) -> None:
    F, y, w = table
    fit = ols(F, y, intercept=True, sample_weight=w)
    direct = float(w @ (y - F @ fit.weights - fit.intercept) ** 2)
    of = moments(F, y, sample_weight=w)
    assert residual_sum(of, np.append(fit.weights, fit.intercept)) == pytest.approx(direct, rel=1e-10)
    assert residual_sum(of, fit.weights) == pytest.approx(float(w @ (y - F @ fit.weights) ** 2), rel=1e-10)


@pytest.mark.parametrize("kind", ["duplicate", "constant", "wide", "one row"])
@pytest.mark.parametrize("intercept", [False, True])
def test_deficient_scores_get_finite_weights_of_minimum_norm(table, kind, intercept) -> None:
    F, y = table[0][:300], table[1][:300]
    F = {
        "duplicate": np.column_stack([F, F[:, 0]]),
        "constant": np.column_stack([F, np.full(300, 0.7)]),
        "wide": np.random.default_rng(0).random((4, 9)),
        "one row": F[:1],
    }[kind]
    y = y[: len(F)]
    fit = ols(F, y, intercept=intercept)
    X, z = (F - F.mean(axis=0), y - y.mean()) if intercept else (F, y)
    assert np.allclose(fit.weights, np.linalg.pinv(X, rcond=1e-12) @ z, atol=1e-9)
    streamed = ols_from_moments(moments(F, y), intercept=intercept)
    assert np.allclose(streamed.weights, fit.weights, atol=1e-6) and streamed.rank == fit.rank
    if kind == "constant" and not intercept:
        assert fit.note == "" and fit.rank == 7  # a constant scorer stands in for the intercept
    else:
        assert "minimum norm" in fit.note and np.isinf(fit.condition)
    assert np.isfinite(ridge(F, y, intercept=intercept, alpha=1.0).weights).all()
    assert (nnls(F, y, intercept=intercept).weights >= 0).all()
    weights = simplex(F, y, intercept=intercept).weights
    assert (weights >= 0).all() and abs(weights.sum() - 1) < 1e-9
    if kind == "duplicate":
        assert fit.weights[0] == pytest.approx(fit.weights[-1], abs=1e-9)
        assert np.isinf(vif(F)[[0, -1]]).all() and np.isfinite(vif(F)[1:-1]).all()
    if kind == "constant":
        assert np.isinf(vif(F)[-1]) and np.allclose(vif(F)[:-1], vif(F[:, :-1]))


def test_notes_and_refusals(table) -> None:
    F, y, _ = table
    assert "one class" in ols(F[:400], np.ones(400)).note
    assert "one class" in ols_from_moments(moments(F[:400], np.zeros(400))).note
    assert "prefer ridge" in ols(F[:50], y[:50]).note and "50 rows for 6" in ols(F[:50], y[:50]).note
    near = np.column_stack([F, F[:, 0] + 1e-6 * np.random.default_rng(0).standard_normal(9000)])
    assert "do not interpret" in ols(near, y).note
    holed = F.copy()
    holed[17, 2] = np.nan
    for refused in (ols, ridge, nnls, logistic, greedy_selection):
        with pytest.raises(ValueError, match="missing"):
            refused(holed, y)
    with pytest.raises(ValueError, match="no rows"):
        ols(F[:0], y[:0])
    with pytest.raises(ValueError, match="expected"):
        ols(F, y[:5])
    with pytest.raises(ValueError, match=">= 0"):
        ols(F, y, sample_weight=-np.ones(9000))
    with pytest.raises(ValueError, match="do not merge"):
        merge(moments(F, y), moments(F[:, :2], y))


@pytest.mark.parametrize("intercept", [False, True])
def test_ridge_equals_scikit_learn_and_gcv_its_definition(table, intercept) -> None:
    F, y = table[0][:200], table[1][:200]
    of = moments(F, y)
    expected = Ridge(alpha=3.0, fit_intercept=intercept).fit(F, y)
    for fit in (ridge(F, y, alpha=3.0, intercept=intercept), ridge(of, alpha=3.0, intercept=intercept)):
        assert np.allclose(fit.weights, expected.coef_, atol=1e-9)
        assert fit.intercept == pytest.approx(expected.intercept_, abs=1e-9)
    X, z = (F - F.mean(axis=0), y - y.mean()) if intercept else (F, y)

    def gcv(alpha: float) -> float:
        hat = X @ np.linalg.solve(X.T @ X + alpha * np.eye(6), X.T)
        return float(np.sum((z - hat @ z) ** 2) / (few - np.trace(hat) - intercept) ** 2)

    few = 18  # with few rows the parameter of the intercept moves the minimum
    X, z = X[:few], z[:few]
    if intercept:
        X, z = X - X.mean(axis=0), z - z.mean()
    F, y, of = F[:few], y[:few], moments(F[:few], y[:few])
    chosen = ridge(F, y, intercept=intercept).alpha
    grid = np.geomspace(chosen / 20, chosen * 20, 2001)
    assert chosen == pytest.approx(grid[np.argmin([gcv(a) for a in grid])], rel=0.012)
    assert ridge(of, intercept=intercept).alpha == pytest.approx(chosen, rel=0.02)
    with pytest.raises(ValueError, match="above 0"):
        ridge(F, y, alpha=0.0)


@pytest.mark.parametrize("intercept", [False, True])
def test_nnls_and_simplex_against_general_solvers(table, intercept) -> None:
    F, y = table[0][:400], table[1][:400].astype(float)
    of = moments(F, y)
    X, z = (F - F.mean(axis=0), y - y.mean()) if intercept else (F, y)
    expected = reference_nnls(X, z)[0]
    assert np.allclose(nnls(F, y, intercept=intercept).weights, expected, atol=1e-10)
    assert np.allclose(nnls(of, intercept=intercept).weights, expected, atol=1e-8)
    found = simplex(F, y, intercept=intercept).weights
    assert abs(found.sum() - 1) < 1e-12 and (found >= 0).all()
    assert np.allclose(simplex(of, intercept=intercept).weights, found, atol=1e-8)
    # Karush-Kuhn-Tucker: the gradient is equal over the support and not smaller outside
    gradient = X.T @ (X @ found - z)
    level = gradient[found > 1e-12].mean()
    assert np.allclose(gradient[found > 1e-12], level, atol=1e-8)
    assert (gradient >= level - 1e-8).all()
    solver = minimize(
        lambda b: 0.5 * np.sum((X @ b - z) ** 2),
        np.full(6, 1 / 6),
        jac=lambda b: X.T @ (X @ b - z),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda b: b.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert 0.5 * np.sum((X @ found - z) ** 2) <= solver.fun + 1e-9


def test_two_classes_decide_as_the_binary_fit(table) -> None:
    F, y, _ = table
    both = np.stack([1 - F, F], axis=2)  # (n, N, 2)
    binary = ols(F, y, intercept=True)
    per_class = ols_per_class(both, y, intercept=True)
    decided = class_decisions(both, per_class)
    assert np.array_equal(decided, (F @ binary.weights + binary.intercept >= 0.5).astype(int))
    assert np.allclose(class_scores(both, per_class).sum(axis=1), 1.0)
    one_hot = np.eye(2)[y]
    assert np.allclose(ols_per_class(both, one_hot, intercept=True).weights, per_class.weights)
    shared = ols_per_class(both, y, shared=True, intercept=True)
    assert np.allclose(shared.weights[0], shared.weights[1]) and np.allclose(shared.weights[1], binary.weights)
    assert shared.intercepts[0] != pytest.approx(shared.intercepts[1])


def test_shared_weights_of_three_classes_equal_the_stacked_problem() -> None:
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 500)
    logits = 2.0 * np.eye(3)[y][:, None, :] + rng.standard_normal((500, 4, 3))
    F = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    fit = ols_per_class(F, y, shared=True)
    stacked = np.linalg.lstsq(F.transpose(2, 0, 1).reshape(-1, 4), np.eye(3)[y].T.ravel(), rcond=None)[0]
    assert np.allclose(fit.weights, stacked)
    own = ols_per_class(F, y)
    for c in range(3):
        assert np.allclose(own.weights[c], np.linalg.lstsq(F[:, :, c], (y == c).astype(float), rcond=None)[0])
    assert (class_decisions(F, own) == y).mean() > 0.8


def test_logistic_equals_statsmodels_and_survives_separation(table) -> None:
    F, y = clipped_logit(table[0][:800]), table[1][:800]
    oracle = sm.Logit(y, np.column_stack([F, np.ones(800)])).fit(disp=0, tol=1e-12)
    fit = logistic(F, y, ridge=1e-12)
    assert np.allclose(np.append(fit.weights, fit.intercept), oracle.params, rtol=1e-5)
    assert np.allclose(logistic(F, y).weights, oracle.params[:-1], atol=0.06)
    strong = LogisticRegression(C=1 / (800 * 0.1), tol=1e-10, max_iter=5000).fit(F, y)
    assert np.allclose(logistic(F, y, ridge=0.1).weights, strong.coef_[0], atol=1e-5)
    apart = logistic(np.linspace(-3, 3, 40)[:, None], np.arange(40) >= 20)
    assert np.isfinite(apart.weights).all() and apart.weights[0] > 5 and "separated" in apart.note
    twice = logistic(F, y, sample_weight=np.r_[np.full(400, 2.0), np.zeros(400)])
    assert np.allclose(twice.weights, logistic(F[:400], y[:400]).weights, atol=1e-8)


@pytest.mark.parametrize("metric", ["log-loss", "accuracy"])
def test_greedy_selection_equals_a_naive_loop(table, metric) -> None:
    F, y = table[0][:300], table[1][:300]

    def loss(p: np.ndarray) -> float:
        return float(log_loss_of(p[:, None], y)[0]) if metric == "log-loss" else float(np.mean((p >= 0.5) != y))

    bag: list[int] = []
    best, chosen = np.inf, np.zeros(6)
    for _ in range(20):
        trials = [loss(F[:, [*bag, i]].mean(axis=1)) for i in range(6)]
        bag.append(int(np.argmin(trials)))
        if min(trials) < best - 1e-12:
            best, chosen = min(trials), np.bincount(bag, minlength=6) / len(bag)
    fit = greedy_selection(F, y, rounds=20, metric=metric)
    assert np.allclose(fit.weights, chosen) and fit.weights.sum() == pytest.approx(1)


def test_log_loss_is_its_definition() -> None:
    assert log_loss_of(np.array([[0.8], [0.4]]), [1, 0])[0] == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert log_loss_of(np.array([[0.0]]), [1])[0] == pytest.approx(-np.log(1e-6))


def test_weights_from_single_accuracies(table) -> None:
    F, y, _ = table
    accuracy = ((F >= 0.5) == y[:, None]).mean(axis=0)
    assert np.allclose(weighted_by_accuracy(F, y).weights, accuracy / accuracy.sum())
    assert best_single(F, y).weights.tolist() == [1, 0, 0, 0, 0, 0]
    assert best_single(F[:, ::-1], y).weights.tolist() == [0, 0, 0, 0, 0, 1]


def test_balanced_weights_make_both_classes_count_alike(table) -> None:
    F, y, _ = table
    rare = np.flatnonzero((y == 0) | (np.arange(9000) % 50 == 0))
    weights = balanced_weights(y[rare])
    assert weights.sum() == pytest.approx(len(rare)) and weights[y[rare] == 1].sum() == pytest.approx(len(rare) / 2)
    plain, balanced = (ols(F[rare], y[rare], intercept=True, sample_weight=w) for w in (None, weights))
    recall = [np.mean((F[rare] @ fit.weights + fit.intercept >= 0.5)[y[rare] == 1]) for fit in (plain, balanced)]
    assert recall[1] > recall[0] + 0.2
    assert (balanced_weights([1, 1]) == 1).all()


def test_effective_networks() -> None:
    assert effective_networks([0.5, -0.5, 0.5, 0.5]) == pytest.approx(4)
    assert effective_networks([1, 0, 0]) == 1
    assert np.isnan(effective_networks([0, 0]))


def test_moments_need_no_labels_again(table) -> None:
    F, y, _ = table
    of = moments(F, y)
    assert isinstance(of, Moments) and of.networks == 6
    with pytest.raises(ValueError, match="already"):
        ridge(of, y)
