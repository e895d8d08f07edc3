"""Summaries of histograms against the same numbers from the raw values; near duplicates against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.audits.image_text_dataset.method import anatomy


def test_length_summary_equals_the_raw_values() -> None:
    lengths = np.random.default_rng(1).poisson(40, size=3000)
    lengths[:30] = 0
    summary = anatomy.length_summary(np.bincount(lengths, minlength=200))
    assert summary.mean.value == pytest.approx(lengths.mean())
    half = 1.96 * lengths.std(ddof=1) / np.sqrt(3000)
    assert summary.mean.high == pytest.approx(lengths.mean() + half, abs=1e-2)
    assert summary.median.value == np.quantile(lengths, 0.5, method="inverted_cdf")
    assert summary.high_decile.value == np.quantile(lengths, 0.9, method="inverted_cdf")
    assert summary.empty.value == pytest.approx((lengths == 0).mean())
    assert summary.overflow.value == 0


def test_length_summary_of_nothing_is_undefined() -> None:
    assert not anatomy.length_summary(np.zeros(10, int)).median.defined


def test_quantile_limits_cover() -> None:
    rng, covered = np.random.default_rng(2), 0
    for _ in range(200):
        estimate = anatomy.histogram_quantile(
            np.bincount(rng.integers(0, 1001, size=400), minlength=1001), np.arange(1001), 0.5
        )
        covered += estimate.low <= 500 <= estimate.high
    assert covered >= 182


def test_sizes_either_and_both() -> None:
    either, both, sized = anatomy.size_counts([1024, 1023, np.nan, 300, 0], [10, 1024, 50, 256, 5])
    assert (either.tolist(), both.tolist(), sized) == ([2, 2, 3], [0, 1, 2], 3)
    shares = anatomy.size_shares(either, both, sized)
    assert shares[2].limit == 256 and shares[2].both.value == pytest.approx(2 / 3)


def test_concentration_and_hosts() -> None:
    answer = anatomy.concentration([97, 1, 1, 1, 0], rng=np.random.default_rng(0), top=(1, 2))
    assert answer.sources == 4 and answer.top[1].value == 0.97
    assert anatomy.host_share({"Shop.example": 3, "b.org": 1}, ["shop.example"]).value == 0.75
    assert list(anatomy.category_shares({"b": 1, "a": 1, "c": 5})) == ["c", "a", "b"]


def test_hamming_pairs_join_what_brute_force_joins() -> None:
    rng = np.random.default_rng(3)
    base = rng.integers(2**63, size=60, dtype=np.uint64)
    flips = np.zeros(60, np.uint64)
    for i in range(60):
        for bit in rng.choice(64, size=i % 6, replace=False):
            flips[i] |= np.uint64(1) << np.uint64(bit)
    hashes = np.concatenate([base, base ^ flips, base[:5]])
    for distance in (0, 1, 3):
        near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= distance
        first, second = np.nonzero(np.triu(near, 1))
        brute = anatomy.group_pairs(anatomy.Pairs(first, second), n=len(hashes))
        ours = anatomy.group_pairs(anatomy.hamming_pairs(hashes, distance=distance), n=len(hashes))
        assert np.array_equal(ours, brute)


def test_hamming_pairs_of_one_image_many_times_stay_few() -> None:
    pairs = anatomy.hamming_pairs(np.full(20_000, 7, np.uint64))
    assert len(pairs.first) == 19_999


def test_cosine_components_do_not_depend_on_the_block() -> None:
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((90, 16))
    vectors[40:60] = vectors[:20] + 0.05 * rng.standard_normal((20, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    one, many = (anatomy.cosine_pairs(vectors, block=block) for block in (1000, 7))
    assert np.array_equal(one.first, many.first) and np.array_equal(one.second, many.second)
    found = anatomy.near_duplicates(one, n=90)
    assert found.redundant.value == pytest.approx(20 / 90) and found.largest == 2
    assert np.array_equal(found.group[40:60], np.arange(20))
