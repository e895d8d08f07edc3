"""Counts by the values of a text column, of bounded size whatever the column holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.probes.rule import COLUMNS, FlagRule, named_codes
from assaymark.data.probe import Batch, Probe, State

__all__ = ["MOST_GROUPS", "GroupCounts", "GroupProbe", "merge_named", "named_counts"]

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

MOST_GROUPS = 10_000
"""Values kept of a column: those with the smallest hashes, so that any order of merging keeps the same ones with exact "
"counts."""


def named_counts(names: Sequence[str], keys: Keys, counts: Ints, *, most: int = MOST_GROUPS) -> dict[str, Any]:
    """State with `counts[i]` (any trailing shape) of each name; the value without a name (key 0) always stays."""
    order = np.argsort(keys, kind="stable")[:most]
    return {"names": [names[i] for i in order], "keys": keys[order], "counts": counts[order]}


def merge_named(states: Sequence[Mapping[str, Any]], *, most: int = MOST_GROUPS) -> dict[str, Any]:
    """Sum of such states by name."""
    keys = np.concatenate([np.asarray(state["keys"], dtype=np.uint64) for state in states])
    names = [name for state in states for name in state["names"]]
    counts = np.concatenate([np.asarray(state["counts"]) for state in states])
    unique, first, place = np.unique(keys, return_index=True, return_inverse=True)
    total = np.zeros((len(unique), *counts.shape[1:]), dtype=counts.dtype)
    np.add.at(total, place, counts)
    kept = slice(0, most)
    return {"names": [names[i] for i in first[kept]], "keys": unique[kept], "counts": total[kept]}


class GroupCounts(NamedTuple):
    """Images, flagged images, and images that the flag or the other detector is positive on, by value of a column."""

    names: list[str]
    n: Ints
    flagged: Ints
    positive: Ints


class GroupProbe(Probe):
    """Flags by the values of one column: a slice, or the prompt that images were generated from."""

    optional = ("label",)

    def __init__(self, name: str, concept: str, rule: FlagRule, *, nsfw_threshold: float) -> None:
        self.name = name  # type: ignore[misc]
        self.columns = (*COLUMNS, concept)
        self.concept, self.rule, self.nsfw_threshold = concept, rule, nsfw_threshold

    def aggregate(self, batch: Batch) -> State:
        rows = self.rule.rows(batch)
        values = named_codes(batch.column(self.concept), batch.rows)
        either = rows.flagged | (rows.known & (np.nan_to_num(rows.nsfw, nan=-1.0) > self.nsfw_threshold))
        counts = np.stack(
            [np.bincount(values.codes[mask], minlength=len(values.names)) for mask in (rows.known, rows.flagged, either)],
            axis=1,
        ).astype(np.int64)
        return named_counts(values.names, values.keys, counts)

    def combine(self, states: Sequence[State]) -> State:
        return merge_named(states)

    def finalize(self, state: State) -> GroupCounts:
        counts = np.asarray(state["counts"]).reshape(-1, 3)
        seen = [i for i in range(len(counts)) if state["names"][i] and counts[i, 0]]
        return GroupCounts([state["names"][i] for i in seen], *(counts[seen, k] for k in range(3)))
