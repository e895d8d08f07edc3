"""From the input to the pictures that are looked at: who belongs to which set, and that nobody belongs to two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import ViewSettings
from assaymark.audits.encoder_memorization.probes.points import NO_SET, SET_CONCEPT, PointProbe, PointTable, set_codes
from assaymark.data.decoding import decode_batch
from assaymark.data.hashing import hash_column, mixed
from assaymark.data.scan import scan
from assaymark.errors import InputError, SchemaError, nearest
from assaymark.result import Flow
from assaymark.stats.memorization.four_sets import SETS

__all__ = ["Block", "Points", "SetTable", "blocks", "flow_of", "point_ids", "read_points", "sets_of_split", "size_notes"]

SHARED, CANDIDATE, _, EXTERNAL = range(len(SETS))
TRAINED_BY = ("both", "the encoder", "the reference", "neither")
BEYOND, NO_IMAGE, REPEATED, UNKNOWN, SEEN = (
    "beyond the sample",
    "no picture",
    "repeats another picture",
    "none of the sets S, C, I, E",
    "external, but a picture of a training set",
)


@dataclass
class Points:
    """Pictures that are looked at, by rising key.

    Attributes
    ----------
    key : int64 array, shape (n,)
    sets : int64 array
        Place in `SETS`, `NO_SET` throughout where the input names no sets.
    label : int64 array
        Place in `classes`, -1 where there is none.
    shard, row : int64 arrays
    scored : bool array
        SSLMem is measured.
    in_units : bool array
        Belongs to the pictures that units are compared on.
    classes : tuple of str
    total : int
        Rows of the input.
    skipped : dict of reason to rows; undecoded pictures are added when they are met
    """

    key: npt.NDArray[np.int64]
    sets: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    scored: npt.NDArray[np.bool_]
    in_units: npt.NDArray[np.bool_]
    classes: tuple[str, ...]
    source: str
    total: int
    skipped: dict[str, int]
    failed: Mapping[str, int]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.key)


class Block(NamedTuple):
    """Positions of some points, and their pictures; `unread` are positions of points without a picture, with the reason."""

    positions: npt.NDArray[np.int64]
    pictures: list[Any]
    unread: dict[int, str]


class SetTable(NamedTuple):
    """Sets by key: `key` uint64 (n,), as `PointTable` has it, and `sets` int64 (n,)."""

    key: npt.NDArray[np.uint64]
    sets: npt.NDArray[np.int64]


def read_points(
    dataset: Any,
    split: SetTable | None,
    config: ViewSettings,
    context: Context,
    *,
    candidates: int,
    others: int,
    scored: bool,
    step: str = "points",
) -> Points:
    """Read who is there, refuse what is in two sets, and draw the points.

    Parameters
    ----------
    dataset : Dataset
        Input "images".
    split : SetTable, optional
        Instead of the set column.
    candidates, others : int
        Most points of C, and of each other set, whose SSLMem is measured.
    scored : bool
        SSLMem will be measured, so that sets are needed.
    step : str
        Name of the checkpoint.

    Raises
    ------
    SchemaError
        No pictures; no sets where they are needed.
    InputError
        A candidate that belongs to another set too.
    """
    dataset.require("image")
    sets = (
        replace(dataset, mapping={**dataset.mapping, SET_CONCEPT: config.set_column}) if _has_sets(dataset, config) else dataset
    )
    with context.progress.task("reading", total=dataset.rows, unit="pictures") as task:
        outcome = scan(
            sets,
            [PointProbe()],
            engine=context.engine,
            checkpoint=None if context.work is None else context.work / step,
            task=task,
            log=context.log,
        )
    table: PointTable = outcome.answers["points"]
    if split is not None:
        table = table._replace(sets=_looked_up(table.key, split))
    known = split is not None or sets is not dataset
    if scored:
        _check_sets(dataset, table, config, known=known)
    kept = _without_doubles(table, known=known)
    return _draw(
        table, kept, config, candidates=candidates, others=others, known=known, scored=scored,
        source=outcome.flow.source, total=outcome.flow.total, failed=outcome.flow.failed,
        notes=(*dataset.notes, *outcome.notes),
    )  # fmt: skip


def _check_sets(dataset: Any, table: PointTable, config: ViewSettings, *, known: bool) -> None:
    if not known:
        hint = nearest(config.set_column, dataset.columns) or "; or give a table of id and set: split=FILE"
        raise SchemaError(
            f"{dataset.source}: no column {config.set_column!r} says which pictures are S, C, I or E, which a reference model "
            f"needs{hint}"
        )
    if len(table.key) and (table.sets == NO_SET).all():
        raise SchemaError(
            f"{dataset.source}: no picture has one of the sets S, C, I, E, which a reference needs; look at the column "
            f"{config.set_column!r}, or at the ids of the split"
        )


def _has_sets(dataset: Any, config: ViewSettings) -> bool:
    return config.set_column in dataset.columns


def sets_of_split(split: Any) -> SetTable:
    """Sets by id, from the input "split" with its columns id and set.

    Raises
    ------
    InputError
        An id in two sets.
    """
    split.require("id")
    if "set" not in split.columns:
        raise SchemaError(f"{split.source}: no column 'set'; columns: {', '.join(split.columns)}")
    rows = split.read()
    keys = hash_column(rows.column(split.mapping["id"]).combine_chunks().cast(pa.large_string()))
    codes = set_codes(rows.column("set").combine_chunks())
    distinct = np.unique(np.stack([keys, codes.astype(np.uint64)], axis=1), axis=0)
    twice = len(distinct) - len(np.unique(keys))
    if twice:
        raise InputError(f"input 'split': {twice:,} ids stand in two sets; each belongs to one")
    return SetTable(keys, codes)


def _looked_up(key: npt.NDArray[np.uint64], split: SetTable) -> npt.NDArray[np.int64]:
    if not len(split.key):
        return np.full(len(key), NO_SET)
    order = np.argsort(split.key)
    place = np.minimum(np.searchsorted(split.key[order], key), len(split.key) - 1)
    return np.where(split.key[order][place] == key, split.sets[order][place], NO_SET)


class _Kept(NamedTuple):
    rows: npt.NDArray[np.int64]
    skipped: dict[str, int]


def _without_doubles(table: PointTable, *, known: bool) -> _Kept:
    """Rows that may be looked at, each picture and id once, whatever the order of the input.

    Raises
    ------
    InputError
        A picture or id in two sets: then nothing was left out.
    """
    rows = np.lexsort((table.row, table.shard, table.content, table.key))
    absent = table.missing[rows]
    unknown = known & (table.sets[rows] == NO_SET) & ~absent
    skipped = {NO_IMAGE: int(absent.sum()), UNKNOWN: int(unknown.sum())}
    rows = rows[~absent & ~unknown]
    _refuse(table.key[rows], table.sets[rows], "ids")
    rows = rows[_firsts(table.key[rows])]
    training = table.sets[rows] != EXTERNAL
    seen = ~training & np.isin(table.content[rows], table.content[rows][training]) if known else np.zeros(len(rows), bool)
    skipped[SEEN] = int(seen.sum())
    rows = rows[~seen]
    _refuse(table.content[rows], table.sets[rows], "pictures")
    single = rows[_firsts(table.content[rows])]
    skipped[REPEATED] = len(table.key) - len(single) - sum(skipped.values())
    return _Kept(single, skipped)


def _firsts(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    return np.sort(np.unique(values, return_index=True)[1])


def _refuse(values: npt.NDArray[np.uint64], sets: npt.NDArray[np.int64], what: str) -> None:
    order = np.lexsort((sets, values))
    ranked, of = values[order], sets[order]
    clash = np.flatnonzero((ranked[1:] == ranked[:-1]) & (of[1:] != of[:-1]))
    if len(clash):
        one, other = sorted((int(of[clash[0]]), int(of[clash[0] + 1])))
        raise InputError(
            f"input 'images': {len(clash):,} {what} are in two sets, the first in {SETS[one]} (trained on by "
            f"{TRAINED_BY[one]}) and in {SETS[other]} ({TRAINED_BY[other]}): nothing was left out of the reference; make a "
            "split where each is once"
        )


def _draw(
    table: PointTable, kept: _Kept, config: ViewSettings, *, candidates: int, others: int, known: bool, scored: bool,
    source: str, total: int, failed: Mapping[str, int], notes: tuple[str, ...],
) -> Points:  # fmt: skip
    """The points with the smallest hashes of their keys: the same whatever the order, and a random part."""
    rows = kept.rows
    rank = np.argsort(mixed(table.key[rows]), kind="stable")
    sets = table.sets[rows]
    wanted, units = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for number in range(len(SETS)) if scored else ():
        mine = rank[sets[rank] == number]
        wanted[mine[: candidates if number == CANDIDATE else others]] = True
    trained = rank[np.isin(sets[rank], (SHARED, CANDIDATE))] if known else rank
    units[trained[: config.unit_points]] = True
    chosen = rows[wanted | units]
    order = np.argsort(table.key[chosen].view(np.int64), kind="stable")
    rows, chosen = rows[wanted | units][order], chosen[order]
    codes = {code: name for name, code in table.names.items()}
    classes = tuple(sorted({codes[code] for code in np.unique(table.label[chosen]) if code in codes}))
    place = {name: number for number, name in enumerate(classes)}
    return Points(
        key=table.key[chosen].view(np.int64),
        sets=table.sets[chosen],
        label=np.array([place.get(codes.get(code, ""), -1) for code in table.label[chosen].tolist()], np.int64),
        shard=table.shard[chosen],
        row=table.row[chosen],
        scored=wanted[wanted | units][order],
        in_units=units[wanted | units][order],
        classes=classes,
        source=source,
        total=total,
        skipped={**kept.skipped, BEYOND: len(kept.rows) - len(chosen)},
        failed=failed,
        notes=notes,
    )


def flow_of(points: Points, unread: Mapping[int, str]) -> Flow:
    """Where the rows went."""
    skipped = dict(points.skipped)
    for reason in unread.values():
        skipped[reason] = skipped.get(reason, 0) + 1
    used = len(points) - len(unread)
    left = {reason: count for reason, count in skipped.items() if count}
    return Flow(points.source, points.total, used, left, points.failed, unit="pictures")


def blocks(dataset: Any, points: Points, *, size: int) -> Iterator[Block]:
    """Pictures of the points, `size` at a time, read from front to back: no more than a block is in memory."""
    waiting: list[tuple[int, bytes | None]] = []
    for position, content in _values(dataset, points, "image"):
        waiting.append((position, content))
        if len(waiting) == size:
            yield _decoded(waiting)
            waiting = []
    if waiting:
        yield _decoded(waiting)


def _values(dataset: Any, points: Points, concept: str) -> Iterator[tuple[int, Any]]:
    """Position of each point and its value of a concept, in the order of the files."""
    order = np.lexsort((points.row, points.shard))
    for shard in dataset.shards:
        mine = order[points.shard[order] == shard.index]
        if not len(mine):
            continue
        for part in dataset.reader.parts(shard):
            for batch in dataset.batches(part, [concept]):
                low, high = np.searchsorted(points.row[mine], (batch.first, batch.first + batch.table.num_rows))
                column = batch.table.column(concept)
                for position in mine[low:high].tolist():
                    yield position, column[int(points.row[position]) - batch.first].as_py()


def _decoded(waiting: list[tuple[int, bytes | None]]) -> Block:
    decoded = decode_batch([content for _, content in waiting])
    positions = np.array([position for position, _ in waiting], np.int64)
    unread = {int(positions[place]): reason for place, reason in decoded.skipped.items()}
    return Block(positions[decoded.positions], decoded.pictures, unread)


def point_ids(dataset: Any, points: Points) -> list[str]:
    """The id of each point as the input has it; where it has none, its key."""
    ids = [f"{int(key) & ((1 << 64) - 1):016x}" for key in points.key]
    if "id" in dataset:
        for position, value in _values(dataset, points, "id"):
            if value is not None and str(value).strip():
                ids[position] = str(value)
    return ids


def size_notes(sizes: set[tuple[int, int]], encoder: Any) -> tuple[str, ...]:
    """What is said of pictures of different sizes."""
    if len(sizes) < 2:
        return ()
    return (f"pictures of {len(sizes):,} different sizes were resized to what the encoder ({encoder.spec}) takes",)
