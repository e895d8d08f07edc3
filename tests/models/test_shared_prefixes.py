from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from assaymark.models.shared_prefixes import WORTH_SHARING, common_length, shared_prefixes


def test_common_length_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        first, second = (rng.integers(0, 2, rng.integers(0, 8)).tolist() for _ in range(2))
        expected = 0
        while expected < min(len(first), len(second)) and first[expected] == second[expected]:
            expected += 1
        assert common_length(first, second) == expected
        assert common_length(first, first) == len(first)


def saved_by(groups: list[tuple[int, list[int]]]) -> int:
    return sum((len(rows) - 1) * length for length, rows in groups)


def best_of_all_runs(sequences: list[list[int]], limits: list[int]) -> int:
    """The most that any partition of the sorted sequences into runs saves, runs that are not worth it saving nothing."""
    order = sorted(range(len(sequences)), key=sequences.__getitem__)
    best = 0
    for count in range(len(order)):
        for cuts in combinations(range(1, len(order)), count):
            saved = 0
            for start, stop in zip((0, *cuts), (*cuts, len(order)), strict=True):
                rows = order[start:stop]
                columns = zip(*(sequences[row] for row in rows), strict=False)
                shared = next((place for place, column in enumerate(columns) if len(set(column)) > 1), 10**6)
                length = min([shared, *(limits[row] for row in rows)]) if len(rows) > 1 else 0
                saved += (len(rows) - 1) * length
            best = max(best, saved)
    return best


@pytest.mark.parametrize("seed", range(12))
def test_groups_save_as_much_as_the_best_partition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    instruction = rng.integers(0, 50, 80).tolist()
    prompts = [instruction[: rng.integers(0, 80)] + rng.integers(0, 50, rng.integers(0, 300)).tolist() for _ in range(3)]
    sequences = [[*prompts[rng.integers(3)], *rng.integers(50, 53, rng.integers(1, 9)).tolist()] for _ in range(9)]
    limits = [int(rng.integers(len(sequence) // 2, len(sequence))) for sequence in sequences]
    groups = shared_prefixes(sequences, limits)
    assert sorted(row for _, rows in groups for row in rows) == list(range(9)), "every row once"
    for length, rows in groups:
        assert all(sequences[row][:length] == sequences[rows[0]][:length] for row in rows)
        assert all(length <= limits[row] for row in rows)
    best = best_of_all_runs(sequences, limits)
    # Runs that save less than a forward pass is worth are not made.
    assert best - 3 * WORTH_SHARING <= saved_by(groups) <= best
    assert saved_by(groups) > 0 or best < WORTH_SHARING


def test_prompts_of_two_sets_with_one_instruction_stay_apart() -> None:
    instruction, first, second = [1] * 50, [2] * 300, [3] * 300
    sequences = [[*instruction, *(first if row % 2 else second), 10 + row] for row in range(6)]
    groups = shared_prefixes(sequences, [350] * 6)
    assert sorted((length, sorted(rows)) for length, rows in groups) == [(350, [0, 2, 4]), (350, [1, 3, 5])]
    growing = [[1] * 700 + [2] * (30 * step) + [3] for step in range(11)]
    assert [(length, len(rows)) for length, rows in shared_prefixes(growing, [900] * 11)] == [(700, 11)]


def test_what_is_not_worth_it_is_left_alone() -> None:
    assert shared_prefixes([[1, 2, 3], [1, 2, 4], [5]], [2, 2, 0]) == [(0, [0, 1, 2])]
    assert shared_prefixes([], []) == []
    assert shared_prefixes([[1] * 500], [499]) == [(0, [0])]
    same = [[1] * 500] * 3000
    assert [(length, len(rows)) for length, rows in shared_prefixes(same, [499] * 3000)] == [(499, 3000)]
    nested = [[1] * length for length in range(1, 1500)]
    assert len(shared_prefixes(nested, list(range(1499)))) >= 1, "prefixes within prefixes, deeper than any recursion"
