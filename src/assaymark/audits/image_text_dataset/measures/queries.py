"""Queries of the retrieval test: plain texts, or a CSV that says which axis and pair each belongs to."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from assaymark.errors import InputError, SchemaError

__all__ = ["Query", "query_pairs", "read_queries"]


class Query(NamedTuple):
    """`pair` joins two queries that differ in one word; `side` is "a" for the first of them, "b" for the second."""

    text: str
    axis: str = "queries"
    pair: str = ""
    side: str = ""


def read_queries(settings: Sequence[str]) -> tuple[Query, ...]:
    """Queries from texts and CSV files with the columns query[, axis, pair, side]; repeated texts are kept once.

    Raises
    ------
    InputError, SchemaError
        For a CSV that is missing or has no column `query`.
    """
    found: dict[str, Query] = {}
    for setting in settings:
        rows = _from_file(Path(setting)) if setting.endswith(".csv") else [Query(setting.strip())]
        for query in rows:
            found.setdefault(query.text, query)
    return tuple(query for query in found.values() if query.text)


def _from_file(path: Path) -> list[Query]:
    if not path.is_file():
        raise InputError(f"queries: no file {path}")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        if "query" not in (reader.fieldnames or []):
            raise SchemaError(f"{path}: no column 'query'; columns: {', '.join(reader.fieldnames or [])}")
        return [
            Query(row["query"].strip(), row.get("axis") or "queries", row.get("pair") or "", row.get("side") or "")
            for row in reader
        ]


def query_pairs(queries: Sequence[Query]) -> list[tuple[str, int, int]]:
    """(axis, position of side a, position of side b) for every complete pair, in the order of the queries."""
    sides: dict[tuple[str, str], dict[str, int]] = {}
    for i, query in enumerate(queries):
        if query.pair:
            members = sides.setdefault((query.axis, query.pair), {})
            members[query.side or ("a" if "a" not in members else "b")] = i
    return [(axis, found["a"], found["b"]) for (axis, _), found in sides.items() if {"a", "b"} <= set(found)]
