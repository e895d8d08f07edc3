"""Tables that name their pictures by path: the files are read beside the rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from assaymark.data.readers.base import Part, Peek, RawBatch, Reader, Shard

if TYPE_CHECKING:
    from assaymark.data.dataset import Dataset

__all__ = ["PicturePathReader", "with_pictures_of_paths"]

BLOCK = 64
"""Rows whose files are in memory at once."""

MOST_FILE_BYTES = 256 << 20


class PicturePathReader(Reader):
    """Rows of another reader with one more column, the bytes of the file that a column of paths names.

    A relative path starts at the folder of the table (of a table in memory: at the current one). Paths may lead anywhere on
    this machine; what they name is decoded as a picture or left out. What is no regular file there is null: a missing file, a
    folder, a device, and above all an address, since nothing is fetched on account of what a table says.
    """

    def __init__(self, inner: Reader, *, paths: str, column: str) -> None:
        self.inner, self.paths, self.column = inner, paths, column
        self.format = inner.format  # type: ignore[misc]

    def peek(self, shard: Shard) -> Peek:
        peek = self.inner.peek(shard)
        return peek._replace(columns={**peek.columns, self.column: "binary"}) if self.paths in peek.columns else peek

    def parts(self, shard: Shard) -> list[Part]:
        return self.inner.parts(shard)

    def beside(self, shard: Shard) -> tuple[str, ...]:
        return self.inner.beside(shard)

    def notes(self) -> tuple[str, ...]:
        return self.inner.notes()

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        if self.column not in columns:
            yield from self.inner.read(part, columns)
            return
        stored = [name for name in columns if name != self.column]
        folder = os.path.dirname(part.shard.path)
        for batch in self.inner.read(part, list(dict.fromkeys([*stored, self.paths]))):
            for start in range(0, batch.rows, BLOCK):
                yield self._with_pictures(batch, start, min(BLOCK, batch.rows - start), stored, folder)

    def _with_pictures(self, batch: RawBatch, start: int, rows: int, stored: Sequence[str], folder: str) -> RawBatch:
        arrays = {name: batch.columns[name].slice(start, rows) for name in stored if name in batch.columns}
        if self.paths in batch.columns:
            named = batch.columns[self.paths].slice(start, rows).to_pylist()
            arrays[self.column] = pa.array([_content(value, folder) for value in named], pa.large_binary())
        defects = None if batch.defects is None else np.asarray(batch.defects[start : start + rows])
        return RawBatch(arrays, rows, batch.first + start, defects)


def _content(value: object, folder: str) -> bytes | None:
    """Bytes of a regular local file of sane size, else None."""
    if not isinstance(value, str) or not value or "://" in value or "\0" in value:
        return None
    path = os.path.join(folder, value)
    try:
        # A pipe or a device would be waited for.
        if not os.path.isfile(path) or os.path.getsize(path) > MOST_FILE_BYTES:
            return None
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def with_pictures_of_paths(dataset: Dataset) -> Dataset:
    """The concept `image` for a local table that only names its pictures: a path, or text where the picture should be."""
    image, path = dataset.mapping.get("image"), dataset.mapping.get("path")
    paths = path if image is None else image if _is_text(dataset.columns[image]) else None
    local = all("://" not in shard.path for shard in dataset.shards)
    if paths is None or not _is_text(dataset.columns[paths]) or not local:
        return dataset
    column = "image" if "image" not in dataset.columns else f"file of {paths}"
    shards = tuple(
        replace(shard, columns=(*shard.columns, column)) if paths in shard.columns else shard for shard in dataset.shards
    )
    return replace(
        dataset,
        shards=shards,
        mapping={**dataset.mapping, "image": column, **({} if path else {"path": paths})},
        columns={**dataset.columns, column: "binary"},
        reader=PicturePathReader(dataset.reader, paths=paths, column=column),
        unfit={concept: why for concept, why in dataset.unfit.items() if concept != "image"},
        notes=(*dataset.notes, f"pictures are read from the files that column {paths!r} names; one that is missing has none"),
    )


def _is_text(kind: str) -> bool:
    return kind in ("string", "large_string", "string_view") or kind.startswith("dictionary<values=string")
