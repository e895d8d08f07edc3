"""Stored embeddings: numpy shards, DataComp archives, or a list column of Parquet; read in blocks, never whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.data.array_files import open_array, shard_number
from assaymark.errors import InputError, SchemaError, nearest

__all__ = [
    "Block",
    "Embeddings",
    "Norms",
    "UnitRows",
    "embedding_matrix",
    "open_embeddings",
    "unit_rows",
]

BLOCK_ROWS = 16_384
TOLERANCE = 1e-2

Floats = npt.NDArray[np.float32]


class Block(NamedTuple):
    """Rows from `offset` on, float32 and of unit length; rows that have no direction are zero and False in `valid`."""

    offset: int
    vectors: Floats
    valid: npt.NDArray[np.bool_]


@dataclass
class Norms:
    """What the rows read so far looked like: unit length (within 1 %), scaled by us, all zero, or with non-finite numbers."""

    rows: int = 0
    unit: int = 0
    scaled: int = 0
    zero: int = 0
    non_finite: int = 0

    def notes(self) -> tuple[str, ...]:
        found = []
        if self.scaled:
            found.append(f"{self.scaled:,} of {self.rows:,} embeddings did not have unit length and were scaled")
        if self.zero or self.non_finite:
            found.append(f"{self.zero:,} zero and {self.non_finite:,} non-finite embeddings are left out")
        return tuple(found)


class UnitRows(NamedTuple):
    """Rows of unit length, float32, and which of them have a direction; the others are zero."""

    vectors: Floats
    valid: npt.NDArray[np.bool_]


@dataclass(eq=False)
class Embeddings:
    """Embeddings of `n` rows and `dimension` numbers; `norms` fills as blocks are read.

    `metadata` are the Parquet files with the rows' texts, in the same order, where the set has them.
    """

    source: str
    n: int
    dimension: int
    arrays: tuple[Any, ...]
    metadata: tuple[Path, ...] = ()
    norms: Norms = field(default_factory=Norms)

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """All rows in order, at most `rows` at a time (memory: rows x dimension x 8 bytes). Each call starts `norms` anew."""
        self.norms, offset = Norms(), 0
        for array in self.arrays:
            for raw in array.slices(rows) if isinstance(array, _ParquetColumn) else _slices(array, rows):
                vectors, valid = unit_rows(raw, norms=self.norms)
                yield Block(offset, vectors, valid)
                offset += len(vectors)


def _slices(array: npt.NDArray[Any], rows: int) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def unit_rows(raw: npt.NDArray[Any], *, norms: Norms | None = None) -> UnitRows:
    """Embeddings at unit length, whatever their source.

    Parameters
    ----------
    raw : array, shape (n, dimension), any numbers
        Half precision is widened first, since its squares overflow and its products are slow.
    norms : counts what was found, where given

    Notes
    -----
    O(n dimension) time; memory for one float32 copy and its squares, so hand over blocks.
    """
    norms = Norms() if norms is None else norms
    vectors = np.array(raw, np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    vectors[~finite] = 0
    peak = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
    length = peak[:, 0] * np.linalg.norm(vectors / np.where(peak > 0, peak, 1), axis=1)
    valid = finite & (length > 0)
    unit = valid & (np.abs(length - 1) <= TOLERANCE)
    scaled = valid & ~unit
    # Rows of unit length up to the rounding of float16 are scaled too: a cosine must not exceed 1.
    vectors[valid] /= peak[valid]
    vectors[valid] /= np.linalg.norm(vectors[valid], axis=1, keepdims=True)
    norms.rows += len(vectors)
    norms.unit += int(unit.sum())
    norms.scaled += int(scaled.sum())
    norms.zero += int((finite & ~valid).sum())
    norms.non_finite += int((~finite).sum())
    return UnitRows(vectors, valid)


class _ParquetColumn:
    """A list column, read batch by batch."""

    def __init__(self, path: Path, column: str, shape: tuple[int, int]) -> None:
        self.path, self.column, self.shape = path, column, shape

    def slices(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=[self.column]):
                yield embedding_matrix(batch.column(0), width=self.shape[1], where=str(self.path))


def embedding_matrix(column: Any, *, width: int, where: str = "") -> Floats:
    """A list column of a batch as a matrix.

    Parameters
    ----------
    column : pyarrow.Array of lists
    width : numbers in each list
    where : file or data set, for the message

    Returns
    -------
    array, shape (rows, width), float32
        A null list is a row of NaN, which `unit_rows` marks as having no direction.

    Raises
    ------
    SchemaError
        A list of another length.
    """
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    present = ~np.isnan(lengths.astype(np.float64))
    odd = np.flatnonzero(present & (lengths != width))
    if len(odd):
        raise SchemaError(
            f"{where or 'embeddings'}: an embedding of {int(lengths[odd[0]])} numbers among those of {width}; "
            "mend or drop that row"
        )
    out = np.full((len(column), width), np.nan, np.float32)
    out[present] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return out


def open_embeddings(path: str | PathLike[str], *, key: str = "") -> Embeddings:
    """Open a .npy, .npz or .parquet file, or a folder of `img_emb_{k}.npy` (or `text_emb_{k}.npy`) shards.

    Parameters
    ----------
    path : file or folder
    key : array of an .npz (default: the first of l14_img, b32_img, l14_txt, b32_txt), list column of a Parquet file, or the
        prefix `img_emb` / `text_emb` of a folder

    Raises
    ------
    UnsafeFile
        The file holds Python objects, whose loading could run code.
    InputError, SchemaError
        Nothing there; damaged; shards of different widths.
    """
    where = Path(path)
    if not where.exists():
        hint = nearest(where.name, [item.name for item in where.parent.iterdir()]) if where.parent.is_dir() else ""
        raise InputError(f"{where} does not exist{hint}")
    files, metadata = _shards(where, key) if where.is_dir() else ([where], ())
    arrays = [_open(file, key if not where.is_dir() or file.suffix != ".npy" else "") for file in files]
    width = arrays[0].shape[1]
    for file, array in zip(files, arrays, strict=True):
        if array.shape[1] != width:
            raise SchemaError(
                f"{file}: embeddings of {array.shape[1]} numbers, but {files[0].name} has {width}; open one model's at a time"
            )
    return Embeddings(str(where), sum(array.shape[0] for array in arrays), width, tuple(arrays), metadata)


def _shards(folder: Path, prefix: str) -> tuple[list[Path], tuple[Path, ...]]:
    """Numbered .npy files of one prefix in numeric order (in the folder itself or in img_emb/ below it), and their metadata."""
    for candidate in [prefix] if prefix else ["img_emb", "text_emb"]:
        files = sorted([*folder.glob(f"{candidate}_*.npy"), *folder.glob(f"{candidate}/{candidate}_*.npy")], key=shard_number)
        if files:
            sidecars = {
                shard_number(file): file
                for file in [*folder.glob("metadata_*.parquet"), *folder.glob("metadata/metadata_*.parquet")]
            }
            metadata = tuple(sidecars[shard_number(file)] for file in files if shard_number(file) in sidecars)
            return files, metadata if len(metadata) == len(files) else ()
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix in (".npy", ".npz", ".parquet") and not file.name.startswith("metadata_")
    )
    kinds = {file.suffix for file in files}
    if len(kinds) != 1:
        raise InputError(f"{folder}: no embeddings (img_emb_*.npy, text_emb_*.npy, *.npy, *.npz or *.parquet, one kind)")
    return files, ()


def _open(file: Path, key: str) -> Any:
    return _open_parquet(file, key) if file.suffix == ".parquet" else open_array(file, key)


def _open_parquet(file: Path, key: str) -> _ParquetColumn:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from assaymark.data.schema import ALIASES

    try:
        with pq.ParquetFile(file) as opened:
            lists = [
                item.name
                for item in opened.schema_arrow
                if str(item.type).startswith(("list<", "large_list<", "fixed_size_list<"))
            ]
            column = key or next((name for name in ALIASES["embedding"] if name in lists), lists[0] if len(lists) == 1 else "")
            if column not in lists:
                if not lists:
                    columns = ", ".join(opened.schema_arrow.names)
                    raise SchemaError(f"{file}: no column of lists, so no embeddings; columns: {columns}")
                which = f"no list column {column!r}{nearest(column, lists)}" if column else "which column? call it 'embedding'"
                raise SchemaError(f"{file}: {which}; list columns: {', '.join(lists)}")
            first = next(
                (row for batch in opened.iter_batches(1024, columns=[column]) for row in batch.column(0) if row.is_valid), None
            )
            return _ParquetColumn(file, column, (opened.metadata.num_rows, len(first.as_py()) if first is not None else 0))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: damaged Parquet file ({error})") from None
