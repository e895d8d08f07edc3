"""Prediction-powered inference: a mean from many predictions and a few labels drawn from the same stream.

Unlike the quantifiers this makes no assumption on how the classes' scores carry over from elsewhere: the labelled items are a
random sample of the stream itself.

References
----------
.. [1] Angelopoulos, A. N. et al. (2023). Prediction-powered inference. Science 382, 669-674.
.. [2] Angelopoulos, A. N., Duchi, J. C. and Zrnic, T. (2023). PPI++: efficient prediction-powered inference. arXiv 2311.01453.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from assaymark.errors import ConfigError, InputError
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.checks import FloatArray, finite_vector, normal_quantile, percent
from assaymark.stats.intervals import wilson
from assaymark.stats.prevalence.binned import IntArray, bin_centres

__all__ = ["Predictions", "ppi_mean", "predictions_of", "predictions_of_bins"]


class Predictions(NamedTuple):
    """Mean, variance (divided by n) and number of predictions: all that is asked of the unlabelled side.

    Two of them add up to that of both parts.
    """

    mean: float
    variance: float
    n: int

    def merged(self, other: Predictions) -> Predictions:
        """Summary of both parts together."""
        n = self.n + other.n
        if n == 0:
            return self
        share = other.n / n
        gap = other.mean - self.mean
        spread = (1.0 - share) * self.variance + share * other.variance + share * (1.0 - share) * gap * gap
        return Predictions(self.mean + share * gap, spread, n)


def predictions_of(values: Any) -> Predictions:
    """Summary of predictions, shape (n,), finite; of a part of a stream, to be merged."""
    value = finite_vector(values, "predictions")
    return Predictions(float(value.mean()), float(value.var()), value.size) if value.size else Predictions(0.0, 0.0, 0)


def predictions_of_bins(counts: IntArray, value: Any = None) -> Predictions:
    """Summary of binned predictions, shape (bins,), each taken as `value` of its bin (the bin's centre, or its posterior)."""
    x = bin_centres(counts.size) if value is None else finite_vector(value, "value")
    n = int(counts.sum())
    if n == 0:
        return Predictions(0.0, 0.0, 0)
    average = float(counts @ x) / n
    return Predictions(average, float(counts @ (x - average) ** 2) / n, n)


def ppi_mean(
    labels: Any,
    labelled_predictions: Any,
    unlabelled: Predictions | Any,
    *,
    lam: float | None = None,
    confidence: float = 0.95,
    bounds: tuple[float, float] | None = None,
    unit: Unit = "share",
) -> Estimate:
    """Mean of the labels in the stream: lam mean(f unlabelled) + mean(y - lam f labelled), normal interval ([1], [2]).

    Parameters
    ----------
    labels : array_like, shape (n,), finite
        Of a random sample of the stream.
    labelled_predictions : array_like, shape (n,), finite
        The same predictor on the same items: scores, posteriors or 0/1 calls.
    unlabelled : Predictions, or array_like of shape (N,)
        Predictions on the rest of the stream, or their summary (see `predictions_of_bins`).
    lam : float, optional
        1 is plain PPI ([1]), 0 the labelled mean alone. By default tuned to the least variance ([2], eq. 7):
        cov(y, f) / ((1 + n / N) var(f)), clipped to [0, 1].
    bounds : (float, float), optional
        The limits are clipped to these, as (0, 1) for a share; by default they are left as the normal interval has them.

    Returns
    -------
    Estimate
        n is the number of labels. Undefined below two labels, or without predictions. Where labels and predictions leave no
        variance at all (no label is positive, say, so that lam is 0) the interval is Wilson's of labels that are 0/1, else
        undefined.

    Notes
    -----
    SE^2 = var(y - lam f) / n + lam^2 var(f) / N with variances divided by n and N. The formula of lam leaves open whose
    variance var(f) is: here, as in ppi-python, that of labelled and unlabelled predictions together, divided by n + N - 1,
    while the covariance is divided by n. The two agree to rounding. O(n) given the summary.
    """
    y, f = finite_vector(labels, "labels"), finite_vector(labelled_predictions, "labelled_predictions")
    if y.shape != f.shape:
        raise ValueError(f"{y.size} labels but {f.size} predictions of them")
    rest = unlabelled if isinstance(unlabelled, Predictions) else predictions_of(unlabelled)
    if rest.n < 0 or rest.variance < 0 or not (math.isfinite(rest.mean) and math.isfinite(rest.variance)):
        raise InputError(f"unlabelled predictions: {rest} is not a summary of numbers")
    if lam is not None and not math.isfinite(lam):
        raise ConfigError(f"lam {lam!r} is not a number")
    name = "PPI++" if lam is None else f"PPI, lam {lam:g}"
    if y.size < 2 or rest.n == 0:
        reason = "no unlabelled predictions" if rest.n == 0 else f"{y.size} labelled items, 2 are needed"
        return undefined(reason, n=y.size, method=f"{name}, normal {percent(confidence)}", unit=unit)
    weight = _tuned(y, f, rest) if lam is None else lam
    method = f"{name} (lam {weight:.3f})" if lam is None else name
    point = weight * rest.mean + float(np.mean(y - weight * f))
    variance = float(np.var(y - weight * f)) / y.size + weight**2 * rest.variance / rest.n
    if variance == 0.0:
        return _without_variance(point, y, method, confidence, unit)
    half = normal_quantile(confidence) * math.sqrt(variance)
    return _bounded(
        Estimate(point, point - half, point + half, y.size, f"{method}, normal {percent(confidence)}", unit), bounds
    )


def _tuned(y: FloatArray, f: FloatArray, rest: Predictions) -> float:
    together = rest.merged(predictions_of(f))
    spread = together.variance * together.n / (together.n - 1)
    if spread == 0.0:
        return 0.0
    covariance = float(np.mean((y - y.mean()) * (f - f.mean())))
    return float(min(max(covariance / ((1.0 + y.size / rest.n) * spread), 0.0), 1.0))


def _without_variance(point: float, y: FloatArray, method: str, confidence: float, unit: Unit) -> Estimate:
    if y[0] in (0.0, 1.0) and point == y[0]:
        limits = wilson(float(y.sum()), y.size, confidence=confidence)
        return Estimate(point, limits.low, limits.high, y.size, f"{method}, all labels equal: {limits.method} of labels", unit)
    return undefined("labels and predictions do not vary", n=y.size, method=method, unit=unit)


def _bounded(found: Estimate, bounds: tuple[float, float] | None) -> Estimate:
    if bounds is None or found.value is None or found.low is None or found.high is None:
        return found
    value, low, high = (min(max(x, bounds[0]), bounds[1]) for x in (found.value, found.low, found.high))
    return Estimate(value, low, high, found.n, found.method, found.unit)
