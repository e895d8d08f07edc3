"""Least squares reduced to a square problem: the step that every linear fit of the scorers shares.

min ||W^(1/2) (F b + a - y)||^2 over b (and a) becomes min ||A b - c||^2 + rest with A of at most k rows. A comes from the rows
by a QR decomposition in blocks, which keeps all digits, or from moments that were added up over shards, which squares the
condition number. Neither forms an inverse.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.moments import Moments, blocks_of

__all__ = ["Fit", "Reduced", "fit_of", "notes_on", "rank_and_condition", "reduce_moments", "reduce_rows", "reduced"]

Floats = npt.NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)
ILL_CONDITIONED = 1e3
"""Condition number of the scores above which single weights are not to be interpreted (experiment B of the paper's card)."""
ROWS_PER_NETWORK = 20
"""Fewer rows than this for each network: prefer ridge."""
QR_ROWS = 4096


class Fit(NamedTuple):
    """A weighted sum of scorers.

    Attributes
    ----------
    weights : array, shape (k,)
    intercept : float
    rank : int
        Of the (centred, with an intercept) score matrix.
    condition : float
        Its 2-norm condition number; inf when rank deficient.
    note : str
        What a reader has to know before using the weights; empty when there is nothing.
    alpha : float
        Penalty of a ridge fit, else 0.
    """

    weights: Floats
    intercept: float
    rank: int
    condition: float
    note: str = ""
    alpha: float = 0.0


class Reduced(NamedTuple):
    """A least-squares problem in k unknowns: min over b of ||A b - c||^2 + rest.

    Attributes
    ----------
    A : array, shape (m, k), m <= k + 1
    c : array, shape (m,)
    rest : float
        What no b can explain.
    score_means : array, shape (k,), and label_mean : float
        Weighted means that were taken off; zeros without an intercept.
    weight, rows : sum of sample weights, number of rows
    centred : bool
        Whether the problem has an intercept.
    one_class : bool
        Whether all labels are equal.
    """

    A: Floats
    c: Floats
    rest: float
    score_means: Floats
    label_mean: float
    weight: float
    rows: int
    centred: bool
    one_class: bool


def reduce_rows(F: Any, y: Any, *, intercept: bool, sample_weight: Any = None) -> Reduced:
    """Reduce a problem given by its rows.

    Parameters
    ----------
    F : array_like, shape (n, k); y : array_like, shape (n,); sample_weight : array_like, shape (n,), optional

    Raises
    ------
    ValueError
        No rows, or missing scores.

    Notes
    -----
    Sequential tall-skinny QR: O(n k^2), each block is decomposed in the cache, which is several times faster than one
    decomposition of the whole matrix. With the constant as first column, what is left below the first row of the triangle is
    the triangle of the centred scores.
    """
    k = np.asarray(F).shape[1] if np.ndim(F) == 2 else 0
    constant = int(intercept)
    triangle = np.zeros((0, constant + k + 1))
    weight, rows, low, high = 0.0, 0, np.inf, -np.inf
    for block in blocks_of(F, y, sample_weight=sample_weight, rows=QR_ROWS):
        z = np.ones((len(triangle) + len(block.y), constant + k + 1))
        z[: len(triangle)] = triangle
        new = z[len(triangle) :]
        new[:, constant:-1], new[:, -1] = block.F, block.y
        if block.weight is not None:
            new *= np.sqrt(block.weight)[:, None]
        low, high = min(low, float(block.y.min())), max(high, float(block.y.max()))
        rows += len(block.y)
        weight += len(block.y) if block.weight is None else float(block.weight.sum())
        triangle = np.asarray(np.linalg.qr(z, mode="r"))
    if not rows or not weight > 0:
        raise ValueError("no rows to fit on")
    if not np.isfinite(triangle).all():
        raise ValueError("scores or labels are missing or infinite: impute them or fit by pattern, never as zeros")
    return _of_triangle(triangle, weight, rows, intercept=intercept, one_class=low == high)


def _of_triangle(triangle: Floats, weight: float, rows: int, *, intercept: bool, one_class: bool) -> Reduced:
    k = triangle.shape[1] - 1 - int(intercept)
    first = triangle[0, 1:] / triangle[0, 0] if intercept else np.zeros(k + 1)
    below = triangle[1:, 1:] if intercept else triangle
    # below row k the scores' columns are zero: that part of y is out of reach of any weights
    A, c, left = below[:k, :-1], below[:k, -1], below[k:, -1]
    return Reduced(A, c, float(left @ left), first[:-1], float(first[-1]), weight, rows, intercept, one_class)


def reduce_moments(of: Moments, *, intercept: bool) -> Reduced:
    """Reduce a problem given by its moments. O(k^3).

    Notes
    -----
    The eigenvalues of the scaled cross products are squares of singular values: directions below about 1e-7 of the largest
    cannot be told from rounding and are dropped (minimum norm).
    """
    if not of.rows or not of.weight > 0:
        raise ValueError("no rows to fit on")
    k = of.networks
    xtx, xty, yty = of.xtx[:k, :k].copy(), of.xty[:k].copy(), of.yty
    raw = np.diag(xtx).copy()
    score_means, label_mean = np.zeros(k), 0.0
    # equality in Cauchy-Schwarz; one label that differs among n leaves a relative gap of 1/n
    one_class = abs(of.yty * of.weight - of.xty[k] ** 2) <= 1e-13 * of.yty * of.weight
    if intercept:
        score_means, label_mean = of.xtx[:k, k] / of.weight, float(of.xty[k] / of.weight)
        xtx -= of.weight * np.outer(score_means, score_means)
        xty -= of.weight * score_means * label_mean
        yty -= of.weight * label_mean**2
    spread = np.diag(xtx)
    # a column whose spread is rounding of its own square sum is constant
    varies = spread > 64 * EPS * np.maximum(raw, np.finfo(np.float64).tiny)
    scale = np.where(varies, np.sqrt(np.maximum(spread, 0.0)), 0.0)
    unit = np.divide(1.0, scale, out=np.zeros(k), where=varies)
    values, vectors = np.linalg.eigh(xtx * np.outer(unit, unit))
    kept = values > 32 * k * EPS * max(float(values.max(initial=0.0)), EPS)
    roots = np.sqrt(values[kept])
    A = roots[:, None] * vectors[:, kept].T * scale
    c = (vectors[:, kept].T @ (unit * xty)) / roots
    return Reduced(A, c, max(float(yty - c @ c), 0.0), score_means, label_mean, of.weight, of.rows, intercept, bool(one_class))


def reduced(F: Any, y: Any = None, *, intercept: bool, sample_weight: Any = None) -> Reduced:
    """`reduce_moments` for moments, `reduce_rows` for scores and labels."""
    if isinstance(F, Moments):
        if y is not None or sample_weight is not None:
            raise ValueError("moments hold labels and sample weights already: give neither")
        return reduce_moments(F, intercept=intercept)
    return reduce_rows(F, y, intercept=intercept, sample_weight=sample_weight)


def rank_and_condition(problem: Reduced) -> tuple[int, float]:
    """Numerical rank of the scores, and their condition number (inf when deficient)."""
    values = np.linalg.svd(problem.A, compute_uv=False) if problem.A.size else np.zeros(0)
    k = problem.A.shape[1]
    if not values.size or values[0] == 0:
        return 0, float("inf")
    rank = int((values > max(problem.rows, k) * EPS * values[0]).sum())
    return rank, float(values[0] / values[-1]) if rank == k else float("inf")


def notes_on(problem: Reduced, *, rank: int, condition: float) -> list[str]:
    """What a reader has to know about the rows behind a fit."""
    k = problem.A.shape[1]
    notes = []
    if problem.one_class:
        notes.append("all labels are of one class: the weights say nothing")
    if rank < k:
        notes.append(
            f"rank {rank} of {k} scorers (duplicates, constants or too few rows): the weights are those of minimum norm, "
            "not to be interpreted one by one"
        )
    elif condition > ILL_CONDITIONED:
        notes.append(f"scorers nearly repeat each other (condition number {condition:.2g}): do not interpret single weights")
    if problem.rows < ROWS_PER_NETWORK * k:
        notes.append(f"{problem.rows} rows for {k} scorers, fewer than {ROWS_PER_NETWORK} for each: prefer ridge")
    return notes


def fit_of(problem: Reduced, weights: npt.ArrayLike, *, extra: str = "", alpha: float = 0.0) -> Fit:
    """Weights with the intercept that belongs to them, and the notes on their problem."""
    vector = np.asarray(weights, dtype=np.float64)
    rank, condition = rank_and_condition(problem)
    notes = [*notes_on(problem, rank=rank, condition=condition), *([extra] if extra else [])]
    intercept = problem.label_mean - float(problem.score_means @ vector) if problem.centred else 0.0
    return Fit(vector, intercept, rank, condition, "; ".join(notes), alpha)
