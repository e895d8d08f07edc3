"""JSON lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson

from assaymark.data.readers.base import BATCH_ROWS, DECODED, MALFORMED, Part, Peek, RawBatch, Reader, Shard, guard, open_stream
from assaymark.data.readers.delimited import line_blocks

__all__ = ["JsonLinesReader", "json_columns", "json_types"]

PEEK_LINES = 1000
_ARROW = {"double": pa.float64(), "string": pa.large_string(), "list<double>": pa.list_(pa.float64())}


class JsonLinesReader(Reader):
    """Blocks go through Arrow's parser; a block that it refuses is read line by line, so that one bad line costs one row."""

    format: ClassVar[str] = "jsonl"

    def __init__(self) -> None:
        self.types: dict[str, dict[str, str]] = {}

    def peek(self, shard: Shard) -> Peek:
        lines: list[bytes] = []
        with guard(shard.path), open_stream(shard.path) as stream:
            for block in line_blocks(stream):
                lines = [line for line in block.split(b"\n") if line.strip()][:PEEK_LINES]
                break
        types = json_types([record for record in (_parse(line)[0] for line in lines) if record is not None])
        self.types[shard.path] = types
        return Peek(types, None if lines else 0)

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        path, first = part.shard.path, 0
        types = {name: self.types[path][name] for name in columns if name in self.types[path]}
        with guard(path), open_stream(path) as stream:
            for block in line_blocks(stream):
                for batch in _block(block, types, first):
                    yield batch
                    first += batch.rows


def _block(block: bytes, types: dict[str, str], first: int) -> Iterator[RawBatch]:
    lines = sum(1 for line in block.split(b"\n") if line.strip())
    table = _fast(block, types) if types else None
    if table is not None and table.num_rows == lines:
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            arrays = {name: batch.column(name).cast(_ARROW[kind]) for name, kind in types.items()}
            yield RawBatch(arrays, batch.num_rows, first)
            first += batch.num_rows
        return
    parsed = [_parse(line) for line in block.split(b"\n") if line.strip()]
    defects = np.array([bits for _, bits in parsed], np.uint8)
    yield RawBatch(
        json_columns([record or {} for record, _ in parsed], types), len(parsed), first, defects if defects.any() else None
    )


def _fast(block: bytes, types: dict[str, str]) -> pa.Table | None:
    """The block through Arrow's parser, or None where it cannot take it (bad line, bytes that are no UTF-8, mixed types)."""
    try:
        block.decode("utf-8")
        return pajson.read_json(
            pa.BufferReader(block),
            read_options=pajson.ReadOptions(use_threads=False, block_size=max(len(block) + 1, 1 << 16)),
            parse_options=pajson.ParseOptions(
                explicit_schema=pa.schema(
                    [(name, pa.string() if kind == "string" else _ARROW[kind]) for name, kind in types.items()]
                ),
                unexpected_field_behavior="ignore",
            ),
        ).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None


def _parse(line: bytes) -> tuple[dict[str, Any] | None, int]:
    """The object of a line, and its defects."""
    bits = 0
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text, bits = line.decode("utf-8", "replace"), DECODED
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None, MALFORMED
    return (record, bits) if isinstance(record, dict) else (None, MALFORMED)


def json_types(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Column types: "double" where every value is a number, "list<double>", else "string"."""
    values: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            values.setdefault(name, []).append(value)
    return {name: _type([value for value in found if value is not None]) for name, found in values.items()}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def _type(values: Sequence[Any]) -> str:
    if values and all(_number(value) for value in values):
        return "double"
    if values and all(isinstance(value, list) and all(_number(x) for x in value) for value in values):
        return "list<double>"
    return "string"


def json_columns(records: Sequence[dict[str, Any]], types: dict[str, str]) -> dict[str, pa.Array]:
    """Arrays of the given types; a value of another type becomes null, except that everything can be text."""
    convert = {"double": _as_number, "string": _as_string, "list<double>": _as_list}
    return {
        name: pa.array([convert[kind](record.get(name)) for record in records], _ARROW[kind]) for name, kind in types.items()
    }


def _as_number(value: Any) -> float | None:
    return float(value) if _number(value) else None


def _as_list(value: Any) -> list[float] | None:
    return [float(x) for x in value] if isinstance(value, list) and all(_number(x) for x in value) else None


def _as_string(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(value, ensure_ascii=False)
