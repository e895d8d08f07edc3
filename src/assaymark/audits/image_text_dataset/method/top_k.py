"""Exact nearest neighbours by inner product, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

__all__ = ["Blocks", "Found", "Hits", "above", "mean_query", "top_k"]

Vectors = npt.NDArray[np.floating]
Blocks = Vectors | Iterable[tuple[int, Vectors]]

_UNIT_ROUNDOFF = 2.0**-24
_POOL_SLACK = 512  # candidates a query may hold beyond k before the pool is cut back


class Hits(NamedTuple):
    """Best rows of each query, best first; row -1 and score -inf where the table has fewer than k rows.

    rows : int64, shape (n_queries, k)
    scores : float64, shape (n_queries, k)
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


class Found(NamedTuple):
    """Flat (query, row, score) triples."""

    query: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]


def _blocks(embeddings: Blocks, size: int) -> Iterator[tuple[int, Vectors]]:
    """Pieces of at most `size` rows with their row offset."""
    whole: Iterable[tuple[int, Vectors]] = [(0, embeddings)] if isinstance(embeddings, np.ndarray) else embeddings
    for offset, block in whole:
        for start in range(0, len(block), size):
            yield offset + start, block[start : start + size]


def _exact_scores(
    queries: npt.NDArray[np.float64],
    block: npt.NDArray[np.float32],
    query: npt.NDArray[np.int64],
    column: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Inner products of (query, row) pairs in float64, each summed by itself: they depend on the two vectors alone."""
    scores = np.empty(len(query))
    step = max(1, (1 << 20) // block.shape[1])
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        products = block[column[part]].astype(np.float64)
        products *= queries[query[part]]
        scores[part] = products.sum(axis=1)
    return scores


def _best(pool: Found, k: int) -> Found:
    """The k best of every query: score descending, then row ascending."""
    order = np.lexsort((pool.row, -pool.score, pool.query))
    query = pool.query[order]
    starts = np.searchsorted(query, query)  # where the run of the same query begins
    order = order[np.arange(len(order)) - starts < k]
    return Found(pool.query[order], pool.row[order], pool.score[order])


def _floor(pool: Found, n_queries: int, k: int) -> npt.NDArray[np.float64]:
    """Score of the k-th best candidate of each query of a pool sorted by `_best`; -inf where it holds fewer."""
    floor = np.full(n_queries, -np.inf)
    counts = np.bincount(pool.query, minlength=n_queries)
    ends = np.cumsum(counts)
    full = counts >= k
    floor[full] = pool.score[ends[full] - counts[full] + k - 1]
    return floor


def _candidates(
    scores: npt.NDArray[np.float32], floor: npt.NDArray[np.float64], slack: npt.NDArray[np.float64], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(query, column) of the block's approximate scores that may still be among the k best."""
    n = scores.shape[1]
    fresh = np.isneginf(floor)
    if n > 4 * k and fresh.any():
        floor = floor.copy()
        floor[fresh] = np.partition(scores[fresh], n - k, axis=1)[:, n - k]
    bar = (floor - slack).astype(np.float32)
    return np.divmod(np.flatnonzero(scores >= bar[:, None]), n)


def _longest(block: npt.NDArray[np.float32], known: float | None) -> float:
    """Norm of the longest row, NaN left out. Reduced by numpy: torch's threads cost more than so short an array."""
    if known is not None:
        return known
    import torch

    return float(np.fmax.reduce(torch.linalg.vector_norm(torch.from_numpy(block), dim=1).numpy(), initial=0.0))


def _slack(d: int, reach: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Twice the bound d * u * |q| |v| on the error of a float32 inner product: once for the bar, once for the row."""
    return np.asarray(2 * (d + 8) * _UNIT_ROUNDOFF * reach)


def top_k(queries: Vectors, embeddings: Blocks, k: int, *, block_rows: int | None = None, longest: float | None = None) -> Hits:
    """The k rows of largest inner product with each query, exactly.

    Parameters
    ----------
    queries : array, shape (n_queries, d)
    embeddings : array, shape (n, d) (a memory map will do), or iterable of (row offset, array (b, d))
        Unit vectors make the inner product a cosine. float16 is cast to float32 block by block.
    k : int
    block_rows : int, optional
        Rows multiplied at once; never changes the answer.
    longest : float, optional
        No row is longer than this (1.001 for unit vectors). Measured where it is not given, which costs a single query as
        much again as the search itself. The answer is exact only if it is true.

    Returns
    -------
    Hits
        Scores are summed in float64; equal scores are ordered by row number. A row with NaN is never a hit.

    Raises
    ------
    ValueError
        Dimensions differ, or k < 1.

    Notes
    -----
    float32 matrix products differ in the last bits with the shape of the block. So the product only *nominates*: every row
    within the rounding error bound of the k-th best is scored again, alone and in float64. That makes the order independent
    of blocks and shards, and ties (duplicates) deterministic. O(q n d) work, O(q (block_rows + k)) memory.
    """
    import torch  # here, so that an audit of texts alone needs no torch

    exact_queries = np.atleast_2d(np.asarray(queries, dtype=np.float64))
    n_queries, d = exact_queries.shape
    if k < 1:
        raise ValueError("k is at least 1")
    rows_at_once = block_rows or int(np.clip(min((1 << 23) // n_queries, (1 << 25) // d), 1 << 10, 1 << 16))
    multiplied = torch.from_numpy(exact_queries.astype(np.float32))
    reach = np.linalg.norm(exact_queries, axis=1)
    pool = Found(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    floor = np.full(n_queries, -np.inf)
    for offset, piece in _blocks(embeddings, rows_at_once):
        block = np.ascontiguousarray(piece, dtype=np.float32)
        if block.shape[1] != d:
            raise ValueError(f"queries have {d} dimensions, embeddings {block.shape[1]}")
        pool = _join(
            pool, _nominate(multiplied, block, floor, reach * _longest(block, longest), k), exact_queries, block, offset
        )
        if len(pool.query) > n_queries * (k + _POOL_SLACK) or not np.isfinite(floor).all():
            pool = _best(pool, k)
            floor = _floor(pool, n_queries, k)
    return _as_hits(_best(pool, k), n_queries, k)


def _nominate(
    queries: torch.Tensor,
    block: npt.NDArray[np.float32],
    floor: npt.NDArray[np.float64],
    reach: npt.NDArray[np.float64],
    k: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    import torch

    products = torch.matmul(queries, torch.from_numpy(block).T).numpy()
    slack = _slack(block.shape[1], reach)
    if np.isnan(slack).any() or np.isnan(products.sum()):
        np.nan_to_num(products, copy=False, nan=-np.inf)  # a row that could not be embedded is nobody's hit
    return _candidates(products, floor, slack, k)


def _join(
    pool: Found,
    nominated: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    queries: npt.NDArray[np.float64],
    block: npt.NDArray[np.float32],
    offset: int,
) -> Found:
    query, column = nominated
    scores = _exact_scores(queries, block, query, column)
    real = np.isfinite(scores)
    fresh = (query[real], column[real] + offset, scores[real])
    return Found(*(np.concatenate(pair) for pair in zip(pool, fresh, strict=True)))


def _as_hits(pool: Found, n_queries: int, k: int) -> Hits:
    rows, scores = np.full((n_queries, k), -1, dtype=np.int64), np.full((n_queries, k), -np.inf)
    place = np.arange(len(pool.query)) - np.searchsorted(pool.query, pool.query)
    rows[pool.query, place], scores[pool.query, place] = pool.row, pool.score
    return Hits(rows, scores)


def above(queries: Vectors, embeddings: Blocks, threshold: float, *, block_rows: int = 1 << 14) -> Found:
    """All rows whose inner product with a query is at least `threshold`, sorted by query, then row."""
    import torch

    exact_queries = np.atleast_2d(np.asarray(queries, dtype=np.float64))
    multiplied = torch.from_numpy(exact_queries.astype(np.float32))
    parts = [Found(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for offset, piece in _blocks(embeddings, block_rows):
        block = np.ascontiguousarray(piece, dtype=np.float32)
        near = np.flatnonzero(
            torch.matmul(multiplied, torch.from_numpy(block).T).numpy() >= threshold - 1e-3
        )  # float32 nominates
        query, column = np.divmod(near, len(block))
        scores = _exact_scores(exact_queries, block, query, column)
        kept = scores >= threshold
        parts.append(Found(query[kept], column[kept] + offset, scores[kept]))
    found = Found(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    order = np.lexsort((found.row, found.query))
    return Found(found.query[order], found.row[order], found.score[order])


def mean_query(text: Vectors, image: Vectors, *, weight: float = 0.5) -> npt.NDArray[np.float64]:
    """Unit vector between text and image embeddings (the image+text search box), shape (..., d).

    `weight` is the text's share. Both are scaled to unit length first, so that neither tower's norm decides.

    Raises
    ------
    ValueError
        The two cancel, so that the mean has no direction.
    """
    text, image = (np.asarray(v, dtype=np.float64) for v in (text, image))
    text, image = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (text, image))
    mean = weight * text + (1 - weight) * image
    norm = np.linalg.norm(mean, axis=-1, keepdims=True)
    if not (norm > 1e-12).all():
        raise ValueError("text and image vectors cancel out: their mean has no direction")
    return np.asarray(mean / norm)
