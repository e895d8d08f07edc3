"""Kappa against statsmodels; Gini and top share against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from assaymark.errors import InputError
from assaymark.stats import cohen_kappa, cohen_kappa_from_table, gini, resample_weights, top_share, wilson


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=9, max_size=9))
def test_kappa_equals_statsmodels(cells: list[int]) -> None:
    table = np.array(cells).reshape(3, 3)
    for weights in (None, "linear", "quadratic"):
        oracle = cohens_kappa(table, wt=weights)
        estimate = cohen_kappa_from_table(table, weights=weights)
        assert estimate.value == pytest.approx(oracle.kappa, abs=1e-10)
        assert estimate.low == pytest.approx(max(oracle.kappa_low, -1), abs=1e-10)
        assert estimate.high == pytest.approx(min(oracle.kappa_upp, 1), abs=1e-10)


def test_kappa_of_labels_that_are_words() -> None:
    rng = np.random.default_rng(0)
    a = rng.choice(["hate", "none", "abuse"], size=200)
    b = np.where(rng.random(200) < 0.7, a, rng.choice(["hate", "none"], size=200))
    assert cohen_kappa(a, b).value == pytest.approx(cohen_kappa_score(a, b), rel=1e-12)
    assert cohen_kappa(a, b).n == 200


def test_kappa_covers_its_truth() -> None:
    # both copy a fair coin with probability 1/2, so they agree in 5/8 of the items and kappa is 1/4
    rng, covered = np.random.default_rng(1), 0
    for _ in range(300):
        coin = rng.integers(0, 2, size=200)
        a, b = (np.where(rng.random(200) < 0.5, coin, rng.integers(0, 2, size=200)) for _ in range(2))
        estimate = cohen_kappa(a, b)
        covered += estimate.low <= 0.25 <= estimate.high
    assert 0.90 <= covered / 300 <= 0.99


def test_kappa_edges() -> None:
    assert cohen_kappa(["a", "a"], ["a", "a"]).reason == "both raters gave one and the same label throughout"
    assert not cohen_kappa([1], [1]).defined
    perfect, opposite = cohen_kappa([0, 1, 0, 1], [0, 1, 0, 1]), cohen_kappa([0, 1, 0, 1], [1, 0, 1, 0])
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert (opposite.value, opposite.low) == (-1.0, -1.0)
    assert cohen_kappa([0, 0, 0], [0, 0, 1]).value == 0.0
    with pytest.raises(ValueError, match="one length"):
        cohen_kappa([0], [0, 1])
    with pytest.raises(ValueError, match="square"):
        cohen_kappa_from_table([[1, 2]])


def slow_gini(values: np.ndarray) -> float:
    return float(np.abs(np.subtract.outer(values, values)).mean() / (2 * values.mean()))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=40).filter(any))
def test_gini_equals_the_mean_difference(counts: list[int]) -> None:
    estimate = gini(counts, rng=np.random.default_rng(0), resamples=20)
    assert estimate.value == pytest.approx(slow_gini(np.array(counts, dtype=float)), abs=1e-12)
    assert 0.0 <= estimate.low <= estimate.value <= estimate.high <= 1.0


def test_gini_bootstrap_equals_the_loop_over_sources() -> None:
    counts = np.sort(np.random.default_rng(2).pareto(1.5, size=40))
    rows = np.concatenate(list(resample_weights(np.ones(40), rng=np.random.default_rng(3), resamples=80)))
    draws = [slow_gini(np.repeat(counts, row.astype(int))) for row in rows]
    estimate = gini(counts, rng=np.random.default_rng(3), resamples=80)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), rel=1e-10)


def test_gini_of_a_million_sources_and_edges() -> None:
    rng = np.random.default_rng(4)
    counts = rng.geometric(0.3, size=1_000_000)
    estimate = gini(counts, rng=rng)
    # a geometric variable with success p has Gini (1 - p) / (2 - p)
    assert estimate.low <= 0.7 / 1.7 <= estimate.high
    assert estimate.high - estimate.low < 0.003
    one = gini([0, 0, 0, 9], rng=rng)
    assert one.value == pytest.approx(0.75)
    assert gini([5], rng=rng).reason == "a Gini coefficient needs at least 2 sources"
    assert gini([0, 0], rng=rng).reason == "no source has an item"
    with pytest.raises(InputError, match="negative"):
        gini([1, -1], rng=rng)


def test_top_share() -> None:
    counts = [5, 100, 20, 1, 50]
    assert top_share(counts, 2) == wilson(150, 176)
    assert top_share(counts, 9).value == 1.0
    assert top_share([], 3).reason == top_share([0, 0], 1).reason == "no source has an item"
    with pytest.raises(ValueError, match="at least one source"):
        top_share(counts, 0)
