"""Do the scorers repeat each other? What must be known before a single weight is read.

References
----------
.. [1] Belsley, D. A., Kuh, E. and Welsch, R. E. (1980). Regression Diagnostics. Wiley, chapter 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.least_squares import EPS, rank_and_condition, reduced
from assaymark.audits.scorer_mixture.method.moments import Moments, moments

__all__ = ["condition_number", "effective_networks", "score_correlation", "vif"]

Floats = npt.NDArray[np.float64]


def _as_moments(F: Any, sample_weight: Any) -> Moments:
    if isinstance(F, Moments):
        return F
    return moments(F, np.zeros(len(F)), sample_weight=sample_weight)


def score_correlation(F: Any, *, sample_weight: Any = None) -> Floats:
    """Correlations of the scores.

    Parameters
    ----------
    F : array_like, shape (n, k), or Moments

    Returns
    -------
    array, shape (k, k); NaN off the diagonal for a scorer without variance.
    """
    covariance, sd = _covariance(_as_moments(F, sample_weight))
    correlation = np.clip(covariance / np.outer(sd, sd), -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)


def _covariance(of: Moments) -> tuple[Floats, Floats]:
    """Covariance of the scores, and their standard deviations with NaN for a scorer without variance."""
    k = of.networks
    mean = of.xtx[:k, k] / of.weight
    covariance = of.xtx[:k, :k] / of.weight - np.outer(mean, mean)
    variance = np.diag(covariance)
    # what is left of a constant column is the rounding of its square
    varies = variance > 64 * EPS * np.diag(of.xtx)[:k] / of.weight
    return covariance, np.where(varies, np.sqrt(np.maximum(variance, 0.0)), np.nan)


def vif(F: Any, *, sample_weight: Any = None) -> Floats:
    """Variance inflation factor of each scorer, 1 / (1 - R^2) on the others.

    Parameters
    ----------
    F : array_like, shape (n, k), or Moments

    Returns
    -------
    array, shape (k,), >= 1
        inf for exact duplicates, for other exact linear dependence, and for a scorer without variance.

    Notes
    -----
    Diagonal of the inverse correlation matrix, by eigenvalues; O(k^3). Above 10 a weight's standard error is more than three
    times what the scorer alone would give.
    """
    covariance, sd = _covariance(_as_moments(F, sample_weight))
    k, constant = len(sd), np.isnan(sd)
    moving = np.ix_(~constant, ~constant)
    values, vectors = np.linalg.eigh(covariance[moving] / np.outer(sd, sd)[moving])
    null = values <= 32 * k * EPS
    loads = vectors**2
    finite = (loads[:, ~null] / values[~null]).sum(axis=1)
    found = np.full(k, np.inf)
    found[~constant] = np.where((loads[:, null] > 1e-10).any(axis=1), np.inf, np.maximum(finite, 1.0))
    return found


def condition_number(F: Any, *, intercept: bool = False, sample_weight: Any = None) -> float:
    """2-norm condition number of the scores (with an intercept: of the centred scores); inf when rank deficient ([1])."""
    if isinstance(F, Moments):
        return rank_and_condition(reduced(F, intercept=intercept))[1]
    labels = np.zeros(len(F))
    return rank_and_condition(reduced(F, labels, intercept=intercept, sample_weight=sample_weight))[1]


def effective_networks(beta: npt.ArrayLike) -> float:
    """How many networks of equal weight the weights amount to: (sum |beta|)^2 / sum beta^2, in [1, k]; NaN for all zeros."""
    sizes = np.abs(np.asarray(beta, dtype=np.float64))
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if sizes.any() else float("nan")
