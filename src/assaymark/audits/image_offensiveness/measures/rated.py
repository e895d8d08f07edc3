"""The rated images: their embeddings, ratings and labels, and which of them are near duplicates."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audit import Context
from assaymark.audits.image_offensiveness.columns import content_of, embedding_width, with_texts
from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.method.ratings import RatedLabels, rating_labels
from assaymark.audits.image_offensiveness.method.scoring import unit_rows
from assaymark.audits.image_offensiveness.scoring import REASONS, embed_values
from assaymark.data.dataset import Dataset
from assaymark.data.images import perceptual_hash
from assaymark.data.readers.base import NOT_A_NUMBER
from assaymark.errors import InputError, SchemaError, nearest
from assaymark.result import Flow

__all__ = ["RatedImages", "labelled_only", "near_duplicate_groups", "read_rated", "too_few_ratings"]

Floats = npt.NDArray[np.float64]
MOST = 200_000
"""Rated images that are held in memory; ratings by people are far fewer."""
_OPTIONAL = ("raters", "sd")


class RatedImages(NamedTuple):
    """Rated images with an embedding.

    vectors : float32, shape (n, d), unit rows
    ratings : float64, shape (n,), NaN where missing
    labels : RatedLabels, by the strict rule
    groups : int64, shape (n,), near duplicates share one
    raters, sd : float64 or None, as given
    populations : list of str or None: who rated, where the input has a column `population`
    places : int64, shape (n, 2): shard and row
    scaled : int, embeddings that did not have unit length
    unread : int, rows whose rating is text that is no number; their rating is missing
    """

    vectors: npt.NDArray[np.float32]
    ratings: Floats
    labels: RatedLabels
    groups: npt.NDArray[np.int64]
    raters: Floats | None
    sd: Floats | None
    populations: list[str] | None
    places: npt.NDArray[np.int64]
    scaled: int
    unread: int
    flow: Flow
    notes: tuple[str, ...]

    @property
    def trainable(self) -> bool:
        """Whether both classes have enough images for a split."""
        return min(self.labels.offensive, self.labels.inoffensive) >= 2


class _Read(NamedTuple):
    """Readable rated images in an order of their own; `states` says of every row, in the file's order, what became of it."""

    columns: dict[str, Any]
    vectors: npt.NDArray[np.float32]
    keys: npt.NDArray[np.uint64]
    places: npt.NDArray[np.int64]
    states: npt.NDArray[np.int64]
    marks: npt.NDArray[np.uint8]


def read_rated(
    dataset: Dataset, encoder: Any, config: TuningSettings, context: Context, *, dimension: int | None = None
) -> RatedImages:
    """Read all rated images; their pictures go through the encoder.

    Raises
    ------
    SchemaError
        No column of ratings, or neither embeddings nor pictures.
    InputError
        Embeddings of another width than the prompts or the encoder have, or more images than people rate.
    """
    if config.rating_column not in dataset.columns:
        hint = nearest(config.rating_column, dataset.columns) or f"; columns: {', '.join(dataset.columns)}"
        raise SchemaError(f"input 'ratings': no column {config.rating_column!r}{hint}. Name it with --set rating_column=COLUMN")
    content = content_of(dataset, encoder, name="ratings")
    width = embedding_width(dataset) if content == "embedding" else int(encoder.dimension)
    if dimension is not None and width is not None and width != dimension:
        raise InputError(f"input 'ratings': embeddings of {width} numbers, but {dimension} are needed: give the encoder's own")
    numbers = {"rating": config.rating_column} | {name: name for name in _OPTIONAL if name in dataset.columns}
    texts: dict[str, str] = {name: name for name in ("group", "population") if name in dataset.columns}
    read = with_texts(dataset.with_scores(numbers), texts)
    columns, vectors, keys, places, states, defects = _read(read, content, [*numbers, *texts], encoder, width or 1, context)
    unit = unit_rows(vectors)
    ratings = columns["rating"]
    try:
        labels = rating_labels(ratings, low=config.low, high=config.high, scale=config.scale)
    except ValueError as error:
        raise InputError(f"input 'ratings': {error}") from None
    unread = int(((defects & NOT_A_NUMBER > 0) & np.isnan(ratings)).sum())
    given = columns.get("group")
    groups = near_duplicate_groups(unit.rows, keys, cosine=config.duplicate_cosine, given=given)
    return RatedImages(
        unit.rows,
        ratings,
        labels,
        groups,
        columns.get("raters"),
        columns.get("sd"),
        columns.get("population"),
        places,
        unit.scaled,
        unread,
        _flow(dataset.source, states, labels, unread),
        tuple(_notes(labels, unit.scaled, config)),
    )


