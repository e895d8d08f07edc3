"""UnitMem: golden numbers, naive loops, merges in any order, a planted unit; averages over views against a loop."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from assaymark.stats.memorization.units import merge_units, rectified, unit_memorization, unit_memorization_of, unit_state


def naive_unitmem(column: np.ndarray, rest: str) -> float:
    """The definition, point by point."""
    best = max(range(len(column)), key=lambda i: column[i])
    others = [value for i, value in enumerate(column) if i != best]
    middle = sum(others) / len(others) if rest == "mean" else float(np.median(others))
    return float((column[best] - middle) / (column[best] + middle))


def test_golden_numbers() -> None:
    mu = np.array([[1.0, 2, 3, 0], [0, 2, 1, 0], [0, 2, 1, 0], [0, 2, 1, 0]])
    for rest in ("mean", "median"):
        found = unit_memorization(mu, rest=rest)
        assert found.unitmem[:3].tolist() == [1.0, 0.0, 0.5]
        assert np.isnan(found.unitmem[3]) and found.dead.tolist() == [False, False, False, True]
        assert found.owner.tolist()[0] == 0


@pytest.mark.parametrize("rest", ["mean", "median"])
def test_array_form_equals_the_loop(rest: str) -> None:
    mu = np.random.default_rng(3).exponential(size=(41, 17))
    found = unit_memorization(mu, rest=rest)
    assert found.unitmem == pytest.approx([naive_unitmem(column, rest) for column in mu.T])
    assert found.owner.tolist() == mu.argmax(axis=0).tolist()
    assert ((found.unitmem >= 0) & (found.unitmem <= 1)).all()


def test_states_merge_in_any_order_and_owners_do_not_depend_on_it() -> None:
    rng = np.random.default_rng(4)
    mu = rng.integers(0, 5, size=(60, 9)) / 4.0  # many ties
    keys = rng.permutation(10_000)[:60].astype(np.int64)
    whole = unit_state(mu, keys, top=3)
    parts = [unit_state(mu[rows], keys[rows], top=3) for rows in np.array_split(rng.permutation(60), 5)]
    for order in itertools.islice(itertools.permutations(parts), 6):
        merged = merge_units([merge_units(order[:2]), merge_units(order[2:])])
        for name in whole._fields:
            assert np.array_equal(getattr(merged, name), getattr(whole, name)), name  # quarters add up exactly
    assert unit_memorization_of(whole).largest == pytest.approx(np.sort(mu, axis=0)[-3:].mean(axis=0))


def test_one_point_and_numbers_that_are_none_are_undefined() -> None:
    assert np.isnan(unit_memorization(np.ones((1, 2))).unitmem).all()
    mu = np.ones((4, 2))
    mu[1, 0] = np.nan
    found = unit_memorization(mu)
    assert np.isnan(found.unitmem[0]) and found.unitmem[1] == 0 and not found.dead.any()


def test_rectifying_keeps_the_range() -> None:
    values = torch.tensor([[-1.0, 2.0], [0.5, -3.0]])
    assert rectified(values, how="relu").tolist() == [[0.0, 2.0], [0.5, 0.0]]
    assert rectified(values, how="abs").min() >= 0 and rectified(values, how="none") is values
    mu = np.array([[-1.0], [-1.0], [1.0]])
    shifted = unit_memorization_of(unit_state(mu, np.arange(3)), shift=True)
    assert shifted.unitmem.tolist() == [1.0]


def test_a_planted_unit_fires_for_its_point_alone() -> None:
    rng = np.random.default_rng(8)
    hidden = np.maximum(rng.normal(size=(200, 64)) @ rng.normal(size=(64, 32)) / 8, 0)
    direction = hidden[17] / np.linalg.norm(hidden[17])
    reaction = hidden @ direction
    bias = -np.delete(reaction, 17).max()
    mu = np.column_stack([hidden, np.maximum(reaction + bias, 0)])
    found = unit_memorization(mu)
    assert found.owner[-1] == 17 and found.unitmem[-1] > 0.95 > found.unitmem[:-1].max()
