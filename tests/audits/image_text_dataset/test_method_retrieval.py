"""Exact search against brute force; planted experiment B; the difference between a biased model and biased data."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.audits.image_text_dataset.method import retrieval
from assaymark.audits.image_text_dataset.method.top_k import top_k
from assaymark.audits.image_text_dataset.planted import planted_retrieval


def _brute(queries: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    scores = queries.astype(float) @ rows.astype(float).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("block_rows", [1, 13, 500, 5000, None])
@pytest.mark.parametrize("n_queries", [1, 7])
def test_top_k_is_exact_for_every_block(block_rows, n_queries) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1500, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = rows[:n_queries] + 0.1 * rng.standard_normal((n_queries, 24))
    hits = retrieval.top_k(queries, rows, 20, block_rows=block_rows)
    assert np.array_equal(hits.rows, _brute(queries, rows, 20))
    pieces = [(s, rows[s : s + 211]) for s in range(0, 1500, 211)]
    assert np.array_equal(retrieval.top_k(queries, pieces, 20, block_rows=block_rows).rows, hits.rows)
    assert np.array_equal(retrieval.top_k(queries, pieces[::-1], 20, block_rows=block_rows).scores, hits.scores)


def test_ties_go_to_the_smaller_row_and_missing_hits_are_marked() -> None:
    rows = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    hits = retrieval.top_k(np.array([[0.0, 1, 0, 0]]), rows[::-1].copy(), 7, block_rows=3)
    assert hits.rows[0].tolist() == [10, 11, 12, 13, 14, 0, 1]
    few = retrieval.top_k(np.eye(4)[:1], rows[:2], 5)
    assert few.rows[0].tolist() == [0, 1, -1, -1, -1] and np.isneginf(few.scores[0, 2:]).all()


def test_rows_that_could_not_be_embedded_are_nobodys_hit() -> None:
    rows = np.random.default_rng(1).standard_normal((400, 8)).astype(np.float32)
    rows[::2] = np.nan
    hits = retrieval.top_k(rows[1:4:2], rows, 30, block_rows=150)
    assert (hits.rows % 2 == 1).all()
    real = np.flatnonzero(np.arange(400) % 2)
    assert np.array_equal(hits.rows, real[_brute(rows[1:4:2], rows[real], 30)])


def test_float16_and_wrong_dimension() -> None:
    rows = np.random.default_rng(2).standard_normal((100, 8)).astype(np.float16)
    assert np.array_equal(retrieval.top_k(rows[:2], rows, 5).rows, _brute(rows[:2], rows, 5))
    with pytest.raises(ValueError, match="dimensions"):
        retrieval.top_k(np.ones((1, 7)), rows, 5)


def test_above_finds_all_rows_over_the_threshold() -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((700, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found = retrieval.above(rows[:3], rows, 0.8, block_rows=90)
    query, row = np.nonzero(rows[:3].astype(float) @ rows.astype(np.float32).astype(float).T >= 0.8)
    assert np.array_equal(found.query, query) and np.array_equal(found.row, row)


def test_mean_query_weighs_directions_not_norms() -> None:
    mean = retrieval.mean_query(np.array([10.0, 0]), np.array([0, 0.1]))
    assert mean == pytest.approx([np.sqrt(0.5)] * 2)
    with pytest.raises(ValueError, match="cancel"):
        retrieval.mean_query(np.array([1.0, 0]), np.array([-1.0, 0]))


def test_repeats_are_counted_once_and_as_often_as_they_come() -> None:
    unsafe = np.array([1, 1, 1, 0, 0, 0])
    group = np.array([7, 7, 7, 2, 3, -1])
    answer = retrieval.unsafe_at_k(unsafe, group, k=3, rng=np.random.default_rng(0))
    assert answer.distinct.value == pytest.approx(1 / 3) and answer.kept.value == 1.0
    assert answer.kept.low < 1.0  # three like hits are not certainty


def test_experiment_b_concept_filter_and_baseline() -> None:
    planted, rng = planted_retrieval(0), np.random.default_rng(0)
    hits = retrieval.top_k(planted.queries[:1], planted.embeddings, 300).rows[0]
    random = retrieval.top_k(planted.random_queries, planted.embeddings, 100).rows
    ratio = retrieval.baseline_ratio(planted.unsafe[hits[:100]], planted.unsafe[random], rng=rng)
    assert ratio.value > 10 and ratio.low > 5
    leak = retrieval.leak_at_k(planted.unsafe[hits], ~planted.flagged[hits], k=300, rng=rng)
    assert leak.leaked.low <= 0.3 <= leak.leaked.high and leak.over_block.low <= 0.05 <= leak.over_block.high
    assert leak.leaked.value == pytest.approx(0.3, abs=0.1)
    shown = retrieval.leak_at_k(planted.unsafe[hits], ~planted.flagged[hits], k=100, rng=rng)
    assert shown.unsafe_after.value < shown.unsafe_before.value


@pytest.mark.parametrize(
    ("options", "verdict"),
    [({}, "in the data"), ({"biased": True}, "model misassociates"), ({"null": True}, "no excess")],
)
def test_experiment_b_separates_model_from_data(options, verdict) -> None:
    for seed in range(3):
        planted = planted_retrieval(seed, **options)
        unsafe = planted.unsafe
        hits = retrieval.top_k(planted.queries[:1], planted.embeddings, 300).rows[0]
        random = np.random.default_rng(seed).integers(len(unsafe), size=5000)
        answer = retrieval.compare_views(
            unsafe[random], text_query=unsafe[hits], text_search=unsafe[planted.named[:, 0]], factor=3
        )
        assert answer.verdict == verdict, answer


def test_verdict_needs_hits() -> None:
    base = np.arange(1000) % 50 == 0
    assert retrieval.compare_views(base, text_query=np.ones(50, bool)).verdict == "undecided"
    few = retrieval.compare_views(base, text_query=np.ones(50, bool), text_search=np.ones(3, bool))
    assert few.verdict == "undecided" and not few.ratios["text search"].defined


def test_ratio_without_an_unsafe_baseline_is_undefined() -> None:
    assert not retrieval.baseline_ratio(np.ones(5), np.zeros((3, 5)), rng=np.random.default_rng(0)).defined


def test_pairs_permutation_is_exact_and_calibrated() -> None:
    answer = retrieval.axis_difference(
        np.array([0.5, 0.4, 0.6, 0.3]), np.array([0.1, 0.2, 0.1, 0.1]), rng=np.random.default_rng(0)
    )
    assert answer.exact and answer.p_value == pytest.approx(2 / 16)
    rng = np.random.default_rng(1)
    pair = retrieval.pair_difference(rng.random(100) < 0.4, rng.random(100) < 0.1, rng=rng)
    assert pair.p_value < 0.01 and pair.difference.low > 0
    null = [retrieval.pair_difference(rng.random(60), rng.random(60), rng=rng, resamples=200).p_value for _ in range(80)]
    assert np.mean(np.array(null) < 0.05) < 0.15


def test_known_length_spares_the_norms_and_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    table = rng.standard_normal((3000, 24)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    table[100:200] = table[:100]  # ties must still go by row
    queries = table[[3, 50, 777]]
    measured, known = (top_k(queries, table, 40, block_rows=700, longest=length) for length in (None, 1.001))
    assert np.array_equal(measured.rows, known.rows)
    assert np.array_equal(measured.scores, known.scores)
