"""Log-odds that an image is offensive: one dot product per image (eq. 2 of [1]).

The score is softmax(c a.p_0, c a.p_1)_1 with unit vectors and the logit scale c of the encoder, 100 for CLIP. It depends on the
difference of the logits only, so s = sigmoid(a.w) with w = c (p_1 - p_0): two prompts cost as much as one. The log-odds are
what is kept: at scale 100 the score itself saturates.

References
----------
.. [1] Schramowski, P. and Kersting, K. (2021). Inferring offensiveness in images from natural language supervision.
   arXiv 2110.04222.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax

__all__ = [
    "LOGIT_SCALE",
    "UNIT_TOLERANCE",
    "Scored",
    "UnitRows",
    "log_odds",
    "logits",
    "probability",
    "probability_of_each",
    "prompt_direction",
    "unit_prompts",
    "unit_rows",
]

Rows = npt.NDArray[np.floating]
Floats32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

LOGIT_SCALE = 100.0
"""CLIP's logit scale after training; SigLIP and others bring their own."""

UNIT_TOLERANCE = 2e-3
"""How far the length of a row may be from 1 and still count as normalised: half-precision rounding stays well below."""

_CACHED_BYTES = 1 << 19
_SAFE_SQUARE = (1e-30, 1e30)


class UnitRows(NamedTuple):
    """Rows divided by their length.

    rows : float32 array, shape (n, d); invalid rows are 0
    scaled : int, rows whose length was not 1
    invalid : bool array, shape (n,): rows that are zero or hold a value that is not finite, which have no direction
    """

    rows: Floats32
    scaled: int
    invalid: Flags


class Scored(NamedTuple):
    """Scores of rows.

    log_odds : float32 array, shape (n,), log s / (1 - s); NaN exactly where `invalid`
    scaled : int, rows whose length was not 1 (they were normalised: a warning, not an error)
    invalid : bool array, shape (n,): zero or not finite, to be counted as skipped
    """

    log_odds: Floats32
    scaled: int
    invalid: Flags


class _Projected(NamedTuple):
    products: Floats32  # (n, k)
    scaled: int
    invalid: Flags


def _matrix(X: Any, width: int | None = None) -> npt.NDArray[Any]:
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.ndim != 2:
        raise ValueError(f"embeddings: expected a matrix of shape (rows, dimensions), got shape {array.shape}")
    if width is not None and array.shape[1] != width:
        raise ValueError(f"embeddings have {array.shape[1]} dimensions, the prompts {width}: they are of different encoders")
    return array


