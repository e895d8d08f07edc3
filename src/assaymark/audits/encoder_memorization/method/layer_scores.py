"""LayerMem and Delta-LayerMem from the SSLMem of every layer (section 4 of [1] in `method`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats.memorization.normalisation import Normalisation

__all__ = ["NORMS", "LayerMemorization", "layer_memorization"]

Floats = npt.NDArray[np.float64]

NORMS: dict[str, Normalisation] = {"range": "official_range", "bound": "bound", "minmax01": "minmax01", "none": "none"}
"""Scales of layer scores, by the words of the papers, to those of `assaymark.stats.normalised_scores`: their "range" is that of
the candidates, largest minus smallest."""


class LayerMemorization(NamedTuple):
    """Of each layer, in forward order.

    Attributes
    ----------
    layermem : array, shape (layers,)
        Mean over the points; NaN where no point has a score.
    delta : array, shape (layers,)
        What a layer adds to the one before it; NaN for the first.
    error : array, shape (layers,)
        Standard error of the mean.
    n : int array, shape (layers,)
        Points with a score.
    """

    layermem: Floats
    delta: Floats
    error: Floats
    n: npt.NDArray[np.int64]


def layer_memorization(scores: npt.ArrayLike) -> LayerMemorization:
    """LayerMem and Delta-LayerMem ([1], eq. 2 and 3).

    Parameters
    ----------
    scores : array, shape (layers, n)
        SSLMem of n candidates at every layer, each layer normalised by itself; NaN where undefined.

    Notes
    -----
    Delta starts at the second layer: before the first there is nothing to compare with. O(layers x n).
    """
    values = np.atleast_2d(np.asarray(scores, np.float64))
    known = np.isfinite(values)
    n = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(known, values, 0.0).sum(axis=1) / n
        spread = np.where(known, (values - means[:, None]) ** 2, 0.0).sum(axis=1) / (n - 1)
        error = np.where(n > 1, np.sqrt(np.maximum(spread, 0.0) / n), np.nan)
    means = np.where(n > 0, means, np.nan)
    return LayerMemorization(means, np.concatenate([[np.nan], np.diff(means)]), error, n)
