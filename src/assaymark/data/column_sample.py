"""Some values of one column from all over a data set, for decisions that must be made once, before the pass over the data."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from assaymark.data.dataset import Dataset, arrow_type
from assaymark.data.readers.base import Unreadable

__all__ = ["sample_column"]


def sample_column(dataset: Dataset, concept: str, *, files: int = 16, rows: int = 20_000) -> pa.ChunkedArray:
    """The first rows of the first and the last part of files spread evenly over the data set.

    Not a random sample, which in most formats would cost a pass of its own. Files that break are left to the scan, which
    reports them.

    Parameters
    ----------
    files : files looked into
    rows : most rows taken of each part

    Raises
    ------
    SchemaError
        There is no column for the concept.
    """
    dataset.require(concept)
    last = len(dataset.shards) - 1
    chosen = sorted({round(place) for place in np.linspace(0, last, files).tolist()}) if dataset.shards else []
    found: list[pa.Array] = []
    for place in chosen:
        parts = dataset.reader.parts(dataset.shards[place])
        for part in dict.fromkeys((*parts[:1], *parts[-1:])):
            try:
                batch = next(dataset.batches(part, [concept]), None)
            except Unreadable:
                continue
            found += [] if batch is None else [batch.table.column(concept).slice(0, rows)]
    return pa.chunked_array(found, arrow_type(concept, dataset))
