"""Parquet files, read row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pyarrow.parquet as pq

from assaymark.data.readers.base import (
    BATCH_ROWS,
    Part,
    Peek,
    RawBatch,
    Reader,
    Shard,
    Unreadable,
    check_names,
    guard,
    open_file,
    text_columns,
)

__all__ = ["ParquetReader"]

PART_ROWS = 262_144


class ParquetReader(Reader):
    """Row numbers come from the footer, so that one large file is read by several workers at once."""

    format: ClassVar[str] = "parquet"

    def peek(self, shard: Shard) -> Peek:
        with guard(shard.path), _open(shard.path) as file:
            metadata = file.metadata
            groups = tuple(metadata.row_group(k).num_rows for k in range(metadata.num_row_groups))
            schema = file.schema_arrow
            check_names(shard.path, schema.names)
            return Peek({field.name: str(field.type) for field in schema}, metadata.num_rows, groups)

    def parts(self, shard: Shard) -> list[Part]:
        parts: list[Part] = []
        start = first = rows = 0
        for k, count in enumerate(shard.groups):
            rows += count
            if rows >= PART_ROWS or k + 1 == len(shard.groups):
                parts.append(Part(shard, start, k + 1, first))
                start, first, rows = k + 1, first + rows, 0
        return parts

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        path, first = part.shard.path, part.first
        with guard(path), _open(path) as file:
            here = [name for name in columns if name in file.schema_arrow.names]
            groups = list(range(part.start, part.stop))
            if not here:
                yield from _empty(part)
                return
            for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=groups, columns=here):
                arrays = {name: batch.column(name) for name in here}
                yield RawBatch(arrays, batch.num_rows, first, text_columns(arrays, batch.num_rows))
                first += batch.num_rows
        if first - part.first != sum(part.shard.groups[part.start : part.stop]):
            raise Unreadable.of(path, "fewer rows than its footer says")


def _open(path: str) -> Any:
    return pq.ParquetFile(open_file(path), page_checksum_verification=True, pre_buffer="://" in path)


def _empty(part: Part) -> Iterator[RawBatch]:
    """Batches without columns: for probes that only count rows."""
    total, first = sum(part.shard.groups[part.start : part.stop]), part.first
    for start in range(0, total, BATCH_ROWS):
        yield RawBatch({}, min(BATCH_ROWS, total - start), first + start)
