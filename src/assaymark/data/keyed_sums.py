"""Whole-number sums by key that merge exactly in any order: the state of probes with many cells of which few are filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["KeyedSums", "merge_sums", "sum_by_key"]

Ints = npt.NDArray[np.int64]


class KeyedSums(NamedTuple):
    """`keys` (m, k), each row once, sorted; `sums` (m, v)."""

    keys: Ints
    sums: Ints


def sum_by_key(keys: Ints, values: Ints) -> KeyedSums:
    """Sums of the rows of `values` with equal keys.

    Parameters
    ----------
    keys : int64 array, shape (n, k)
    values : int64 array, shape (n, v)
        Whole numbers: sums of floats would depend on the order. Round real ones to a fixed grid first.

    Notes
    -----
    O(n k log n).
    """
    keys, values = np.asarray(keys, np.int64), np.asarray(values, np.int64)
    if not len(keys):
        return KeyedSums(keys.reshape(0, keys.shape[1]), values.reshape(0, values.shape[1]))
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    first = np.flatnonzero(np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1)))
    return KeyedSums(ordered[first], np.add.reduceat(values[order], first, axis=0))


def merge_sums(parts: Sequence[KeyedSums]) -> KeyedSums:
    """The sums of several parts, as if their rows had been summed together."""
    return sum_by_key(np.concatenate([part.keys for part in parts]), np.concatenate([part.sums for part in parts]))
