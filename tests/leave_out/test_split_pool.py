from __future__ import annotations

import numpy as np
import pytest

from assaymark.errors import ConfigError, InputError, UnknownName
from assaymark.leave_out import checked_sets, content_digests, split_pool
from assaymark.leave_out.subsampled import membership

IDS = [f"item {i}" for i in range(200)]


def test_equal_ids_get_equal_sets_in_whatever_order() -> None:
    split = split_pool(IDS, sizes=(100, 30, 30, 40), seed=1)
    assert split.sizes == {"S": 100, "C": 30, "I": 30, "E": 40} and split.duplicates == 0
    order = np.random.default_rng(0).permutation(200)
    shuffled = split_pool([IDS[i] for i in order], sizes=(100, 30, 30, 40), seed=1)
    assert [split.sets[i] for i in order] == list(shuffled.sets)
    assert split_pool(IDS, sizes=(100, 30, 30, 40), seed=2).sets != split.sets
    by_name = {"S": 100, "C": 30, "I": 30, "E": 40}
    assert split_pool(IDS, sizes=by_name, seed=1) == split


def test_sizes_are_shares_or_counts() -> None:
    assert split_pool(IDS[:160], seed=0).sizes == {"S": 130, "C": 10, "I": 10, "E": 10}, "65 : 5 : 5 : 5 as published"
    shares = split_pool(IDS, sizes={"S": 0.5, "C": 0.2, "I": 0.2}, seed=0)
    assert shares.sizes == {"S": 100, "C": 40, "I": 40, "E": 0} and shares.sets.count("") == 20
    with pytest.raises(ConfigError, match="201 items, the pool has 200"):
        split_pool(IDS, sizes=(101, 50, 50), seed=0)
    with pytest.raises(ConfigError, match="set C would be empty"):
        split_pool(IDS[:8], sizes=(0.8, 0.05, 0.1, 0.05), seed=0)
    with pytest.raises(UnknownName, match="external"):
        split_pool(IDS, sizes={"S": 1, "candidates": 1}, seed=0)
    with pytest.raises(InputError, match="'item 3' comes more than once"):
        split_pool([*IDS, "item 3"], seed=0)


def test_copies_stay_together_and_move_no_other_item() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 2, 2), dtype=np.uint8)
    plain = split_pool(IDS, sizes=(100, 30, 30, 40), seed=1, contents=content_digests(pixels))
    assert plain == split_pool(IDS, sizes=(100, 30, 30, 40), seed=1)
    pixels[50:60] = pixels[7]
    pixels[199] = pixels[0]
    grouped = split_pool(IDS, sizes=(100, 30, 30, 40), seed=1, contents=content_digests(pixels))
    assert grouped.duplicates == 11
    assert len({grouped.sets[i] for i in (7, *range(50, 60))}) == 1 and grouped.sets[199] == grouped.sets[0]
    assert grouped.sizes == plain.sizes
    checked_sets(IDS, grouped.sets, contents=content_digests(pixels))
    with pytest.raises(InputError, match=r"content of 'item 7' is in set . and in set . \(as 'item 5\d'\), \d+ such"):
        checked_sets(IDS, plain.sets, contents=content_digests(pixels))


def test_a_candidate_that_both_models_saw_is_refused() -> None:
    with pytest.raises(InputError, match="id 'a' is in set S and in set C, 1 such in all"):
        checked_sets(["a", "b", "c", "a"], ["S", "C", "I", "C"])
    with pytest.raises(InputError, match="no item is in set I"):
        checked_sets(["a", "b"], ["S", "C"])
    with pytest.raises(UnknownName, match="'X'"):
        checked_sets(["a"], ["X"])
    assert checked_sets(["a", "b", "c", "d", "a"], ["S", "C", "I", "", ""]).tolist() == ["S", "C", "I", "", ""]


def test_each_model_sees_its_own_half() -> None:
    member = membership(IDS, models=8, seed=3)
    assert member.sum(axis=1).tolist() == [100] * 8
    assert len({row.tobytes() for row in member}) == 8
    assert np.array_equal(membership(IDS, models=4, seed=3), member[:4])
    order = np.random.default_rng(0).permutation(200)
    assert np.array_equal(membership([IDS[i] for i in order], models=8, seed=3), member[:, order])
    assert member.mean(axis=0).min() + 0.2 > 0 and np.abs(np.corrcoef(member) - np.eye(8)).max() < 0.3
    with pytest.raises(ConfigError, match="2 models or more"):
        membership(IDS, models=1, seed=0)
