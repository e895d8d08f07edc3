"""Train and test parts in which a human text and its machine twins are never parted.

A machine text made from a human one shares its topic, names and often its first sentence: with the twin in the training part a
detector knows the test text already.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["split_by_source"]


def split_by_source(sources: Any, *, share: float, seed: int, groups: Any = None) -> npt.NDArray[np.bool_]:
    """Which texts are held out, decided by a hash of where they come from.

    Parameters
    ----------
    sources : array_like of str or int, shape (n,)
        Equal for a human text and what was generated from it. Where the source is not known, give a hash of the text.
    share : float in [0, 1]
        Of the units, held out on average. Units differ in size, so that the share of texts differs a little.
    seed : int
        Another seed, another split.
    groups : array_like of str or int, shape (n,), optional
        Labels of near-duplicates, one for each set, also for a text alone. Sources that share one become one unit.

    Returns
    -------
    array of bool, shape (n,)
        True for held out. It depends on neither the order of the texts nor, without `groups`, on the other texts.

    Notes
    -----
    Units are the connected components of texts linked by source or group; a unit is named by the smallest hash of its sources.
    O(n log n).
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share {share!r} is not between 0 and 1")
    keys, source = np.unique(np.asarray(sources).astype(str), return_inverse=True)
    digests = [hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest() for key in keys.tolist()]
    hashes = np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)
    if groups is not None and keys.size:
        hashes = _smallest_linked(hashes, source, np.asarray(groups).astype(str))
    held = hashes.astype(np.float64) / 2.0**64 < share
    return np.asarray(held[source], dtype=np.bool_)


def _smallest_linked(hashes: npt.NDArray[np.uint64], source: npt.NDArray[np.int64], groups: Any) -> npt.NDArray[np.uint64]:
    """Smallest hash in the component of each source, where texts link their source with their group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if groups.shape != source.shape:
        raise ValueError(f"{source.shape} sources but groups of shape {groups.shape}")
    names, group = np.unique(groups, return_inverse=True)
    nodes = hashes.size + names.size
    links = coo_array((np.ones(source.size, dtype=np.int8), (source, hashes.size + group)), shape=(nodes, nodes))
    _, component = connected_components(links, directed=False)
    smallest = np.full(int(component.max()) + 1, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, component[: hashes.size], hashes)
    return np.asarray(smallest[component[: hashes.size]])
