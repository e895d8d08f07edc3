"""Tables that are in memory already: Arrow, and pandas frames turned into Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pyarrow as pa

from assaymark.data.readers.base import BATCH_ROWS, Part, Peek, RawBatch, Reader, Shard, check_names, text_columns

__all__ = ["MemoryReader"]


class MemoryReader(Reader):
    """One table, one shard. Travels to workers as an Arrow stream, never as pickled objects."""

    format: ClassVar[str] = "arrow"

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __getstate__(self) -> dict[str, Any]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        return {"stream": sink.getvalue().to_pybytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.table = pa.ipc.open_stream(state["stream"]).read_all()

    def peek(self, shard: Shard) -> Peek:
        check_names(shard.path, self.table.column_names)
        return Peek({field.name: str(field.type) for field in self.table.schema}, self.table.num_rows, (self.table.num_rows,))

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[RawBatch]:
        here = [name for name in columns if name in self.table.column_names]
        for first in range(0, self.table.num_rows, BATCH_ROWS):
            piece = self.table.slice(first, BATCH_ROWS)
            arrays = {name: _contiguous(piece.column(name)) for name in here}
            yield RawBatch(arrays, piece.num_rows, first, text_columns(arrays, piece.num_rows))


def _contiguous(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
