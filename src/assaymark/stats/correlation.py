"""Correlation of pairs, of their values and of their ranks.

References
----------
.. [1] Spearman, C. (1904). The proof and measurement of association between two things. AJP 15, 72-101.
.. [2] Bonett, D. G. and Wright, T. A. (2000). Sample size requirements for estimating Pearson, Kendall and Spearman
   correlations. Psychometrika 65, 23-28.
.. [3] Fisher, R. A. (1921). On the probable error of a coefficient of correlation. Metron 1, 3-32.
"""

from __future__ import annotations

import math
from typing import Any

from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, finite_vector, normal_quantile, percent
from assaymark.stats.ranking import midranks

__all__ = ["pearson", "spearman"]


def _pairs(a: Any, b: Any) -> tuple[FloatArray, FloatArray]:
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    if first.shape != second.shape:
        raise ValueError(f"pairs of {first.size} and {second.size} values")
    return first, second


def pearson(a: Any, b: Any, *, confidence: float = 0.95) -> Estimate:
    """Linear correlation with Fisher's interval ([3]), which supposes that the pairs are roughly normal.

    Parameters
    ----------
    a, b : array_like, shape (n,), finite

    Returns
    -------
    Estimate
        In [-1, 1]. Undefined below 4 pairs, or when one of the two does not vary. All pairs on one line, to rounding, leave
        no width.

    Notes
    -----
    Limits tanh(artanh r -+ q / sqrt(n - 3)). O(n).
    """
    first, second = _pairs(a, b)
    n, method = first.size, f"Pearson, Fisher z, {percent(confidence)}"
    if n < 4:
        return undefined(f"a correlation needs at least 4 pairs, there are {n}", n=n, method=method)
    centred = [values - values.mean() for values in (first, second)]
    squares = [float(part @ part) for part in centred]
    rounding = [1e-30 * float(values @ values) for values in (first, second)]  # what equal numbers differ from their mean by
    still = [name for name, square, least in zip("ab", squares, rounding, strict=True) if square <= least]
    if still:
        return undefined(f"{still[0]} does not vary" if len(still) == 1 else "neither a nor b varies", n=n, method=method)
    r = min(max(float(centred[0] @ centred[1]) / (math.sqrt(squares[0]) * math.sqrt(squares[1])), -1.0), 1.0)
    if abs(r) > 1.0 - 1e-12:
        return Estimate(r, r, r, n, method)
    half, z = normal_quantile(confidence) / math.sqrt(n - 3), math.atanh(r)
    return Estimate(r, math.tanh(z - half), math.tanh(z + half), n, method)


def spearman(a: Any, b: Any, *, confidence: float = 0.95) -> Estimate:
    """Spearman's rank correlation ([1]; ties share their average rank) with the interval of [2].

    Parameters
    ----------
    a, b : array_like, shape (n,), finite

    Returns
    -------
    Estimate
        In [-1, 1]. Undefined below 4 pairs, or when one of the two does not vary. For a perfect order, where Fisher's z is
        infinite, the inner limit is that of the next order below it (two neighbours exchanged).

    Notes
    -----
    Limits tanh(z -+ q sqrt((1 + r^2 / 2) / (n - 3))) with z = artanh r. O(n log n).
    """
    first, second = _pairs(a, b)
    n, method = first.size, f"Spearman, Fisher z with Bonett-Wright error, {percent(confidence)}"
    if n < 4:
        return undefined(f"a rank correlation needs at least 4 pairs, there are {n}", n=n, method=method)
    ranks = [midranks(values) - (n + 1) / 2.0 for values in (first, second)]
    squares = [float(rank @ rank) for rank in ranks]
    if not all(squares):
        which = " and ".join(name for name, square in zip("ab", squares, strict=True) if not square)
        return undefined(f"{which} does not vary", n=n, method=method)
    r = min(max(float(ranks[0] @ ranks[1]) / math.sqrt(squares[0] * squares[1]), -1.0), 1.0)
    nearly = 1.0 - 12.0 / (n * (n * n - 1.0))
    inner = min(max(r, -nearly), nearly)
    half = normal_quantile(confidence) * math.sqrt((1.0 + inner * inner / 2.0) / (n - 3))
    low, high = math.tanh(math.atanh(inner) - half), math.tanh(math.atanh(inner) + half)
    return Estimate(r, -1.0 if r <= -nearly else min(low, r), 1.0 if r >= nearly else max(high, r), n, method)
