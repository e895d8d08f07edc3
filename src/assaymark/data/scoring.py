"""Model scores inside a scan: which rows are sampled, and how a model's answers become columns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.readers.base import Unreadable

if TYPE_CHECKING:
    from assaymark.data.dataset import Dataset

__all__ = ["Sample", "Scorer", "draw", "score_column", "split_scores"]

_ONE_AT_A_TIME = threading.Lock()
"""Engines score from several threads; models need not be safe for that, and use all cores in one call anyway."""


@dataclass(frozen=True)
class Scorer:
    """A model that scores a concept, or several together; adds the float32 columns `NAME.LABEL` to every batch.

    `score` takes an Arrow array for each concept and returns float32 of shape (n, n_labels), NaN where a value could not be
    scored. It is pickled to workers, so it carries settings and loads its model on first use. Rows that are not sampled are
    null.
    """

    name: str
    concept: str | tuple[str, ...]
    labels: tuple[str, ...]
    score: Callable[..., npt.NDArray[np.float32]]
    batch_size: int = 256

    @property
    def concepts(self) -> tuple[str, ...]:
        return (self.concept,) if isinstance(self.concept, str) else self.concept

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{self.name}.{label}" for label in self.labels)


@dataclass(frozen=True)
class Sample:
    """`rows_per_shard` rows of each shard, without replacement; all of a shard that has fewer. The draw depends on the seed and
    the shard's index alone.
    """

    rows_per_shard: int
    seed: int = 0


def draw(sample: Sample, dataset: Dataset) -> dict[int, npt.NDArray[np.int64]]:
    """Sorted sampled row numbers by shard index. Shards without a stored row count are counted first."""
    if sample.rows_per_shard < 0:
        raise ValueError("rows_per_shard is negative")
    drawn: dict[int, npt.NDArray[np.int64]] = {}
    for shard in dataset.shards:
        try:
            rows = dataset.count(shard)
        except Unreadable:  # the pass over the data comes to the same place, and reports it
            rows = 0
        rng = np.random.default_rng([sample.seed, shard.index])
        size = min(sample.rows_per_shard, rows)
        drawn[shard.index] = np.sort(rng.choice(rows, size, replace=False, shuffle=False)).astype(np.int64)
    return drawn


def score_column(scorer: Scorer, values: Sequence[pa.Array], sampled: pa.Array | None) -> pa.Array:
    """fixed_size_list<float32>[n_labels]: the scores of the sampled rows, null elsewhere. One array for each concept."""
    rows, width = len(values[0]), len(scorer.labels)
    chosen = np.arange(rows) if sampled is None else np.flatnonzero(sampled.to_numpy(zero_copy_only=False))
    scores = np.full((rows, width), np.nan, np.float32)
    for start in range(0, len(chosen), scorer.batch_size):
        block = chosen[start : start + scorer.batch_size]
        with _ONE_AT_A_TIME:
            answer = np.asarray(scorer.score(*(column.take(pa.array(block)) for column in values)), np.float32)
        if answer.shape != (len(block), width):
            raise ValueError(
                f"scorer {scorer.name!r} answered with shape {answer.shape} for {len(block)} values and {width} labels"
            )
        scores[block] = answer
    absent = np.ones(rows, bool)
    absent[chosen] = False
    return pa.FixedSizeListArray.from_arrays(pa.array(scores.ravel()), width, mask=pa.array(absent))


def split_scores(scorer: Scorer, column: Any) -> dict[str, pa.Array]:
    """One float32 column per label, null where the row was not scored."""
    absent = column.is_null().to_numpy(zero_copy_only=False)
    scores = np.full((len(column), len(scorer.labels)), np.nan, np.float32)
    scores[~absent] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, len(scorer.labels))
    return {name: pa.array(scores[:, k], mask=absent) for k, name in enumerate(scorer.columns)}
