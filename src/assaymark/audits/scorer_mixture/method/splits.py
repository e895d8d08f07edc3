"""Which rows train the networks, which fit the weights, which test: by a hash of a key, never by position.

A row keeps its place when rows are added, removed or reordered, and rows of one group (one site, one person, one near-duplicate
cluster) are never torn apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FIT", "TEST", "TRAIN", "fold_numbers", "split_rows", "unit_hash"]

TRAIN, FIT, TEST = 0, 1, 2


def unit_hash(keys: Sequence[Any], *, salt: str = "") -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each key: the first 53 bits of BLAKE2b of the salt and the key's text.

    Equal keys get equal numbers on every machine; another salt gives an independent draw. O(distinct keys) hashes.
    """
    texts = np.asarray(keys)
    if texts.ndim != 1:
        raise ValueError("one key for each row")
    distinct, where = np.unique(texts.astype(str), return_inverse=True)
    start = hashlib.blake2b(digest_size=8, key=salt.encode()[:64])
    numbers = np.empty(distinct.size, dtype=np.uint64)
    for i, text in enumerate(distinct.tolist()):
        state = start.copy()
        state.update(text.encode())
        numbers[i] = int.from_bytes(state.digest(), "big") >> 11
    return np.asarray((numbers.astype(np.float64) / 2.0**53)[where])


def split_rows(
    keys: Sequence[Any],
    *,
    shares: tuple[float, float, float] = (0.0, 0.5, 0.5),
    groups: Sequence[Any] | None = None,
    salt: str = "",
) -> npt.NDArray[np.int8]:
    """TRAIN, FIT or TEST for each row.

    Parameters
    ----------
    keys : sequence of n
        What identifies a row: an id, a content hash.
    shares : three numbers >= 0 that sum to 1
        Of the networks' training rows, the weights' fit rows, and the test rows. With off-the-shelf networks the first is 0.
    groups : sequence of n, optional
        Rows of one group go together; shares then hold for groups.

    Returns
    -------
    array of int8, shape (n,)
    """
    if min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise ValueError(f"shares {shares} do not sum to 1")
    unit = unit_hash(keys if groups is None else groups, salt=f"split{salt}")
    if groups is not None and len(groups) != len(keys):
        raise ValueError(f"{len(keys)} keys but {len(groups)} groups")
    return np.searchsorted(np.cumsum(shares)[:2], unit, side="right").astype(np.int8)


def fold_numbers(
    keys: Sequence[Any], *, folds: int = 5, groups: Sequence[Any] | None = None, salt: str = ""
) -> npt.NDArray[np.int64]:
    """Fold 0 ... folds - 1 of each row for out-of-fold scores; as even as the hash makes them, groups together.

    Independent of `split_rows` with the same salt.
    """
    if folds < 2:
        raise ValueError("at least 2 folds")
    unit = unit_hash(keys if groups is None else groups, salt=f"fold{salt}")
    return np.minimum((unit * folds).astype(np.int64), folds - 1)
