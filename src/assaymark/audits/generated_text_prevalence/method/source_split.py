"""Train and test parts in which a human text and its machine twins are never parted.

A machine text made from a human one shares its topic, names and often its first sentence: with the twin in the training part a
detector knows the test text already.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["join_sources", "split_by_source"]

Units = npt.NDArray[np.str_]


def join_sources(sources: Any, groups: Any) -> Units:
    """Names of units that must stay together: sources, joined where their texts nearly repeat one another.

    Parameters
    ----------
    sources : array_like of str or int, shape (n,)
        Equal for a human text and what was generated from it. Where the source is not known, give a hash of the text.
    groups : array_like of str or int, shape (n,)
        Labels of near-duplicates, one for each set, also for a text alone.

    Returns
    -------
    array of str, shape (n,)
        Units are the connected components of texts linked by source or group; a unit is named by the first of its sources, so
        that a source without near-duplicates keeps its name whatever other texts there are.

    Notes
    -----
    O(n log n).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys, source = np.unique(np.asarray(sources).astype(str), return_inverse=True)
    labels = np.asarray(groups)
    if labels.shape != source.shape:
        raise ValueError(f"{source.shape} sources but groups of shape {labels.shape}")
    if not keys.size:
        return keys
    names, group = np.unique(labels.astype(str), return_inverse=True)
    nodes = keys.size + names.size
    links = coo_array((np.ones(source.size, dtype=np.int8), (source, keys.size + group)), shape=(nodes, nodes))
    _, component = connected_components(links, directed=False)
    first = np.full(int(component.max()) + 1, keys.size, dtype=np.int64)
    np.minimum.at(first, component[: keys.size], np.arange(keys.size))
    return np.asarray(keys[first[component[: keys.size]]][source])


def split_by_source(units: Any, *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which texts are held out, decided by a hash of the unit they belong to.

    Parameters
    ----------
    units : array_like of str or int, shape (n,)
        Sources, or what `join_sources` made of them.
    share : float in [0, 1]
        Of the units, held out on average. Units differ in size, so that the share of texts differs a little.
    seed : int
        Another seed, another split.

    Returns
    -------
    array of bool, shape (n,)
        True for held out. It depends on neither the order of the texts nor on the other texts. O(n log n).
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share {share!r} is not between 0 and 1")
    keys, unit = np.unique(np.asarray(units).astype(str), return_inverse=True)
    digests = [hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys.tolist()]
    hashes = np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)
    held = hashes.astype(np.float64) / 2.0**64 < share
    return np.asarray(held[unit], dtype=np.bool_)
