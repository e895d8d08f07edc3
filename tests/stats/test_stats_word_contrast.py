from __future__ import annotations

import math

import numpy as np
import pytest

from assaymark.errors import ConfigError, InputError
from assaymark.stats import benjamini_hochberg, word_contrast


def test_the_formula_equals_a_naive_loop_with_soft_counts() -> None:
    rng = np.random.default_rng(0)
    y1, y2, prior = rng.gamma(1.0, 5.0, 50), rng.gamma(1.0, 9.0, 50), rng.gamma(1.0, 2.0, 50)
    found = word_contrast(y1, y2, prior, strength=40.0)
    a = [40.0 * value / prior.sum() for value in prior]
    for w in range(50):
        odds = [math.log((y[w] + a[w]) / (y.sum() + 40.0 - y[w] - a[w])) for y in (y1, y2)]
        sd = math.sqrt(1 / (y1[w] + a[w]) + 1 / (y2[w] + a[w]))
        assert found.log_odds[w] == pytest.approx(odds[0] - odds[1]) and found.sd[w] == pytest.approx(sd)
        assert found.z[w] == pytest.approx((odds[0] - odds[1]) / sd)
    unscaled = word_contrast(y1, y2, prior * 40.0 / prior.sum())
    np.testing.assert_allclose(unscaled.z, found.z)
    np.testing.assert_allclose(word_contrast(y2, y1, prior, strength=40.0).z, -found.z)


def test_boosted_words_come_first_and_others_are_rarely_found() -> None:
    rng = np.random.default_rng(1)
    p = 1.0 / np.arange(1, 5001)
    q = p.copy()
    boosted = rng.choice(np.arange(50, 2000), 30, replace=False)
    q[boosted] *= 5
    y1, y2 = rng.multinomial(100_000, q / q.sum()), rng.multinomial(300_000, p / p.sum())
    found = word_contrast(y1, y2, y1 + y2, strength=500.0)
    assert np.isin(np.argsort(-found.z)[:40], boosted).sum() >= 25
    adjusted = benjamini_hochberg(found.p_values())
    called = np.flatnonzero((adjusted <= 0.05) & (found.z > 0))
    assert np.mean(~np.isin(called, boosted)) <= 0.15


def test_nothing_is_found_between_two_samples_of_one_corpus() -> None:
    p = 1.0 / np.arange(1, 1001)
    found = 0
    for seed in range(100):
        y1, y2 = np.random.default_rng(seed).multinomial(30_000, p / p.sum(), size=2)
        found += bool((benjamini_hochberg(word_contrast(y1, y2, y1 + y2).p_values()) <= 0.05).any())
    assert found <= 12


def test_words_without_prior() -> None:
    found = word_contrast([5, 0, 0, 3], [2, 4, 0, 1], [1, 0, 0, 0])
    np.testing.assert_array_equal(np.isnan(found.z), [False, True, True, False])
    np.testing.assert_array_equal(np.isnan(found.p_values()), np.isnan(found.log_odds))
    assert np.isnan(word_contrast([5.0], [3.0], [1.0]).z).all()
    assert word_contrast([], [], []).z.size == 0
    with pytest.raises(InputError, match="which no strength can scale"):
        word_contrast([1, 2], [1, 2], [0, 0], strength=3.0)
    with pytest.raises(ConfigError, match="more than 0 words"):
        word_contrast([1, 2], [1, 2], [1, 1], strength=0.0)
    with pytest.raises(InputError, match="negative"):
        word_contrast([1, -2], [1, 2], [1, 1])
    with pytest.raises(ValueError, match="prior of 3"):
        word_contrast([1, 2], [1, 2], [1, 1, 1])
