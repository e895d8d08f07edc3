"""Comma- and tab-separated text, with or without a header line."""

from __future__ import annotations

import csv
import io
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from assaymark.data.readers.base import (
    MALFORMED,
    Part,
    Peek,
    RawBatch,
    Reader,
    Shard,
    Unreadable,
    as_text,
    guard,
    open_stream,
)
from assaymark.data.schema import ALIASES, looks_like_url, numbers_from_text

__all__ = ["CsvReader", "TsvReader", "line_blocks"]

BLOCK = 8 << 20
# No NUL in it: the parser of Arrow then miscounts the fields of the row.
END = b"(end of file: the mark of assaymark 6f2c91d0e5b84a37)"
_KNOWN = {name.casefold() for names in ALIASES.values() for name in names}


class Header(NamedTuple):
    """Column names, and whether the first line holds them (else they were guessed or given)."""

    names: tuple[str, ...]
    present: bool
    repeated: tuple[str, ...] = ()


def read_header(lines: Sequence[str], delimiter: str, order: Sequence[str] | None) -> Header:
    """Column names from the first line, or, where that is a data row already, from the look of the columns.

    A first line that holds a URL is data. Of two columns the one with more URLs is the url: CC3M files are caption<TAB>url,
    CC12M files url<TAB>caption, and neither says so. `order` (of a named schema) decides instead where it is given.
    """
    rows = list(_fields(lines, delimiter))
    if not rows:
        return Header((), True)
    first = [field.strip() for field in rows[0]]
    if not any(looks_like_url(field) for field in first):
        return Header(tuple(_distinct(first)), True, tuple(sorted({name for name in first if name and first.count(name) > 1})))
    width = len(first)
    if order is not None and len(order) == width:
        return Header(tuple(order), False)
    urls = [sum(len(row) > k and looks_like_url(row[k]) for row in rows) for k in range(width)]
    names = [f"column_{k + 1}" for k in range(width)]
    names[int(np.argmax(urls))] = "url"
    if width == 2:
        names[1 - int(np.argmax(urls))] = "text"
    return Header(tuple(names), False)


def _fields(lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    """Fields of the first rows, as far as they can be told: a field beyond the parser's limit ends them."""
    parsed = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL)
    while True:
        try:
            yield next(parsed)
        except (StopIteration, csv.Error):
            return


def _distinct(names: Sequence[str]) -> list[str]:
    """Empty and repeated column names made unique, in the manner of spreadsheet readers."""
    seen: dict[str, int] = {}
    out = []
    for k, name in enumerate(names):
        name = name or f"column_{k + 1}"
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out


class _Delimited(Reader):
    delimiter: ClassVar[str]

    def __init__(self, order: Sequence[str] | None = None) -> None:
        self.order = tuple(order) if order else None
        self.guessed: dict[str, tuple[str, ...]] = {}
        self.repeated: set[str] = set()

    def notes(self) -> tuple[str, ...]:
        """That names were guessed, or stand twice: a reader of the result must be able to see a wrong guess."""
        repeated = tuple(f"several columns are named {name!r}; the first of them is read" for name in sorted(self.repeated))
        if not self.guessed:
            return repeated
        path, names = next(iter(self.guessed.items()))
        others = f" and {len(self.guessed) - 1} others have" if len(self.guessed) > 1 else " has"
        return (f"{path}{others} no header line; the columns were taken for {', '.join(names)}, by their looks", *repeated)

    def peek(self, shard: Shard) -> Peek:
        header = self._header(shard.path)
        if not header.names:
            return Peek({}, 0)
        self.repeated.update(header.repeated)
        if not header.present and header.names != self.order:
            self.guessed[shard.path] = header.names
        with guard(shard.path):
            first = next(self._rows(shard.path, header, header.names), None)
        numeric = set() if first is None else {name for name, column in first.columns.items() if _numeric(column)}
        return Peek({name: "double" if name in numeric else "string" for name in header.names}, None if first else 0)

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        path = part.shard.path
        header = self._header(path)
        wanted = [name for name in columns if name in header.names]
        if not header.names:
            return
        with guard(path):
            for batch in self._rows(path, header, wanted or header.names[:1]):
                yield batch._replace(columns={name: batch.columns[name] for name in wanted})

    def _header(self, path: str) -> Header:
        with guard(path), open_stream(path) as stream:
            head = stream.read(1 << 18)
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise Unreadable.of(path, "is UTF-16; save it as UTF-8")
        lines = head.decode("utf-8-sig", "replace").replace("\0", "").split("\n")
        lines = [line.rstrip("\r") for line in lines[:200] if line.strip("\r")]
        header = read_header(lines, self.delimiter, self.order)
        if lines and not header.names:
            raise Unreadable.of(path, f"its first line is not {self.format.upper()}")
        return header

    @abstractmethod
    def _rows(self, path: str, header: Header, columns: Sequence[str]) -> Iterator[RawBatch]:
        """Batches of large_string columns."""
        ...


