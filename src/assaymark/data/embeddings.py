"""Stored embeddings: numpy shards, DataComp archives, or a list column of Parquet; read in blocks, never whole."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError, SchemaError, UnsafeFile, nearest

__all__ = ["Block", "Embeddings", "Norms", "open_embeddings"]

BLOCK_ROWS = 16_384
TOLERANCE = 1e-2
KEYS = ("l14_img", "b32_img", "l14_txt", "b32_txt")

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
                vectors, valid = _unit(raw, self.norms)
                yield Block(offset, vectors, valid)
                offset += len(vectors)


def _slices(array: npt.NDArray[Any], rows: int) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _unit(raw: npt.NDArray[Any], norms: Norms) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Unit rows; half-precision blocks are widened first, since their squares overflow and their products are slow."""
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
    return vectors, valid


class _ParquetColumn:
    """A list column, read batch by batch."""

    def __init__(self, path: Path, column: str, shape: tuple[int, int]) -> None:
        self.path, self.column, self.shape = path, column, shape

    def slices(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=rows, columns=[self.column]):
                yield _matrix(batch.column(0), self.shape[1], self.path)


def _matrix(column: Any, width: int, path: Path) -> npt.NDArray[Any]:
    """(rows, width) from a list column; a null list is a row of NaN."""
    import pyarrow.compute as pc

    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    present = ~np.isnan(lengths.astype(np.float64))
    odd = np.flatnonzero(present & (lengths != width))
    if len(odd):
        raise SchemaError(
            f"{path}: an embedding of {int(lengths[odd[0]])} numbers among those of {width}; mend or drop that row"
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
    arrays = [_open_one(file, key if not where.is_dir() or file.suffix != ".npy" else "") for file in files]
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
        files = sorted([*folder.glob(f"{candidate}_*.npy"), *folder.glob(f"{candidate}/{candidate}_*.npy")], key=_number)
        if files:
            sidecars = {
                _number(file): file
                for file in [*folder.glob("metadata_*.parquet"), *folder.glob("metadata/metadata_*.parquet")]
            }
            metadata = tuple(sidecars[_number(file)] for file in files if _number(file) in sidecars)
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


def _number(file: Path) -> tuple[int, str]:
    match = re.search(r"(\d+)$", file.stem)
    return int(match[1]) if match else -1, "" if match else file.stem


def _open_one(file: Path, key: str) -> Any:
    if file.suffix == ".parquet":
        return _open_parquet(file, key)
    try:
        if file.suffix == ".npz":
            array = _open_npz(file, key)
        elif file.suffix == ".npy":
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        else:
            raise InputError(f"{file}: embeddings are .npy, .npz or .parquet files")
    except ValueError as error:
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            raise UnsafeFile(
                f"{file}: holds pickled Python objects, which can run code; store it as a plain float array"
            ) from None
        raise InputError(f"{file}: damaged array file ({error})") from None
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: damaged array file ({error})") from None
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise SchemaError(
            f"{file}: an array of {array.dtype} with shape {array.shape}; embeddings are numbers of shape (rows, dimension)"
        )
    return array


def _open_npz(file: Path, key: str) -> npt.NDArray[Any]:
    with np.load(file, allow_pickle=False) as archive:
        names = archive.files
        chosen = key or next((name for name in KEYS if name in names), names[0] if len(names) == 1 else "")
        if chosen not in names:
            raise SchemaError(f"{file}: no array {chosen!r}{nearest(chosen, names)}; it holds {', '.join(names)}")
        return np.asarray(archive[chosen])


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
