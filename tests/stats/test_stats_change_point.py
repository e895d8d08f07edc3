from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import binom

from assaymark.errors import ConfigError, InputError
from assaymark.stats import change_point, onset_point

MONTHS, POSTS = 34, np.full(34, 300)
T = np.arange(MONTHS)


def _seen(pi: np.ndarray, seed: int) -> np.ndarray:
    """Posts called machine-written by a detector with TPR .8 and FPR .05."""
    return np.random.default_rng(seed).binomial(POSTS, 0.05 + 0.75 * pi)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_statistic_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(20, 90, 15)
    k = rng.binomial(n, np.where(np.arange(15) < 9, 0.2, 0.4))
    naive = {}
    for cut in range(3, 13):
        rates = np.where(np.arange(15) < cut, k[:cut].sum() / n[:cut].sum(), k[cut:].sum() / n[cut:].sum())
        naive[cut] = binom.logpmf(k, n, rates).sum() - binom.logpmf(k, n, k.sum() / n.sum()).sum()
    found = change_point(k, n, rng=rng)
    assert found.index == max(naive, key=naive.__getitem__)
    assert found.statistic == pytest.approx(max(naive.values()), rel=1e-9)
    assert found.before.value == pytest.approx(k[: found.index].sum() / n[: found.index].sum())


def test_a_step_is_found_by_both() -> None:
    for seed in range(20):
        step = change_point(_seen(0.1 * (T >= 12), seed), POSTS, rng=_rng(), permutations=199)
        rise = onset_point(_seen(0.38 * (T >= 12), seed), POSTS, rng=_rng(), permutations=199)
        assert step.index is not None and abs(step.index - 12) <= 1 and step.p_value == 1 / 200
        assert rise.index is not None and abs(rise.index - 12) <= 1 and rise.duration <= 3 and rise.p_value == 1 / 200
        assert step.index in step.support and rise.index in rise.support
        assert step.difference.unit == "percentage points" and step.difference.n == 34 * 300


@pytest.mark.parametrize("scale", [1.5, 2.5, 4.0])
def test_the_onset_of_a_logistic_rise_is_found_and_its_best_step_is_late(scale: float) -> None:
    """The onset, month 12, is where pi reaches a tenth of .38."""
    pi = 0.38 / (1 + np.exp(-(T - 12 - scale * np.log(9)) / scale))
    series = [_seen(pi, seed) for seed in range(30)]
    steps = np.array([change_point(k, POSTS, rng=_rng(), permutations=1).index for k in series])
    onsets = np.array([onset_point(k, POSTS, rng=_rng(), permutations=1).index for k in series])
    assert np.mean(np.abs(onsets - 12) <= 2) >= 0.9
    assert np.mean(np.abs(steps - 12) <= 2) <= 0.2 and steps.mean() > 12 + scale


def test_the_levels_of_a_straight_rise_are_covered() -> None:
    covered = np.zeros(3)
    for seed in range(60):
        found = onset_point(_seen(0.38 * np.clip((T - 11) / 12, 0, 1), seed), POSTS, rng=_rng(), permutations=1)
        truths = (found.before, 0.05), (found.after, 0.335), (found.difference, 0.285)
        covered += [part.low <= truth <= part.high for part, truth in truths]
        assert 8 <= found.duration <= 16
    assert np.all(covered / 60 >= 0.85)


@pytest.mark.parametrize("over", [0.0, 60.0])
def test_a_constant_rate_is_rarely_called_changed_however_much_months_vary(over: float) -> None:
    rejected = np.zeros(2)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n = rng.integers(100, 900, MONTHS)
        k = rng.binomial(n, rng.beta(0.05 * over, 0.95 * over, MONTHS) if over else 0.05)
        rejected += [find(k, n, rng=rng, permutations=99).p_value <= 0.05 for find in (change_point, onset_point)]
    assert np.all(rejected / 100 <= 0.11)


def test_dispersion_widens_the_intervals() -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(3, 57, MONTHS)
    found = change_point(rng.binomial(POSTS, p), POSTS, rng=rng, permutations=1)
    assert found.dispersion > 3 and "trials / " in found.difference.method and found.before.n % 300 == 0


def test_months_without_posts_keep_their_place() -> None:
    k, n = _seen(0.3 * (T >= 12), 0), POSTS.copy()
    n[[2, 5, 20]] = 0
    k[n == 0] = 0
    assert change_point(k, n, rng=_rng(), permutations=1).index == 12
    assert onset_point(k, n, rng=_rng(), permutations=1).index == 12
    assert change_point(k, n, rng=_rng(), permutations=1).before.n == 10 * 300


def test_the_same_generator_gives_the_same_answer() -> None:
    k = _seen(0.02 * (T >= 12), 5)
    for find in (change_point, onset_point):
        first, second = (find(k, POSTS, rng=np.random.default_rng(9)) for _ in range(2))
        assert first.p_value == second.p_value and 0 < first.p_value <= 1


@pytest.mark.parametrize("find", [change_point, onset_point])
def test_where_nothing_can_be_found(find: object) -> None:
    assert callable(find)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = find(np.zeros(MONTHS), POSTS, rng=_rng())
        assert silent.index is None and silent.reason == silent.before.reason == "no period has a success"
        assert np.isnan(silent.p_value) and silent.support.size == 0
        assert find(POSTS, POSTS, rng=_rng()).reason == "no period has a failure"
        assert "6 periods with trials are needed" in find([1] * 5, [9] * 5, rng=_rng()).reason
        assert "there are 0" in find([], [], rng=_rng()).reason
        first_half_empty = find(np.where(T < 12, 0, 40), POSTS, rng=_rng(), permutations=99)
        assert first_half_empty.index == 12 and first_half_empty.before.value == 0.0
        full = find(np.where(T < 12, 0, 300), POSTS, rng=_rng(), permutations=99)
        assert full.index == 12 and full.difference.value == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ConfigError, match="least = 0"):
        find([1] * 9, [9] * 9, rng=_rng(), least=0)
    with pytest.raises(InputError, match="not a count"):
        find([10] * 9, [9] * 9, rng=_rng())


def test_a_long_daily_series_takes_a_grid_of_durations() -> None:
    days = np.arange(200)
    n = np.full(200, 100)
    k = np.random.default_rng(0).binomial(n, 0.05 + 0.3 * np.clip((days - 79) / 60, 0, 1))
    found = onset_point(k, n, rng=_rng(), permutations=49)
    assert found.index is not None and abs(found.index - 80) <= 8 and 40 <= found.duration <= 80
