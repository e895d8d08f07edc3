"""Correlations with closed-form intervals.

References
----------
.. [1] Fisher, R. A. (1921). On the probable error of a coefficient of correlation. Metron 1, 3-32.
.. [2] Bonett, D. G. and Wright, T. A. (2000). Sample size requirements for estimating Pearson, Kendall and Spearman
   correlations. Psychometrika 65, 23-28.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import rankdata

from assaymark.result import Estimate, undefined
from assaymark.stats import wilson

__all__ = ["pearson", "spearman"]


def _quantile(confidence: float) -> float:
    from statistics import NormalDist

    wilson(0, 1, confidence=confidence)  # says what is wrong with a confidence of 95
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def _correlation(x: Any, y: Any, confidence: float, *, ranks: bool) -> Estimate:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"correlation of shapes {a.shape} and {b.shape}: expected pairs")
    both = np.isfinite(a) & np.isfinite(b)
    a, b, n = a[both], b[both], int(both.sum())
    name = "Spearman, Bonett-Wright" if ranks else "Pearson, Fisher z"
    method = f"{name} {100 * confidence:g} %"
    if n < 4:
        return undefined("a correlation needs at least 4 pairs", n=n, method=method)
    if ranks:
        a, b = rankdata(a), rankdata(b)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    if size == 0.0:
        return undefined("one of the two does not vary", n=n, method=method)
    r = min(max(float(a @ b) / size, -1.0), 1.0)
    if abs(r) > 1.0 - 1e-12:
        return Estimate(r, r, r, n, method)
    half = _quantile(confidence) * math.sqrt((1.0 + r * r / 2.0 if ranks else 1.0) / (n - 3))
    z = math.atanh(r)
    return Estimate(r, math.tanh(z - half), math.tanh(z + half), n, method)


def spearman(x: Any, y: Any, *, confidence: float = 0.95) -> Estimate:
    """Rank correlation of pairs, ties sharing their mean rank, with the interval of [2].

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Pairs with a value that is not finite are left out; n counts the others.

    Returns
    -------
    Estimate
        Undefined below four pairs, or where one of the two does not vary.
    """
    return _correlation(x, y, confidence, ranks=True)


def pearson(x: Any, y: Any, *, confidence: float = 0.95) -> Estimate:
    """Linear correlation of pairs with Fisher's interval ([1]); as `spearman` otherwise."""
    return _correlation(x, y, confidence, ranks=False)
