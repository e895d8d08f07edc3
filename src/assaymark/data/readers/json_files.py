"""JSON in one piece: an object of lists (one list a column), or a list of objects (one object a row)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from assaymark.data.readers.base import (
    BATCH_ROWS,
    MALFORMED,
    Part,
    Peek,
    RawBatch,
    Reader,
    Shard,
    Unreadable,
    guard,
    open_stream,
)
from assaymark.data.readers.jsonlines import JsonLinesReader, json_columns, json_types

__all__ = ["JsonReader"]

MOST_BYTES = 2 << 30
_HEAD = 1 << 20


class JsonReader(Reader):
    """Loads a file whole, up to `MOST_BYTES` unpacked; a file that is JSON lines under another name is read as such."""

    format: ClassVar[str] = "json"

    def __init__(self) -> None:
        self.lines = JsonLinesReader()
        self.types: dict[str, dict[str, str]] = {}

    def peek(self, shard: Shard) -> Peek:
        if _has_lines(shard.path):
            return self.lines.peek(shard)
        records = _load(shard.path)
        self.types[shard.path] = types = json_types([record for record in records if isinstance(record, dict)])
        return Peek(types, len(records), (len(records),))

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        path = part.shard.path
        if path not in self.types:
            yield from self.lines.read(part, columns)
            return
        types = {name: self.types[path][name] for name in columns if name in self.types[path]}
        records = _load(path)
        for first in range(0, len(records), BATCH_ROWS):
            block = records[first : first + BATCH_ROWS]
            fit = [record if isinstance(record, dict) else {} for record in block]
            defects = np.array([0 if isinstance(record, dict) else MALFORMED for record in block], np.uint8)
            yield RawBatch(json_columns(fit, types), len(block), first, defects if defects.any() else None)


def _has_lines(path: str) -> bool:
    """Whether the first line is an object of its own, and not the last."""
    with guard(path), open_stream(path) as stream:
        line, _, rest = bytes(stream.read(_HEAD)).lstrip().partition(b"\n")
    if not rest.strip() or not line.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _load(path: str) -> list[Any]:
    """The rows of a file; what is no object among them is malformed."""
    with guard(path), open_stream(path) as stream:
        content = bytes(stream.read(MOST_BYTES + 1))
    if len(content) > MOST_BYTES:
        raise Unreadable.of(path, f"is JSON of more than {MOST_BYTES >> 30} GiB in one piece; store it as JSON lines (.jsonl)")
    try:
        value = json.loads(content.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError) as error:
        raise Unreadable.of(path, f"is not valid JSON: {error}") from None
    if isinstance(value, list):
        return value
    lists = {name: column for name, column in value.items() if isinstance(column, list)} if isinstance(value, dict) else {}
    if not lists:
        raise Unreadable.of(path, "holds neither a list of objects nor an object of lists")
    if len(lists) == 1 and all(isinstance(row, dict) for row in next(iter(lists.values()))):
        return list(next(iter(lists.values())))
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} ({length:,})" for name, length in list(lengths.items())[:4])
        raise Unreadable.of(path, f"its lists are of different lengths: {shown}; nobody can tell which values belong together")
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
