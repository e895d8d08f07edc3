"""Scores of every row as a file: id (or path, or URL), score, both logits and the flag, for whoever goes on from here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import Context
from assaymark.audits.image_offensiveness.columns import content_of
from assaymark.audits.image_offensiveness.measures.row_names import NAMING
from assaymark.audits.image_offensiveness.method.scoring import logits
from assaymark.audits.image_offensiveness.probes.rule import FlagRule
from assaymark.audits.image_offensiveness.scoring import embed_values, three_way_log_odds
from assaymark.data.dataset import Dataset
from assaymark.data.readers.base import Unreadable
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Artifact

__all__ = ["write_scores"]

BLOCK = 8_192
SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int64()),
        ("id", pa.large_string()),
        ("score", pa.float32()),
        ("log_odds", pa.float32()),
        ("z0", pa.float32()),
        ("z1", pa.float32()),
        ("flag", pa.bool_()),
    ]
)


def write_scores(dataset: Dataset, prompts: PromptSet, rule: FlagRule, context: Context, *, most: int) -> Artifact | None:
    """`scores.parquet`, one line a scored row, one block in memory at a time; None above `most` rows or without a folder.

    Embeddings of pictures come from the cache of the pass before.
    """
    folder = context.artifacts
    if folder is None or not most or (dataset.rows or most + 1) > most:
        return None
    encoder = context.model("encoder")
    content = content_of(dataset, encoder, name="images")
    naming = next((concept for concept in NAMING if concept in dataset), "")
    extra = [concept for concept in (naming, "label") if concept and concept in dataset]
    path = folder / "scores.parquet"
    with context.progress.task("writing scores", dataset.rows, "images") as task, pq.ParquetWriter(path, SCHEMA) as writer:
        for shard, first, table in _batches(dataset, [content, *extra]):
            for start in range(0, table.num_rows, BLOCK):
                block = table.slice(start, BLOCK)
                writer.write_table(_scored(block, content, naming, prompts, rule, encoder, shard, first + start))
                task.advance(block.num_rows)
    return Artifact("scores", "table", path.name, "score, logits and flag of every row", private=True)


def _batches(dataset: Dataset, concepts: list[str]) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    for shard in dataset.shards:
        if shard.path in dataset.failed:
            continue
        try:
            for part in dataset.reader.parts(shard):
                for batch in dataset.batches(part, concepts):
                    yield shard.index, batch.first, batch.table
        except Unreadable:  # the pass named the file already
            continue


def _scored(
    block: pa.RecordBatch, content: str, naming: str, prompts: PromptSet, rule: FlagRule, encoder: Any, shard: int, first: int
) -> pa.Table:
    found = embed_values(block.column(content), dimension=prompts.dimension, encoder=encoder)
    z = logits(found.vectors, prompts.prompts, logit_scale=prompts.logit_scale)
    odds = three_way_log_odds(z)
    own = dict(rule.class_thresholds)
    names = (
        block.column("label").take(pa.array(found.positions)).to_pylist() if "label" in block.schema.names else [""] * len(z)
    )
    with np.errstate(divide="ignore"):
        limits = np.array([own.get(name, rule.threshold) for name in names], dtype=np.float64)
        flags = (z.argmax(axis=1) == 1) & (odds >= (np.log(limits) - np.log1p(-limits)).astype(np.float32)) if len(z) else []
    ids = block.column(naming).take(pa.array(found.positions)) if naming else pa.nulls(len(z), pa.large_string())
    columns = [
        np.full(len(z), shard, np.int32), first + found.positions, ids, 1 / (1 + np.exp(-np.clip(odds, -60, 60))), odds,
        z[:, 0], z[:, 1], np.asarray(flags, dtype=bool),
    ]  # fmt: skip
    return pa.Table.from_arrays(
        [pa.array(c) if not isinstance(c, pa.Array) else c for c in columns], schema=None, names=SCHEMA.names
    ).cast(SCHEMA)
