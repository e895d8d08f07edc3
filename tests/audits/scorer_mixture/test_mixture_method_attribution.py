"""Shapley shares against the definition over permutations; leave-one-out against refits; diversity against counts."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from assaymark.audits.scorer_mixture.method import attribution
from assaymark.audits.scorer_mixture.method.attribution import leave_one_network_out, shapley_accuracy
from assaymark.audits.scorer_mixture.method.diversity import error_correlation, pairwise_diversity
from assaymark.audits.scorer_mixture.method.moments import moments
from assaymark.audits.scorer_mixture.method.weights import ols
from assaymark.audits.scorer_mixture.planted import planted_scores


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    drawn = planted_scores(2, 3400, experiment="A")
    F, y = drawn.scores[:, [0, 1, 3, 4, 5]], drawn.labels
    return F[:400], y[:400], F[400:], y[400:]


def _value(rows, members: tuple[int, ...], *, intercept: bool) -> float:
    F, y, G, z = rows
    if not members:
        return float(np.mean(((y.mean() if intercept else 0.0) >= 0.5) == (z == 1)))
    chosen = list(members)
    fit = ols(F[:, chosen], y, intercept=intercept)
    return float(np.mean((G[:, chosen] @ fit.weights + fit.intercept >= 0.5) == (z == 1)))


@pytest.mark.parametrize("intercept", [False, True])
def test_shapley_is_the_mean_gain_over_all_orders(rows, intercept) -> None:
    k = 5
    worth = {s: _value(rows, s, intercept=intercept) for r in range(k + 1) for s in itertools.combinations(range(k), r)}
    expected = np.zeros(k)
    orders = list(itertools.permutations(range(k)))
    for order in orders:
        for step, network in enumerate(order):
            expected[network] += worth[tuple(sorted(order[: step + 1]))] - worth[tuple(sorted(order[:step]))]
    expected /= len(orders)
    F, y, G, z = rows
    found = shapley_accuracy(moments(F, y), G, z, intercept=intercept)
    assert found.exact and found.coalitions == 32
    assert np.allclose([share.value for share in found.shares], expected, atol=1e-12)
    assert found.full.value == pytest.approx(worth[tuple(range(k))])
    assert found.empty.value == pytest.approx(worth[()])
    assert sum(share.value for share in found.shares) == pytest.approx(found.full.value - found.empty.value, abs=1e-12)


def test_interval_is_that_of_a_mean_over_rows(rows) -> None:
    F, y, G, z = rows
    of = moments(F, y)
    shares = shapley_accuracy(of, G, z).shares
    draws = []
    rng = np.random.default_rng(0)
    for _ in range(60):
        pick = rng.integers(0, len(z), len(z))
        draws.append([share.value for share in shapley_accuracy(of, G[pick], z[pick]).shares])
    widths = np.array([(share.high - share.low) / 3.92 for share in shares])
    assert np.allclose(np.std(draws, axis=0), widths, rtol=0.35)


def test_sampled_orders_approach_the_exact_shares(rows, monkeypatch: pytest.MonkeyPatch) -> None:
    F, y, G, z = rows
    of = moments(F, y)
    exact = shapley_accuracy(of, G, z)
    monkeypatch.setattr(attribution, "EXACT_NETWORKS", 3)
    sampled = shapley_accuracy(of, G, z, rng=np.random.default_rng(0), permutations=400)
    assert not sampled.exact and "400 random orders" in sampled.shares[0].method
    for ours, truth in zip(sampled.shares, exact.shares, strict=True):
        assert ours.low <= truth.value <= ours.high
        assert ours.value == pytest.approx(truth.value, abs=0.02)
    # every order hands out the same total
    assert sum(s.value for s in sampled.shares) == pytest.approx(exact.full.value - exact.empty.value, abs=1e-12)
    with pytest.raises(ValueError, match="sampled"):
        shapley_accuracy(of, G, z)


def test_twelve_networks_are_sampled() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    F = 1 / (1 + np.exp(-(np.r_[2.0, np.zeros(11)] * (2 * y[:, None] - 1) + rng.standard_normal((2000, 12)))))
    found = shapley_accuracy(moments(F, y), F, y, rng=rng, permutations=60)
    values = [share.value for share in found.shares]
    assert values[0] == pytest.approx(0.47, abs=0.03) and np.abs(values[1:]).max() < 0.02
    assert found.coalitions <= 60 * 12 + 1


def test_ten_networks_on_a_hundred_thousand_rows_take_seconds() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100_000)
    F = 1 / (1 + np.exp(-(np.linspace(0, 1, 10) * (2 * y[:, None] - 1) + rng.standard_normal((100_000, 10)))))
    of = moments(F[:10_000], y[:10_000])
    start = time.perf_counter()
    found = shapley_accuracy(of, F, y)
    assert time.perf_counter() - start < 5
    assert found.coalitions == 1024 and found.shares[9].value > found.shares[2].value


def test_leave_one_out_is_a_refit(rows) -> None:
    F, y, G, z = rows
    found = leave_one_network_out(moments(F, y), G, z)
    full = _value(rows, (0, 1, 2, 3, 4), intercept=True)
    assert found.full.value == pytest.approx(full)
    for i in range(5):
        rest = tuple(j for j in range(5) if j != i)
        assert found.without[i].value == pytest.approx(_value(rows, rest, intercept=True))
        assert found.loss[i].value == pytest.approx(full - found.without[i].value, abs=1e-12)
    assert found.loss[0].low > 0 and found.loss[3].low <= 0 <= found.loss[3].high


def test_pairs_are_counts_of_right_and_wrong() -> None:
    drawn = planted_scores(4, 1500, experiment="A")
    F, y = drawn.scores, drawn.labels
    right = (F >= 0.5) == y[:, None]
    pairs = pairwise_diversity(F, y)
    assert [(p.first, p.second) for p in pairs] == list(itertools.combinations(range(6), 2))
    for p in pairs:
        a, b = right[:, p.first], right[:, p.second]
        cells = [int(np.sum((a == u) & (b == v))) for u, v in ((1, 1), (1, 0), (0, 1), (0, 0))]
        assert [p.both_right, p.only_first, p.only_second, p.both_wrong] == cells
        assert p.disagreement.value == pytest.approx(np.mean(a != b))
        assert p.double_fault.value == pytest.approx(np.mean(~a & ~b))
        assert p.kappa.value == pytest.approx(cohen_kappa_score(a, b))
        odds = cells[0] * cells[3] / (cells[1] * cells[2])
        assert p.q.value == pytest.approx((odds - 1) / (odds + 1))
        assert p.q.low <= p.q.value <= p.q.high
    together = {(p.first, p.second): p for p in pairs}
    assert together[4, 5].q.low > 0.9 and together[0, 1].q.low < 0 < together[0, 1].q.high


def test_q_of_perfect_networks_is_undefined_or_one() -> None:
    y = np.array([0, 1] * 50)
    perfect = np.column_stack([y, y]).astype(float)
    pair = pairwise_diversity(perfect, y)[0]
    assert not pair.q.defined and not pair.kappa.defined and pair.disagreement.value == 0
    flawed = perfect.copy()
    flawed[:10] = 1 - flawed[:10]
    assert pairwise_diversity(flawed, y)[0].q.value == 1.0


def test_errors_of_timid_networks_are_not_called_alike() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 20_000)
    timid = 0.5 + 0.05 * (2 * y[:, None] - 1) + 0.02 * rng.standard_normal((20_000, 2))
    assert abs(error_correlation(timid, y)[0, 1]) < 0.03
    assert np.corrcoef((timid - y[:, None]).T)[0, 1] > 0.9  # what the raw residuals would say
    drawn = planted_scores(4, 20_000, experiment="A")
    found = error_correlation(drawn.scores, drawn.labels)
    assert found[4, 5] > 0.8 and np.abs(found[:4, :4] - np.eye(4)).max() < 0.03
    constant = np.column_stack([drawn.scores, np.full(20_000, 0.4)])
    assert np.isnan(error_correlation(constant, drawn.labels)[-1, :-1]).all()
