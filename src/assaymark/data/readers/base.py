"""What a format reader is, and what passes between it and the scan."""

from __future__ import annotations

import os
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from assaymark.errors import InputError, MissingExtra, is_fetch_failure

__all__ = [
    "BATCH_ROWS",
    "DECODED",
    "MALFORMED",
    "NOT_A_NUMBER",
    "Part",
    "Peek",
    "RawBatch",
    "Reader",
    "Shard",
    "Unreadable",
    "as_text",
    "check_names",
    "guard",
    "open_file",
    "open_stream",
    "text_columns",
]

BATCH_ROWS = 65_536

_PACKED = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}

CONNECT_SECONDS, SILENT_SECONDS, ATTEMPTS = 5.0, 15.0, 3
"""A remote store that does not answer ends in an error after at most about a minute."""

DECODED, NOT_A_NUMBER, MALFORMED = 1, 2, 4
"""Defects of a row, as bits: bytes that are no UTF-8 were replaced; a number could not be read (null); the row has no readable
columns at all (all null: it is counted, and no probe sees it)."""

_BREAKS = (OSError, pa.ArrowException, EOFError, zlib.error, tarfile.TarError, UnicodeError)


class Unreadable(Exception):
    """A file that cannot be read, or not to its end. One positional string, so that it survives pickling and engines."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @classmethod
    def of(cls, path: str, reason: object) -> Unreadable:
        return cls(f"{path}\x1f{' '.join(str(reason).split())[:300]}")

    @property
    def path(self) -> str:
        return str(self.args[0]).partition("\x1f")[0]

    @property
    def reason(self) -> str:
        return str(self.args[0]).partition("\x1f")[2]


@contextmanager
def guard(path: str) -> Iterator[None]:
    """Turn what a broken file raises into `Unreadable`; anything else is a defect of ours and passes."""
    try:
        yield
    except _BREAKS as error:
        raise Unreadable.of(path, error or type(error).__name__) from None
    except Exception as error:
        if not is_fetch_failure(error):
            raise
        raise Unreadable.of(path, f"{type(error).__name__}: {error}") from None


def check_names(path: str, names: Sequence[str]) -> None:
    """Raise `Unreadable` when two columns share a name: nobody could say which of them is meant."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise Unreadable.of(path, f"two columns are named {repeated[0]!r}; rename one of them")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file (or one block of a picture folder or of a table in memory), the unit that row numbers count in."""

    index: int
    path: str
    rows: int | None
    size: int
    columns: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    files: tuple[str, ...] = ()


class Part(NamedTuple):
    """What one task reads: row groups [start, stop) of a shard, whose first row has number `first`; stop = 0 means all."""

    shard: Shard
    start: int = 0
    stop: int = 0
    first: int = 0


class Peek(NamedTuple):
    """What can be told without reading a file: column types, rows and row-group sizes where the format stores them."""

    columns: dict[str, str]
    rows: int | None = None
    groups: tuple[int, ...] = ()


class RawBatch(NamedTuple):
    """Consecutive rows under the file's own column names."""

    columns: dict[str, pa.Array]
    rows: int
    first: int
    defects: npt.NDArray[np.uint8] | None = None


class Reader(ABC):
    """Reads shards of one format. Instances are pickled to workers."""

    format: ClassVar[str]

    @abstractmethod
    def peek(self, shard: Shard) -> Peek:
        """Columns and rows of a shard; `Unreadable` where the file is broken."""

    @abstractmethod
    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        """Batches in row order; a column that this shard lacks is left out."""

    def parts(self, shard: Shard) -> list[Part]:
        return [Part(shard)]

    def beside(self, shard: Shard) -> tuple[str, ...]:
        """Further local files that the rows of a shard are read from."""
        return ()

    def notes(self) -> tuple[str, ...]:
        return ()


def text_columns(columns: dict[str, pa.Array], rows: int) -> npt.NDArray[np.uint8] | None:
    """Make text columns valid UTF-8 in place; returns the defects, or None when there are none.

    Arrow does not check the encoding of stored strings, and an engine that trusts them may abort.
    """
    defects: npt.NDArray[np.uint8] | None = None
    for name, column in columns.items():
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
            kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            columns[name], broken = as_text(column.cast(pa.large_binary()))
            if broken is not None:
                defects = broken if defects is None else defects | broken
    return defects


def as_text(column: pa.Array) -> tuple[pa.Array, npt.NDArray[np.uint8] | None]:
    """large_string from bytes; what is not UTF-8 becomes U+FFFD, and those rows are marked `DECODED`."""
    try:
        return column.cast(pa.large_string()), None
    except pa.ArrowInvalid:
        values = column.to_pylist()
    texts = [None if value is None else value.decode("utf-8", "replace") for value in values]
    out = pa.array(texts, pa.large_string())
    changed = pc.fill_null(pc.not_equal(out.cast(pa.large_binary()), column.cast(pa.large_binary())), False)
    return out, np.where(changed.to_numpy(zero_copy_only=False), DECODED, 0).astype(np.uint8)


@lru_cache(maxsize=32)
def filesystem(root: str) -> tuple[pafs.FileSystem, bool]:
    """Filesystem behind `scheme://bucket`, and whether paths keep the scheme off (they do, always)."""
    scheme = root.partition("://")[0]
    if scheme == "hf":
        try:
            from huggingface_hub import HfFileSystem
        except ImportError:
            raise MissingExtra("language", "reading hf:// data sets") from None
        return pafs.PyFileSystem(pafs.FSSpecHandler(HfFileSystem())), True
    if scheme == "s3":
        return _s3(root.partition("://")[2]), True
    try:
        return pafs.FileSystem.from_uri(root)[0], True
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{root}: cannot open such a location ({error}); use a path, s3://, gs:// or hf://datasets/..."
        ) from None


def _s3(bucket: str) -> pafs.FileSystem:
    """S3, or what `AWS_ENDPOINT_URL` says is one, with limits on how long it may be silent."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if region is None and not elsewhere:
        region = pafs.resolve_s3_region(bucket)
    scheme, _, host = (elsewhere or "https://").rpartition("://")
    return pafs.S3FileSystem(
        region=region,
        scheme=scheme or "https",
        endpoint_override=host or None,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENT_SECONDS,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )


def locate(path: str) -> tuple[pafs.FileSystem, str]:
    """Filesystem and the path within it."""
    if "://" not in path:
        return pafs.LocalFileSystem(), path
    scheme, _, rest = path.partition("://")
    return filesystem(f"{scheme}://" + (rest.partition("/")[0] if scheme != "file" else "/"))[0], rest


def open_file(path: str) -> Any:
    """Random access, memory-mapped when local."""
    system, inner = locate(path)
    # As bytes: a name need not be UTF-8.
    return pa.memory_map(os.fsencode(inner)) if isinstance(system, pafs.LocalFileSystem) else system.open_input_file(inner)


def open_stream(path: str) -> Any:
    """Sequential bytes; .gz, .bz2 and .zst are unpacked."""
    system, inner = locate(path)
    name = os.fsencode(inner) if isinstance(system, pafs.LocalFileSystem) else inner
    packed = _PACKED.get(path.rpartition(".")[2].lower())  # not "detect", which sees nothing in a name of bytes
    return system.open_input_stream(name, compression=packed, buffer_size=1 << 20)
