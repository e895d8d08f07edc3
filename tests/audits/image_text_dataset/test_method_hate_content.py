"""Golden numbers of the scaling papers, planted experiment D, and the algebra of the shard tests on made shards."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.optimize import brentq

from assaymark.audits.image_text_dataset.method import hate_content as hate
from assaymark.audits.image_text_dataset.planted import planted_scale_law


def test_golden_rates_and_scale_comparison() -> None:
    answer = hate.compare_scale(9_533, 3_200_000, 44_081, 12_800_000, total_b=2.32e9)
    assert 100 * answer.rate_a.value == pytest.approx(0.29790625, abs=1e-9)
    assert [round(100 * x, 6) for x in (answer.rate_a.low, answer.rate_a.high)] == [0.291994, 0.303937]
    assert 100 * answer.rate_b.value == pytest.approx(0.3443828, abs=1e-7)
    assert [round(100 * x, 6) for x in (answer.rate_b.low, answer.rate_b.high)] == [0.341188, 0.347607]
    assert answer.delta_ci == pytest.approx(12.256104, abs=5e-7)
    assert answer.increase == pytest.approx(15.60, abs=5e-3)
    assert answer.excess == 864_220
    assert answer.ratio.low <= answer.ratio.value == pytest.approx(1.156, abs=1e-3)
    assert answer.conservative.low == pytest.approx(0.12256104, abs=5e-9)


@pytest.mark.parametrize(("equal", "least", "most"), [(False, 100, 100), (True, 0, 2)])
def test_experiment_d(equal, least, most) -> None:
    rising = 0
    for seed in range(100):
        planted = planted_scale_law(seed, equal=equal)
        answer = hate.compare_scale(
            planted.counts_a.sum(), planted.n_a.sum(), planted.counts_b.sum(), planted.n_b.sum(), total_b=2.32e9
        )
        rising += answer.delta_ci > 0
    assert least <= rising <= most


def test_exceedance_equals_the_definition() -> None:
    scores = np.random.default_rng(0).beta(0.5, 5, size=(2000, 3))
    scores[0] = hate.PAPER_THETA[3]  # equal to a threshold is not above it
    found = hate.exceedance(scores)
    stacked = np.column_stack([scores, scores.max(axis=1)])
    truth = (stacked[:, :, None] > np.array(hate.PAPER_THETA)).sum(axis=0)
    assert np.array_equal(found.counts, truth) and found.n == 2000
    assert found.sums == pytest.approx(stacked.sum(axis=0))
    unordered = hate.exceedance(scores, theta=(0.5, 0.1))
    assert np.array_equal(unordered.counts, (stacked[:, :, None] > np.array([0.5, 0.1])).sum(axis=0))
    curve = hate.rate_curve(found.counts, found.n)
    assert curve.at((3, 0)).value == pytest.approx(truth[3, 0] / 2000)


def test_unscored_texts_count_as_zero_or_leave() -> None:
    scores = np.array([[0.9, 0.1, 0.1], [np.nan, 0.2, 0.2], [0.1, 0.1, 0.1]])
    zero, out = (hate.exceedance(scores, theta=(0.5,), missing=how) for how in ("zero", "exclude"))
    assert (zero.n, zero.unscored, zero.counts[3, 0]) == (3, 1, 1)
    assert (out.n, out.unscored, out.counts[3, 0]) == (2, 1, 1)
    with pytest.raises(ValueError, match="probabilities"):
        hate.exceedance([[1.5]])
    assert hate.exceedance(np.empty((0, 3))).n == 0


def test_shards_welch_algebra_on_made_shards() -> None:
    def shards(n: int, mean: float, sd: float) -> np.ndarray:
        draw = np.random.default_rng(n).standard_normal(n)
        return mean + sd * (draw - draw.mean()) / draw.std(ddof=1)

    a, b = shards(32, 0.00297, 0.00016), shards(128, 0.00344, 0.00018)
    answer = hate.compare_shards(a, b)
    va, vb = 0.00016**2 / 32, 0.00018**2 / 128
    df = (va + vb) ** 2 / (va**2 / 31 + vb**2 / 127)
    assert answer.welch.statistic == pytest.approx((0.00344 - 0.00297) / math.sqrt(va + vb))
    assert answer.welch.df == pytest.approx(df)
    assert answer.welch.p_value == pytest.approx(scipy_stats.t.sf(answer.welch.statistic, df), rel=1e-6)
    pooled = math.sqrt((31 * 0.00016**2 + 127 * 0.00018**2) / 158)
    assert answer.cohen_d.value == pytest.approx((0.00344 - 0.00297) / pooled)
    assert answer.mann_whitney.p_value < 1e-6


def test_uniform_sharding_check() -> None:
    planted = planted_scale_law(1)
    spread = hate.shard_spread(planted.counts_b, planted.n_b)
    assert spread.within.value > 0.9 and 0.7 < spread.dispersion < 1.4
    rng = np.random.default_rng(0)
    lumpy = hate.shard_spread(rng.binomial(100_000, rng.uniform(0.002, 0.005, 64)), np.full(64, 100_000))
    assert lumpy.dispersion > 5
    assert not hate.shard_spread([3], [100]).within.defined


def test_shard_bootstrap_is_wider_when_shards_differ() -> None:
    rng = np.random.default_rng(2)
    counts = rng.binomial(100_000, rng.uniform(0.002, 0.005, 64))
    clustered = hate.shard_bootstrap(counts, np.full(64, 100_000), rng=rng)
    rowwise = hate.rate_curve(counts.sum(), 6_400_000).at(())
    assert clustered.value == pytest.approx(rowwise.value)
    assert clustered.high - clustered.low > 2 * (rowwise.high - rowwise.low)


def test_nexus_and_row_effect_from_sums() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.beta(1, 20, size=(4000, 1)), rng.beta(1, 18, size=(5000, 1))
    rows = hate.nexus(["NSFW", "EMPTY"], [4000, 0], [[a.sum()], [0.0]], [[(a**2).sum()], [0.0]], [int((a > 0.2).sum()), 0])
    assert rows[0].mean[0].value == pytest.approx(a.mean()) and not rows[1].failed.defined
    half = scipy_stats.t.ppf(0.975, 3999) * a.std(ddof=1) / np.sqrt(4000)
    assert rows[0].mean[0].high == pytest.approx(a.mean() + half)
    effect = hate.row_effect(hate.exceedance(a), hate.exceedance(b))
    pooled = math.sqrt((3999 * a.var(ddof=1) + 4999 * b.var(ddof=1)) / 8998)
    assert effect.value == pytest.approx((b.mean() - a.mean()) / pooled)


PUBLISHED_SHARD_TESTS = ((14.48, 53.32, 2.64), (13.80, 54.91, 2.47), (4.44, 47.96, 0.875))
"""Welch t, degrees of freedom and Cohen's d over 128 against 32 shards: hateful, targeted, aggressive (2306.13141)."""


@pytest.mark.parametrize(("t", "df", "d"), PUBLISHED_SHARD_TESTS)
def test_published_shard_tests_agree_with_one_another(t: float, df: float, d: float) -> None:
    """The shard rates are not published, but t and df fix the ratio of the variances and with it d."""
    n_b, n_a = 128, 32

    def freedom(ratio: float) -> float:
        return (ratio + 1) ** 2 / (ratio**2 / (n_b - 1) + 1 / (n_a - 1))

    ratio = brentq(lambda x: freedom(x) - df, 1e-3, 1.0)
    variance_b, variance_a = ratio / (1 + ratio), 1 / (1 + ratio)  # of the two means, summing to 1, so that t is the gap

    def shards(n: int, variance: float, mean: float) -> np.ndarray:
        drawn = np.random.default_rng(n).standard_normal(n)
        return mean + math.sqrt(variance * n) * (drawn - drawn.mean()) / drawn.std(ddof=1)

    answer = hate.compare_shards(shards(n_a, variance_a, 0.0), shards(n_b, variance_b, t))
    assert answer.welch.statistic == pytest.approx(t)
    assert answer.welch.df == pytest.approx(df)
    assert answer.cohen_d.value == pytest.approx(d, abs=0.007)  # t and df are printed to two digits
