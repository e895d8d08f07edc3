"""Is this row unsafe, and would the data set's own filter have let it pass? Asked of few rows, after a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.probes.tag_audit import human_label
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.data.decoding import decode_batch
from assaymark.data.probe import Batch

__all__ = ["RowLabels", "row_labels"]

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class RowLabels(NamedTuple):
    """`unsafe` in [0, 1], NaN where unknown; `passed` by the filter, all True without one; `source` names the label."""

    unsafe: Floats
    passed: npt.NDArray[np.bool_]
    source: str
    has_filter: bool


def row_labels(
    dataset: Any,
    rows: Rows,
    *,
    vocabulary: Vocabulary,
    model: Any,
    config: ImageTextDatasetConfig,
    embeddings: Callable[[Rows], npt.NDArray[np.float32]] | None = None,
) -> RowLabels:
    """Labels of rows given as (shard, row), shape (n, 2).

    The strongest source available decides: a human label column, the image scorer (on stored embeddings, on pictures, or as
    a column), and last the weak label of URL and text.
    """
    wanted = [c for c in ("text", "url", "label", "tag", "punsafe") if c in dataset]
    unique, back = np.unique(rows, axis=0, return_inverse=True)
    back = back.reshape(-1)
    batch = Batch(dataset.fetch(unique, wanted))
    unsafe, source = _unsafe(dataset, unique, batch, vocabulary, model, embeddings)
    flags = np.where(np.isnan(unsafe), np.nan, (unsafe > config.image_cut).astype(float))
    passed, has_filter = _passed(batch)
    return RowLabels(flags[back], passed[back], source, has_filter)


def _unsafe(
    dataset: Any, rows: Rows, batch: Batch, vocabulary: Vocabulary, model: Any, embeddings: Callable[[Rows], Any] | None
) -> tuple[Floats, str]:
    if "label" in batch and not np.isnan(human_label(batch)).all():
        return human_label(batch), "human label"
    columns = getattr(model, "member_columns", None) or getattr(model, "columns", None)
    if columns:
        return dataset_columns(dataset, rows, columns, model), f"columns {', '.join(columns)}"
    if model is not None and hasattr(model, "score_embeddings") and embeddings is not None:
        return np.asarray(model.score_embeddings(embeddings(rows)), float).max(axis=1), model.spec
    if model is not None and hasattr(model, "score_images") and "image" in dataset:
        return _picture_scores(dataset, rows, model), model.spec
    return vocabulary.unsafe(batch).astype(float), f"weak label of URL and text ({vocabulary.unsafe_name})"


def dataset_columns(dataset: Any, rows: Rows, columns: tuple[str, ...], model: Any) -> Floats:
    """Largest of the model's score columns for each row, or what it makes of them together."""
    table = dataset.with_scores({column: column for column in columns}).fetch(rows, columns)
    values = np.column_stack([table.column(c).to_numpy() for c in columns])
    combined = model.combine_columns(values) if hasattr(model, "combine_columns") else values
    return np.asarray(np.max(combined, axis=1), dtype=float)


def _picture_scores(dataset: Any, rows: Rows, model: Any) -> Floats:
    decoded = decode_batch(dataset.fetch(rows, ["image"]).column("image"))  # the caller counts the others as unknown labels
    scores = np.full(len(rows), np.nan)
    if decoded.pictures:
        scores[decoded.positions] = np.asarray(model.score_images(decoded.pictures), float).max(axis=1)
    return scores


def _passed(batch: Batch) -> tuple[npt.NDArray[np.bool_], bool]:
    """Rows that the data set's own safety filter keeps: tag UNLIKELY, or else punsafe at most 0.5."""
    if "tag" in batch:
        tags = pc.utf8_upper(pc.fill_null(batch.column("tag").cast(pa.string()), ""))
        return pc.equal(tags, "UNLIKELY").to_numpy(zero_copy_only=False).astype(bool), True
    if "punsafe" in batch:
        return batch.numbers("punsafe") <= 0.5, True
    return np.ones(batch.rows, dtype=bool), False
