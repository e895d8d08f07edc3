"""Bounded samples that do not depend on row order: the rows with the smallest content hash are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from assaymark.data.probe import Batch

__all__ = ["bottom_rows", "hash_strings", "merge_bottom"]


def hash_strings(values: pa.Array) -> npt.NDArray[np.uint64]:
    """64-bit hash of each string (SipHash with a fixed key), equal on every machine. Complexity: O(total length)."""
    return np.asarray(pd.util.hash_array(values.to_numpy(zero_copy_only=False), categorize=False), dtype=np.uint64)


def row_keys(batch: Batch, content: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Content hash mixed with the row id, so that repeated texts are sampled row by row and not all or none."""
    place = batch.numbers("shard").astype(np.uint64) << np.uint64(40) | batch.numbers("row").astype(np.uint64)
    mixed = (content ^ place) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(31))


def bottom_rows(batch: Batch, keys: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64], size: int) -> dict[str, Any]:
    """State with the `size` rows of smallest key among `rows`: their keys and row ids."""
    order = rows[np.lexsort((rows, keys[rows]))][:size]
    return {
        "keys": keys[order],
        "shard": batch.numbers("shard")[order].astype(np.int64),
        "row": batch.numbers("row")[order].astype(np.int64),
    }


def merge_bottom(states: Sequence[Mapping[str, Any]], size: int, prefix: str = "") -> dict[str, Any]:
    """Union of bottom samples, cut to `size`; ties are broken by row id, so the order of states does not matter."""
    names = ("keys", "shard", "row")
    columns = {name: np.concatenate([np.asarray(state[prefix + name]) for state in states]) for name in names}
    order = np.lexsort((columns["row"], columns["shard"], columns["keys"]))[:size]
    return {prefix + name: columns[name][order] for name in names}
