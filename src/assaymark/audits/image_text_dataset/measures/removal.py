"""A removal manifest held against a later release: which of its rows are still there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.find_me import Release, Verification, verify_manifest
from assaymark.audits.image_text_dataset.probes.manifest import EVIDENCE, Candidates, Evidence
from assaymark.audits.image_text_dataset.probes.sample import hash_strings
from assaymark.errors import InputError, SchemaError
from assaymark.result import Artifact

__all__ = ["KEPT", "Removal", "Removed", "manifest_table", "measure_removal", "read_removed", "write_remaining"]

Ints = npt.NDArray[np.int64]
KEPT = ("url", "sha256", "md5", "phash")
"""Columns that a removal manifest takes along from the data set, so that a later release can be checked."""
FORM = {"sha256": "[0-9a-f]{64}", "phash": "[0-9a-f]{16}"}
FETCHED = 10_000


class Removed(NamedTuple):
    """Distinct entries of a removal manifest; "" where an entry has no such evidence."""

    sha256: tuple[str, ...]
    url: tuple[str, ...]
    phash: tuple[str, ...]

    def evidence(self) -> Evidence:
        sha256, url, phash = (tuple(dict.fromkeys(value for value in column if value)) for column in self)
        return Evidence(sha256, url, tuple(int(value, 16) for value in phash))


class Removal(NamedTuple):
    """`checked` are the entries that the release could be searched for, `rows` the rows found by the strongest evidence.

    `known` counts the rows of the release that carry each of `kinds`.
    `remaining` are the rows still there as (kind, shard, row), shape (n, 3); `listed` is False when there are more of them.
    """

    removed: Removed
    checked: Ints
    kinds: tuple[str, ...]
    known: tuple[int, ...]
    verification: Verification | None
    rows: Ints
    remaining: Ints
    listed: bool


def read_removed(dataset: Any) -> Removed:
    """Entries of a removal manifest.

    Raises
    ------
    SchemaError
        When the table has none of the columns sha256, url, phash.
    InputError
        For a hash of another length: it would be looked for in vain.
    """
    table = dataset.read()
    if not set(EVIDENCE) & set(table.column_names):
        raise SchemaError(
            "input 'removed': no column 'sha256', 'url' or 'phash' to find its rows again; "
            f"columns: {', '.join(table.column_names)}"
        )
    columns = [_column(table, name) for name in EVIDENCE]
    return Removed(*map(tuple, zip(*dict.fromkeys(zip(*columns, strict=True)), strict=True))) if table.num_rows else _EMPTY


_EMPTY = Removed((), (), ())


def _column(table: pa.Table, name: str) -> list[str]:
    if name not in table.column_names:
        return [""] * table.num_rows
    try:
        values = pc.fill_null(table.column(name).cast(pa.large_string()), "")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise SchemaError(f"input 'removed': column {name!r} holds {table.column(name).type}, not text") from None
    if name == "url":
        return [str(value) for value in values.to_pylist()]
    values = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    fits = pc.match_substring_regex(values, f"^({FORM[name]})?$").to_numpy(zero_copy_only=False)
    if not fits.all():
        row = int(np.argmin(fits))
        raise InputError(f"input 'removed': column {name!r}, row {row}: not {FORM[name][-3:-1]} hexadecimal digits")
    # A flat picture has the hash 0, which every other flat picture shares: it names nothing.
    return ["" if name == "phash" and not value.strip("0") else value for value in values.to_pylist()]


def measure_removal(removed: Removed, found: Candidates, pairs: Any, config: ImageTextDatasetConfig) -> Removal:
    """Verify the manifest on the rows that the pass picked out: no other row can match, so this is the whole release."""
    used = [bool(found.known[k]) and any(column) for k, column in enumerate(removed)]
    kinds = tuple(name for name, use in zip(EVIDENCE, used, strict=True) if use)
    known = tuple(int(found.known[EVIDENCE.index(name)]) for name in kinds)
    has = np.array([[bool(value) for value in column] for column in removed]).reshape(len(EVIDENCE), -1)
    checked = np.flatnonzero(has[np.array(used)].any(axis=0))
    nothing = np.zeros(0, dtype=np.int64)
    if not len(checked):
        return Removal(removed, checked, kinds, known, None, nothing, nothing.reshape(0, 3), True)
    entries = {name: [getattr(removed, name)[i] for i in checked] for name in kinds}
    table = _fetched(pairs, np.unique(np.stack([found.shard, found.row], axis=1), axis=0), kinds)
    held = {name: table.column(name).to_pylist() for name in kinds}
    verification = verify_manifest(
        _release(entries), _release(held), distance=config.find_distance, confidence=config.confidence
    )
    wanted = removed.evidence()
    places = [{value: i for i, value in enumerate(values)} for values in wanted]
    rows = np.zeros(len(checked), dtype=np.int64)
    for i in np.flatnonzero(verification.found_by != ""):
        kind = EVIDENCE.index(verification.found_by[i])
        value: Any = removed[kind][checked[i]]
        rows[i] = found.counts[kind][places[kind][int(value, 16) if kind == EVIDENCE.index("phash") else value]]
    remaining = np.unique(np.stack([found.shard, found.row, found.kind], axis=1), axis=0)
    _, first = np.unique(remaining[:, :2], axis=0, return_index=True)
    listed = sum(int(count.sum()) for count in found.counts) == len(found.row)
    return Removal(removed, checked, kinds, known, verification, rows, remaining[first], listed)


def _release(columns: dict[str, list[str | None]]) -> Release:
    """Texts as 64-bit hashes; 0 where a row has none."""

    def hashes(name: str) -> npt.NDArray[np.uint64] | None:
        if name not in columns:
            return None
        values = [(value or "").strip() if name == "phash" else value or "" for value in columns[name]]
        if name == "phash":
            return np.array([_number(value) for value in values], dtype=np.uint64)
        keys = hash_strings(pa.array([value.lower() if name == "sha256" else value for value in values], pa.string()))
        return np.where(np.array([value != "" for value in values], dtype=bool), keys, np.uint64(0))

    return Release(sha256=hashes("sha256"), phash=hashes("phash"), url=hashes("url"))


def _number(value: str) -> int:
    return int(value, 16) if len(value) == 16 and all(c in "0123456789abcdefABCDEF" for c in value) else 0


def _fetched(pairs: Any, rows: Ints, concepts: Sequence[str]) -> pa.Table:
    blocks = [pairs.fetch(rows[i : i + FETCHED], concepts).combine_chunks() for i in range(0, len(rows), FETCHED)]
    return pa.concat_tables(blocks) if blocks else pairs.fetch([], concepts)


def manifest_table(pairs: Any, rows: Ints, reasons: Sequence[str], requests: Sequence[str]) -> pa.Table:
    """shard, row, reason, request, date, and of each row its address and hashes where the data set has them.

    Parameters
    ----------
    rows : int64 array, shape (n, 2)
        (shard, row); a row may stand there once for each request.
    """
    distinct, place = np.unique(rows, axis=0, return_inverse=True)
    kept = [concept for concept in KEPT if concept in pairs]
    evidence = _fetched(pairs, distinct, kept).take(pa.array(place.ravel())) if kept else None
    columns: dict[str, Any] = {
        "shard": pa.array(rows[:, 0], pa.int32()),
        "row": pa.array(rows[:, 1], pa.int64()),
        "reason": pa.array(reasons, pa.string()),
        "request": pa.array(requests, pa.string()),
        "date": pa.array([dt.datetime.now(dt.UTC).date()] * len(rows), pa.date32()),
    }
    return pa.table(columns | {concept: evidence.column(concept) for concept in kept if evidence is not None})


def write_remaining(found: Removal, pairs: Any, folder: Path) -> Artifact:
    """`removal_remaining.parquet`: a manifest of the rows that are still there, as the filter takes it."""
    reasons = [EVIDENCE[kind] for kind in found.remaining[:, 2]]
    table = manifest_table(pairs, found.remaining[:, :2], reasons, ["removal manifest"] * len(reasons))
    pq.write_table(table, folder / "removal_remaining.parquet")
    return Artifact(
        "removal_remaining", "table", "removal_remaining.parquet", "rows that should be gone and are not", private=True
    )
