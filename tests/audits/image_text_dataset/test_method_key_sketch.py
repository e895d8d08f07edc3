"""The sketch equals one pass whatever the merges, is exact while small, and is unbiased when it samples."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.audits.image_text_dataset.method.key_sketch import KeySketch, duplicates


def _keys(rng: np.random.Generator, n: int, distinct: int) -> np.ndarray:
    return rng.integers(2**63, size=distinct, dtype=np.uint64)[rng.integers(distinct, size=n)]


def test_exact_counts_while_everything_fits() -> None:
    keys = _keys(np.random.default_rng(0), 5000, 800)
    truth = Counter(keys.tolist())
    found = duplicates(KeySketch.of(keys, capacity=1000))
    assert found.exact
    assert found.distinct.value == found.distinct.low == found.distinct.high == len(truth)
    assert found.redundant.value == pytest.approx(1 - len(truth) / 5000, abs=1e-12)
    assert found.repeated.value == pytest.approx(sum(c for c in truth.values() if c > 1) / 5000, abs=1e-12)
    assert list(found.largest) == sorted(truth.values(), reverse=True)[:20]
    assert {m.rows: m.keys.value for m in found.multiplicities}[3] == sum(c >= 3 for c in truth.values())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=300), st.integers(1, 60), st.lists(st.integers(0, 300), max_size=5), st.randoms())
def test_merge_is_one_pass(values, capacity, cuts, random) -> None:
    keys = np.array(values, dtype=np.uint64)
    parts = [KeySketch.of(part, capacity=capacity) for part in np.split(keys, sorted(min(c, len(keys)) for c in cuts))]
    whole = KeySketch.of(keys, capacity=capacity)
    random.shuffle(parts)
    assert KeySketch.merge(parts) == whole
    nested = parts[0]
    for part in parts[1:]:
        nested = KeySketch.merge([part, nested])
    assert nested == whole
    assert KeySketch.restore(whole.state()) == whole
    truth = Counter(values)
    assert all(truth[int(k)] == c for k, c in zip(whole.keys, whole.counts, strict=True))
    assert len(whole.keys) <= capacity


def test_weak_hashes_are_spread() -> None:
    sketch = KeySketch.of(np.arange(100_000, dtype=np.uint64), capacity=2000)
    assert 1000 * 0.8 < len(sketch.keys) <= 2000


def test_unbiased_and_covered_with_a_heavy_hitter() -> None:
    truth, covered, values = 20_000, 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        keys = rng.integers(2**63, size=truth, dtype=np.uint64)
        rows = np.concatenate([keys, np.repeat(keys[:1], 30_000), keys[:4000]])
        found = duplicates(KeySketch.of(rows, capacity=1024))
        assert not found.exact
        values.append(found.distinct.value)
        covered += found.redundant.low <= 1 - truth / len(rows) <= found.redundant.high
    assert abs(np.mean(values) / truth - 1) < 4 * 1.2 / np.sqrt(1024 * 60)
    assert covered >= 53


def test_intervals_of_rare_multiplicities_cover_and_zero_has_an_upper_limit() -> None:
    rng = np.random.default_rng(5)
    keys = rng.integers(2**63, size=50_000, dtype=np.uint64)
    sketch = KeySketch.of(keys, capacity=1024)
    none = sketch.distinct(least=2)
    assert none.value == 0 and none.low == 0 and 0 < none.high < 1000


def test_empty_and_mismatched_sketches() -> None:
    empty = KeySketch.of(np.empty(0, np.uint64))
    assert not duplicates(empty).redundant.defined
    assert KeySketch.merge([empty, KeySketch.of(np.ones(3, np.uint64))]).rows == 3
    with pytest.raises(ValueError, match="capacity"):
        KeySketch.merge([empty, KeySketch.of(np.ones(3, np.uint64), capacity=7)])
