"""Sufficient statistics of a least-squares fit: they add up over shards, so that a cluster fits with one reduce.

X = [F 1] is the score matrix with a column of ones last; the moments are X'WX, X'Wy and y'Wy in float64, whatever the type of
the scores: float32 sums over 1e8 rows of probabilities near 0 and 1 lose the digits that the weights are made of.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Moments", "balanced_weights", "block_moments", "blocks_of", "merge", "merge_all", "moments", "residual_sum"]

Floats = npt.NDArray[np.float64]

BLOCK_ROWS = 8192
"""Rows converted to float64 at a time: 10 columns of them stay in the cache."""


class Moments(NamedTuple):
    """What a fit needs to know about its rows.

    Attributes
    ----------
    weight : float
        Sum of the sample weights; equal to `rows` without them.
    rows : int
    xtx : array, shape (k + 1, k + 1), float64
        X'WX; the last row and column belong to the constant.
    xty : array, shape (k + 1,), float64
    yty : float
    """

    weight: float
    rows: int
    xtx: Floats
    xty: Floats
    yty: float

    @property
    def networks(self) -> int:
        return len(self.xty) - 1


class Block(NamedTuple):
    """Some rows in float64: scores (m, k), labels (m,), weights (m,) or None."""

    F: Floats
    y: Floats
    weight: Floats | None


def blocks_of(F: Any, y: Any, *, sample_weight: Any = None, rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """Rows of a score matrix as float64 blocks; only one block is held in float64.

    Parameters
    ----------
    F : array_like, shape (n, k)
    y : array_like, shape (n,)
    sample_weight : array_like, shape (n,), >= 0, optional

    Raises
    ------
    ValueError
        Shapes that do not fit, or negative weights.
    """
    scores, labels = np.asarray(F), np.asarray(y)
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores of shape {scores.shape} and labels of shape {labels.shape}: expected (n, k) and (n,)")
    if weights is not None and (weights.shape != labels.shape or not np.all(weights >= 0)):
        raise ValueError("sample weights are one number >= 0 for each row")
    for start in range(0, len(scores), rows):
        part = slice(start, start + rows)
        block = scores[part].astype(np.float64, copy=False), labels[part].astype(np.float64, copy=False)
        yield Block(*block, None if weights is None else weights[part])


def moments(F: Any, y: Any, *, sample_weight: Any = None) -> Moments:
    """Moments of some rows.

    Parameters
    ----------
    F : array_like, shape (n, k)
        Scores, any float type; NaN is refused.
    y : array_like, shape (n,)
        Labels, 0/1 or real.
    sample_weight : array_like, shape (n,), >= 0, optional

    Raises
    ------
    ValueError
        Missing or infinite scores: impute them (`missing.impute_mean`) or fit by pattern (`missing.fit_by_pattern`).

    Notes
    -----
    O(n k^2) time, memory of one block beside the input.
    """
    k = np.asarray(F).shape[1] if np.ndim(F) == 2 else 0
    # one product per block gives all three: Z = [F 1 y], Z'WZ
    gram = np.zeros((k + 2, k + 2))
    count = 0
    for block in blocks_of(F, y, sample_weight=sample_weight):
        m = len(block.y)
        z = np.empty((m, k + 2))
        z[:, :k], z[:, k], z[:, k + 1] = block.F, 1.0, block.y
        gram += z.T @ (z if block.weight is None else z * block.weight[:, None])
        count += m
    if not np.isfinite(gram).all():
        raise ValueError("scores or labels are missing or infinite: impute them or fit by pattern, never as zeros")
    return Moments(float(gram[k, k]), count, gram[: k + 1, : k + 1].copy(), gram[: k + 1, k + 1].copy(), float(gram[-1, -1]))


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the rows of both; exact up to the rounding of one addition, in any order."""
    if a.networks != b.networks:
        raise ValueError(f"moments of {a.networks} and of {b.networks} networks do not merge")
    return Moments(a.weight + b.weight, a.rows + b.rows, a.xtx + b.xtx, a.xty + b.xty, a.yty + b.yty)


def merge_all(parts: Iterable[Moments]) -> Moments:
    """Moments of all parts together; at least one."""
    return functools.reduce(merge, parts)


def block_moments(F: Any, y: Any, *, blocks: int, sample_weight: Any = None) -> tuple[Moments, ...]:
    """Moments of up to `blocks` consecutive runs of rows of nearly equal size (as many as rows, where these are fewer).

    Re-weighting them is a bootstrap of blocks of rows: see `inference.bootstrap_weights`.
    """
    scores, labels = np.asarray(F), np.asarray(y)
    edges = np.linspace(0, len(scores), min(blocks, len(scores)) + 1).astype(int)
    weights = None if sample_weight is None else np.asarray(sample_weight)
    return tuple(
        moments(scores[i:j], labels[i:j], sample_weight=None if weights is None else weights[i:j])
        for i, j in itertools.pairwise(edges)
    )


def balanced_weights(y: Any) -> Floats:
    """Sample weights that give both classes half of the weight and sum to n; ones where a class is absent.

    With 1 % positives a plain fit shrinks every score towards 0; balanced weights or a tuned threshold mend that.
    """
    positive = np.asarray(y) > 0.5
    n, ones = len(positive), int(positive.sum())
    if ones in (0, n):
        return np.ones(n)
    return np.where(positive, n / (2.0 * ones), n / (2.0 * (n - ones)))


def residual_sum(of: Moments, coef: npt.ArrayLike) -> float:
    """Weighted sum of squared residuals of a fit, y'Wy - 2 c'X'Wy + c'X'WX c.

    Parameters
    ----------
    coef : array_like, shape (k + 1,) or (k,)
        Weights, then the intercept; without it, 0.

    Notes
    -----
    Never negative; its absolute error is that of y'Wy, so a perfect fit comes out as about 1e-16 of it.
    """
    vector = np.asarray(coef, dtype=np.float64)
    if len(vector) == of.networks:
        vector = np.append(vector, 0.0)
    return max(float(of.yty - 2.0 * vector @ of.xty + vector @ of.xtx @ vector), 0.0)
