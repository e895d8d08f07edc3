"""Posteriors per bin from labelled counts, for many resamples of the labelled items at once.

EMQ and PCC take the scores for probabilities. Refitting this map within each resample lets its error enter their intervals.

References
----------
.. [1] Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers, 61-74.
.. [2] Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate multiclass probability estimates. KDD.
.. [3] Guo, C. et al. (2017). On calibration of modern neural networks. ICML (temperature scaling).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from assaymark.errors import ConfigError, InputError
from assaymark.stats.checks import FloatArray
from assaymark.stats.prevalence.binned import LabelledBins, bin_centres

__all__ = ["CalibrationMethod", "calibrate_bins"]

CalibrationMethod = Literal["platt", "temperature", "isotonic", "none"]

# a posterior of exactly 0 or 1 would let one item rule out a prevalence
_LEAST_POSTERIOR = 1e-9
_STEPS = 50
_CHUNK_ITEMS = 1 << 15
# in units of standardised scores; the next Newton step would be its square
_SMALL_STEP = 1e-6


def calibrate_bins(labelled: LabelledBins, method: CalibrationMethod = "platt") -> FloatArray:
    """P(positive | bin) at the prevalence of the labelled sample.

    Parameters
    ----------
    labelled : LabelledBins, shape (..., bins)
        Leading axes are calibrated each for itself.
    method : "platt", "temperature", "isotonic" or "none"
        platt: sigmoid(a logit(bin centre) + b) against Platt's targets ([1]), as `stats.platt`. temperature: the same without
        b ([3]), for scores that were trained at the labelled sample's prevalence. isotonic: the rising step function of least
        squares ([2]), linear between bins that hold labelled items, kept within 1 / (n + 2) of 0 and 1. none: bin centres.

    Returns
    -------
    array, shape (..., bins)

    Raises
    ------
    InputError
        When a class has no labelled item in some row.

    Notes
    -----
    Weighted Newton steps with halving over the occupied bins only: O(rows * occupied) a step, some six steps. The isotonic fit
    runs row by row.
    """
    if method not in get_args(CalibrationMethod):
        raise ConfigError(f"calibration {method!r} is not one of {', '.join(get_args(CalibrationMethod))}")
    bins = labelled.negative.shape[-1]
    centres = bin_centres(bins)
    if method == "none":
        return np.broadcast_to(centres, np.broadcast_shapes(labelled.negative.shape, labelled.positive.shape))
    zeros, ones = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in labelled))
    if not (zeros.sum(axis=-1).all() and ones.sum(axis=-1).all()):
        raise InputError("a calibration needs labelled items of both classes")
    rows = LabelledBins(zeros.reshape(-1, bins), ones.reshape(-1, bins))
    found = _isotonic(rows, centres) if method == "isotonic" else _logistic(rows, centres, offset=method == "platt")
    return np.clip(found, _LEAST_POSTERIOR, 1.0 - _LEAST_POSTERIOR).reshape(zeros.shape)


class _Softplus(NamedTuple):
    sigmoid: FloatArray
    value: FloatArray


def _softplus(z: FloatArray) -> _Softplus:
    """log(1 + e^z) and its derivative from one exponential."""
    small = np.abs(z)
    np.negative(small, out=small)
    np.exp(small, out=small)
    return _Softplus(np.where(z >= 0, 1.0, small) / (1.0 + small), np.maximum(z, 0.0) + np.log1p(small))


def _logistic(rows: LabelledBins, centres: FloatArray, *, offset: bool) -> FloatArray:
    """Fitted sigmoid at every bin, shape (rows, bins)."""
    margin = np.log(centres) - np.log1p(-centres)
    used = np.flatnonzero((rows.negative.sum(axis=0) + rows.positive.sum(axis=0)) > 0)
    weight = rows.negative[:, used] + rows.positive[:, used]
    share = weight.sum(axis=0) / weight.sum()
    # standardised scores keep the 2 x 2 systems well conditioned
    shift = float(share @ margin[used]) if offset else 0.0
    spread = float(np.sqrt(share @ (margin[used] - shift) ** 2)) or 1.0
    design = ((margin - shift) / spread)[:, None]
    if offset:
        design = np.column_stack([design, np.ones(centres.size)])
    n0, n1 = (part.sum(axis=1, keepdims=True) for part in rows)
    target = rows.positive[:, used] * ((n1 + 1) / (n1 + 2)) + rows.negative[:, used] / (n0 + 2)
    start = np.eye(design.shape[1])[:1]
    if len(weight) > 1:
        # resamples lie close to what they share, which saves each of them half of its steps
        start = _newton(design[used], weight.mean(axis=0)[None], target.mean(axis=0)[None], start)
    found = np.empty((len(weight), centres.size))
    # a few rows at a time stay in the cache through all steps
    chunk = max(1, _CHUNK_ITEMS // centres.size)
    for first in range(0, len(weight), chunk):
        rows_of = slice(first, first + chunk)
        part = weight[rows_of]
        fit = _newton(design[used], part, target[rows_of], np.tile(start, (len(part), 1)))
        found[rows_of] = _softplus(fit @ design.T).sigmoid
    return found


def _newton(design: FloatArray, weight: FloatArray, target: FloatArray, fit: FloatArray) -> FloatArray:
    """Coefficients (rows, k) of least cross-entropy sum w softplus(f) - target f with f = design @ coefficients."""
    k = design.shape[1]
    squares = (design[:, :, None] * design[:, None, :]).reshape(-1, k * k)
    total = weight.sum(axis=1)
    ridge = 1e-12 * total[:, None, None] * np.eye(k)

    def state(coefficients: FloatArray) -> tuple[FloatArray, FloatArray]:
        f = coefficients @ design.T
        sigmoid, value = _softplus(f)
        return sigmoid, np.einsum("rb,rb->r", weight, value) - np.einsum("rb,rb->r", target, f)

    sigmoid, loss = state(fit)
    for _ in range(_STEPS):
        gradient = (weight * sigmoid - target) @ design
        curvature = (weight * sigmoid * (1.0 - sigmoid)) @ squares
        step = np.linalg.solve(curvature.reshape(-1, k, k) + ridge, gradient[:, :, None])[:, :, 0]
        sigmoid, after = state(fit - step)
        while (worse := (after > loss + 1e-12 * total) & (np.abs(step).max(axis=1) > _SMALL_STEP)).any():
            step[worse] /= 2.0
            sigmoid, after = state(fit - step)
        fit, loss = fit - step, after
        if np.abs(step).max() < _SMALL_STEP:
            break
    return fit


def _isotonic(rows: LabelledBins, centres: FloatArray) -> FloatArray:
    from scipy.optimize import isotonic_regression

    found = np.empty_like(rows.negative)
    for r, (zeros, ones) in enumerate(zip(*rows, strict=True)):
        weight = zeros + ones
        used = np.flatnonzero(weight)
        steps = isotonic_regression(ones[used] / weight[used], weights=weight[used]).x
        edge = 1.0 / (weight.sum() + 2.0)
        found[r] = np.clip(np.interp(centres, centres[used], steps), edge, 1.0 - edge)
    return found
