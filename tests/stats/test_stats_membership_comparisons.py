"""Attacks beside each other: signs and p values against enumeration, equal attacks, the best of many that are all alike."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.errors import ConfigError, InputError
from assaymark.stats import AttackScores, advantage, advantage_difference, holm, mcnemar, worst_advantage

call = st.sampled_from([0.0, 1.0, np.nan])
four = st.lists(st.tuples(call, call, call, call), min_size=2, max_size=9)


def attacks(said: np.ndarray) -> tuple[AttackScores, AttackScores]:
    return AttackScores(said[:, 0], said[:, 1], 0.5), AttackScores(said[:, 2], said[:, 3], 0.5)


def enumerated(d: np.ndarray) -> float:
    signs = np.array(list(product([-1, 1], repeat=d.size)))
    return float(np.mean(np.abs(signs @ d) >= abs(d.sum())))


@settings(max_examples=50, deadline=None)
@given(four)
def test_p_value_is_the_share_of_all_sign_flips(rows: list[tuple[float, float, float, float]]) -> None:
    said = np.array(rows)
    found = advantage_difference(*attacks(said))
    d = np.nan_to_num(said[:, 2] - said[:, 0]) - np.nan_to_num(said[:, 3] - said[:, 1])
    if np.isnan(said).all(axis=0).any():
        assert not found.difference.defined
        assert found.test.reason == found.difference.reason
    elif not d.any():
        assert found.test.reason == "the two never differ"
    else:
        assert found.test.p_value == pytest.approx(enumerated(d))
        means = np.nanmean(said, axis=0)
        assert found.difference.value == pytest.approx(means[2] - means[3] - means[0] + means[1])
    if found.difference.defined:
        assert found.difference.high - found.difference.low > 0.01
        back = advantage_difference(*reversed(attacks(said))).difference
        assert (-back.high, -back.low) == pytest.approx((found.difference.low, found.difference.high), abs=1e-9)


def test_where_only_members_change_the_test_is_mcnemars() -> None:
    before, after = np.repeat([1.0, 1.0, 0.0, 0.0], [20, 15, 4, 11]), np.repeat([1.0, 0.0, 1.0, 0.0], [20, 15, 4, 11])
    same = np.repeat([1.0, 0.0], 25)
    found = advantage_difference(AttackScores(before, same, 0.5), AttackScores(after, same, 0.5))
    assert found.test.p_value == pytest.approx(mcnemar(15, 4).p_value)
    assert found.difference.value == pytest.approx(-11 / 50)
    assert holm([found.test.p_value, np.nan, 0.2])[0] == pytest.approx(2 * found.test.p_value)


def test_normal_and_exact_p_values_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (np.random.default_rng(0).random((2000, 4)) < [0.8, 0.2, 0.78, 0.22]).astype(float)
    exact = advantage_difference(*attacks(said)).test
    monkeypatch.setattr("assaymark.stats.membership.comparisons.EXACT_SUM", 10)
    assert advantage_difference(*attacks(said)).test.p_value == pytest.approx(exact.p_value, rel=0.05)


@pytest.mark.parametrize("rates", [(0.95, 0.7, 0.6, 0.1), (0.9, 0.05, 0.2, 0.15), (0.5, 0.5, 0.5, 0.5)])
def test_difference_covers_the_truth_and_keeps_its_level(rates: tuple[float, float, float, float]) -> None:
    from scipy.special import ndtri

    rng = np.random.default_rng(1)
    common = rng.standard_normal((300, 100, 1))
    latent = np.sqrt(0.5) * (common + rng.standard_normal((300, 100, 4)))
    said = (latent > ndtri(1 - np.array(rates))).astype(float)
    found = [advantage_difference(*attacks(trial)) for trial in said]
    truth = rates[2] - rates[3] - rates[0] + rates[1]
    assert np.mean([f.difference.low <= truth <= f.difference.high for f in found]) >= 0.92
    if truth == 0:
        assert np.mean([f.test.p_value < 0.05 for f in found]) <= 0.09


def test_equal_advantages_of_unlike_attacks_are_rarely_told_apart() -> None:
    rng = np.random.default_rng(2)
    said = (rng.random((400, 150, 4)) < [0.95, 0.70, 0.60, 0.35]).astype(float)
    assert np.mean([advantage_difference(*attacks(trial)).test.p_value < 0.05 for trial in said]) <= 0.085


def test_attacks_that_never_differ_are_not_certainly_equal() -> None:
    said = (np.random.default_rng(3).random((100, 2)) < [0.8, 0.3]).astype(float)
    found = advantage_difference(AttackScores(*said.T, 0.5), AttackScores(*said.T, 0.5))
    assert found.difference.value == 0.0
    assert 0.01 < found.difference.high < 0.1
    assert not found.test.defined
    perfect = AttackScores(np.ones(100), np.zeros(100), 0.5)
    both = advantage_difference(perfect, perfect).difference
    assert both.low < -0.03 < 0.03 < both.high


def test_difference_by_rows_and_by_groups() -> None:
    rng = np.random.default_rng(4)
    member, nonmember = rng.normal(1, 1, 80), rng.normal(0, 1, 50)
    before = AttackScores(member, nonmember, 0.5)
    after = AttackScores(member - 1, nonmember, 0.5)
    rows = advantage_difference(before, after, units="rows")
    groups = advantage_difference(before, after, units=(np.arange(80) // 4, np.arange(50) // 4))
    assert (
        rows.difference.value
        == pytest.approx(groups.difference.value)
        == pytest.approx(np.mean(member >= 1.5) - np.mean(member >= 0.5))
    )
    assert "groups" in groups.difference.method
    assert rows.test.p_value == pytest.approx(2.0 ** (1 - np.sum((member >= 0.5) & (member < 1.5))))
    with pytest.raises(InputError, match="same trials"):
        advantage_difference(AttackScores([1.0], [0.0], 0.5), AttackScores([1.0, 2.0], [0.0, 0.0], 0.5))
    with pytest.raises(InputError, match="same trials"):
        advantage_difference(AttackScores([1.0, 0.0], [0.0], 0.5), AttackScores([1.0], [0.0, 0.0], 0.5), units="rows")


def planted(rng: np.random.Generator, trials: int, tpr: list[float], rho: float) -> dict[str, AttackScores]:
    from scipy.special import ndtri

    common = rng.standard_normal((2, trials, 1))
    latent = np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.standard_normal((2, trials, len(tpr)))
    member, nonmember = latent[0] > ndtri(1 - np.array(tpr)), latent[1] > 0
    return {f"attack {i}": AttackScores(member[:, i], nonmember[:, i], 0.5) for i in range(len(tpr))}


@pytest.mark.parametrize(("tpr", "rho"), [([0.5] * 10, 0.0), ([0.6] * 10, 0.9), ([0.8] + [0.6] * 5, 0.5)])
def test_highest_of_many_covers_the_highest_truth(tpr: list[float], rho: float) -> None:
    rng = np.random.default_rng(5)
    found = [worst_advantage(planted(rng, 150, tpr, rho), rng=rng, draws=1000).advantage for _ in range(120)]
    truth = max(tpr) - 0.5
    assert np.mean([e.low <= truth <= e.high for e in found]) >= 0.93
    assert np.mean([e.low > truth for e in found]) <= 0.05


def test_the_luckiest_of_twenty_null_attacks_proves_nothing() -> None:
    rng = np.random.default_rng(6)
    found = [worst_advantage(planted(rng, 200, [0.5] * 20, 0.0), rng=rng, draws=1000) for _ in range(60)]
    assert np.mean([f.advantage.value for f in found]) > 0.06  # the winner's curse
    assert np.mean([max(e.low for e in f.each.values()) > 0 for f in found]) > 0.2  # each by itself claims too much
    assert np.mean([f.advantage.low > 0 for f in found]) <= 0.06


def test_one_attack_keeps_its_own_interval_and_copies_cost_nothing() -> None:
    rng = np.random.default_rng(7)
    attack = planted(rng, 200, [0.7], 0.0)["attack 0"]
    single = advantage(*attack)
    one = worst_advantage({"only": attack}, rng=rng)
    assert one.attack == "only"
    assert (one.advantage.low, one.advantage.high) == pytest.approx((single.low, single.high))
    copies = worst_advantage({str(i): attack for i in range(15)}, rng=rng).advantage
    assert copies.low == pytest.approx(single.low, abs=0.003)
    different = worst_advantage(planted(rng, 200, [0.7] * 15, 0.0), rng=rng)
    assert min(e.value - e.low for e in different.each.values()) + 0.01 < different.advantage.value - different.advantage.low
    named = different.each[different.attack]
    assert different.advantage.value == named.value == max(e.value for e in different.each.values())


def test_attacks_without_answers_take_no_part() -> None:
    rng = np.random.default_rng(8)
    silent = AttackScores([np.nan] * 50, [0.0] * 50, 0.5)
    good = AttackScores(np.ones(50), np.zeros(50), 0.5)
    found = worst_advantage({"silent": silent, "good": good}, rng=rng)
    assert found.attack == "good"
    assert found.each["silent"].reason == "the attack has no score of members"
    assert found.advantage.low < 0.95
    none = worst_advantage({"silent": silent}, rng=rng)
    assert (none.attack, none.advantage.reason) == (
        "",
        "no attack has an advantage: silent: the attack has no score of members",
    )
    with pytest.raises(ConfigError, match="no attack"):
        worst_advantage({}, rng=rng)
    with pytest.raises(InputError, match="same trials"):
        worst_advantage({"a": good, "b": AttackScores([1.0], [0.0], 0.5)}, rng=rng)
    same = [worst_advantage({"a": good, "b": good}, rng=np.random.default_rng(9)) for _ in range(2)]
    assert same[0] == same[1]
