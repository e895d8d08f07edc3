"""Who the pictures are: a key each, a hash of the content, the set, the class, and where to find them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.hashing import coded, hash_column
from assaymark.data.probe import Batch, Probe, State
from assaymark.stats.memorization.four_sets import SETS

__all__ = ["NO_SET", "SET_CONCEPT", "PointProbe", "PointTable", "set_codes"]

SET_CONCEPT = "set"
NO_SET = -1

_NAMES = {name: place for place, letter in enumerate(SETS) for name in (letter.lower(),)} | {
    "shared": 0,
    "candidate": 1,
    "independent": 2,
    "external": 3,
}
_ARRAYS = ("key", "content", "sets", "label", "shard", "row", "missing")


class PointTable(NamedTuple):
    """One entry a row of the input, in no particular order.

    Attributes
    ----------
    key : uint64 array
        Hash of the id; of the content where a row has none.
    content : uint64 array
    sets : int64 array
        Place in `SETS`; `NO_SET` where the row names none.
    label : int64 array
        Code of the class, 0 where there is none.
    shard, row : int64 arrays
    missing : bool array
        There is no picture.
    names : dict
        Class to code.
    """

    key: npt.NDArray[np.uint64]
    content: npt.NDArray[np.uint64]
    sets: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    missing: npt.NDArray[np.bool_]
    names: dict[str, int]


def set_codes(values: pa.Array) -> npt.NDArray[np.int64]:
    """Place in `SETS` of each value: its letter, or shared, candidate, independent or external; `NO_SET` for anything else."""
    written = [str(value).strip().casefold() if value is not None else "" for value in values.to_pylist()]
    return np.array([_NAMES.get(value, NO_SET) for value in written], np.int64)


@dataclass(frozen=True)
class PointProbe(Probe):
    """About 50 bytes a row: the one part of this audit that grows with the rows, because nobody may be in two sets."""

    name: ClassVar[str] = "points"
    columns: tuple[str, ...] = ("image",)
    optional: tuple[str, ...] = ("id", "label", SET_CONCEPT)

    def aggregate(self, batch: Batch) -> State:
        pictures = batch.column("image")
        content = hash_column(pictures)
        key = content.copy()
        if "id" in batch:
            ids = batch.column("id")
            named = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(ids)), 0), False)
            rows = named.to_numpy(zero_copy_only=False).astype(bool)
            key[rows] = hash_column(ids)[rows]
        labels = coded(batch.column("label")) if "label" in batch else None
        return {
            "key": key,
            "content": content,
            "sets": set_codes(batch.column(SET_CONCEPT)) if SET_CONCEPT in batch else np.full(batch.rows, NO_SET),
            "label": labels.codes if labels else np.zeros(batch.rows, np.int64),
            "shard": batch.column("shard").to_numpy(zero_copy_only=False).astype(np.int64),
            "row": batch.column("row").to_numpy(zero_copy_only=False).astype(np.int64),
            "missing": pc.is_null(pictures).to_numpy(zero_copy_only=False).astype(np.int64),
            "names": dict(labels.names) if labels else {},
        }

    def combine(self, states: Sequence[State]) -> State:
        merged: dict[str, Any] = {name: np.concatenate([state[name] for state in states]) for name in _ARRAYS}
        return merged | {"names": {name: code for state in states for name, code in state["names"].items()}}

    def finalize(self, state: State) -> PointTable:
        arrays = {name: np.asarray(state[name]) for name in _ARRAYS}
        return PointTable(**{**arrays, "missing": arrays["missing"].astype(bool)}, names=dict(state["names"]))
