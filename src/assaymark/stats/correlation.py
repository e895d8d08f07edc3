"""Rank correlation.

References
----------
.. [1] Spearman, C. (1904). The proof and measurement of association between two things. AJP 15, 72-101.
.. [2] Bonett, D. G. and Wright, T. A. (2000). Sample size requirements for estimating Pearson, Kendall and Spearman
   correlations. Psychometrika 65, 23-28.
"""

from __future__ import annotations

import math
from typing import Any

from assaymark.result import Estimate, undefined
from assaymark.stats.checks import finite_vector, normal_quantile, percent
from assaymark.stats.ranking import midranks

__all__ = ["spearman"]


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
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    if first.shape != second.shape:
        raise ValueError(f"pairs of {first.size} and {second.size} values")
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
