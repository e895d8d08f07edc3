"""Stored embeddings as rows of a data set: numpy shards or DataComp archives, with the tables beside them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.data.array_files import array_shape, open_array, shard_number
from assaymark.data.readers.base import BATCH_ROWS, Part, Peek, RawBatch, Reader, Shard, Unreadable, guard, text_columns
from assaymark.errors import InputError, SchemaError, UnsafeFile

__all__ = ["ARRAY_SUFFIXES", "EMBEDDING", "ArrayReader", "tables_beside"]

ARRAY_SUFFIXES = frozenset({"npy", "npz"})
EMBEDDING = "embedding"
"""The column that the array itself becomes; a column of that name in the table beside it gives way."""

PART_ROWS = 262_144
BATCH_BYTES = 32 << 20


class _Shape(NamedTuple):
    path: str
    width: int


def tables_beside(files: Iterable[str]) -> dict[str, str]:
    """The Parquet table that holds the other columns of each array, in the same order of rows, where there is one.

    `metadata_{k}.parquet` for `img_emb_{k}.npy`, in the same folder or in `metadata/` next to it (clip-retrieval), or a table
    of the array's own name (DataComp: `{shard}.npz` and `{shard}.parquet`).
    """
    found: dict[str, str] = {}
    numbered: dict[Path, dict[int, Path]] = {}
    for file in map(Path, files):
        namesake, number = file.with_suffix(".parquet"), shard_number(file)[0]
        if namesake.is_file():
            found[str(file)] = str(namesake)
        elif number >= 0 and file.stem.startswith(("img_emb_", "text_emb_")):
            tables = numbered.setdefault(file.parent, _numbered_tables(file.parent))
            if number in tables:
                found[str(file)] = str(tables[number])
    return found


def _numbered_tables(folder: Path) -> dict[int, Path]:
    tables = [*folder.parent.glob("metadata/metadata_*.parquet"), *folder.glob("metadata_*.parquet")]
    return {shard_number(table)[0]: table for table in tables}


class ArrayReader(Reader):
    """Arrays of shape (rows, dimension); .npy files are mapped into memory, an archive's array is loaded when it is read.

    Rows come as the file has them, as float32: whoever scores them normalises them and leaves out those without a direction.
    Nothing but the headers is read when the data set is opened.
    """

    format: ClassVar[str] = "arrays"

    def __init__(self, tables: Mapping[str, str] | None = None, key: str = "") -> None:
        self.tables, self.key = dict(tables or {}), key
        self.columns: dict[str, tuple[str, ...]] = {}
        self.first: _Shape | None = None

    def peek(self, shard: Shard) -> Peek:
        rows, width = self._shape(shard.path)
        if self.first is None:
            self.first = _Shape(shard.path, width)
        elif width != self.first.width:
            raise SchemaError(
                f"{shard.path}: embeddings of {width} numbers, but {Path(self.first.path).name} has {self.first.width}; "
                "open one model's at a time"
            )
        types = self._table_types(shard.path, rows)
        self.columns[shard.path] = tuple(types)
        full, rest = divmod(rows, PART_ROWS)
        groups = (PART_ROWS,) * full + ((rest,) if rest else ())
        return Peek({EMBEDDING: "large_list<item: float>", **types}, rows, groups)

    def beside(self, shard: Shard) -> tuple[str, ...]:
        return (self.tables[shard.path],) if shard.path in self.tables else ()

    def _shape(self, path: str) -> tuple[int, int]:
        try:
            return array_shape(Path(path), self.key)
        except (UnsafeFile, SchemaError):
            raise
        except InputError as error:
            raise Unreadable.of(path, str(error).removeprefix(f"{path}: ")) from None

    def _table_types(self, path: str, rows: int) -> dict[str, str]:
        table = self.tables.get(path)
        if table is None:
            return {}
        with guard(path), pq.ParquetFile(table) as file:
            if file.metadata.num_rows != rows:
                raise SchemaError(
                    f"{table}: {file.metadata.num_rows:,} rows for the {rows:,} embeddings of {Path(path).name}; "
                    "nobody can tell which row is whose: mend the table or move it away"
                )
            return {field.name: str(field.type) for field in file.schema_arrow if field.name != EMBEDDING}

    def parts(self, shard: Shard) -> list[Part]:
        # An archive is loaded whole for each part, so it stays one.
        if shard.path.endswith(".npz"):
            return [Part(shard, 0, len(shard.groups), 0)] if shard.groups else []
        starts = np.cumsum([0, *shard.groups])
        return [Part(shard, k, k + 1, int(starts[k])) for k in range(len(shard.groups))]

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        path, first = part.shard.path, part.first
        stop = first + sum(part.shard.groups[part.start : part.stop])
        array = self._array(path) if EMBEDDING in columns else None
        step = BATCH_ROWS if array is None else _step(array.shape[1])
        beside = [name for name in columns if name in self.columns[path]]
        with guard(path):
            windows = _table_rows(self.tables[path], beside, first, stop, step) if beside else _plain(first, stop, step)
            for at, rows, arrays in windows:
                if array is not None:
                    arrays[EMBEDDING] = _lists(array[at : at + rows])
                yield RawBatch(arrays, rows, at, text_columns(arrays, rows))

    def _array(self, path: str) -> npt.NDArray[Any]:
        try:
            return open_array(Path(path), self.key)
        except (InputError, zipfile.BadZipFile) as error:
            raise Unreadable.of(path, str(error).removeprefix(f"{path}: ")) from None


_Window = tuple[int, int, dict[str, pa.Array]]
"""First row, number of rows, columns of the table beside."""


def _step(width: int) -> int:
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(4 * width, 1)))


def _plain(first: int, stop: int, step: int) -> Iterator[_Window]:
    for at in range(first, stop, step):
        yield at, min(step, stop - at), {}


def _table_rows(table: str, columns: Sequence[str], first: int, stop: int, step: int) -> Iterator[_Window]:
    """Rows [first, stop) of a Parquet file, at most `step` at a time; only the row groups that hold some are read."""
    with pq.ParquetFile(table) as file:
        sizes = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
        starts = np.cumsum([0, *sizes])
        groups = [k for k, size in enumerate(sizes) if starts[k] < stop and starts[k] + size > first]
        at = int(starts[groups[0]]) if groups else first
        for batch in file.iter_batches(batch_size=step, row_groups=groups, columns=list(columns)):
            low, high = max(at, first), min(at + batch.num_rows, stop)
            if low < high:
                piece = batch.slice(low - at, high - low)
                yield low, high - low, {name: piece.column(name) for name in columns}
            at += batch.num_rows


def _lists(rows: npt.NDArray[Any]) -> pa.Array:
    """large_list<float32> of a block of rows; half precision is widened here, a block at a time."""
    block = np.ascontiguousarray(rows, np.float32)
    offsets = np.arange(len(block) + 1, dtype=np.int64) * block.shape[1]
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(block.ravel()))
