"""What people ask of the data set: searches for themselves, rows that were to go, and the queries of the retrieval test."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from assaymark.audit import Context
from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.measures.collection import Collection
from assaymark.audits.image_text_dataset.measures.queries import Query, read_queries
from assaymark.audits.image_text_dataset.measures.removal import Removed, manifest_table, read_removed
from assaymark.audits.image_text_dataset.method.find_me import match_embedding
from assaymark.audits.image_text_dataset.probes.find_me import CONCEPT, Matches, Wanted, parse_wanted
from assaymark.audits.image_text_dataset.report import names
from assaymark.data.images import decode_image
from assaymark.report.redaction import hash_content
from assaymark.result import Artifact

__all__ = ["Subjects", "find_pictures", "find_subjects", "shown_requests", "unsearched", "write_manifest"]


class Subjects(NamedTuple):
    wanted: tuple[Wanted, ...]
    queries: tuple[Query, ...]
    removed: Removed | None = None


def find_subjects(config: ImageTextDatasetConfig, removed: Any = None) -> Subjects:
    """Requests, queries and an earlier removal manifest, parsed before the data set is read."""
    return Subjects(parse_wanted(config.find), read_queries(config.queries), None if removed is None else read_removed(removed))


def find_pictures(
    wanted: tuple[Wanted, ...], matches: Matches, collection: Collection | None, encoder: Any, config: ImageTextDatasetConfig
) -> Matches:
    """Add the rows whose embedding is near a wanted picture."""
    asked = [i for i, request in enumerate(wanted) if request.kind == "image"]
    if not asked or collection is None or encoder is None:
        return matches
    vectors = np.asarray(encoder.embed_images([decode_image(wanted[i].value) for i in asked]), dtype=np.float32)
    found = match_embedding(vectors, collection.blocks(), cosine=config.find_cosine)
    rows = collection.rows[found.row]
    joined = Matches(
        np.concatenate([matches.shard, rows[:, 0]]),
        np.concatenate([matches.row, rows[:, 1]]),
        np.concatenate([matches.request, np.asarray(asked, dtype=np.int64)[found.query]]),
    )
    return joined


def unsearched(wanted: tuple[Wanted, ...], dataset: Any, collection: Collection | None) -> dict[int, str]:
    """Requests that could not be searched for, with the reason: no row found would be a false comfort."""
    lacking = {i: CONCEPT[w.kind] for i, w in enumerate(wanted) if w.kind != "image" and CONCEPT[w.kind] not in dataset}
    pictures = {i for i, w in enumerate(wanted) if w.kind == "image" and collection is None}
    reason = "give embeddings (or images) and --model dual_encoder=SPEC"
    return {i: f"the data set has no column for {c}" for i, c in lacking.items()} | dict.fromkeys(sorted(pictures), reason)


def shown_requests(wanted: tuple[Wanted, ...], context: Context) -> list[str]:
    """How a request is named in the report: by its kind and the salted hash of what was searched for."""
    written = [f"{request.kind}={request.value}" for request in wanted]
    return written if context.reveal else names.shown_requests(written, partial(hash_content, salt=context.salt))


def write_manifest(wanted: tuple[Wanted, ...], matches: Matches, requests: list[str], pairs: Any, folder: Path) -> Artifact:
    """`removal_manifest.parquet`: shard, row, reason, request, date, and the address and hashes that the row has.

    It stays apart from the report: it points at people. The hashes let a later release be checked (input `removed`).
    """
    rows = np.stack([matches.shard, matches.row], axis=1)
    reasons = [wanted[i].kind for i in matches.request]
    table = manifest_table(pairs, rows, reasons, [requests[i] for i in matches.request])
    pq.write_table(table, folder / "removal_manifest.parquet")
    return Artifact(
        "removal_manifest",
        "table",
        "removal_manifest.parquet",
        "rows to remove, with reason, date, address and hashes",
        private=True,
    )
