"""How an input writes its dates, found in a sample of its rows before anything is counted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.data.dates import DateFormat, detect_format

__all__ = ["found_dates"]

_FILES, _ROWS = 16, 20_000


def found_dates(dataset: Any, config: GeneratedTextPrevalenceConfig) -> DateFormat:
    """The format of created_at: from the settings, or from the first rows of up to 16 files spread over the input."""
    shards = dataset.shards
    step = max(1, len(shards) // _FILES)
    parts: list[pa.Array] = []
    for shard in shards[::step][:_FILES]:
        parts += _first_rows(dataset, shard)
    sample = pa.concat_arrays(parts) if parts else pa.array([], pa.large_string())
    return detect_format(sample, format=config.date_format, day_first=config.day_first)


def _first_rows(dataset: Any, shard: Any) -> list[pa.Array]:
    from assaymark.data.readers.base import Unreadable

    try:
        for part in dataset.reader.parts(shard):
            for batch in dataset.batches(part, ["created_at"]):
                return [batch.table.column(0).slice(0, _ROWS)]
    except Unreadable:  # the pass over the data comes to the same place, and reports it
        return []
    return []