def _lengths(block: Floats32, original: Rows) -> Floats32:
    """Length of each row; NaN for a row without a direction. Squares that leave the range of float32 are taken in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        square = np.vecdot(block, block)
    odd = np.flatnonzero(~((square > _SAFE_SQUARE[0]) & (square < _SAFE_SQUARE[1])))
    length = np.sqrt(square)
    if odd.size:
        wide = original[odd].astype(np.float64)
        largest = np.abs(wide).max(axis=1, initial=0.0)
        usable = np.isfinite(largest) & (largest > 0)
        top = np.where(usable, largest, 1.0)[:, None]
        exact = top[:, 0] * np.linalg.norm(np.where(usable[:, None], wide / top, 0.0), axis=1)
        # what float32 cannot hold has no direction in float32 either
        with np.errstate(over="ignore", under="ignore"):
            narrow = exact.astype(np.float32)
        length[odd] = np.where(
            usable & np.isfinite(narrow) & (narrow > 0) & np.isfinite(block[odd]).all(axis=1), narrow, np.nan
        )
    return np.asarray(length)


def _off_unit(length: Floats32) -> int:
    return int(np.sum(np.abs(length - 1.0) > UNIT_TOLERANCE))  # NaN compares false: invalid rows are counted apart


# The reader of embeddings (data/embeddings) has its own unit_rows, which counts norms for a data set's notes; a method sees
# arrays alone and may not import it. This one must also divide a million rows within the second that scoring them takes.
def unit_rows(X: Any, *, block: int = 16_384) -> UnitRows:
    """Divide each row by its Euclidean length, in float32 and block by block.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Any float or integer type; half precision is widened before squares are taken, because 65,504 is its largest number.
    block : int
        Rows at a time; the result does not depend on it.

    Notes
    -----
    O(n d) time; memory of the result and one block.
    """
    X = _matrix(X)
    rows = np.empty(X.shape, dtype=np.float32)
    invalid = np.zeros(len(X), dtype=np.bool_)
    scaled = 0
    for start in range(0, len(X), block):
        part = slice(start, start + block)
        with np.errstate(over="ignore"):
            rows[part] = X[part]
        length = _lengths(rows[part], X[part])
        scaled += _off_unit(length)
        invalid[part] = np.isnan(length)
        rows[part] /= np.where(invalid[part], 1.0, length).astype(np.float32)[:, None]
    rows[invalid] = 0.0
    return UnitRows(rows, scaled, invalid)


def unit_prompts(P: Any) -> npt.NDArray[np.float64]:
    """Prompt rows of unit length, float64, shape (2, d) or (3, d).

    Raises
    ------
    ValueError
        Not two or three rows, or a row that is zero or not finite.
    """
    prompts = np.asarray(P, dtype=np.float64)
    if prompts.ndim != 2 or prompts.shape[0] not in (2, 3):
        raise ValueError(f"prompts: expected shape (2, d), or (3, d) with a neutral row, got {prompts.shape}")
    length = np.linalg.norm(prompts, axis=1, keepdims=True)
    if not (np.isfinite(length).all() and (length > 0).all()):
        raise ValueError("prompts: a row is zero or holds a value that is not finite")
    return np.asarray(prompts / length)


def prompt_direction(P: Any, *, logit_scale: float = LOGIT_SCALE) -> Floats32:
    """w = c (p_1 - p_0) of unit prompt rows, so that a.w is the log-odds of row 1 against row 0.

    Parameters
    ----------
    P : array_like, shape (2, d) or (3, d)
        A third, neutral row does not enter: it changes both probabilities by one factor. For three-way probabilities use
        `logits` and `probability_of_each`.

    Returns
    -------
    float32 array, shape (d,)
    """
    prompts = unit_prompts(P)
    return np.asarray(logit_scale * (prompts[1] - prompts[0]), dtype=np.float32)


def _spans(rows: int, block: int) -> Iterator[slice]:
    return (slice(start, start + block) for start in range(0, rows, block))


def _project(V: Any, directions: Floats32, *, block: int, threads: int) -> _Projected:
    """Products of unit rows with k directions, shape (n, k). Each row is summed by itself: blocks cannot change a bit."""
    V = _matrix(V, directions.shape[1])
    n, d = V.shape
    products = np.empty((n, len(directions)), dtype=np.float32)
    invalid = np.zeros(n, dtype=np.bool_)
    step = max(1, min(block, _CACHED_BYTES // max(4 * d, 1)))  # widened rows that stay in the cache between their two uses

    def span(part: slice) -> int:
        with np.errstate(over="ignore", invalid="ignore"):
            wide = np.ascontiguousarray(V[part], dtype=np.float32)
            length = _lengths(wide, V[part])
            for k, direction in enumerate(directions):
                products[part, k] = np.vecdot(wide, direction) / length
        invalid[part] = np.isnan(length)
        return _off_unit(length)

    if threads == 1:
        scaled = sum(map(span, _spans(n, step)))
    else:
        with ThreadPoolExecutor(threads) as pool:
            scaled = sum(pool.map(span, _spans(n, step)))
    products[invalid] = np.nan
    return _Projected(products, scaled, invalid)


def log_odds(V: Any, w: Any, *, block: int = 16_384, threads: int = 1) -> Scored:
    """Log-odds a.w of each row, a being the row divided by its length.

    Parameters
    ----------
    V : array_like, shape (n, d)
        Embeddings: float16, float32 or float64, in memory or memory-mapped. They are widened block by block.
    w : array_like, shape (d,)
        From `prompt_direction`.
    block : int
        Most rows widened at a time. Neither it nor `threads` changes any bit of the result.
    threads : int

    Notes
    -----
    O(n d) time, memory of the result and one block per thread.
    """
    direction = np.asarray(w, dtype=np.float32)
    if direction.ndim != 1:
        raise ValueError(f"w: expected one direction of shape (d,), got shape {direction.shape}")
    found = _project(V, direction[None, :], block=block, threads=threads)
    return Scored(found.products[:, 0], found.scaled, found.invalid)


def probability(log_odds: Any) -> npt.NDArray[np.float64]:
    """Score s = 1 / (1 + exp(-log_odds)) in float64, without overflow at any log-odds; NaN stays NaN."""
    return np.asarray(expit(np.asarray(log_odds, dtype=np.float64)))


def logits(V: Any, P: Any, *, logit_scale: float = LOGIT_SCALE, block: int = 16_384, threads: int = 1) -> Floats32:
    """z_k = c a.p_k for each prompt row, float32 of shape (n, 2) or (n, 3); NaN for rows without a direction."""
    prompts = np.asarray(logit_scale * unit_prompts(P), dtype=np.float32)
    return _project(V, prompts, block=block, threads=threads).products


def probability_of_each(z: Any) -> npt.NDArray[np.float64]:
    """Softmax over the prompt rows, float64 of the shape of `z`; column 1 is the offensive one, also beside a neutral row."""
    return np.asarray(softmax(np.asarray(z, dtype=np.float64), axis=1))
