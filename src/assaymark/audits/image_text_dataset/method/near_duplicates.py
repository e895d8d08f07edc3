"""Groups of nearly equal items: by embedding cosine, and by Hamming distance of perceptual hashes."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from assaymark.result import Estimate, undefined
from assaymark.stats import wilson

__all__ = ["NearDuplicates", "Pairs", "cosine_pairs", "group_pairs", "hamming_pairs", "near_duplicates", "redundant_near"]

Rows = npt.NDArray[np.int64]


class Pairs(NamedTuple):
    """Row numbers first < second, each unordered pair once, sorted."""

    first: Rows
    second: Rows


class NearDuplicates(NamedTuple):
    """`group` is the smallest row number of the component each item belongs to, int64 (n,)."""

    group: Rows
    redundant: Estimate
    largest: int


def cosine_pairs(embeddings: npt.NDArray[np.floating], *, threshold: float = 0.94, block: int = 4096) -> Pairs:
    """All pairs of unit vectors with cosine >= threshold.

    Parameters
    ----------
    embeddings : array, shape (n, d), unit rows (float16 is cast to float32 block by block)
    threshold : float
        0.94 is the connected-component threshold of the usual retrieval back end.

    Notes
    -----
    O(n^2 d) work and O(block^2) memory: meant for samples and for hits, up to some 10^5 rows.
    """
    import torch  # here, so that an audit without embeddings needs no torch

    n = len(embeddings)
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for i in range(0, n, block):
        left = torch.from_numpy(np.asarray(embeddings[i : i + block], dtype=np.float32))
        for j in range(i, n, block):
            right = torch.from_numpy(np.asarray(embeddings[j : j + block], dtype=np.float32))
            rows, columns = np.nonzero((left @ right.T).numpy() >= threshold)
            upper = rows + i < columns + j
            firsts.append(rows[upper] + i)
            seconds.append(columns[upper] + j)
    return _sorted(np.concatenate(firsts), np.concatenate(seconds))


def _sorted(first: Rows, second: Rows) -> Pairs:
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order])


def hamming_pairs(hashes: npt.NDArray[np.uint64], *, distance: int = 3) -> Pairs:
    """All pairs of 64-bit hashes that differ in at most `distance` bits, exactly.

    The hash is cut into distance + 3 bands: two hashes within the distance differ in at most `distance` bands, hence agree
    on at least three whole bands; each choice of three bands is an index of its own (multi-index hashing), whose buckets are
    few and small. Equal hashes are joined in a chain, not pairwise, so that one image repeated 10^5 times costs 10^5 pairs.

    Raises
    ------
    ValueError
        `distance` outside 0..8.

    References
    ----------
    M. Norouzi, A. Punjani, D. Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012.
    """
    if not 0 <= distance <= 8:
        raise ValueError("distance is 0 to 8 bits")
    hashes = np.asarray(hashes, dtype=np.uint64)
    distinct, first_row, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    chain_first, chain_second = _chain(inverse)
    found = [np.empty((0, 2), np.int64)]
    if distance:
        for mask in _band_masks(distance):
            left, right = _bucket_pairs(distinct & mask)
            near = np.bitwise_count(distinct[left] ^ distinct[right]) <= distance
            found.append(np.column_stack([left[near], right[near]]))
    unique = np.unique(np.concatenate(found), axis=0)
    a, b = first_row[unique[:, 0]], first_row[unique[:, 1]]
    first, second = np.minimum(a, b), np.maximum(a, b)
    return _sorted(np.concatenate([chain_first, first]), np.concatenate([chain_second, second]))


def _chain(labels: Rows) -> tuple[Rows, Rows]:
    """Consecutive rows of equal label."""
    order = np.argsort(labels, kind="stable")
    same = labels[order][1:] == labels[order][:-1]
    return order[:-1][same], order[1:][same]


def _band_masks(distance: int) -> list[np.uint64]:
    bands = np.array_split(np.arange(64), distance + 3)
    masks = []
    for chosen in combinations(bands, 3):
        masks.append(np.uint64(sum(1 << int(bit) for band in chosen for bit in band)))
    return masks


def _bucket_pairs(codes: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """All pairs of positions with equal code, by sorting: the lag-th neighbours of each sorted run."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    left, right = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    positions = np.arange(len(ordered))
    lag = 1
    while positions.size:
        positions = positions[positions + lag < len(ordered)]
        positions = positions[ordered[positions] == ordered[positions + lag]]
        left.append(order[positions])
        right.append(order[positions + lag])
        lag += 1
    return np.concatenate(left), np.concatenate(right)


def group_pairs(pairs: Pairs, *, n: int) -> Rows:
    """Connected components: for each of n items the smallest row number of its component, int64 (n,)."""
    graph = coo_array((np.ones(len(pairs.first), np.int8), (pairs.first, pairs.second)), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    smallest = np.full(labels.max(initial=-1) + 1, n, dtype=np.int64)
    np.minimum.at(smallest, labels, np.arange(n))
    return np.asarray(smallest[labels])


def redundant_near(hashes: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64], *, distance: int) -> Estimate:
    """Share of rows that keeping one of each group of near-equal perceptual hashes would remove.

    Parameters
    ----------
    hashes : uint64 array, shape (n_distinct,)
        All distinct hashes of a table.
    counts : int64 array, shape (n_distinct,)
        Rows that carry each of them.
    """
    rows = int(counts.sum())
    method = f"exact count, {distance} bits"
    if not rows:
        return undefined("no row has a perceptual hash", method=method, unit="share")
    groups = len(np.unique(group_pairs(hamming_pairs(hashes, distance=distance), n=len(hashes))))
    share = 1 - groups / rows
    return Estimate(share, share, share, rows, method, "share")


def near_duplicates(pairs: Pairs, *, n: int, confidence: float = 0.95) -> NearDuplicates:
    """Components of near-equal items, and the share of items that keeping one of each would remove (Wilson)."""
    group = group_pairs(pairs, n=n)
    sizes = np.unique(group, return_counts=True)[1]
    return NearDuplicates(group, wilson(n - len(sizes), n, confidence=confidence), int(sizes.max(initial=0)))