class CsvReader(_Delimited):
    """CSV with quoted fields, which may hold delimiters and line ends (RFC 4180)."""

    format: ClassVar[str] = "csv"
    delimiter: ClassVar[str] = ","

    def _rows(self, path: str, header: Header, columns: Sequence[str]) -> Iterator[RawBatch]:
        malformed = [0]

        def skip(row: Any) -> str:
            malformed[0] += 1
            return "skip"

        with open_stream(path) as stream:
            batches = pacsv.open_csv(
                _Ended(stream, len(header.names)),
                read_options=pacsv.ReadOptions(
                    column_names=list(header.names), skip_rows=int(header.present), block_size=BLOCK, use_threads=False
                ),
                parse_options=pacsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
                convert_options=pacsv.ConvertOptions(
                    column_types={name: pa.binary() for name in header.names},
                    include_columns=list(columns),
                    strings_can_be_null=False,
                ),
            )
            first = 0
            for batch in _readable(batches, path):
                yield _decoded(dict(zip(columns, batch.columns, strict=True)), batch.num_rows, first)
                first += batch.num_rows
        if malformed[0]:
            nulls = pa.nulls(malformed[0], pa.large_string())
            yield RawBatch(dict.fromkeys(columns, nulls), malformed[0], first, np.full(malformed[0], MALFORMED, np.uint8))


class _Ended(io.RawIOBase):
    """A stream of CSV with one row more at its end, whose every field is `END`.

    A quotation mark that is never closed turns the rest of a file into one field without any error. It swallows this row,
    too, and so shows.
    """

    def __init__(self, stream: Any, width: int) -> None:
        self._stream, self._last = stream, b"\n"
        self._end = b",".join([END] * width) + b"\n"

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        wanted = BLOCK if size is None or size < 0 else size
        parts = [bytes(self._stream.read(wanted))]
        while parts[-1] and (missing := wanted - sum(map(len, parts))):
            parts.append(bytes(self._stream.read(missing)))
        content = b"".join(parts)
        self._last = content[-1:] or self._last
        if parts[-1] or not self._end:
            return content
        # Together with what precedes it wherever there is room: the parser mistakes a quotation mark at the edge of a block.
        end = self._end if self._last == b"\n" else b"\n" + self._end
        if len(content) + len(end) <= wanted:
            content, self._end = content + end, b""
        return content


def _readable(batches: Any, path: str) -> Iterator[Any]:
    """Batches of Arrow's reader without the row that `_Ended` adds; `Unreadable` where that is not the last one."""
    last, rows = None, 0
    try:
        for batch in batches:
            if batch.num_rows:
                if last is not None:
                    yield last
                last, rows = batch, rows + batch.num_rows
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error):
            raise
        raise Unreadable.of(path, f"a row longer than {BLOCK >> 20} MiB: is a quotation mark never closed?") from None
    if last is None or last.column(0)[-1].as_py() != END:
        reason = f"a quotation mark in row {max(rows, 1):,} is never closed; the rest of the file would be one field"
        raise Unreadable.of(path, reason)
    if last.num_rows > 1:
        yield last.slice(0, last.num_rows - 1)


