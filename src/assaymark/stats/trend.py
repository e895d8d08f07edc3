"""Does a measured series rise? The rank test of a trend, and its slope as the median of the slopes of all pairs.

Both suppose that the periods are independent given the trend. Where neighbouring periods resemble one another beyond it
(positive autocorrelation) the test rejects too often and the interval is too short: take longer periods, or the binomial trend
with its dispersion (`binomial_trend`) beside it.

References
----------
.. [1] Mann, H. B. (1945). Nonparametric tests against trend. Econometrica 13, 245-259.
.. [2] Kendall, M. G. (1975). Rank Correlation Methods, 4th ed. Griffin (exact law, ties).
.. [3] Theil, H. (1950). A rank-invariant method of linear and polynomial regression analysis. Proc. KNAW 53, 386-392.
.. [4] Sen, P. K. (1968). Estimates of the regression coefficient based on Kendall's tau. JASA 63, 1379-1389.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.bootstrap_weights import BLOCK_ITEMS
from assaymark.stats.checks import FloatArray, finite_vector, percent
from assaymark.stats.fisher import Alternative
from assaymark.stats.significance import TestOutcome

__all__ = ["mann_kendall", "theil_sen"]

_LEAST_PERIODS = 4


def _series(values: Any, times: Any) -> tuple[FloatArray, FloatArray]:
    y = finite_vector(values)
    t = np.arange(y.size, dtype=np.float64) if times is None else finite_vector(times, "times")
    if t.shape != y.shape:
        raise ValueError(f"{y.size} values but {t.size} times")
    return y, t


def _lack(y: FloatArray, t: FloatArray) -> str:
    if y.size < _LEAST_PERIODS:
        return f"a trend needs at least {_LEAST_PERIODS} periods, there are {y.size}"
    return "all periods are of one time" if np.ptp(t) == 0 else ""


def mann_kendall(values: Any, times: Any = None, *, alternative: Alternative = "two-sided") -> TestOutcome:
    """Mann-Kendall test that a series has no monotone trend ([1]): Kendall's tau of the values with time.

    Parameters
    ----------
    values : array_like, shape (periods,), finite
        Leave periods that were not measured out, and name the times of the others.
    times : array_like, shape (periods,), optional
        By default 0, 1, 2, ...
    alternative : "two-sided", "greater" (a rise) or "less"

    Returns
    -------
    TestOutcome
        Statistic: S, pairs that rise minus pairs that fall. Effect: Kendall's tau-b. p is exact for up to 33 periods without
        ties, else normal with the variance for ties ([2]). Not made below 4 periods, or when the values do not vary.

    Notes
    -----
    O(n log n) for tau, O(n^2) time for S.
    """
    from scipy.stats import kendalltau

    y, t = _series(values, times)
    name, n = "Kendall's tau", y.size
    lack = _lack(y, t) or ("the values do not vary" if np.ptp(y) == 0 else "")
    if lack:
        return TestOutcome(math.nan, math.nan, math.nan, math.nan, name, n, alternative, lack)
    found = kendalltau(t, y, alternative=alternative)
    score = sum(float(np.sum(np.sign(y[i + 1 :] - y[i]) * np.sign(t[i + 1 :] - t[i]))) for i in range(n - 1))
    return TestOutcome(score, math.nan, float(found.pvalue), float(found.statistic), name, n, alternative)


def theil_sen(
    values: Any, times: Any = None, *, draws: Any = None, confidence: float = 0.95, unit: Unit = "number"
) -> Estimate:
    """Median of the slopes of all pairs of periods ([3]), change per unit of time.

    Parameters
    ----------
    values : array_like, shape (periods,), finite
    times : array_like, shape (periods,), optional
        By default 0, 1, 2, ...
    draws : array_like, shape (resamples, periods), optional
        The series measured again on resamples, such as corrected prevalences under a bootstrap of target and calibration items.
        Resamples with a value that is not finite are left out.
    unit : Unit
        Of the values ("percentage points" for shares).

    Returns
    -------
    Estimate
        Undefined below 4 periods, or where more than half of the draws cannot be used.

    Notes
    -----
    Limits by inverting the normal law of Kendall's S with ties ([4]): they know the scatter of the periods around the trend,
    but not an error that all periods share, such as that of a detector's rates, which tilts the whole series. With `draws` the
    distances to the percentile limits of the redrawn slopes are added to them in quadrature, limit by limit. What each period
    errs by itself is then counted twice, so the interval is on the long side: it covers more than it says, by up to a width
    1.4 times what was needed. O(n^2) pairs, O(resamples n^2) with draws, in blocks of bounded memory.
    """
    from scipy.stats import theilslopes

    y, t = _series(values, times)
    method, n = f"Theil-Sen, Kendall limits {percent(confidence)}", y.size
    lack = _lack(y, t)
    if lack:
        return undefined(lack, n=n, method=method, unit=unit)
    found = theilslopes(y, t, alpha=confidence)
    point = float(found.slope)
    low, high = min(float(found.low_slope), point), max(float(found.high_slope), point)
    if draws is None:
        return Estimate(point, low, high, n, method, unit)
    slopes = _slopes(np.asarray(draws, dtype=np.float64), t)
    method += f" with {slopes.size} redrawn series in quadrature"
    usable = slopes[np.isfinite(slopes)]
    if usable.size < 2 or usable.size < slopes.size / 2:
        reason = f"{slopes.size - usable.size} of {slopes.size} redrawn series hold a value that is not finite"
        return undefined(reason, n=n, method=method, unit=unit)
    tail = (1.0 - confidence) / 2.0
    redrawn_low, redrawn_high = np.quantile(usable, (tail, 1.0 - tail))
    below = math.hypot(point - low, max(point - float(redrawn_low), 0.0))
    above = math.hypot(high - point, max(float(redrawn_high) - point, 0.0))
    return Estimate(point, point - below, point + above, n, method, unit)


def _slopes(draws: FloatArray, t: FloatArray) -> FloatArray:
    """Theil-Sen slope of each row; NaN where a row holds a value that is not finite."""
    if draws.ndim != 2 or draws.shape[1] != t.size:
        raise ValueError(f"draws of shape {draws.shape}, expected (resamples, {t.size})")
    first, second = np.triu_indices(t.size, 1)
    apart = t[second] != t[first]
    first, second = first[apart], second[apart]
    step = max(1, BLOCK_ITEMS // first.size)
    blocks = [draws[at : at + step] for at in range(0, len(draws), step)]
    with np.errstate(invalid="ignore"):
        slopes = [np.median((rows[:, second] - rows[:, first]) / (t[second] - t[first]), axis=1) for rows in blocks]
    return np.concatenate(slopes) if slopes else np.empty(0)
