"""Bounded samples of distinct contents that do not depend on row order: the smallest content hashes are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.probe import Batch

__all__ = ["bottom_order", "bottom_rows", "hash_strings", "merge_bottom", "perceptual_hashes"]

COLUMNS = ("keys", "shard", "row")


def hash_strings(values: pa.Array) -> npt.NDArray[np.uint64]:
    """64-bit hash of each string (SipHash with a fixed key), equal on every machine. Complexity: O(total length)."""
    return np.asarray(pd.util.hash_array(values.to_numpy(zero_copy_only=False), categorize=False), dtype=np.uint64)


class PerceptualHashes(NamedTuple):
    """`values[i]` is the 64-bit hash of row i; only rows that are `known` have one (16 hexadecimal digits)."""

    values: npt.NDArray[np.uint64]
    known: npt.NDArray[np.bool_]


def perceptual_hashes(batch: Batch) -> PerceptualHashes:
    """The `phash` column as numbers; anything but 16 hexadecimal digits is unknown."""

    def parse() -> PerceptualHashes:
        column = batch.column("phash").cast(pa.string())
        digits = pc.fill_null(pc.match_substring_regex(column, "^[0-9a-fA-F]{16}$"), False)
        known = digits.to_numpy(zero_copy_only=False).astype(bool)
        values = np.zeros(batch.rows, dtype=np.uint64)
        values[known] = [int(text, 16) for text in column.filter(digits).to_pylist()]
        return PerceptualHashes(values, known)

    return batch.once("perceptual hashes", parse)


def bottom_rows(batch: Batch, keys: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64], size: int) -> dict[str, Any]:
    """State with the first row of each of the `size` smallest distinct keys among `rows`."""
    place = {name: batch.numbers(name)[rows].astype(np.int64) for name in ("shard", "row")}
    return merge_bottom([{"keys": keys[rows], **place}], size)


def merge_bottom(states: Sequence[Mapping[str, Any]], size: int) -> dict[str, Any]:
    """Union of bottom samples, one row for each distinct key, cut to `size`; the order of states does not matter."""
    columns = {name: np.concatenate([np.asarray(state[name]) for state in states]) for name in COLUMNS}
    kept = bottom_order(columns, size)
    return {name: values[kept] for name, values in columns.items()}


def bottom_order(columns: Mapping[str, npt.NDArray[Any]], size: int) -> npt.NDArray[np.int64]:
    """Positions of the first (shard, row) of each of the `size` smallest distinct keys, by ascending key."""
    keys = columns["keys"]
    if len(keys) > 4 * size:  # one sort of the keys spares three of everything
        distinct = np.unique(keys)
        if len(distinct) > size:
            near = np.flatnonzero(keys < distinct[size])
            return np.asarray(near[bottom_order({name: columns[name][near] for name in COLUMNS}, len(near))])
    order = np.lexsort((columns["row"], columns["shard"], keys))
    ordered = keys[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(keys) else np.zeros(0, dtype=bool)
    return np.asarray(order[first][:size])
