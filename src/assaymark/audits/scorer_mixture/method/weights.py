"""Weights of the mixture M(x) = sum_i beta_i f_i(x): the paper's least squares and its stable relatives.

Every fit here takes scores and labels, or `Moments` that were added up over shards. The paper solves
beta = argmin ||F beta - y||^2 without an intercept and cuts M at 0.5; `intercept=True` absorbs a common bias of the scorers,
which otherwise moves M away from 0.5 (planted experiments A and E).

References
----------
.. [1] Al-Shabi, M., Connie, T. and Teoh, A. B. J. (2017). Smart content recognition from images using a mixture of
   convolutional neural networks. arXiv 1612.09506.
.. [2] Golub, G. H., Heath, M. and Wahba, G. (1979). Generalized cross-validation as a method for choosing a good ridge
   parameter. Technometrics 21, 215-223.
.. [3] Lawson, C. L. and Hanson, R. J. (1974). Solving Least Squares Problems. Prentice-Hall, chapter 23.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls as _lawson_hanson

from assaymark.audits.scorer_mixture.method.least_squares import EPS, Fit, Reduced, fit_of, reduce_rows, reduced
from assaymark.audits.scorer_mixture.method.moments import Moments
from assaymark.audits.scorer_mixture.method.per_class import ClassFit, class_decisions, class_scores, ols_per_class
from assaymark.audits.scorer_mixture.method.stacking import best_single, greedy_selection, logistic, weighted_by_accuracy

__all__ = [
    "ClassFit",
    "Fit",
    "best_single",
    "class_decisions",
    "class_scores",
    "greedy_selection",
    "logistic",
    "nnls",
    "ols",
    "ols_from_moments",
    "ols_per_class",
    "ridge",
    "simplex",
    "weighted_by_accuracy",
]

Floats = npt.NDArray[np.float64]


def ols(F: Any, y: Any, *, intercept: bool = False, sample_weight: Any = None) -> Fit:
    """Ordinary least squares, the paper's mixture ([1]).

    Parameters
    ----------
    F : array_like, shape (n, k)
        Scores of k networks; any float type, summed in float64.
    y : array_like, shape (n,)
        Labels, 0/1.
    intercept : bool
        False is the paper's form.
    sample_weight : array_like, shape (n,), >= 0, optional

    Returns
    -------
    Fit
        With duplicates, constants or fewer rows than networks: the finite weights of minimum norm, and a note. With an
        intercept a constant scorer gets weight 0.

    Raises
    ------
    ValueError
        No rows, missing scores, shapes that do not fit.

    Notes
    -----
    QR in blocks of rows, then SVD of the triangle: O(n k^2), one block of memory.
    """
    problem = reduce_rows(F, y, intercept=intercept, sample_weight=sample_weight)
    return fit_of(problem, _minimum_norm(problem))


def ols_from_moments(of: Moments, *, intercept: bool = False) -> Fit:
    """`ols` from moments. O(k^3); agrees to about condition^2 * 1e-16 with the fit on the rows."""
    problem = reduced(of, intercept=intercept)
    return fit_of(problem, _minimum_norm(problem))


def _minimum_norm(problem: Reduced) -> Floats:
    cut = max(problem.rows, problem.A.shape[1]) * EPS
    return np.asarray(np.linalg.lstsq(problem.A, problem.c, rcond=cut)[0])


def ridge(F: Any, y: Any = None, *, alpha: float | None = None, intercept: bool = False, sample_weight: Any = None) -> Fit:
    """Ridge regression: least squares + alpha ||beta||^2; the intercept is not penalised.

    Parameters
    ----------
    F : array_like, shape (n, k), or Moments
    y : array_like, shape (n,); left out with moments
    alpha : float > 0, optional
        Penalty on the scale of the sum of squares (for experiment B: 1e-3 n). By default the minimum of generalized
        cross-validation ([2]) between 1e-8 and 10 times the weight of the rows.

    Returns
    -------
    Fit
        `alpha` holds the penalty used.
    """
    problem = reduced(F, y, intercept=intercept, sample_weight=sample_weight)
    if alpha is not None and not alpha > 0:
        raise ValueError(f"alpha {alpha!r} is not above 0: for 0 use ols")
    U, d, Vt = np.linalg.svd(problem.A, full_matrices=False)
    along = U.T @ problem.c
    chosen = _least_gcv(problem, d, along) if alpha is None else float(alpha)
    return fit_of(problem, Vt.T @ (d / (d * d + chosen) * along), alpha=chosen)


def _least_gcv(problem: Reduced, d: Floats, along: Floats) -> float:
    """Alpha at the minimum of n RSS / (n - effective parameters)^2 over a grid of 1 % steps."""
    alphas = problem.weight * np.exp(np.arange(np.log(1e-8), np.log(10.0), 0.01))
    kept = alphas[:, None] / (d * d + alphas[:, None])
    unexplained = problem.rest + float(problem.c @ problem.c - along @ along)
    rss = ((kept * along) ** 2).sum(axis=1) + max(unexplained, 0.0)
    spare = problem.rows - problem.centred - (1.0 - kept).sum(axis=1)
    score = np.where(spare > 0, rss / np.maximum(spare, EPS) ** 2, np.inf)
    return float(alphas[int(np.argmin(score))])


def nnls(F: Any, y: Any = None, *, intercept: bool = False, sample_weight: Any = None) -> Fit:
    """Least squares with weights >= 0 ([3]); an intercept is free in sign.

    Parameters
    ----------
    F : array_like, shape (n, k), or Moments
    y : array_like, shape (n,); left out with moments
    """
    problem = reduced(F, y, intercept=intercept, sample_weight=sample_weight)
    return fit_of(problem, _nonnegative(problem.A, problem.c))


def _nonnegative(A: Floats, c: Floats) -> Floats:
    scale = float(np.abs(A).max(initial=0.0))
    if scale == 0.0:
        return np.zeros(A.shape[1])
    return np.asarray(_lawson_hanson(A / scale, c / scale)[0])


def simplex(F: Any, y: Any = None, *, intercept: bool = False, sample_weight: Any = None) -> Fit:
    """Least squares with weights >= 0 that sum to 1: a weighted average of the scorers.

    Parameters
    ----------
    F : array_like, shape (n, k), or Moments
    y : array_like, shape (n,); left out with moments

    Notes
    -----
    On the simplex F b - y = (F - y 1') b =: E b. Non-negative least squares of [E; 1'] x against [0; 1] has its minimum at a
    multiple x = s b of the solution: for fixed b the best s leaves ||E b||^2 / (1 + ||E b||^2), which rises with ||E b||. So
    the active set method of [3] solves it exactly, without a step size.
    """
    problem = reduced(F, y, intercept=intercept, sample_weight=sample_weight)
    k = problem.A.shape[1]
    # what no weights explain is the same for every b on the simplex, and left out
    E = problem.A - problem.c[:, None]
    lengths = np.sqrt((E * E).sum(axis=0))
    scale = float(lengths.min()) or float(lengths.max()) or 1.0
    x = np.asarray(_lawson_hanson(np.vstack([E / scale, np.ones((1, k))]), np.append(np.zeros(len(E)), 1.0))[0])
    return fit_of(problem, x / x.sum())
