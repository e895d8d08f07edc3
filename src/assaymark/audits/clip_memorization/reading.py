"""The pairs of an input, each once: its captions, label, set and flag, and where its picture is to be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ScoringSettings
from assaymark.data.dataset import Dataset
from assaymark.data.readers.base import Unreadable
from assaymark.errors import InputError, SchemaError, nearest
from assaymark.result import Flow

__all__ = ["NO_SET", "Pool", "chosen_by_id", "read_pool", "sets_of_split"]

NO_SET = ""
WORDS = {"shared": "S", "candidate": "C", "candidates": "C", "independent": "I", "external": "E"}
_YES = frozenset({"true", "1", "yes", "wrong"})


@dataclass(frozen=True)
class Pool:
    """Pairs in the order of a hash of their id, so that no result depends on the order of rows.

    Attributes
    ----------
    ids : list of str
    captions : list of lists of str, each with at least one
    labels : list of str, "" where there is none
    sets : array of str, shape (n,): letter, or `NO_SET`
    wrong : array of bool, shape (n,), or None without such a column
    places : array of int, shape (n, 2): shard and row of the picture
    """

    dataset: Dataset
    ids: list[str]
    captions: list[list[str]]
    labels: list[str]
    sets: npt.NDArray[Any]
    wrong: npt.NDArray[np.bool_] | None
    places: npt.NDArray[np.int64]
    flow: Flow
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: npt.NDArray[np.int64]) -> Pool:
        """The pairs at some positions, in that order."""
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            captions=[self.captions[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            sets=self.sets[rows],
            wrong=None if self.wrong is None else self.wrong[rows],
            places=self.places[rows],
        )


class _Row(NamedTuple):
    id: str
    captions: tuple[str, ...]
    label: str
    letter: str
    wrong: bool
    place: tuple[int, int]
    digest: bytes = b""
    rows: int = 1


def read_pool(
    dataset: Dataset, config: ScoringSettings, context: Context, *, name: str, split: dict[str, str] | None = None
) -> Pool:
    """All pairs of an input but their pictures.

    Parameters
    ----------
    name : of the input, for messages
    split : sets by id, in place of the column

    Raises
    ------
    SchemaError
        Neither captions nor texts, or no pictures.
    InputError
        A pair that stands in two sets.
    """
    columns = _columns(dataset, config, name)
    if config.find_copies and "image" in dataset:
        columns["image"] = dataset.mapping["image"]
    skipped: Counter[str] = Counter()
    pairs: dict[str, _Row] = {}
    used = total = 0
    clash: list[str] = []
    for row in _rows(dataset, columns):
        total += 1
        if not row.captions:
            skipped["no caption"] += 1
            continue
        letter = row.letter if split is None else split.get(row.id, NO_SET)
        if letter == "?":
            skipped["unknown set"] += 1
            continue
        used += 1
        known = pairs.get(row.id)
        if known is None:
            pairs[row.id] = row._replace(letter=letter)
            continue
        if known.letter != letter:
            clash.append(f"{known.letter or 'none'} and {letter or 'none'} (row {row.place[1]})")
        captions = tuple(dict.fromkeys((*known.captions, *row.captions)))
        wrong = known.wrong or row.wrong
        pairs[row.id] = known._replace(captions=captions, wrong=wrong, rows=known.rows + 1)
    if clash:
        raise InputError(
            f"input {name!r}: {len(clash)} rows repeat a pair in another set, the first in {clash[0]}: what both models "
            "were trained on is not left out by one; give each pair one set"
        )
    for copy in _copies(pairs):
        lost = pairs.pop(copy).rows
        skipped["its very picture is in another set"] += lost
        used -= lost
    ordered = sorted(pairs.values(), key=lambda row: _key(row.id))
    return Pool(
        dataset,
        [row.id for row in ordered],
        [list(row.captions) for row in ordered],
        [row.label for row in ordered],
        np.array([row.letter for row in ordered], dtype="U1"),
        np.array([row.wrong for row in ordered], dtype=bool) if "wrong" in columns else None,
        np.array([row.place for row in ordered], dtype=np.int64).reshape(-1, 2),
        Flow(f"{name}: {dataset.source}", total, used, skipped=dict(skipped)),
        _notes(dataset, name, total, pairs),
    )


def _copies(pairs: dict[str, _Row]) -> list[str]:
    """Pairs outside S whose picture is, byte by byte, that of a pair in another set: there is no model without it."""
    sets: dict[bytes, set[str]] = {}
    for row in pairs.values():
        if row.digest and row.letter:
            sets.setdefault(row.digest, set()).add(row.letter)
    return [row.id for row in pairs.values() if row.letter not in ("", "S") and len(sets.get(row.digest, ())) > 1]


def _notes(dataset: Dataset, name: str, total: int, pairs: dict[str, _Row]) -> tuple[str, ...]:
    notes = [*dataset.notes]
    single = sum(len(row.captions) == 1 for row in pairs.values())
    if pairs and single == len(pairs):
        notes.append(f"input {name!r}: every picture has one caption, so text views do not vary")
    elif single:
        notes.append(f"input {name!r}: {single:,} of {len(pairs):,} pictures have one caption, whose views do not vary")
    if total > len(pairs) > 0:
        notes.append(f"input {name!r}: {total:,} rows are {len(pairs):,} pairs")
    return tuple(notes)


def _columns(dataset: Dataset, config: ScoringSettings, name: str) -> dict[str, str]:
    """What is read, by our name for it, to the column that holds it."""
    found = {}
    for own, column in (("set", config.set_column), ("wrong", config.wrong_column), ("captions", config.captions_column)):
        if column in dataset.columns:
            found[own] = column
        elif column != type(config).model_fields[f"{own}_column"].default:
            raise SchemaError(f"input {name!r}: no column {column!r}{nearest(column, dataset.columns)}")
    if "captions" not in found:
        dataset.require("text")
    for concept in ("id", "path", "url", "text", "label"):
        if concept in dataset and not (concept == "text" and "captions" in found):
            found[concept] = dataset.mapping[concept]
    return found


def _rows(dataset: Dataset, columns: dict[str, str]) -> Iterator[_Row]:
    """Rows of all files that can be read; a file that breaks is named in `dataset.failed`."""
    # Under their own names, so that a list of captions stays a list.
    own = replace(dataset, mapping=dict(columns.items()), kind="pairs")
    lists = replace(own, mapping={columns["captions"]: columns["captions"]}, kind="table") if "captions" in columns else None
    names = [name for name in columns if name != "captions"]
    for shard in dataset.shards:
        try:
            for part in dataset.reader.parts(shard):
                captions = iter(lists.batches(part, [columns["captions"]])) if lists is not None else None
                for batch in own.batches(part, names):
                    listed = next(captions).table.column(0).to_pylist() if captions is not None else None
                    for at, record in enumerate(batch.table.to_pylist()):
                        given = listed[at] if listed is not None else record.get("text")
                        yield _row(record, given, (shard.index, batch.first + at))
        except Unreadable as error:
            dataset.failed[error.path] = error.reason


def _row(record: dict[str, Any], given: Any, place: tuple[int, int]) -> _Row:
    several = given if isinstance(given, list) else [given]
    captions = tuple(dict.fromkeys(text.strip() for text in several if isinstance(text, str) and text.strip()))
    named = next((value for key in ("id", "path", "url") if (value := record.get(key))), None)
    identity = named or "caption " + blake2b(repr(captions).encode("utf-8", "replace"), digest_size=8).hexdigest()
    wrong = str(record.get("wrong") or "").strip().lower() in _YES
    image = record.get("image")
    digest = blake2b(image, digest_size=16).digest() if image else b""
    return _Row(str(identity), captions, record.get("label") or "", _letter(record.get("set")), wrong, place, digest)


def _letter(value: str | None) -> str:
    """Letter of a set; `NO_SET` where none is given, "?" where it is none that we know."""
    text = (value or "").strip()
    if not text:
        return NO_SET
    return text if text in ("S", "C", "I", "E") else WORDS.get(text.lower(), "?")


def sets_of_split(split: Dataset) -> dict[str, str]:
    """Sets by id of the table beside the pairs.

    Raises
    ------
    SchemaError
        No column id or set.
    InputError
        A set that is none of S, C, I, E; an id in two sets.
    """
    split.require("id", "set")
    table = split.read()
    names = {concept: split.mapping[concept] for concept in ("id", "set")}
    found: dict[str, str] = {}
    for row, (key, value) in enumerate(zip(*(table.column(names[c]).to_pylist() for c in ("id", "set")), strict=True)):
        letter = _letter(str(value) if value is not None else None)
        if letter == "?":
            raise InputError(f"input 'split': {value!r} in row {row} is no set; S, C, I or E")
        if found.setdefault(str(key), letter) != letter:
            raise InputError(f"input 'split': the pair in row {row} stands in two sets, {found[str(key)]} and {letter}")
    return found


def _key(identity: str, seed: int | None = None) -> bytes:
    return blake2b(f"{seed} {identity}".encode("utf-8", "replace"), digest_size=8).digest()


def chosen_by_id(ids: Sequence[str], rows: npt.NDArray[np.int64], *, most: int, seed: int) -> npt.NDArray[np.int64]:
    """At most `most` of some rows, drawn by a hash of their id and the seed: the same pairs in whatever order they come."""
    ranked = sorted(rows.tolist(), key=lambda row: _key(ids[row], seed))
    return np.sort(np.array(ranked[:most], dtype=np.int64))
