"""The concept retrieval test: every query in up to three views, against random queries, with the filter on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.measures.collection import Collection
from assaymark.audits.image_text_dataset.measures.labels import RowLabels, row_labels
from assaymark.audits.image_text_dataset.measures.queries import Query, query_pairs
from assaymark.audits.image_text_dataset.method.near_duplicates import cosine_pairs, group_pairs
from assaymark.audits.image_text_dataset.method.retrieval import (
    AxisDifference,
    FilterLeak,
    PairDifference,
    UnsafeAtK,
    Verdict,
    axis_difference,
    baseline_ratio,
    compare_views,
    first_of_each,
    leak_at_k,
    mean_query,
    pair_difference,
    top_k,
    unsafe_at_k,
)
from assaymark.audits.image_text_dataset.probes.search import SearchHits
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.result import Estimate

__all__ = ["QueryAnswer", "Retrieval", "measure_retrieval"]

UNIT = 1.001
"""No vector of a collection is longer: its rows have unit length, up to rounding."""

RANDOM_ROWS = 5_000
"""Rows drawn at random whose labels the views are compared with."""

Floats = npt.NDArray[np.float64]


class QueryAnswer(NamedTuple):
    query: Query
    unsafe: UnsafeAtK
    ratio: Estimate
    leak: FilterLeak | None
    verdict: Verdict
    text_rows: int
    rows: npt.NDArray[np.int64]  # (shard, row) of each hit, best first
    group: npt.NDArray[np.int64]  # near duplicates share a number


class Retrieval(NamedTuple):
    answers: tuple[QueryAnswer, ...]
    pairs: tuple[tuple[str, str, str, PairDifference], ...]  # axis, query a, query b
    axes: dict[str, AxisDifference]
    searched: int
    label_source: str
    unlabelled: int


def measure_retrieval(
    queries: Sequence[Query],
    collection: Collection,
    dataset: Any,
    search: SearchHits,
    *,
    encoder: Any,
    scorer: Any,
    vocabulary: Vocabulary,
    config: ImageTextDatasetConfig,
    context: Context,
) -> Retrieval:
    """Search, label the hits, compare. The example image of view (b) is the best hit of the text query, averaged with it."""
    depth = min(2 * config.k, len(collection.rows))  # room for duplicates and for what a filter removes
    text_queries = np.asarray(encoder.embed_texts([query.text for query in queries]), dtype=np.float32)
    hits = top_k(text_queries, collection.blocks(), depth, longest=UNIT)
    best = collection.vectors(hits.rows[:, 0])
    by_image = top_k(mean_query(text_queries, best), collection.blocks(), depth, longest=UNIT)
    rng = context.rng("retrieval baseline")
    random_rows = rng.choice(len(collection.rows), size=min(config.baseline_queries, len(collection.rows)), replace=False)
    shallow = min(config.k, len(collection.rows))
    random_hits = top_k(collection.vectors(np.sort(random_rows)), collection.blocks(), shallow, longest=UNIT)

    def labels(rows: npt.NDArray[np.int64]) -> RowLabels:
        def vectors(wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
            return collection.vectors(collection.positions(wanted))

        return row_labels(dataset, rows, vocabulary=vocabulary, model=scorer, config=config, embeddings=vectors)

    # Two different yardsticks: what a random *search* brings up, and what a random *row* holds.
    drawn = np.sort(rng.choice(len(collection.rows), size=min(RANDOM_ROWS, len(collection.rows)), replace=False))
    everything = [hits.rows.ravel(), by_image.rows.ravel(), random_hits.rows.ravel(), drawn]
    found = labels(collection.rows[np.concatenate(everything)])
    unsafe, passed = np.nan_to_num(found.unsafe), found.passed
    a = unsafe[: hits.rows.size].reshape(hits.rows.shape)
    b = unsafe[hits.rows.size : 2 * hits.rows.size].reshape(hits.rows.shape)
    searched, rest = np.split(unsafe[2 * hits.rows.size :], [random_hits.rows.size])
    base = searched.reshape(random_hits.rows.shape)
    let = passed[: hits.rows.size].reshape(hits.rows.shape)
    answers = []
    for q, query in enumerate(queries):
        named = search.rows[q][collection.positions(search.rows[q]) >= 0]
        by_text = labels(named).unsafe if len(named) else None
        group = duplicate_groups(collection, hits.rows[q], config)
        answers.append(
            _answer(
                query,
                collection.rows[hits.rows[q]],
                a[q],
                b[q],
                by_text,
                base,
                rest,
                let[q],
                group,
                int(search.counts[q]),
                found.has_filter,
                config,
                context,
            )
        )
    pairs, axes = _paired(queries, answers, a, config, context)
    return Retrieval(tuple(answers), pairs, axes, len(collection.rows), found.source, int(np.isnan(found.unsafe).sum()))


def duplicate_groups(
    collection: Collection, rows: npt.NDArray[np.int64], config: ImageTextDatasetConfig
) -> npt.NDArray[np.int64]:
    """Group number of each hit: hits joined by a cosine of at least `duplicate_cosine` are one picture."""
    return group_pairs(cosine_pairs(collection.vectors(rows), threshold=config.duplicate_cosine), n=len(rows))


def _answer(
    query: Query,
    rows: npt.NDArray[np.int64],
    a: Floats,
    b: Floats,
    by_text: Floats | None,
    base: Floats,
    rest: Floats,
    let: npt.NDArray[np.bool_],
    group: npt.NDArray[np.int64],
    text_rows: int,
    has_filter: bool,
    config: ImageTextDatasetConfig,
    context: Context,
) -> QueryAnswer:
    rng = context.rng(f"retrieval {query.text}")
    options: dict[str, Any] = {"rng": rng, "confidence": config.confidence, "resamples": config.resamples}
    distinct = first_of_each(group, k=config.k)
    leak = leak_at_k(a.astype(bool), let, k=config.k, **options) if has_filter else None
    verdict = compare_views(
        rest.astype(bool),
        text_query=a[distinct].astype(bool),
        example_image=b[: config.k].astype(bool),
        text_search=None if by_text is None else np.nan_to_num(by_text).astype(bool),
        confidence=config.confidence,
    )
    return QueryAnswer(
        query,
        unsafe_at_k(a, group, k=config.k, **options),
        baseline_ratio(a[distinct], base, **options),
        leak,
        verdict,
        text_rows,
        rows,
        group,
    )


def _paired(
    queries: Sequence[Query], answers: Sequence[QueryAnswer], unsafe: Floats, config: ImageTextDatasetConfig, context: Context
) -> tuple[tuple[tuple[str, str, str, PairDifference], ...], dict[str, AxisDifference]]:
    pairs: list[tuple[str, str, str, PairDifference]] = []
    by_axis: dict[str, list[list[float]]] = {}
    for axis, first, second in query_pairs(queries):
        rng = context.rng(f"pair {queries[first].text}|{queries[second].text}")
        difference = pair_difference(
            unsafe[first][: config.k],
            unsafe[second][: config.k],
            rng=rng,
            confidence=config.confidence,
            resamples=config.resamples,
        )
        pairs.append((axis, queries[first].text, queries[second].text, difference))
        means = [float(answers[i].unsafe.kept.value or 0.0) for i in (first, second)]
        by_axis.setdefault(axis, []).append(means)
    axes = {
        axis: axis_difference(*np.array(values).T, rng=context.rng(f"axis {axis}"), confidence=config.confidence)
        for axis, values in by_axis.items()
        if len(values) >= 2
    }
    return tuple(pairs), axes
