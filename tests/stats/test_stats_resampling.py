"""Bootstraps against the plain loops that define them, and against known sampling errors."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from assaymark.errors import ConfigError, InputError
from assaymark.stats import (
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_statistic,
    percentile_estimate,
    resample_weights,
    resampled_sums,
    wilson,
)
from assaymark.stats.bootstrap_weights import group_equal_rows


def weights_of(multiplicity: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    return np.concatenate(list(resample_weights(multiplicity, rng=np.random.default_rng(seed), resamples=resamples)))


def loop_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Definition of the bootstrap mean: one resample after the other, one item after the other."""
    means = []
    for row in weights.tolist():
        total = drawn = 0.0
        for weight, value in zip(row, values.tolist(), strict=True):
            total += weight * value
            drawn += weight
        means.append(total / drawn)
    return np.array(means)


def loop_cluster_means(values: np.ndarray, clusters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cluster bootstrap by definition: put the rows of the drawn clusters together and average them."""
    labels = np.unique(clusters)
    means = []
    for row in weights.astype(int):
        parts = [values[clusters == label] for label, times in zip(labels, row, strict=True) for _ in range(times)]
        means.append(np.concatenate(parts).mean())
    return np.array(means)


def limits(draws: np.ndarray) -> tuple[float, float]:
    return tuple(np.quantile(draws, (0.025, 0.975)))


@pytest.mark.parametrize("multiplicity", [np.ones(30, dtype=int), np.array([40, 1, 7, 300])])
def test_weights_are_multinomial(multiplicity: np.ndarray) -> None:
    weights = weights_of(multiplicity, 0, 20_000)
    n = multiplicity.sum()
    assert weights.shape == (20_000, multiplicity.size)
    assert np.all(weights.sum(axis=1) == n)
    share = multiplicity / n
    assert weights.mean(axis=0) == pytest.approx(multiplicity, abs=5 * np.sqrt(n * share * (1 - share) / 20_000).max())
    assert weights.var(axis=0) == pytest.approx(n * share * (1 - share), rel=0.1)
    assert np.corrcoef(weights[:, 0], weights[:, 1])[0, 1] == pytest.approx(
        -np.sqrt(share[0] * share[1] / ((1 - share[0]) * (1 - share[1]))), abs=0.04
    )


def test_mean_equals_the_loop_on_the_same_weights() -> None:
    values = np.random.default_rng(3).normal(size=57)
    draws = loop_means(values, weights_of(np.ones(57), 9, 200))
    estimate = bootstrap_mean(values, rng=np.random.default_rng(9), resamples=200)
    assert (estimate.low, estimate.high) == pytest.approx(limits(draws), rel=1e-12)
    assert estimate.value == pytest.approx(values.mean(), rel=1e-12)
    assert estimate.method == "bootstrap 95 %, 200 resamples"


def test_weighted_mean_equals_the_loop_on_the_same_weights() -> None:
    generator = np.random.default_rng(4)
    values, share = generator.normal(size=41), generator.gamma(1.0, size=41)
    rows = weights_of(np.ones(41), 5, 150)
    draws = np.array([np.average(values, weights=row * share) for row in rows])
    estimate = bootstrap_mean(values, rng=np.random.default_rng(5), resamples=150, weights=share)
    assert (estimate.low, estimate.high) == pytest.approx(limits(draws), rel=1e-12)
    assert estimate.value == pytest.approx(np.average(values, weights=share), rel=1e-12)


def test_cluster_bootstrap_equals_the_loop_on_the_same_weights() -> None:
    generator = np.random.default_rng(6)
    clusters = generator.integers(0, 12, size=300)
    values = generator.normal(size=300) + clusters
    draws = loop_cluster_means(values, clusters, weights_of(np.ones(12), 7, 100))
    names = np.array([f"shard-{c:02d}" for c in clusters])
    estimate = bootstrap_mean(values, rng=np.random.default_rng(7), resamples=100, clusters=names)
    assert (estimate.low, estimate.high) == pytest.approx(limits(draws), rel=1e-12)
    assert estimate.method == "cluster bootstrap 95 %, 100 resamples of 12 clusters"
    assert estimate.n == 300


def test_few_distinct_values_equal_the_loop_on_expanded_groups() -> None:
    values = np.repeat([0.0, 1.0, 3.0], [500, 80, 20])
    np.random.default_rng(0).shuffle(values)
    groups = group_equal_rows(values[:, None])
    assert dict(zip(groups.rows[:, 0], groups.multiplicity, strict=True)) == {0.0: 500, 1.0: 80, 3.0: 20}
    draws = loop_means(groups.rows[:, 0], weights_of(groups.multiplicity, 8, 100))
    estimate = bootstrap_mean(values, rng=np.random.default_rng(8), resamples=100)
    assert (estimate.low, estimate.high) == pytest.approx(limits(draws), rel=1e-12)


def test_grouping_finds_values_that_appear_late_and_gives_up_on_many() -> None:
    late = np.zeros((20_000, 2))
    late[-3:, 1] = 5.0
    groups = group_equal_rows(late)
    assert sorted(map(tuple, np.column_stack([groups.rows, groups.multiplicity]))) == [(0, 0, 19_997), (0, 5, 3)]
    many = np.arange(20_000.0)[:, None]
    assert group_equal_rows(many).rows is many


def test_grouped_and_single_draws_have_the_same_distribution() -> None:
    values = np.repeat([0.0, 1.0], [900, 100])
    grouped = resampled_sums(values[:, None], rng=np.random.default_rng(1), resamples=8000)[:, 0]
    single = weights_of(np.ones(1000), 2, 8000) @ values
    assert grouped.mean() == pytest.approx(100, abs=0.5)
    assert single.mean() == pytest.approx(100, abs=0.5)
    assert grouped.var() == pytest.approx(90, rel=0.06)
    assert single.var() == pytest.approx(90, rel=0.06)


def test_large_shares_agree_with_wilson() -> None:
    values = np.zeros(200_000)
    values[:600] = 1.0
    boot, score = bootstrap_mean(values, rng=np.random.default_rng(0), resamples=4000, unit="share"), wilson(600, 200_000)
    assert boot.value == score.value
    assert (boot.low, boot.high) == pytest.approx((score.low, score.high), rel=0.02)


def test_cluster_intervals_see_what_row_intervals_miss() -> None:
    generator = np.random.default_rng(11)
    row_hits = cluster_hits = 0
    for _ in range(100):
        effects = generator.normal(size=30)
        values = np.repeat(effects, 40) + generator.normal(size=1200)
        clusters = np.repeat(np.arange(30), 40)
        rows = bootstrap_mean(values, rng=generator, resamples=200)
        blocks = bootstrap_mean(values, rng=generator, resamples=200, clusters=clusters)
        row_hits += rows.low <= 0 <= rows.high
        cluster_hits += blocks.low <= 0 <= blocks.high
    assert cluster_hits >= 85
    assert row_hits <= 60


def test_ratio_equals_the_loop_and_needs_a_denominator() -> None:
    generator = np.random.default_rng(12)
    hits, words = generator.poisson(2.0, size=80), generator.poisson(90.0, size=80)
    rows = weights_of(np.ones(80), 13, 120)
    estimate = bootstrap_ratio(hits, words, rng=np.random.default_rng(13), resamples=120)
    assert (estimate.low, estimate.high) == pytest.approx(limits((rows @ hits) / (rows @ words)), rel=1e-12)
    assert estimate.value == pytest.approx(hits.sum() / words.sum(), rel=1e-12)
    assert bootstrap_ratio([1, 1], [0, 0], rng=generator).reason == "the denominators sum to 0"


def test_resamples_with_an_empty_denominator_are_counted() -> None:
    estimate = bootstrap_ratio([1, 0, 0], [2, 0, 0], rng=np.random.default_rng(0), resamples=1000)
    assert estimate.value == estimate.low == estimate.high == 0.5
    assert "without a value left out" in estimate.method


def test_difference_of_independent_and_paired_samples() -> None:
    generator = np.random.default_rng(14)
    person = generator.normal(size=200)
    before, after = person + 0.1 * generator.normal(size=200), person + 0.5 + 0.1 * generator.normal(size=200)
    paired = bootstrap_difference(after, before, rng=generator, paired=True)
    apart = bootstrap_difference(after, before, rng=generator)
    assert paired.value == pytest.approx(apart.value, rel=1e-12)
    assert paired.n == 200
    assert apart.n == 400
    assert 4 * (paired.high - paired.low) < apart.high - apart.low
    normal = 2 * 1.96 * np.sqrt(after.var() / 200 + before.var() / 200)
    assert apart.high - apart.low == pytest.approx(normal, rel=0.12)
    assert "sample b" in bootstrap_difference([1.0, 2.0], [1.0], rng=generator).reason


def test_statistic_by_call_and_by_weights_agree() -> None:
    generator = np.random.default_rng(15)
    x, y = generator.normal(size=60), generator.normal(size=60)
    clusters = generator.integers(0, 10, size=60)
    for labels in (None, clusters):
        called = bootstrap_statistic(
            [x, y], lambda a, b: float((a * b).mean()), rng=np.random.default_rng(1), resamples=99, clusters=labels
        )
        weighted = bootstrap_statistic(
            [x, y],
            lambda w, a, b: (w @ (a * b)) / w.sum(axis=1),
            rng=np.random.default_rng(1),
            resamples=99,
            clusters=labels,
            takes_weights=True,
        )
        assert (called.low, called.value, called.high) == pytest.approx(
            (weighted.low, weighted.value, weighted.high), rel=1e-12
        )


def test_median_interval_is_close_to_theory() -> None:
    values = np.random.default_rng(16).normal(size=2000)
    estimate = bootstrap_statistic([values], np.median, rng=np.random.default_rng(0), resamples=500)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * np.sqrt(np.pi / 2 / 2000), rel=0.3)


def test_same_generator_state_same_interval() -> None:
    values = np.random.default_rng(17).normal(size=500)
    first, second, other = (bootstrap_mean(values, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == second != other


def test_too_little_data_is_undefined_with_a_reason() -> None:
    rng = np.random.default_rng(0)
    assert bootstrap_mean([], rng=rng).reason == "a bootstrap needs at least 2 values, there are none"
    assert bootstrap_mean([1.0], rng=rng).reason == "a bootstrap needs at least 2 values, there is 1"
    assert "all rows are of one cluster" in bootstrap_mean([1.0, 2.0], rng=rng, clusters=["a", "a"]).reason
    assert bootstrap_mean([1.0, 2.0], rng=rng, weights=[0, 0]).reason == "the denominators sum to 0"
    assert bootstrap_statistic([[1.0, 2.0]], lambda a: float("nan"), rng=rng).reason.startswith("the statistic is not defined")
    assert not percentile_estimate(1.0, [float("nan")] * 6 + [1.0] * 4, n=10).defined


def test_wrong_arguments_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="weights: 1 are negative"):
        bootstrap_mean([1.0, 2.0], rng=rng, weights=[1, -1])
    with pytest.raises(ValueError, match="cluster labels of shape"):
        bootstrap_mean([1.0, 2.0], rng=rng, clusters=["a"])
    with pytest.raises(ConfigError, match="resamples = 1"):
        bootstrap_mean([1.0, 2.0], rng=rng, resamples=1)


def test_percentile_limits_are_widened_to_the_point() -> None:
    estimate = percentile_estimate(5.0, np.linspace(0, 1, 100), n=3, method="m", unit="count")
    assert (estimate.value, estimate.high, estimate.method, estimate.unit) == (5.0, 5.0, "m", "count")
    assert percentile_estimate(0.5, np.linspace(0, 1, 100), n=3).method == "bootstrap 95 %, 100 resamples"


def test_memory_is_bounded() -> None:
    values = np.random.default_rng(18).normal(size=50_000)
    tracemalloc.start()
    bootstrap_mean(values, rng=np.random.default_rng(0), resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the full weights matrix would be 40 MB
    assert peak < 12e6


def test_shares_and_clusters_are_fifty_times_faster_than_the_loop() -> None:
    values = (np.random.default_rng(19).random(20_000) < 0.1).astype(float)
    clusters = np.arange(20_000) // 500

    def seconds(run: object) -> float:
        start = time.perf_counter()
        run()  # type: ignore[operator]
        return time.perf_counter() - start

    rows = weights_of(np.ones(20_000), 0, 4)
    loop = seconds(lambda: loop_means(values, rows)) / 4 * 1000
    assert loop > 50 * min(seconds(lambda: bootstrap_mean(values, rng=np.random.default_rng(0))) for _ in range(3))
    assert loop > 50 * min(
        seconds(lambda: bootstrap_mean(values, rng=np.random.default_rng(0), clusters=clusters)) for _ in range(3)
    )