class TsvReader(_Delimited):
    """Tab-separated lines without quoting: a quotation mark is a character like any other, a line is a row.

    Captions hold stray quotation marks and carriage returns; a reader that honours those merges or splits rows. Surplus tabs
    stay in the last column, a line with too few is filled with nulls and counted as malformed.
    """

    format: ClassVar[str] = "tsv"
    delimiter: ClassVar[str] = "\t"

    def _rows(self, path: str, header: Header, columns: Sequence[str]) -> Iterator[RawBatch]:
        width, first, skip = len(header.names), 0, header.present
        with open_stream(path) as stream:
            for block in line_blocks(stream):
                lines = _lines(block)
                if first == 0 and skip and len(lines):
                    lines, skip = lines.slice(1), False
                if not len(lines):
                    continue
                fields = pc.split_pattern(lines, b"\t", max_splits=width - 1)
                short = pc.less(pc.list_value_length(fields), width)
                if pc.any(short).as_py():
                    filler, empty = pa.scalar(b"\t" * (width - 1), pa.large_binary()), pa.scalar(b"", pa.large_binary())
                    filled = pc.if_else(short, pc.binary_join_element_wise(lines, filler, empty), lines)
                    fields = pc.split_pattern(filled, b"\t", max_splits=width - 1)
                values = {name: pc.list_element(fields, header.names.index(name)) for name in columns}
                batch = _decoded(values, len(lines), first)
                yield _mark(batch, short.to_numpy(zero_copy_only=False), MALFORMED) if pc.any(short).as_py() else batch
                first += len(lines)


def line_blocks(stream: Any) -> Iterator[bytes]:
    """Blocks of whole lines of about `BLOCK` bytes; a UTF-8 byte-order mark is dropped."""
    rest, fresh = b"", True
    while block := stream.read(BLOCK):
        block = rest + block
        if fresh:
            block, fresh = block.removeprefix(b"\xef\xbb\xbf"), False
        cut = block.rfind(b"\n") + 1
        rest = block[cut:]
        if cut:
            yield block[:cut]
    if rest:
        yield rest


def _lines(block: bytes) -> pa.Array:
    """Lines of a block without their ends; empty ones are no rows."""
    lines = pc.split_pattern(pa.array([block], pa.large_binary()), b"\n").flatten()
    lines = pc.replace_substring_regex(lines, pattern=rb"\r\z", replacement=b"")
    return lines.filter(pc.greater(pc.binary_length(lines), 0))


def _decoded(columns: dict[str, pa.Array], rows: int, first: int) -> RawBatch:
    defects: npt.NDArray[np.uint8] | None = None
    for name, column in columns.items():
        columns[name], broken = as_text(column)
        if broken is not None:
            defects = broken if defects is None else defects | broken
    return RawBatch(columns, rows, first, defects)


def _mark(batch: RawBatch, rows: npt.NDArray[np.bool_], bit: int) -> RawBatch:
    marks = np.where(rows, bit, 0).astype(np.uint8)
    return batch._replace(defects=marks if batch.defects is None else batch.defects | marks)


def _numeric(column: pa.Array) -> bool:
    """Whether every value that is there is a number that float64 holds exactly enough (whole numbers below 2^53)."""
    filled = column.filter(pc.greater(pc.utf8_length(column), 0))
    if not len(filled):
        return False
    numbers = numbers_from_text(filled)
    if numbers.null_count:
        return False
    return bool(np.all(np.abs(numbers.to_numpy(zero_copy_only=False)) < 2**53))
