"""Membership advantage and rates: published intervals, brute force, planted rates, and scores that say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.errors import ConfigError
from assaymark.stats import (
    advantage,
    decision_rates,
    detectable_advantage,
    fit_threshold,
    newcombe,
    wilson,
)

score = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([np.inf, -np.inf, np.nan]))
trials = st.lists(st.tuples(score, score), min_size=1, max_size=25)


def table(both: int, member: int, nonmember: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Calls of the trials of a 2 x 2 table."""
    counts = [both, member, nonmember, neither]
    return np.repeat([1.0, 1.0, 0.0, 0.0], counts), np.repeat([1.0, 0.0, 1.0, 0.0], counts)


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        ((1, 1, 7, 12), -0.507, -0.026),  # Bentur et al. 2009, as in Fagerland, Lydersen and Laake (2014), table V
        ((36, 12, 2, 0), 0.0569, 0.3404),  # Newcombe (1998), paired data, table II
        ((14, 5, 0, 22), 0.0115, 0.2265),  # Altman et al. (2000), table 6.2
    ],
)
def test_paired_interval_is_newcombes_method_10(cells: tuple[int, int, int, int], low: float, high: float) -> None:
    found = advantage(*table(*cells), 0.5)
    assert found.value == pytest.approx((cells[1] - cells[2]) / sum(cells))
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-4), pytest.approx(high, abs=6e-4))
    assert found.unit == "percentage points"
    assert found.n == sum(cells)


def test_separate_rows_give_newcombes_interval_of_independent_shares() -> None:
    member, nonmember = np.repeat([1.0, 0.0], [40, 10]), np.repeat([1.0, 0.0], [10, 50])
    found, expected = advantage(member, nonmember, 0.5, units="rows"), newcombe(40, 50, 10, 60)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found.n == 110


@settings(max_examples=70, deadline=None)
@given(trials, st.integers(-3, 3))
def test_rates_are_plain_counts(pairs: list[tuple[float, float]], cut: int) -> None:
    member, nonmember = np.array(pairs).T
    rates = decision_rates(member, nonmember, cut)
    m, n = ([x >= cut for x in side if not np.isnan(x)] for side in (member, nonmember))
    if not (m and n):
        assert not any(rate.defined for rate in rates)
        return
    tpr, fpr = sum(m) / len(m), sum(n) / len(n)
    correct = sum(m) + len(n) - sum(n)
    expected = (tpr, fpr, correct / (len(m) + len(n)), (1 + tpr - fpr) / 2, tpr - fpr)
    assert [rate.value for rate in rates] == pytest.approx(expected, abs=1e-12)
    assert (rates.tpr.low, rates.tpr.high) == pytest.approx((wilson(sum(m), len(m)).low, wilson(sum(m), len(m)).high))
    assert (rates.tpr.n, rates.fpr.n, rates.accuracy.n) == (len(m), len(n), len(m) + len(n))
    assert rates.advantage == advantage(member, nonmember, cut)
    assert 2 * rates.balanced_accuracy.low - 1 == pytest.approx(rates.advantage.low, abs=1e-9)
    assert all(rate.high > rate.low for rate in rates)


@settings(max_examples=50, deadline=None)
@given(trials.filter(lambda pairs: not np.isnan(np.array(pairs)).all(axis=0).any()), st.integers(0, 1000))
def test_order_transforms_and_roles(pairs: list[tuple[float, float]], seed: int) -> None:
    member, nonmember = np.array(pairs).T
    found = advantage(member, nonmember, 0.5)
    order = np.random.default_rng(seed).permutation(len(pairs))
    moved = advantage(member[order], nonmember[order], 0.5)
    assert (moved.value, moved.low, moved.high) == pytest.approx((found.value, found.low, found.high), abs=1e-12)
    assert advantage(np.arctan(member), np.arctan(nonmember), np.arctan(0.5)) == found
    swapped = advantage(nonmember, member, 0.5)
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx((-found.value, -found.high, -found.low), abs=1e-12)


def test_perfect_attack_is_not_certain() -> None:
    found = advantage(np.ones(100), np.zeros(100), 0.5)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.9 < found.low < 0.96
    one = advantage([1.0], [0.0], 0.5)
    assert one.value == 1.0
    assert one.low < 0.0
    tied = advantage(np.ones(100), np.ones(100), 0.5)
    assert tied.value == 0.0
    assert -0.05 < tied.low < -0.01 < 0.01 < tied.high < 0.05


def test_missing_answers_are_left_out_and_counted() -> None:
    member, nonmember = table(30, 40, 10, 20)
    member[::7], nonmember[::9] = np.nan, np.nan
    found = advantage(member, nonmember, 0.5)
    assert found.value == pytest.approx(np.nanmean(member) - np.nanmean(nonmember))
    assert found.n == np.sum(~np.isnan(member) | ~np.isnan(nonmember)) < 100
    assert found.method.endswith("without 15 member and 12 non-member scores that are missing")
    # the interval stands between those of no and of all trials complete
    complete = ~np.isnan(member) & ~np.isnan(nonmember)
    inner = advantage(member[complete], nonmember[complete], 0.5)
    assert found.high - found.low < inner.high - inner.low
    none = advantage([np.nan, np.nan], [0.0, 1.0], 0.5)
    assert none.reason == "the attack has no score of members"
    assert none.n == 2
    assert advantage([], [], 0.5).reason == "the attack has no score of members and none of non-members"


