"""Memorization of every item at once, from models that were trained on random parts of the pool.

References
----------
.. [1] Feldman, V. and Zhang, C. What neural networks memorize and why. NeurIPS 2020, arXiv 2008.03703, section 3.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats.checks import FloatArray

__all__ = ["SubsampledScores", "subsampled_scores"]


class SubsampledScores(NamedTuple):
    """Scores of n items.

    Attributes
    ----------
    score, standard_error : array, shape (n,)
        NaN where fewer than one (for the error: two) models of a side have a value.
    with_item, without_item : array of int, shape (n,)
        Models that were trained with and without the item and have a value for it.
    """

    score: FloatArray
    standard_error: FloatArray
    with_item: npt.NDArray[np.int64]
    without_item: npt.NDArray[np.int64]


def subsampled_scores(values: Any, members: Any) -> SubsampledScores:
    """Mean of a measure over the models that saw an item, minus that over the models that did not ([1]).

    Parameters
    ----------
    values : array_like, shape (models, n)
        The measure of each model on each item, larger = better held; NaN where there is none.
    members : array_like of bool, shape (models, n)
        Which items each model was trained on.

    Returns
    -------
    SubsampledScores
        Standard error: sqrt(s1^2 / n1 + s0^2 / n0), with the sample variances of both sides.

    Notes
    -----
    O(models x n). Unlike the difference of one pair of models it holds the noise between trainings, so that the error of a
    single item's score is known; from about 8 models on.
    """
    measured, inside = np.asarray(values, dtype=np.float64), np.asarray(members, dtype=bool)
    if measured.shape != inside.shape or measured.ndim != 2:
        raise ValueError(f"values of shape {measured.shape} and members of shape {inside.shape}: both are (models, items)")
    present = np.isfinite(measured)
    sides = [_moments(measured, side & present) for side in (inside, ~inside)]
    (mean_1, share_1, n_1), (mean_0, share_0, n_0) = sides
    return SubsampledScores(mean_1 - mean_0, np.sqrt(share_1 + share_0), n_1, n_0)


def _moments(values: FloatArray, chosen: npt.NDArray[np.bool_]) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Mean, variance of the mean, and number of the chosen values of each column."""
    n = chosen.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(chosen, values, 0.0).sum(axis=0) / n
        squares = (np.where(chosen, values - mean, 0.0) ** 2).sum(axis=0)
        variance = np.where(n > 1, squares / (n - 1), np.nan)
        return np.where(n > 0, mean, np.nan), variance / n, n.astype(np.int64)
