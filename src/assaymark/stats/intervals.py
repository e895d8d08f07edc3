"""Intervals in closed form: shares, differences of shares, means. The ratios of shares come from `ratios`.

Rates in audits of large data sets are often 1e-3 and below, where the Wald interval is wrong (it reaches below zero, and has
no width at zero hits); shares therefore use Wilson's score interval and differences Newcombe's hybrid of two of them.

References
----------
.. [1] Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. JASA 22, 209-212.
.. [2] Newcombe, R. G. (1998). Interval estimation for the difference between independent proportions: comparison of
   eleven methods. Statistics in Medicine 17, 873-890 (method 10).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.checks import Limits, counts_within, finite_vector, normal_quantile, percent
from assaymark.stats.ratios import odds_ratio, ratio_limits, ratio_points, risk_ratio

__all__ = [
    "Limits",
    "mean",
    "mean_from_summary",
    "newcombe",
    "newcombe_limits",
    "odds_ratio",
    "ratio_limits",
    "ratio_points",
    "risk_ratio",
    "wilson",
    "wilson_limits",
]


def wilson_limits(successes: Any, trials: Any, *, confidence: float = 0.95) -> Limits:
    """Wilson score limits of many shares at once ([1]).

    Parameters
    ----------
    successes, trials : array_like, broadcastable
        Counts, 0 <= successes <= trials.

    Returns
    -------
    Limits
        Fractions in [0, 1]; exactly 0 (1) where no (every) trial succeeded; NaN where there is no trial.
    """
    z = normal_quantile(confidence)
    k, n = counts_within(successes, trials)
    some = n > 0
    size = np.where(some, n, 1.0)
    share = k / size
    shrink = 1.0 + z * z / size
    centre = (share + z * z / (2.0 * size)) / shrink
    half = z / shrink * np.sqrt(share * (1.0 - share) / size + z * z / (4.0 * size * size))
    # at the ends the algebra cancels to exactly 0 and 1, floating point does not; elsewhere keep the share inside
    low = np.where(k == 0, 0.0, np.minimum(centre - half, share))
    high = np.where(k == n, 1.0, np.maximum(centre + half, share))
    return Limits(np.where(some, low, np.nan), np.where(some, high, np.nan))


def wilson(successes: float, trials: float, *, confidence: float = 0.95) -> Estimate:
    """A share with its Wilson score interval ([1]).

    Returns
    -------
    Estimate
        Unit "share"; undefined without trials.

    Examples
    --------
    >>> print(wilson(9_533, 3_200_000))
    0.30 % (0.29 % to 0.30 %), n = 3,200,000
    """
    method = f"Wilson {percent(confidence)}"
    limits = wilson_limits(successes, trials, confidence=confidence)
    if trials == 0:
        return undefined("no trials", method=method, unit="share")
    return Estimate(successes / trials, float(limits.low), float(limits.high), int(trials), method, "share")


def newcombe_limits(successes_1: Any, trials_1: Any, successes_2: Any, trials_2: Any, *, confidence: float = 0.95) -> Limits:
    """Limits of p1 - p2 for many pairs of shares at once (method 10 of [2]); NaN where a group has no trial."""
    k1, n1 = counts_within(successes_1, trials_1, name="first group")
    k2, n2 = counts_within(successes_2, trials_2, name="second group")
    with np.errstate(invalid="ignore", divide="ignore"):
        p1, p2 = k1 / n1, k2 / n2
    low1, high1 = wilson_limits(k1, n1, confidence=confidence)
    low2, high2 = wilson_limits(k2, n2, confidence=confidence)
    difference = p1 - p2
    low = difference - np.hypot(p1 - low1, high2 - p2)
    high = difference + np.hypot(high1 - p1, p2 - low2)
    return Limits(np.asarray(low), np.asarray(high))


def newcombe(successes_1: float, trials_1: float, successes_2: float, trials_2: float, *, confidence: float = 0.95) -> Estimate:
    """Difference p1 - p2 of two independent shares with Newcombe's hybrid score interval (method 10 of [2]).

    Returns
    -------
    Estimate
        Unit "percentage points" (a fraction); n is the sum of both groups; undefined when a group has no trial.
    """
    method = f"Newcombe hybrid score {percent(confidence)}"
    low, high = newcombe_limits(successes_1, trials_1, successes_2, trials_2, confidence=confidence)
    n = int(trials_1 + trials_2)
    if trials_1 == 0 or trials_2 == 0:
        empty = "both groups have" if trials_1 == trials_2 else f"the {'first' if trials_1 == 0 else 'second'} group has"
        return undefined(f"{empty} no trials", n=n, method=method, unit="percentage points")
    difference = successes_1 / trials_1 - successes_2 / trials_2
    return Estimate(difference, float(low), float(high), n, method, "percentage points")


def mean(values: Any, *, confidence: float = 0.95, unit: Unit = "number") -> Estimate:
    """Mean of independent values with Student's t interval.

    Parameters
    ----------
    values : array_like, shape (n,), finite

    Returns
    -------
    Estimate
        Undefined below two values. The interval has no width when all values are equal.
    """
    array = finite_vector(values)
    sd = float(array.std(ddof=1)) if array.size > 1 else 0.0
    average = float(array.mean()) if array.size else 0.0
    return mean_from_summary(average, sd, array.size, confidence=confidence, unit=unit)


def mean_from_summary(average: float, sd: float, n: int, *, confidence: float = 0.95, unit: Unit = "number") -> Estimate:
    """Student's t interval of a mean from its mergeable summary: mean, sample standard deviation (n - 1), n."""
    from scipy.special import stdtrit

    method = f"Student t {percent(confidence)}"
    if n < 2:
        return undefined("a t interval needs at least 2 values", n=n, method=method, unit=unit)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2.0)) * sd / float(np.sqrt(n))
    return Estimate(average, average - half, average + half, n, method, unit)