def test_a_threshold_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="threshold is NaN"):
        advantage([1.0], [0.0], np.nan)


def test_groups_make_the_interval_as_wide_as_the_groups_say() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 10)
    member = np.repeat(rng.random(40) < 0.6, 10).astype(float)
    nonmember = (rng.random(400) < 0.3).astype(float)
    found = advantage(member, nonmember, 0.5, units=(labels, labels))
    plain = advantage(member, nonmember, 0.5, units="rows")
    # members are copies within groups: as good as 40 of them
    expected = newcombe(member[::10].sum(), 40, nonmember.sum(), 400)
    assert found.value == plain.value
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.12)
    assert found.high - found.low > 2 * (plain.high - plain.low)
    assert "40 groups" in found.method
    alone = advantage(member[:10], nonmember[:10], 0.5, units=(labels[:10], labels[:10]))
    assert alone.reason == "all members or all non-members are of one group, which cannot say how groups vary"
    edge = advantage(np.ones(20), np.zeros(20), 0.5, units=(np.arange(20) // 10, np.arange(20) // 10))
    assert edge.low < 0.3  # two groups of ten are not twenty


@pytest.mark.parametrize(("p", "q", "rho"), [(0.95, 0.7, 0.0), (0.6, 0.1, 0.6), (0.9, 0.02, 0.0), (0.5, 0.5, 0.6)])
def test_interval_covers_planted_rates(p: float, q: float, rho: float) -> None:
    from scipy.special import ndtri

    rng = np.random.default_rng(1)
    common = rng.standard_normal((600, 50, 1))
    latent = np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.standard_normal((600, 50, 2))
    said = latent > ndtri(1 - np.array([p, q]))
    found = [advantage(pair[:, 0], pair[:, 1], 0.5) for pair in said]
    assert 0.92 <= np.mean([e.low <= p - q <= e.high for e in found]) <= 0.985


def test_scores_that_say_nothing_have_no_advantage() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(200):
        shadow, target = rng.poisson(1.0, (2, 100)), rng.poisson(1.0, (2, 500))
        found.append(advantage(*target, fit_threshold(*shadow)))
    assert np.mean([abs(e.value) <= 0.06 for e in found]) >= 0.93
    assert np.mean([e.low <= 0.0 <= e.high for e in found]) >= 0.93
    assert abs(np.mean([e.value for e in found])) < 0.01


def test_threshold_of_the_same_trials_flatters() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(200, 2, 50))
    flattered = np.mean([advantage(m, n, fit_threshold(m, n)).value for m, n in scores])
    held_out = np.mean([advantage(m, n, fit_threshold(*scores[i - 1])).value for i, (m, n) in enumerate(scores)])
    assert flattered > 0.1 > 0.02 > abs(held_out)


def test_planted_stub_of_four_attacks() -> None:
    rng = np.random.default_rng(4)
    gap = advantage(rng.random(500) < 0.95, rng.random(500) < 0.70, 0.5)
    assert gap.low <= 0.25 <= gap.high
    assert gap.high - gap.low == pytest.approx(0.089, abs=0.01)
    shadow = 3 + rng.poisson(1, 100), 1 + rng.poisson(0.5, 100)
    threshold = fit_threshold(*shadow)
    assert threshold.value == 2.5
    brainwash = decision_rates(3 + rng.poisson(1, 500), 1 + rng.poisson(0.5, 500), threshold)
    assert brainwash.tpr.value == 1.0
    assert brainwash.fpr.low <= 0.0902 <= brainwash.fpr.high
    assert brainwash.advantage.low <= 0.9098 <= brainwash.advantage.high


@pytest.mark.parametrize(("trials", "power"), [(50, 0.8), (200, 0.8), (500, 0.9), (100, 0.3)])
def test_detectable_advantage_is_shown_with_its_power(trials: int, power: float) -> None:
    least = detectable_advantage(trials, power=power).value
    assert least is not None
    rng = np.random.default_rng(5)
    # one interval for each pair of counts that occurs: the rest is counting
    hits = rng.binomial(trials, [0.5 + least / 2, 0.5 - least / 2], size=(20_000, 2))
    from assaymark.stats import newcombe_limits

    low, _ = newcombe_limits(hits[:, 0], trials, hits[:, 1], trials)
    assert np.mean(low > 0) == pytest.approx(power, abs=0.035)


def test_detectable_advantage_of_many_trials_is_the_usual_formula() -> None:
    found = detectable_advantage(5000)
    assert found.value == pytest.approx(2.8 / np.sqrt(10_000), rel=0.01)
    assert found.low == found.value == found.high
    values = [detectable_advantage(t).value for t in (20, 50, 200, 1000)]
    assert values == sorted(values, reverse=True)
    assert detectable_advantage(500, power=0.9).value > detectable_advantage(500).value
    none = detectable_advantage(1)
    assert none.reason == "no advantage, however large, is shown with a power of 80 % by so few trials: 1"
    with pytest.raises(ConfigError, match="at least 1"):
        detectable_advantage(0)
    with pytest.raises(ConfigError, match=r"0\.8 for 80 %"):
        detectable_advantage(10, power=80)
