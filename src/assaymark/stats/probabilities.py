"""How good probabilities are: squared and logarithmic error, and whether they keep what they promise (calibration).

References
----------
.. [1] Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. Monthly Weather Review 78, 1-3.
.. [2] Naeini, M. P., Cooper, G. and Hauskrecht, M. (2015). Obtaining well calibrated probabilities using Bayesian binning.
   AAAI 29, 2901-2907.
.. [3] Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge, section 5.2 (basic
   interval).
.. [4] Broecker, J. and Smith, L. A. (2007). Increasing the reliability of reliability diagrams. Weather and Forecasting 22,
   651-661 (consistency resampling).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.bootstrap_weights import BLOCK_ITEMS, resampled_sums
from assaymark.stats.checks import FloatArray, percent, two_classes
from assaymark.stats.intervals import mean, wilson_limits

__all__ = [
    "ReliabilityCurve",
    "brier_score",
    "calibration_error",
    "expected_calibration_error",
    "log_loss",
    "reliability_curve",
]


class ReliabilityCurve(NamedTuple):
    """Mean probability and share of positives of each bin that holds items, with Wilson limits; arrays of one length."""

    probability: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    items: npt.NDArray[np.int64]


def _probabilities(probabilities: Any, labels: Any) -> tuple[FloatArray, FloatArray]:
    """Probabilities in [0, 1] and 0/1 labels, both float64."""
    values, label = two_classes(probabilities, labels)
    outside = np.flatnonzero((values < 0) | (values > 1))
    if outside.size:
        raise InputError(
            f"probabilities: {outside.size} lie outside [0, 1], the first, {values[outside[0]]:g}, at position {outside[0]}; "
            "calibrate or clip the scores first"
        )
    return values, label.astype(np.float64)


def brier_score(probabilities: Any, labels: Any, *, confidence: float = 0.95) -> Estimate:
    """Mean squared difference of probability and outcome ([1], in the form for two classes), with Student's t interval.

    Parameters
    ----------
    probabilities : array_like, shape (n,), in [0, 1]
    labels : array_like, shape (n,), 0/1 or bool

    Returns
    -------
    Estimate
        In [0, 1], lower is better; always saying 1/2 gives 0.25. Undefined below two items.
    """
    values, label = _probabilities(probabilities, labels)
    return _mean_error((values - label) ** 2, f"Brier score, Student t {percent(confidence)}", confidence, most=1.0)


def log_loss(probabilities: Any, labels: Any, *, clip: float = 1e-7, confidence: float = 0.95) -> Estimate:
    """Mean of -log of the probability that the outcome was given, in nats, with Student's t interval.

    Parameters
    ----------
    clip : float in (0, 0.5)
        Probabilities are moved into [clip, 1 - clip]: one certain and wrong answer would make the mean infinite. The method
        names the value, because the result depends on it as soon as there is such an answer.
    """
    if not 0.0 < clip < 0.5:
        raise ConfigError(f"clip {clip!r} is not between 0 and 0.5")
    values, label = _probabilities(probabilities, labels)
    given = np.clip(np.where(label > 0, values, 1.0 - values), clip, 1.0 - clip)
    method = f"log-loss, probabilities within {clip:g} of 0 and 1 moved there, Student t {percent(confidence)}"
    return _mean_error(-np.log(given), method, confidence, most=float("inf"))


def _mean_error(errors: FloatArray, method: str, confidence: float, *, most: float) -> Estimate:
    found = mean(errors, confidence=confidence)
    if found.value is None or found.low is None or found.high is None:
        return undefined(found.reason, n=found.n, method=method)
    low, high = max(found.low, min(0.0, found.value)), min(found.high, max(most, found.value))
    return Estimate(found.value, low, high, found.n, method)


def _equal_mass_bins(values: FloatArray, bins: int) -> npt.NDArray[np.int64]:
    """Bin of each item: quantiles of the values as edges, equal values always in one bin, so that order cannot matter."""
    if bins < 1:
        raise ConfigError(f"bins = {bins}: at least 1 is needed")
    edges = np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.searchsorted(np.unique(edges), values, side="left")


def reliability_curve(probabilities: Any, labels: Any, *, bins: int = 15, confidence: float = 0.95) -> ReliabilityCurve:
    """Observed share of positives against mean probability in bins of equal mass.

    Returns
    -------
    ReliabilityCurve
        By rising probability. Fewer than `bins` points where many probabilities are equal; none without items.

    Notes
    -----
    O(n log n).
    """
    values, label = _probabilities(probabilities, labels)
    if not values.size:
        none = np.empty(0)
        return ReliabilityCurve(none, none, none, none, np.empty(0, np.int64))
    which = _equal_mass_bins(values, bins)
    items = np.bincount(which)
    held = items > 0
    total, hits = np.bincount(which, values)[held], np.bincount(which, label)[held]
    low, high = wilson_limits(hits, items[held], confidence=confidence)
    return ReliabilityCurve(total / items[held], hits / items[held], low, high, items[held])


def calibration_error(probabilities: Any, labels: Any, *, bins: int = 15) -> float:
    """The point of `expected_calibration_error` alone, for figures whose spread is over splits; NaN without items."""
    values, label = _probabilities(probabilities, labels)
    if not values.size:
        return float("nan")
    which = _equal_mass_bins(values, bins)
    return float(np.abs(np.bincount(which, values) - np.bincount(which, label)).sum()) / values.size


def expected_calibration_error(
    probabilities: Any,
    labels: Any,
    *,
    bins: int = 15,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Estimate:
    """Mean over items of |mean probability - share of positives| of their bin, bins of equal mass ([2]).

    Parameters
    ----------
    probabilities : array_like, shape (n,), in [0, 1]
        Of the positive class (not of the predicted one, so that errors of the two classes cannot cancel).
    labels : array_like, shape (n,), 0/1 or bool
    bins : int
        Taken from the data once; resamples keep them.

    Returns
    -------
    Estimate
        The point is the published measure, which chance makes larger than 0 even for perfect probabilities (by up to
        0.4 sqrt(bins / n)). The interval is the basic bootstrap interval ([3]), which takes off a part of that excess, cut
        at 0 and widened to contain the point; its lower limit is 0 unless the point is larger than perfect probabilities
        would make it by chance (outcomes drawn from the probabilities, [4]). Undefined below two items.

    Notes
    -----
    O(n log n + resamples * n * bins) time, O(n bins) memory. The 95 % interval covers the error without bins with probability
    0.97 to 0.98 when it is 0, and 0.88 to 0.93 when logits are stretched by 1.3 or 2 (300 to 5,000 items, 150 repetitions).
    """
    values, label = _probabilities(probabilities, labels)
    n, method = values.size, f"ECE, {bins} equal-mass bins, basic bootstrap {percent(confidence)}, {resamples} resamples"
    if n < 2:
        return undefined(f"a bootstrap needs at least 2 values, there {'is 1' if n else 'are none'}", n=n, method=method)
    which = _equal_mass_bins(values, bins)
    gaps = np.zeros((n, int(which.max()) + 1))
    gaps[np.arange(n), which] = values - label
    point = float(np.abs(gaps.sum(axis=0)).sum()) / n
    draws = np.abs(resampled_sums(gaps, rng=rng, resamples=resamples)).sum(axis=1) / n
    tail = (1.0 - confidence) / 2.0
    below, above = (float(q) for q in np.quantile(draws, (tail, 1.0 - tail)))
    by_chance = float(np.quantile(_errors_by_chance(values, which, rng, resamples), 1.0 - tail))
    low = 0.0 if point <= by_chance else max(0.0, 2 * point - above)
    return Estimate(point, min(low, point), max(2 * point - below, point), n, method)


def _errors_by_chance(values: FloatArray, which: npt.NDArray[np.int64], rng: np.random.Generator, resamples: int) -> FloatArray:
    """Calibration errors of outcomes that do follow the probabilities."""
    order = np.argsort(which, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.diff(which[order], prepend=-1))
    rows = max(1, BLOCK_ITEMS // values.size)
    blocks = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    drawn = (ordered - (rng.random((count, values.size)) < ordered) for count in blocks)
    return np.concatenate([np.abs(np.add.reduceat(gaps, first, axis=1)).sum(axis=1) for gaps in drawn]) / values.size
