"""The one-pass measurements against plain numpy: merging in any order, and cutting, change nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audits.scorer_mixture.columns import GROUP, SCORE, SLICE
from assaymark.audits.scorer_mixture.method.moments import moments
from assaymark.audits.scorer_mixture.probes import moments as moments_module
from assaymark.audits.scorer_mixture.probes.histograms import ScoreHistograms
from assaymark.audits.scorer_mixture.probes.moments import MomentsProbe
from assaymark.audits.scorer_mixture.probes.row_keys import FIT, TEST, RowRules
from assaymark.audits.scorer_mixture.probes.row_sample import MAX_VALUES, RowSample
from assaymark.data.hashing import hash_column
from assaymark.data.probe import Batch

COLUMNS = ("a", "b", "c")
ROWS = 400


def rules(**changes: Any) -> RowRules:
    known = {"positives": frozenset({"1"}), "negatives": frozenset({"0"}), "identity": ("id",), **changes}
    return RowRules(COLUMNS, **known)


def drawn(rows: int = ROWS, *, seed: int = 0, holes: float = 0.15) -> pa.Table:
    rng = np.random.default_rng(seed)
    scores = rng.random((rows, 3))
    scores[rng.random((rows, 3)) < holes] = np.nan
    columns = {f"{SCORE}{name}": pa.array(scores[:, i]) for i, name in enumerate(COLUMNS)}
    label = pa.array([str(y) for y in rng.integers(0, 2, rows)], pa.large_string())
    ids = pa.array([f"id-{i}" for i in range(rows)], pa.large_string())
    place = {"shard": pa.array(np.zeros(rows), pa.int32()), "row": pa.array(np.arange(rows), pa.int64())}
    return pa.table({**columns, "label": label, "id": ids, **place})


def pieces(table: pa.Table, *, seed: int = 1) -> list[pa.Table]:
    """Shuffled rows in pieces of uneven size."""
    rng = np.random.default_rng(seed)
    shuffled = table.take(pa.array(rng.permutation(table.num_rows)))
    edges = [0, *np.sort(rng.choice(np.arange(1, table.num_rows), 6, replace=False)).tolist(), table.num_rows]
    return [shuffled.slice(start, stop - start) for start, stop in pairwise(edges)]


def merged(probe: Any, parts: list[pa.Table]) -> Any:
    """States merged as a lopsided tree."""
    states = [probe.aggregate(Batch(part)) for part in parts]
    total = probe.combine([states[-1], states[0]])
    return probe.finalize(probe.combine([*states[1:-1][::-1], total]))


def test_moments_of_pieces_are_those_of_the_rows() -> None:
    table, probe = drawn(), MomentsProbe(rules())
    streamed = merged(probe, pieces(table))
    parsed = rules().parse(Batch(table))
    complete = np.isfinite(parsed.scores).all(axis=1)
    for split in (FIT, TEST):
        for label in (0, 1):
            chosen = complete & (parsed.split == split) & (parsed.label == label)
            expected = moments(parsed.scores[chosen], parsed.label[chosen])
            assert np.allclose(streamed.grams[split, label, 0b111], expected.xtx, rtol=1e-12)
            assert streamed.rows[split, label, 0b111] == chosen.sum()
    unscored = int(
        (~np.isfinite(np.column_stack([table.column(f"{SCORE}{c}") for c in COLUMNS]).astype(float)).any(axis=1)).sum()
    )
    assert sum(streamed.rows.values()) == ROWS - unscored and streamed.dropped["no score"] == unscored


def test_leaving_a_scorer_out_afterwards_is_never_having_had_it() -> None:
    table = drawn()
    probe = MomentsProbe(rules())
    without_b = probe.finalize(probe.aggregate(Batch(table))).without([1], 3)
    gone = table.set_column(table.column_names.index(f"{SCORE}b"), f"{SCORE}b", pa.nulls(ROWS, pa.float64()))
    fresh = probe.finalize(probe.aggregate(Batch(gone)))
    for (split, label, pattern), rows in fresh.rows.items():
        key = split, label, (pattern & 1) | (pattern >> 2 & 1) << 1
        assert without_b.rows[key] == rows
        assert np.allclose(without_b.grams[key], fresh.grams[split, label, pattern][np.ix_([0, 2, 3], [0, 2, 3])])


def test_too_many_patterns_keep_the_fullest_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments_module, "MAX_PATTERNS", 3)
    table, probe = drawn(holes=0.4), MomentsProbe(rules())
    one = probe.finalize(probe.aggregate(Batch(table)))
    many = merged(probe, pieces(table))
    assert one.rows == many.rows and {pattern for _, _, pattern in one.rows} <= {0b111, 0b011, 0b101, 0b110}
    assert len({pattern for _, _, pattern in one.rows}) == 3 and one.beyond == many.beyond > 0


def test_the_sample_is_the_rows_with_the_smallest_keys() -> None:
    table = drawn(holes=0.0)
    whole = merged(RowSample(rules(), ROWS), pieces(table))
    some = merged(RowSample(rules(), 50), pieces(table, seed=2))
    assert np.array_equal(some.key, np.sort(whole.key)[:50]) and np.array_equal(some.scores, whole.scores[:50])
    for i in range(50):
        row = int(some.row[i])
        assert some.scores[i].tolist() == [table.column(f"{SCORE}{c}")[row].as_py() for c in COLUMNS]
        assert str(some.label[i]) == table.column("label")[row].as_py()


def test_the_split_follows_the_group_and_the_seed() -> None:
    table = drawn(2_000, holes=0.0).append_column(GROUP, pa.array([f"g{i // 20}" for i in range(2_000)], pa.large_string()))
    grouped = rules(has_group=True).parse(Batch(table))
    for start in range(0, 2_000, 20):
        assert len(set(grouped.split[start : start + 20].tolist())) == 1
    plain, other = rules().parse(Batch(table)), rules(seed=1).parse(Batch(table))
    assert abs((plain.split == FIT).mean() - 0.5) < 0.05 and 0.4 < (plain.split == other.split).mean() < 0.6
    fewer = rules(fit_share=0.2).parse(Batch(table))
    assert abs((fewer.split == FIT).mean() - 0.2) < 0.04
    assert set(np.flatnonzero(fewer.split == FIT)) <= set(np.flatnonzero(plain.split == FIT)), "a smaller share is a part"


def test_hashes_know_equal_from_different() -> None:
    numbers = hash_column(pa.array([0.0, -0.0, float("nan"), None, 1.0]))
    assert numbers[0] == numbers[1] and numbers[2] == numbers[3] and len(set(numbers.tolist())) == 3
    texts = hash_column(pa.array(["", None, "a", "t"], pa.large_string()))
    assert len(set(texts.tolist())) == 4
    lists = hash_column(pa.array([[1.0, 2.0], [2.0, 1.0], None], pa.large_list(pa.float32())))
    assert len(set(lists.tolist())) == 3


def test_slices_with_too_many_values_are_refused_and_others_kept() -> None:
    many = pa.array([f"v{i}" for i in range(ROWS)], pa.large_string())
    few = pa.array(["x" if i % 3 else None for i in range(ROWS)], pa.large_string())
    table = drawn(holes=0.0).append_column(f"{SLICE}many", many).append_column(f"{SLICE}few", few)
    sample = merged(RowSample(rules(slices=("many", "few")), ROWS), pieces(table))
    assert sample.crowded == ("many",) and len(sample.values["many"]) == MAX_VALUES + 1
    ((code, value),) = sample.values["few"].items()
    assert value == "x" and (sample.slices["few"] == code).sum() == sum(1 for i in range(ROWS) if i % 3)


def test_histograms_count_every_score_once() -> None:
    table = drawn()
    counts = merged(ScoreHistograms(rules(labelled=False)), pieces(table)).counts
    for i, name in enumerate(COLUMNS):
        values = np.asarray(table.column(f"{SCORE}{name}").to_numpy())
        expected, _ = np.histogram(values[np.isfinite(values)], bins=20, range=(0, 1))
        assert np.array_equal(counts[i], expected)
