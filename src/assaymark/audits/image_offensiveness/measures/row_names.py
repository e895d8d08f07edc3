"""Where a row is to be found by whoever has to look at it: its file, and whatever names it in the data. Private."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.image_offensiveness.reading import Reading
from assaymark.data.dataset import Dataset
from assaymark.result import Artifact

__all__ = ["NAMING", "row_names", "write_shortlist"]

NAMING = ("id", "path", "url")
"""Concepts that name an image."""

Ints = npt.NDArray[np.int64]


def row_names(dataset: Dataset, shard: Ints, row: Ints) -> dict[str, Any]:
    """Columns `file` (of the data set) and those of `NAMING` that the data set has, for some rows."""
    files = {part.index: part.path for part in dataset.shards}
    columns: dict[str, Any] = {"file": [files.get(int(s), "") for s in shard]}
    concepts = [concept for concept in NAMING if concept in dataset]
    if concepts and len(row):
        found = dataset.fetch(zip(shard, row, strict=True), concepts)
        columns |= {concept: found.column(concept) for concept in concepts}
    elif concepts:
        columns |= {concept: pa.nulls(0, pa.large_string()) for concept in concepts}
    return columns


def write_shortlist(read: Reading, context: Any) -> list[Artifact]:
    """The shortlist with the names of its images, as a spreadsheet for the people who look; nothing without a folder."""
    if context.artifacts is None or not len(read.shortlist.row):
        return []
    from pyarrow import csv

    found = read.shortlist
    kept = np.flatnonzero(found.overall | (found.of_class & (found.flagged > 0)))
    classes = dict(zip(read.classes.keys.tolist(), read.classes.names, strict=True))
    log_odds = found.log_odds[kept].astype(np.float64)
    table = pa.table(
        {
            "rank": np.arange(1, len(kept) + 1),
            "shard": found.shard[kept],
            "row": found.row[kept],
            **row_names(read.dataset, found.shard[kept], found.row[kept]),
            "class": [classes.get(key, "") for key in found.class_key[kept].tolist()],
            "score": np.round(1.0 / (1.0 + np.exp(-np.clip(log_odds, -60, 60))), 6),
            "log_odds": np.round(log_odds, 4),
            "flagged": found.flagged[kept],
        }
    )
    pq.write_table(table, context.artifacts / "shortlist.parquet")
    csv.write_csv(table, context.artifacts / "shortlist.csv")
    text = "the highest scores, with the names of the images"
    return [
        Artifact("shortlist", "table", "shortlist.parquet", text, private=True),
        Artifact("shortlist_csv", "table", "shortlist.csv", f"{text}, as a spreadsheet", private=True),
    ]
