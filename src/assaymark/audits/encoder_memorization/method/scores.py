"""From alignment to SSLMem, LayerMem and Delta-LayerMem (sections 3 and 4 of [1], [2] in `method`)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BOUND",
    "NORMS",
    "Extremes",
    "LayerMemorization",
    "Norm",
    "calibrated",
    "extremes",
    "layer_memorization",
    "norm_scale",
    "normalised",
    "ssl_memorization",
]

Floats = npt.NDArray[np.float64]
Norm = Literal["none", "range", "bound", "minmax01"]
NORMS: tuple[Norm, ...] = ("none", "range", "bound", "minmax01")

BOUND = 2.0
"""Largest distance of two directions."""


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


class Extremes(NamedTuple):
    """Rows of the most and the least memorized points, falling and rising."""

    most: npt.NDArray[np.int64]
    least: npt.NDArray[np.int64]


def ssl_memorization(align_f: npt.ArrayLike, align_g: npt.ArrayLike) -> Floats:
    """SSLMem before normalisation: alignment loss of the reference minus that of the encoder ([2], eq. 2).

    Parameters
    ----------
    align_f, align_g : arrays of one shape
        Mean distance of views under the encoder, which was trained on the point, and the reference, which was not.

    Returns
    -------
    array of that shape, in [-2, 2]
        Above 0: the encoder aligns the point better than it would without having seen it.
    """
    return np.asarray(align_g, np.float64) - np.asarray(align_f, np.float64)


def norm_scale(raw: npt.ArrayLike, *, norm: Norm) -> tuple[float, float]:
    """Shift and scale of a normalisation over the given points: normalised = (raw - shift) / scale.

    The scale is NaN where all points have one score, whose range says nothing.
    """
    values = np.asarray(raw, np.float64)
    finite = values[np.isfinite(values)]
    if norm == "none":
        return 0.0, 1.0
    if norm == "bound":
        return 0.0, BOUND
    spread = float(np.ptp(finite)) if finite.size else 0.0
    scale = spread if spread > 0 else np.nan
    return (float(finite.min()) if norm == "minmax01" and finite.size else 0.0), scale


def normalised(raw: npt.ArrayLike, *, norm: Norm) -> Floats:
    """Scores of one layer on another scale.

    Parameters
    ----------
    raw : array, shape (n,)
    norm : {"none", "range", "bound", "minmax01"}
        range: by the range over these points, into [-1, 1] (public code of [2]); bound: by 2, the largest distance there is,
        so that layers, models and runs can be compared; minmax01: smallest 0, largest 1 ([1]).

    Returns
    -------
    array, shape (n,)
        NaN throughout for range and minmax01 where all points have one score.
    """
    shift, scale = norm_scale(raw, norm=norm)
    return np.asarray((np.asarray(raw, np.float64) - shift) / scale)


def calibrated(raw: npt.ArrayLike, *, external: npt.ArrayLike) -> Floats:
    """SSLMem minus its mean over points that neither model saw: what moves all points alike is the models', not theirs.

    Ours: two trainings differ by an offset that has nothing to do with membership. NaN without external points.
    """
    seen_by_none = np.asarray(external, np.float64)
    finite = seen_by_none[np.isfinite(seen_by_none)]
    return np.asarray(np.asarray(raw, np.float64) - (finite.mean() if finite.size else np.nan))


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


def extremes(raw: npt.ArrayLike, *, size: int) -> Extremes:
    """The `size` points with the highest and the lowest score of one layer, never more than half of them each.

    Points without a score are in neither.
    """
    values = np.asarray(raw, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    size = min(size, len(order) // 2)
    return Extremes(order[::-1][:size], order[:size])
