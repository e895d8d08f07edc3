"""Two groups of heavily skewed values: how often one beats the other, and medians, without a law of the values.

References
----------
.. [1] Cliff, N. (1993). Dominance statistics: ordinal analyses to answer ordinal questions. Psychological Bulletin 114,
   494-509.
.. [2] DeLong, E. R., DeLong, D. M. and Clarke-Pearson, D. L. (1988). Comparing the areas under two or more correlated ROC
   curves. Biometrics 44, 837-845.
.. [3] David, H. A. and Nagaraja, H. N. (2003). Order Statistics, 3rd ed. Wiley, section 7.1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from assaymark.errors import InputError
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.checks import FloatArray, finite_vector, percent
from assaymark.stats.ranking import area_limits, roc_auc

__all__ = ["cliff_delta", "median_estimate", "weighted_cliff_delta"]

_INTERVAL = "Wilson {} on effective items (DeLong variance)"


def cliff_delta(a: Any, b: Any, *, confidence: float = 0.95) -> Estimate:
    """Cliff's delta ([1]), P(a > b) - P(a < b), with the interval of `roc_auc` ([2]); the test beside it is `mann_whitney`.

    Parameters
    ----------
    a, b : array_like, shapes (n,) and (m,), finite

    Returns
    -------
    Estimate
        In [-1, 1]; 0 where neither tends to be larger; n is the number of values in both. Undefined below two values in a
        group. Without overlap the inner limit is Wilson's, as in `roc_auc`: delta = 2 AUC - 1.

    Notes
    -----
    O((n + m) log(n + m)).
    """
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    n, method = first.size + second.size, f"Cliff's delta, {_INTERVAL.format(percent(confidence))}"
    if min(first.size, second.size) < 2:
        return undefined(f"groups of {first.size} and {second.size} values, 2 of each are needed", n=n, method=method)
    in_first = np.arange(n) < first.size
    area = roc_auc(np.concatenate([first, second]), in_first, confidence=confidence)
    assert area.value is not None and area.low is not None and area.high is not None
    return Estimate(2 * area.value - 1, 2 * area.low - 1, 2 * area.high - 1, n, method)


def weighted_cliff_delta(values: Any, shares: Any, *, confidence: float = 0.95) -> Estimate:
    """Cliff's delta where each item belongs to the first group with a probability and to the second with the rest.

    Parameters
    ----------
    values : array_like, shape (n,), finite
    shares : array_like, shape (n,), in [0, 1]
        Posterior of the first group; 0 and 1 give `cliff_delta`.

    Returns
    -------
    Estimate
        In [-1, 1]. Undefined where a group has less than the weight of two items, or all items stand alike to the other group
        (everything tied, or no overlap at all): no width is not certainty.

    Notes
    -----
    delta = sum_ij s_i (1 - s_j) sign(x_i - x_j) / sum_ij s_i (1 - s_j) over i != j. The interval is that of `roc_auc`, with
    DeLong's variance ([2]) from the influence of each item, which is in both groups. Unsure posteriors pull delta to 0:
    it compares the weights' groups, not the true ones. O(n log n).
    """
    x, s = finite_vector(values), finite_vector(shares, "shares")
    if x.shape != s.shape:
        raise ValueError(f"{x.size} values but {s.size} shares")
    if np.any((s < 0) | (s > 1)):
        raise InputError("shares: expected probabilities between 0 and 1")
    n, method, rest = x.size, f"Cliff's delta, weighted, {_INTERVAL.format(percent(confidence))}", 1.0 - s
    first, second = float(s.sum()), float(rest.sum())
    if min(first, second) < 2:
        return undefined(f"groups of weight {first:.3g} and {second:.3g}, 2 each are needed", n=n, method=method)
    _, group = np.unique(x, return_inverse=True)
    over_second, over_first = _sign_sums(group, rest), _sign_sums(group, s)
    pairs = first * second - float(s @ rest)
    delta = min(max(float(s @ over_second) / pairs, -1.0), 1.0)
    influence = s * (over_second - delta * (second - rest)) - rest * (over_first + delta * (first - s))
    error = math.sqrt(float(influence @ influence)) / pairs
    if error <= 1e-12:
        return undefined("every item stands alike to the other group, which leaves no variance", n=n, method=method)
    tied = float(np.bincount(group, weights=s) @ np.bincount(group, weights=rest)) - float(s @ rest)
    low, high = area_limits(
        (delta + 1) / 2, (error / 2) ** 2, smaller=min(first, second), untied=1.0 - tied / pairs, confidence=confidence
    )
    return Estimate(delta, 2 * low - 1, 2 * high - 1, n, method)


def _sign_sums(group: Any, weight: FloatArray) -> FloatArray:
    """sum_j w_j sign(x_i - x_j) for each i, from the position of its value among the different ones."""
    sums = np.bincount(group, weights=weight)
    upto = np.cumsum(sums)
    return np.asarray((2.0 * upto - sums - upto[-1])[group])


def median_estimate(values: Any, *, confidence: float = 0.95, unit: Unit = "number") -> Estimate:
    """Median with limits at two of the values ([3]), which hold for any law of the values.

    Parameters
    ----------
    values : array_like, shape (n,), finite

    Returns
    -------
    Estimate
        The limits are the largest k-th smallest and k-th largest value with P(Binomial(n, 1/2) < k) <= (1 - confidence) / 2.
        Undefined where even the smallest and largest value cover less than the confidence (below 6 values at 95 %).

    Notes
    -----
    Covers at least the confidence; more where values are tied. O(n).
    """
    from scipy.special import bdtr
    from scipy.stats import binom

    x = finite_vector(values)
    n, method, tail = x.size, f"median, order statistics {percent(confidence)}", (1.0 - confidence) / 2.0
    if n == 0 or 0.5**n > tail:
        least = math.ceil(-math.log2(tail))
        return undefined(f"a {percent(confidence)} interval of a median needs {least} values, there are {n}",
                         n=n, method=method, unit=unit)  # fmt: skip
    k = int(binom.ppf(tail, n, 0.5))  # smallest count with P(B <= k) >= tail, so P(B < k) < tail
    if bdtr(k, n, 0.5) <= tail:
        k += 1
    ordered = np.partition(x, [k - 1, n - k, (n - 1) // 2, n // 2])
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2.0
    return Estimate(middle, ordered[k - 1], ordered[n - k], n, method, unit)