def _read(dataset: Dataset, content: str, extra: list[str], encoder: Any, width: int, context: Context) -> _Read:
    parts: list[tuple[pa.RecordBatch, Any, int, int]] = []
    hashes: list[npt.NDArray[np.uint64]] = []
    marks = [np.zeros(0, np.uint8)]
    seen = 0
    with context.progress.task("rated images", dataset.rows, "images") as task:
        for shard in dataset.shards:
            for part in dataset.reader.parts(shard):
                for batch in dataset.batches(part, [content, *extra]):
                    seen += batch.table.num_rows
                    if seen > MOST:
                        raise InputError(f"input 'ratings': more than {MOST:,} rows; give the rated images alone")
                    found = embed_values(batch.table.column(content), dimension=width, encoder=encoder)
                    none = np.zeros(batch.table.num_rows, np.uint8)
                    marks.append((none if batch.defects is None else batch.defects)[found.positions])
                    parts.append(
                        (batch.table.drop_columns([content]) if extra else batch.table, found, shard.index, batch.first)
                    )
                    hashes.append(
                        found.keys
                        if found.pictures is None
                        else np.array([perceptual_hash(picture) for picture in found.pictures], np.uint64)
                    )
                    task.advance(batch.table.num_rows)
    columns: dict[str, Any] = {}
    for name in extra:
        values = [_values(table, name, found.positions) for table, found, _, _ in parts]
        is_text = bool(values) and isinstance(values[0], list)
        columns[name] = [item for value in values for item in value] if is_text else np.concatenate([np.zeros(0), *values])
    places = [np.stack([np.full(len(f.positions), shard), first + f.positions], axis=1) for _, f, shard, first in parts]
    states = np.concatenate([np.zeros(0, np.int64), *(found.states for _, found, _, _ in parts)])
    return _in_order(
        columns,
        np.concatenate([np.zeros((0, width), np.float32), *(found.vectors for _, found, _, _ in parts)]),
        np.concatenate([np.zeros(0, np.uint64), *hashes]),
        np.concatenate([np.zeros((0, 2), np.int64), *places]),
        np.concatenate(marks),
    )._replace(states=states)


def _in_order(
    columns: dict[str, Any],
    vectors: npt.NDArray[np.float32],
    keys: npt.NDArray[np.uint64],
    places: npt.NDArray[np.int64],
    marks: npt.NDArray[np.uint8],
) -> _Read:
    """Sorted by what the images show and how they were rated: splits are drawn by position, whatever the order of the file."""
    head = [vectors[:, 0] if vectors.shape[1] else np.zeros(len(vectors))]
    order = np.lexsort((columns["rating"], *head, keys))
    sorted_columns = {
        name: [values[i] for i in order] if isinstance(values, list) else values[order] for name, values in columns.items()
    }
    return _Read(sorted_columns, vectors[order], keys[order], places[order], np.zeros(0, np.int64), marks[order])


def _values(table: pa.RecordBatch, name: str, positions: npt.NDArray[np.int64]) -> Any:
    column = table.column(name).take(pa.array(positions))
    if pa.types.is_floating(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    return ["" if value is None else str(value) for value in column.to_pylist()]


def near_duplicate_groups(
    vectors: npt.NDArray[np.float32], keys: npt.NDArray[np.uint64], *, cosine: float, given: list[str] | None = None
) -> npt.NDArray[np.int64]:
    """A number for each group of near duplicates: equal content hashes, cosines from `cosine` on, or equal names in `given`.

    Connected components of those pairs. O(n^2 d) in blocks for the cosines, for the few thousand images that people rate.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(vectors)
    pairs: list[npt.NDArray[np.int64]] = [np.stack([np.arange(n), np.arange(n)], axis=1)]
    for values in (keys, *((np.asarray(given),) if given is not None else ())):
        _, first, place = np.unique(values, return_index=True, return_inverse=True)
        named = np.asarray([bool(v) for v in values])  # an empty name is no group
        pairs.append(np.stack([np.arange(n), first[place]], axis=1)[named])
    for start in range(0, n if n <= 20_000 else 0, 1_024):
        near = vectors[start : start + 1_024] @ vectors.T >= cosine
        pairs.append(np.argwhere(near) + np.array([start, 0]))
    edges = np.concatenate(pairs)
    graph = coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def labelled_only(rated: RatedImages) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Vectors, labels and groups of the rows outside the neutral band."""
    rows = rated.labels.rows
    return rated.vectors[rows], rated.labels.y, rated.groups[rows]


def too_few_ratings(rated: RatedImages, config: TuningSettings) -> str:
    """Why these ratings cannot tune prompts, and the mend."""
    labels, (least, largest) = rated.labels, config.scale
    sentence = (
        f"{labels.offensive} images are rated below {config.low:g} and {labels.inoffensive} above {config.high:g}; tuning "
        "needs at least two of each"
    )
    reasons = {**rated.flow.skipped, **rated.flow.failed}
    if reasons:
        shown = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.items())
        sentence += f". Left out of {rated.flow.total:,} rows: {shown}"
    if labels.outside > labels.offensive + labels.inoffensive + labels.neutral:
        return (
            f"{sentence}. Check rating_column, scale ({least:g} to {largest:g} now), low and high, as in "
            "--set 'scale=[0, 100]' --set low=37.5 --set high=62.5"
        )
    return f"{sentence}. Check rating_column, scale, low and high"


def _flow(source: str, states: npt.NDArray[np.int64], labels: RatedLabels, unread: int) -> Flow:
    skipped = {reason: int((states == code).sum()) for code, reason in REASONS.items()}
    skipped |= {"no rating": labels.missing - unread, "a rating that is not a number": unread}
    skipped |= {"a rating outside the scale": labels.outside, "neutral rating": labels.neutral}
    skipped = {reason: count for reason, count in skipped.items() if count}
    return Flow(source, len(states), len(states) - sum(skipped.values()), skipped, unit="rated images")


def _notes(labels: RatedLabels, scaled: int, config: TuningSettings) -> list[str]:
    notes = []
    if labels.outside:
        least, largest = config.scale
        notes.append(
            f"{labels.outside:,} ratings lie outside the scale {least:g} to {largest:g} and are left out; if the scale is "
            "another one, set scale=[least, largest] and its thresholds low and high"
        )
    if labels.ties:
        notes.append(f"{labels.ties:,} ratings are exactly {config.low:g} or {config.high:g}: neutral, as the rule is strict")
    if scaled:
        notes.append(f"{scaled:,} embeddings of rated images did not have unit length and were normalised")
    return notes
