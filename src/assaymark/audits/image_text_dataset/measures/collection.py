"""The image embeddings that a search runs over, given or computed, with the row of the table behind each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.near_duplicates import NearDuplicates, cosine_pairs, near_duplicates
from assaymark.data.decoding import decode_batch
from assaymark.errors import InputError

__all__ = ["Collection", "embed_rows", "given_embeddings", "near_duplicate_images"]

Rows = npt.NDArray[np.int64]
BLOCK = 512
NEAR_DUPLICATE_SAMPLE = 10_000
"""Embeddings compared pair by pair: 5 * 10**7 cosines."""


class Collection(NamedTuple):
    """Searchable embeddings.

    `blocks()` yields (offset, float32 block) in order; `rows` is (shard, row) of each vector, shape (n, 2); `unreadable` counts
    pictures that could not be decoded.
    """

    blocks: Any
    rows: Rows
    dimension: int
    unreadable: int = 0

    def positions(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Position of each (shard, row), -1 where the collection does not hold it. `self.rows` is sorted."""
        own, wanted = (r[:, 0] << np.int64(40) | r[:, 1] for r in (self.rows, rows))
        found = np.searchsorted(own, wanted)
        held = (
            (found < len(own)) & (own[np.minimum(found, max(len(own) - 1, 0))] == wanted)
            if len(own)
            else np.zeros(len(rows), bool)
        )
        return np.where(held, found, -1)

    def vectors(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Vectors at some positions, shape (n, dimension)."""
        out = np.zeros((len(positions), self.dimension), dtype=np.float32)
        for start, block in self.blocks():
            inside = (positions >= start) & (positions < start + len(block))
            out[inside] = block[positions[inside] - start]
        return out


def given_embeddings(embeddings: Any, dataset: Any) -> Collection:
    """Stored embeddings whose order is that of the table's rows.

    Raises
    ------
    InputError
        When the numbers differ, because then nobody knows which row an embedding belongs to.
    """
    sizes = [shard.rows for shard in dataset.shards]
    if any(size is None for size in sizes) or sum(sizes) != embeddings.n:
        raise InputError(
            f"embeddings: {embeddings.n:,} vectors for {dataset.rows if dataset.rows is not None else 'an unknown number of'} "
            "rows of pairs; give embeddings in the order of the rows, one for each"
        )
    rows = np.concatenate(
        [np.stack([np.full(n, shard.index), np.arange(n)], axis=1) for shard, n in zip(dataset.shards, sizes, strict=True)]
    ).astype(np.int64)

    def blocks() -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        for block in embeddings.blocks():
            yield block.offset, block.vectors

    return Collection(blocks, rows, embeddings.dimension)


def embed_rows(dataset: Any, encoder: Any, context: Context, *, most: int) -> Collection:
    """Embed the pictures of at most `most` rows, drawn without replacement."""
    rows = _drawn_rows(dataset, context, most=most)
    parts: list[npt.NDArray[np.float32]] = []
    kept: list[Rows] = []
    with context.progress.task("embedding pictures", total=len(rows), unit="pictures") as task:
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            decoded = decode_batch(dataset.fetch(block, ["image"]).column("image"))
            if decoded.pictures:
                parts.append(_unit_rows(encoder.embed_images(decoded.pictures)))
                kept.append(block[decoded.positions])
            task.advance(len(block))
    vectors = np.concatenate(parts) if parts else np.zeros((0, encoder.dimension), np.float32)
    places = np.concatenate(kept) if kept else np.zeros((0, 2), np.int64)
    return Collection(lambda: iter([(0, vectors)]), places, int(encoder.dimension), len(rows) - len(places))


def _unit_rows(vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Rows at unit length, whatever the encoder promised; a zero row stays zero."""
    rows = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))


def near_duplicate_images(collection: Collection, config: ImageTextDatasetConfig, context: Context) -> NearDuplicates:
    """Groups of near-equal pictures among at most `NEAR_DUPLICATE_SAMPLE` embeddings, drawn without replacement.

    In a sample fewer copies meet than in the whole, so the share is then a lower bound.
    """
    n = len(collection.rows)
    size = min(n, NEAR_DUPLICATE_SAMPLE)
    positions = np.arange(n) if size == n else np.sort(context.rng("near duplicates").choice(n, size=size, replace=False))
    pairs = cosine_pairs(collection.vectors(positions), threshold=config.duplicate_cosine)
    return near_duplicates(pairs, n=size, confidence=config.confidence)


def _drawn_rows(dataset: Any, context: Context, *, most: int) -> Rows:
    shards = [shard for shard in dataset.shards if shard.path not in dataset.failed]
    sizes = [dataset.count(shard) for shard in shards]
    total = sum(sizes)
    chosen = np.arange(total) if total <= most else np.sort(context.rng("pictures").choice(total, size=most, replace=False))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    position = np.searchsorted(starts, chosen, side="right") - 1
    index = np.array([shard.index for shard in shards], dtype=np.int64)
    return np.stack([index[position], chosen - starts[position]], axis=1) if total else np.zeros((0, 2), np.int64)
