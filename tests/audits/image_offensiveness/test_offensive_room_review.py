"""The review queue and what verdicts on it say: pooled strata, honest intervals, refused files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audits.image_offensiveness.measures.review import OTHER, Queue, bin_names, build_queue
from assaymark.audits.image_offensiveness.measures.verdicts import (
    BestScores,
    precision_of_best,
    read_verdicts,
    reviewed,
)
from assaymark.audits.image_offensiveness.method.review import stratified_share
from assaymark.audits.image_offensiveness.probes.classes import ClassCounts, StratumSample
from assaymark.errors import InputError, SchemaError

EDGES = (0.5, 0.9)


def counts(classes: int = 4, per_cell: int = 40, seed: int = 0) -> ClassCounts:
    """Every stratum has `per_cell` rows and a sample of 5 of them."""
    rng = np.random.default_rng(seed)
    keys = np.arange(1, classes + 1).astype(np.uint64)
    cells = [(k, b) for k in keys for b in range(3)]
    n = 5 * len(cells)
    sample = StratumSample(
        np.repeat([k for k, _ in cells], 5).astype(np.uint64),
        np.repeat([b for _, b in cells], 5),
        rng.integers(0, 2**60, n).astype(np.uint64),
        np.zeros(n, np.int64),
        np.arange(n),
        np.ones(n, np.int64),
        (np.repeat([b for _, b in cells], 5) == 2).astype(np.int64),
        np.repeat([(-3.0, 1.0, 4.0)[b] for _, b in cells], 5).astype(np.float32),
    )
    flagged = np.arange(classes)[::-1].copy()
    return ClassCounts([f"c{i}" for i in range(classes)], keys, flagged, np.full((classes, 3), per_cell), sample)


def test_classes_with_few_flags_are_pooled_and_nothing_is_lost() -> None:
    queue = build_queue(counts(6), EDGES, per_stratum=3, own_classes=2)
    assert queue.classes == ["c0", "c1", OTHER]
    assert queue.sizes.sum() == 6 * 3 * 40
    assert queue.sizes[:, 2].tolist() == [160, 160, 160]
    assert np.bincount(queue.stratum, minlength=9).tolist() == [3] * 9


def test_the_pooled_sample_is_the_smallest_hashes_of_the_pool() -> None:
    given = counts(5, seed=7)
    queue = build_queue(given, EDGES, per_stratum=4, own_classes=1)
    pooled = (given.sample.class_key != 1) & (given.sample.bin == 1)
    want = given.sample.row[pooled][np.argsort(given.sample.key[pooled])[:4]]
    assert sorted(queue.row[(queue.bin == 1) & (queue.class_code == 1)]) == sorted(want)


def verdict_table(queue: Queue, verdict: Any) -> pa.Table:
    return pa.table(
        {
            "score_bin": [queue.bins[i] for i in queue.bin],
            "class": [queue.classes[i] for i in queue.class_code],
            "copies": queue.copies,
            "score": queue.score,
            "verdict": verdict,
        }
    )


def test_prevalence_weighs_strata_and_precision_looks_above_the_threshold() -> None:
    given = counts(2)._replace(bins=np.array([[100, 20, 10], [300, 50, 20]]))
    queue = build_queue(given, EDGES, per_stratum=5, own_classes=10)
    table = verdict_table(queue, ["1" if b == 2 else "" if b == 1 and i % 2 else "0" for i, b in enumerate(queue.bin)])
    verdicts = read_verdicts(table, queue)
    assert verdicts.blank > 0
    found = reviewed(queue, verdicts, threshold=0.9, confidence=0.95)
    assert found["prevalence.reviewed"].value == pytest.approx(30 / 500)
    assert found["flagged.precision"].value == pytest.approx(1.0)
    assert found["flagged.precision"].low is not None and found["flagged.precision"].low < 0.95  # ten verdicts are few


def test_copies_weigh_as_often_as_they_occur() -> None:
    queue = build_queue(counts(1), EDGES, per_stratum=5, own_classes=10)
    table = verdict_table(queue, ["1" if i % 5 == 0 else "0" for i in range(len(queue.bin))])
    weighted = table.set_column(2, "copies", pa.array([9 if i % 5 == 0 else 1 for i in range(table.num_rows)]))
    plain = reviewed(queue, read_verdicts(table, queue), threshold=0.9, confidence=0.95)["prevalence.reviewed"]
    heavy = reviewed(queue, read_verdicts(weighted, queue), threshold=0.9, confidence=0.95)["prevalence.reviewed"]
    assert plain.value == pytest.approx(0.2)
    assert heavy.value == pytest.approx(9 / 13)
    assert heavy.n < plain.n


def test_coverage_where_most_strata_agree() -> None:
    """300 reviews of 50 strata of 15 verdicts, most of which find nothing: the textbook variance alone is too small there."""
    rng = np.random.default_rng(0)
    sizes = np.array([[4000] * 5, [300] * 5, [100] * 5])
    truth = np.array([[0.01] * 5, [0.3] * 5, [0.95] * 5])
    prevalence = float((sizes * truth).sum() / sizes.sum())
    inside = 0
    for _ in range(300):
        found = rng.binomial(15, truth)
        estimate = stratified_share(sizes, np.full((3, 5), 15), found)
        inside += estimate.low <= prevalence <= estimate.high  # type: ignore[operator]
    assert inside >= 0.93 * 300


def test_a_bin_nobody_looked_at_is_undefined_and_a_stratum_joins_its_bin() -> None:
    sizes, seen = np.array([[10, 10], [5, 5]]), np.array([[3, 0], [0, 0]])
    assert not stratified_share(sizes, seen, np.zeros((2, 2))).defined
    joined = stratified_share(sizes[:1], seen[:1], np.array([[3, 0]]))
    assert joined.value == 1.0


def test_precision_of_the_best_uses_the_strata_among_them() -> None:
    queue = build_queue(counts(2), EDGES, per_stratum=5, own_classes=10)
    verdicts = read_verdicts(verdict_table(queue, ["1" if c == 0 else "0" for c in queue.class_code]), queue)
    best = BestScores(np.full(40, queue.score.max()), [queue.classes[0]] * 30 + [queue.classes[1]] * 10)
    assert precision_of_best(queue, verdicts, best, confidence=0.95).value == pytest.approx(0.75)


def test_other_queues_and_other_words_are_refused() -> None:
    queue = build_queue(counts(2), EDGES, per_stratum=2, own_classes=10)
    table = verdict_table(queue, ["1"] * len(queue.bin))
    with pytest.raises(SchemaError, match="verdict"):
        read_verdicts(table.drop_columns(["verdict"]), queue)
    with pytest.raises(InputError, match=r"0 to 0\.25"):
        read_verdicts(table.set_column(0, "score_bin", pa.array(["0 to 0.25"] * table.num_rows)), queue)
    with pytest.raises(InputError, match="offensive"):
        read_verdicts(table.set_column(4, "verdict", pa.array(["perhaps"] * table.num_rows)), queue)
    with pytest.raises(InputError, match="row 1: its class is none"):
        read_verdicts(table.set_column(1, "class", pa.array(["elsewhere"] * table.num_rows)), queue)
    with pytest.raises(InputError, match="'copies' holds something that is no number"):
        read_verdicts(table.set_column(2, "copies", pa.array(["many"] * table.num_rows)), queue)
    assert bin_names(EDGES) == ["0 to 0.5", "0.5 to 0.9", "0.9 to 1"]
