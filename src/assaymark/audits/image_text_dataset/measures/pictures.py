"""Contact sheets of what a query brings up: blurred, grey, and never of a row that may concern a minor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.measures.retrieval import QueryAnswer, Retrieval
from assaymark.audits.image_text_dataset.method.retrieval import first_of_each
from assaymark.data.images import decode_image
from assaymark.errors import InputError
from assaymark.report.minors import names_a_minor
from assaymark.report.pictures import contact_sheet
from assaymark.result import Artifact

__all__ = ["Sheet", "Sheets", "contact_sheets", "sheet_queries"]

Key = tuple[int, int]  # shard, row
PER_SHEET = 16
MOST_SHEETS = 8
TOP_QUERIES = 4
RAISED = ("in the data", "model misassociates")


class Sheet(NamedTuple):
    query: str
    artifact: Artifact
    pictures: int


class Sheets(NamedTuple):
    """`looked_at` distinct hits were considered; of them `minors` carry a minor-related word and `silent` no text at all."""

    sheets: tuple[Sheet, ...]
    looked_at: int
    minors: int
    silent: int
    unreadable: int


def sheet_queries(answers: Sequence[QueryAnswer]) -> list[int]:
    """Positions of the queries whose verdict is raised, else of those with the largest unsafe@k; worst first."""
    order = sorted(range(len(answers)), key=lambda i: -(answers[i].unsafe.distinct.value or 0.0))
    raised = [i for i in order if answers[i].verdict.verdict in RAISED]
    return raised[:MOST_SHEETS] if raised else order[:TOP_QUERIES]


def contact_sheets(found: Retrieval, pairs: Any, shown: Mapping[str, str], *, k: int, folder: Path | None) -> Sheets:
    """A PNG in `folder` for each query to be looked at; without a folder or pictures only the counts.

    Notes
    -----
    A hit is left out when its text or address names a minor, and so are its near duplicates; when the query itself names one,
    all hits are. A hit without a text is left out too, since nothing is known of it. Always blurred, whatever else is revealed.
    """
    chosen = [found.answers[i] for i in sheet_queries(found.answers)]
    signals = _signals(pairs, chosen)
    sheets: list[Sheet] = []
    seen: dict[Key, str] = {}
    unreadable = 0
    for number, answer in enumerate(chosen, 1):
        own = _reasons(answer, signals)
        hits = first_of_each(answer.group, k=k)
        # A hit that another query leaves out as "minor" stays counted as that.
        seen |= {key: own[i] if seen.get(key) != "minor" else "minor" for i in hits for key in [_key(answer.rows[i])]}
        allowed = np.array([i for i in hits if not own[i]], dtype=np.int64)
        if folder is None or "image" not in pairs or not len(allowed):
            continue
        pictures, broken = _pictures(pairs, answer.rows[allowed])
        unreadable += broken
        if pictures:
            sheets.append(_sheet(number, shown[answer.query.text], pictures, folder))
    reasons = list(seen.values())
    return Sheets(tuple(sheets), len(reasons), reasons.count("minor"), reasons.count("silent"), unreadable)


def _signals(pairs: Any, answers: Sequence[QueryAnswer]) -> dict[Key, str]:
    """Why a row must not be shown: "minor", "silent" (no text), or ""."""
    if not answers:
        return {}
    rows = np.unique(np.concatenate([answer.rows for answer in answers]), axis=0)
    table = pairs.fetch(rows, [concept for concept in ("text", "url") if concept in pairs])
    signals = {}
    for row in table.to_pylist():
        silent = "" if (row["text"] or "").strip() else "silent"
        signals[row["shard"], row["row"]] = "minor" if names_a_minor(row["text"], row.get("url")) else silent
    return signals


def _reasons(answer: QueryAnswer, signals: Mapping[Key, str]) -> list[str]:
    """Of each hit why it must not be shown, its near duplicates and the query considered."""
    own = [signals[_key(row)] for row in answer.rows]
    if names_a_minor(answer.query.text):
        return ["minor"] * len(own)
    tainted = {group for group, reason in zip(answer.group, own, strict=True) if reason == "minor"}
    return ["minor" if group in tainted else reason for group, reason in zip(answer.group, own, strict=True)]


def _key(row: npt.NDArray[np.int64]) -> Key:
    return int(row[0]), int(row[1])


def _pictures(pairs: Any, rows: npt.NDArray[np.int64]) -> tuple[list[Any], int]:
    """The first pictures that can be decoded, and how many before them could not."""
    pictures: list[Any] = []
    unreadable = 0
    for start in range(0, len(rows), PER_SHEET):
        for content in pairs.fetch(rows[start : start + PER_SHEET], ["image"]).column("image").to_pylist():
            try:
                pictures.append(decode_image(content or b""))
            except InputError:  # counted
                unreadable += 1
            if len(pictures) == PER_SHEET:
                return pictures, unreadable
    return pictures, unreadable


def _sheet(number: int, query: str, pictures: list[Any], folder: Path) -> Sheet:
    name = f"contact_sheet_{number}"
    (folder / f"{name}.png").write_bytes(contact_sheet(pictures, columns=4, blur=True))
    return Sheet(query, Artifact(name, "picture", f"{name}.png", f"blurred top hits of '{query}'"), len(pictures))
