"""Agreement of two raters beyond chance.

References
----------
.. [1] Cohen, J. (1960). A coefficient of agreement for nominal scales. Educ. Psychol. Measurement 20, 37-46.
.. [2] Fleiss, J. L., Cohen, J. and Everitt, B. S. (1969). Large sample standard errors of kappa and weighted kappa.
   Psychological Bulletin 72, 323-327.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, normal_quantile, percent

__all__ = ["cohen_kappa", "cohen_kappa_from_table"]

KappaWeights = Literal["linear", "quadratic"]


def cohen_kappa(a: Any, b: Any, *, weights: KappaWeights | None = None, confidence: float = 0.95) -> Estimate:
    """Cohen's kappa ([1]) with the large-sample interval of [2].

    Parameters
    ----------
    a, b : array_like, shape (n,)
        Labels of the same items by two raters: any values that sort.
    weights : None, "linear" or "quadratic"
        Credit for near misses on an ordered scale; the distinct labels, sorted, are taken as equally spaced.

    Returns
    -------
    Estimate
        In [-1, 1]. Undefined below two items, or when both raters gave one and the same label throughout.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"ratings of shapes {first.shape} and {second.shape}: expected one length")
    labels, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    size, n = labels.size, first.size
    table = np.bincount(codes[:n] * size + codes[n:], minlength=size * size).reshape(size, size)
    return cohen_kappa_from_table(table, weights=weights, confidence=confidence)


def _agreement_weights(size: int, weights: KappaWeights | None) -> FloatArray:
    if weights is None:
        return np.eye(size)
    if weights not in ("linear", "quadratic"):
        raise ValueError(f"weights {weights!r} are neither None, 'linear' nor 'quadratic'")
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) / max(size - 1, 1)
    return np.asarray(1.0 - distance ** (1 if weights == "linear" else 2))


def cohen_kappa_from_table(table: Any, *, weights: KappaWeights | None = None, confidence: float = 0.95) -> Estimate:
    """`cohen_kappa` from the square table of counts, rater a in rows and rater b in columns (mergeable by adding)."""
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"expected a square table, got shape {counts.shape}")
    name = "Cohen's kappa" if weights is None else f"Cohen's kappa, {weights} weights"
    method = f"{name}, asymptotic {percent(confidence)}"
    n = int(counts.sum())
    if n < 2:
        return undefined("kappa needs at least 2 items", n=n, method=method)
    credit = _agreement_weights(len(counts), weights)
    share = counts / n
    row, column = share.sum(axis=1), share.sum(axis=0)
    observed = float((share * credit).sum())
    chance = float(row @ credit @ column)
    if np.count_nonzero(row) == 1 and np.array_equal(row, column):
        return undefined("both raters gave one and the same label throughout", n=n, method=method)
    kappa = (observed - chance) / (1.0 - chance)
    # eq. 9 of [2]; without weights it is their eq. 13
    mean_credit = np.add.outer(credit @ column, row @ credit)
    spread = float((share * (credit * (1 - chance) - mean_credit * (1 - observed)) ** 2).sum())
    variance = (spread - (observed * chance - 2 * chance + observed) ** 2) / (n * (1 - chance) ** 4)
    half = normal_quantile(confidence) * float(np.sqrt(max(variance, 0.0)))
    return Estimate(kappa, max(kappa - half, min(-1.0, kappa)), min(kappa + half, max(1.0, kappa)), n, method)
