from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from assaymark.errors import InputError
from assaymark.stats import cliff_delta, mann_whitney, median_estimate, roc_auc, weighted_cliff_delta


def _likes(rng: np.random.Generator, n: int, mean: float) -> np.ndarray:
    return rng.negative_binomial(0.8, 0.8 / (0.8 + mean), n).astype(float)


def test_delta_is_that_of_all_pairs_and_of_the_rank_test() -> None:
    rng = np.random.default_rng(0)
    a, b = _likes(rng, 60, 4), _likes(rng, 90, 6)
    found = cliff_delta(a, b)
    assert found.value == pytest.approx(np.sign(a[:, None] - b[None, :]).mean())
    assert found.value == pytest.approx(mann_whitney(a, b).cliffs_delta) and found.n == 150
    area = roc_auc(np.concatenate([a, b]), np.arange(150) < 60)
    assert (found.low, found.high) == pytest.approx((2 * area.low - 1, 2 * area.high - 1))


def test_weights_of_0_and_1_are_groups_and_others_a_naive_double_sum() -> None:
    rng = np.random.default_rng(1)
    x, s = _likes(rng, 80, 5), rng.random(80)
    found = weighted_cliff_delta(x, s)
    pairs = s[:, None] * (1 - s)[None, :] * (1 - np.eye(80))
    assert found.value == pytest.approx((pairs * np.sign(x[:, None] - x[None, :])).sum() / pairs.sum())
    hard = (s > 0.4).astype(float)
    plain, weighted = cliff_delta(x[hard == 1], x[hard == 0]), weighted_cliff_delta(x, hard)
    assert weighted.value == pytest.approx(plain.value)
    assert weighted.high - weighted.low == pytest.approx(plain.high - plain.low, rel=0.03)


def test_the_intervals_cover() -> None:
    rng = np.random.default_rng(2)
    a, b = _likes(rng, 3000, 3), _likes(rng, 3000, 5)
    truth = np.sign(a[:, None] - b[None, :]).mean()
    covered = soft = 0
    shares = np.clip(rng.beta(0.5, 0.5, 6000), 0, 1)
    pool = np.where(rng.random(6000) < shares, _likes(rng, 6000, 3), _likes(rng, 6000, 5))
    soft_truth = weighted_cliff_delta(pool, shares).value
    for _ in range(200):
        found = cliff_delta(rng.choice(a, 80), rng.choice(b, 50))
        covered += found.low <= truth <= found.high
        drawn = rng.integers(0, 6000, 150)
        weighted = weighted_cliff_delta(pool[drawn], shares[drawn])
        soft += weighted.low <= soft_truth <= weighted.high
    assert 0.9 <= covered / 200 <= 0.99 and 0.9 <= soft / 200 <= 0.99


def test_groups_that_say_nothing() -> None:
    assert "groups of 1 and 3" in cliff_delta([1], [1, 2, 3]).reason
    assert "2 each are needed" in weighted_cliff_delta([1, 2, 3], [1, 0, 0]).reason
    apart = cliff_delta([5, 6, 7], [1, 2, 3])
    assert apart.value == apart.high == 1.0 and apart.low is not None and apart.low < 0.2
    tied = cliff_delta([1, 1], [1, 1])
    assert tied.value == 0.0
    with pytest.raises(InputError, match="probabilities"):
        weighted_cliff_delta([1, 2, 3], [0, 1, 2])
    with pytest.raises(ValueError, match="shares"):
        weighted_cliff_delta([1, 2, 3], [0, 1])


@pytest.mark.parametrize("n", [6, 7, 25, 100, 1001])
def test_limits_of_the_median_are_the_innermost_that_hold(n: int) -> None:
    x = np.random.default_rng(n).permutation(np.arange(float(n)))
    found = median_estimate(x)
    k = int(found.low) + 1
    assert found.value == np.median(x) and found.high == n - k
    assert binom.cdf(k - 1, n, 0.5) <= 0.025 < binom.cdf(k, n, 0.5)


def test_the_median_covers_and_small_samples_have_no_interval() -> None:
    rng = np.random.default_rng(4)
    limits = [median_estimate(rng.lognormal(1.0, 2.0, 41)) for _ in range(400)]
    assert 0.93 <= np.mean([e.low <= np.e <= e.high for e in limits]) <= 0.99
    assert "needs 6 values, there are 5" in median_estimate([1, 2, 3, 4, 5]).reason
    assert median_estimate([3.0] * 6).low == 3.0 and not median_estimate([]).defined
    assert median_estimate([1, 2, 3, 4, 5], confidence=0.9).defined
