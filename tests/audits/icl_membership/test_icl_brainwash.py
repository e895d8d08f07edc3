"""The search for the number of repetitions, against a plain loop."""

from __future__ import annotations

from math import ceil, log2
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assaymark.audits.icl_membership.method.brainwash import BrainwashSearch, brainwash_scores, wrong_labels

Search = Literal["bisect", "linear"]


def run(oracle: np.ndarray, search: Search) -> BrainwashSearch:
    """Search P pairs whose success at 0..J is given, shape (P, J + 1); no question may come twice."""
    pairs, numbers = oracle.shape
    found = BrainwashSearch(np.arange(pairs) // 2, np.arange(pairs) % 2, most=numbers - 1, search=search)
    seen: set[tuple[int, int]] = set()
    while not found.finished:
        asked = found.questions()
        assert asked.pair.size and len(set(asked.pair.tolist())) == asked.pair.size
        np.testing.assert_array_equal(asked.target, asked.pair // 2)
        np.testing.assert_array_equal(asked.wrong, asked.pair % 2)
        new = set(zip(asked.pair.tolist(), asked.repetitions.tolist(), strict=True))
        assert not seen & new
        seen |= new
        found.answer(oracle[asked.pair, asked.repetitions])
    assert found.questions().pair.size == 0
    assert found.questions_asked.sum() == len(seen)
    return found


def first_success(oracle: np.ndarray) -> np.ndarray:
    return np.array([next((j for j, won in enumerate(row) if won), row.size) for row in oracle])


@pytest.mark.parametrize("most", [1, 2, 3, 6, 10, 14, 15])
def test_bisection_equals_the_scan_on_monotone_services(most: int) -> None:
    oracle = np.arange(most + 1) >= np.arange(most + 2)[:, None]
    by_scan, by_half = run(oracle, "linear"), run(oracle, "bisect")
    np.testing.assert_array_equal(by_scan.iterations, np.arange(most + 2))
    np.testing.assert_array_equal(by_half.iterations, np.arange(most + 2))
    np.testing.assert_array_equal(by_half.censored, np.arange(most + 2) == most + 1)
    np.testing.assert_array_equal(by_scan.questions_asked, np.minimum(np.arange(most + 2) + 1, most + 1))
    assert by_half.questions_asked.max() <= min(ceil(log2(most + 2)) + 1, most + 1)
    assert not by_half.non_monotone.any() and not by_scan.non_monotone.any()


def test_ten_statements_cost_five_questions() -> None:
    asked = run(np.arange(11) >= np.arange(12)[:, None], "bisect").questions_asked
    assert asked.max() == 5 and asked.min() >= 4


@given(st.lists(st.lists(st.booleans(), min_size=11, max_size=11), min_size=1, max_size=8))
def test_any_service(rows: list[list[bool]]) -> None:
    oracle = np.array(rows)
    by_scan, by_half = run(oracle, "linear"), run(oracle, "bisect")
    first = first_success(oracle)
    np.testing.assert_array_equal(by_scan.iterations, first)
    assert by_half.questions_asked.max() <= 11
    # a pair that failed its check was scanned: its number is the true one
    caught = by_half.non_monotone
    np.testing.assert_array_equal(by_half.iterations[caught], first[caught])
    # the others hold an answered success, behind an answered failure
    found = by_half.iterations.astype(int)
    for row, j in zip(oracle, found.tolist(), strict=True):
        assert (j == 11 or row[j]) and (j == 0 or not row[j - 1])
    monotone = (np.diff(oracle.astype(int), axis=1) >= 0).all(axis=1)
    assert not (caught & monotone).any()
    np.testing.assert_array_equal(found[monotone], first[monotone])


def test_a_success_that_bisection_steps_over_is_caught() -> None:
    # bisection asks 5 (no), 8 (yes), 7 (no) and has 8; the check asks 2
    oracle = np.zeros((3, 11), dtype=bool)
    oracle[:, 8:] = True
    oracle[0, 2] = oracle[1, 1:3] = True
    found = run(oracle, "bisect")
    assert found.non_monotone.tolist() == [True, True, False]
    assert found.iterations.tolist() == [2, 1, 8]


def test_a_failure_above_is_counted_and_changes_nothing() -> None:
    oracle = np.array([[True] * 11, [True] * 11])
    oracle[0, 8] = False
    found = run(oracle, "bisect")
    assert found.iterations.tolist() == [0, 0] and found.non_monotone.tolist() == [True, False]


def test_several_replies_decide_by_majority() -> None:
    thresholds = np.array([[2, 5, 9], [0, 0, 11], [11, 11, 3]])
    search = BrainwashSearch(np.arange(3), np.zeros(3), most=10)
    while not search.finished:
        asked = search.questions()
        search.answer(asked.repetitions[:, None] >= thresholds[asked.pair])
    np.testing.assert_array_equal(search.iterations, np.median(thresholds, axis=1))


def test_questions_that_cannot_be_asked_leave_no_number() -> None:
    search = BrainwashSearch([0, 0, 1], [1, 2, 0], most=10, search="linear")
    while not search.finished:
        asked = search.questions()
        search.answer(asked.repetitions >= 2, missing=asked.repetitions > asked.pair)
    np.testing.assert_array_equal(search.iterations, [np.nan, np.nan, 2])
    np.testing.assert_allclose(brainwash_scores(search.iterations, search.targets, count=3), [np.nan, 2, np.nan])
    assert search.questions_by_target(3).tolist() == [1 + 2, 3, 0]


def test_scores_are_means_over_wrong_labels() -> None:
    scores = brainwash_scores([1, 2, np.nan, 11, 11], [0, 0, 0, 2, 2], count=4)
    np.testing.assert_allclose(scores, [1.5, np.nan, 11, np.nan])


def test_answers_of_another_shape_are_refused() -> None:
    search = BrainwashSearch([0, 1], [1, 0])
    with pytest.raises(ValueError, match="2 questions were asked"):
        search.answer([True])
    with pytest.raises(ValueError, match="rows of equal length"):
        BrainwashSearch([0, 1], [1])
    with pytest.raises(ValueError, match="most = 0"):
        BrainwashSearch([0], [1], most=0)


def test_wrong_labels() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(6, size=6_000)
    wrong = wrong_labels(true, 6, rng=rng)
    assert wrong.shape == (6_000, 3) and (np.diff(wrong, axis=1) > 0).all() and (wrong != true[:, None]).all()
    # each of the five others is as likely
    counts = np.bincount((wrong - true[:, None]).reshape(-1) % 6, minlength=6)
    assert counts[0] == 0 and np.abs(counts[1:] - 3_600).max() < 5 * np.sqrt(6_000 * 0.6 * 0.4)
    assert wrong_labels([0, 1, 2], 3, rng=rng).tolist() == [[1, 2], [0, 2], [0, 1]]
    with pytest.raises(ValueError, match="no wrong one"):
        wrong_labels([0], 1, rng=rng)
