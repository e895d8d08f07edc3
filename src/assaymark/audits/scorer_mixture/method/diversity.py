"""Do the networks err together? Pairwise diversity on the table of right and wrong decisions.

References
----------
.. [1] Kuncheva, L. I. and Whitaker, C. J. (2003). Measures of diversity in classifier ensembles and their relationship with the
   ensemble accuracy. Machine Learning 51, 181-207.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import cohen_kappa_from_table, odds_ratio, wilson

__all__ = ["Pair", "error_correlation", "pairwise_diversity"]

Floats = npt.NDArray[np.float64]


class Pair(NamedTuple):
    """Two networks on the same items.

    Attributes
    ----------
    first, second : int
    both_right, only_first, only_second, both_wrong : int
        Items by who decided right.
    disagreement : Estimate
        Share of items on which exactly one is right.
    double_fault : Estimate
        Share on which both are wrong.
    q : Estimate
        Yule's Q = (ad - bc) / (ad + bc) of that table: 0 for independent errors, 1 when they fail together.
    kappa : Estimate
        Agreement in being right beyond chance.
    """

    first: int
    second: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    disagreement: Estimate
    double_fault: Estimate
    q: Estimate
    kappa: Estimate


def error_correlation(F: Any, y: Any) -> Floats:
    """Correlations of the residuals p - y within the classes.

    Parameters
    ----------
    F : array_like, shape (n, k), probabilities; y : array_like, shape (n,), 0/1

    Returns
    -------
    array, shape (k, k); NaN off the diagonal for a network without variance within the classes.

    Notes
    -----
    Residuals are centred in each class first: otherwise timid networks (every p between 0.3 and 0.7) would look as if they
    erred together, because p - y is then mostly -y.
    """
    scores, labels = np.asarray(F, dtype=np.float64), np.asarray(y) > 0.5
    residual = scores.copy()
    for group in (labels, ~labels):
        if group.any():
            residual[group] -= scores[group].mean(axis=0)
    sums = residual.T @ residual
    spread = np.sqrt(np.diag(sums))
    spread = np.where(spread > 1e-12 * np.sqrt(len(scores)), spread, np.nan)
    correlation = np.clip(sums / np.outer(spread, spread), -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)


def pairwise_diversity(F: Any, y: Any, *, threshold: float = 0.5, confidence: float = 0.95) -> tuple[Pair, ...]:
    """All pairs of networks in order (0, 1), (0, 2), ...

    Parameters
    ----------
    F : array_like, shape (n, k); y : array_like, shape (n,), 0/1
    threshold : float or array, shape (k,)

    Notes
    -----
    One product of the (n, k) table of right decisions; O(n k^2).
    """
    scores, labels = np.asarray(F), np.asarray(y) > 0.5
    right = ((scores >= threshold) == labels[:, None]).astype(np.float64)
    n = len(scores)
    together = np.rint(right.T @ right).astype(int)
    alone = np.diag(together)
    pairs = []
    for i, j in zip(*np.triu_indices(scores.shape[1], 1), strict=True):
        a, b, c = int(together[i, j]), int(alone[i] - together[i, j]), int(alone[j] - together[i, j])
        pairs.append(_pair(int(i), int(j), (a, b, c, n - a - b - c), confidence))
    return tuple(pairs)


def _pair(i: int, j: int, cells: tuple[int, int, int, int], confidence: float) -> Pair:
    a, b, c, d = cells
    n = sum(cells)
    disagreement, double_fault = (wilson(count, n, confidence=confidence) for count in (b + c, d))
    kappa = cohen_kappa_from_table([[a, b], [c, d]], confidence=confidence)
    return Pair(i, j, a, b, c, d, disagreement, double_fault, _yule_q(a, b, c, d, confidence), kappa)


def _yule_q(a: int, b: int, c: int, d: int, confidence: float) -> Estimate:
    """Q from the odds ratio, of which it is the increasing function (OR - 1) / (OR + 1): so are its limits."""
    n = a + b + c + d
    if a * d + b * c == 0:
        return undefined("one network is always right or always wrong: Q is 0 / 0", n=n, method="Yule's Q")
    ratio = odds_ratio(a, a + b, c, c + d, confidence=confidence)
    method = f"Yule's Q, from: {ratio.method}"
    if ratio.low is None or ratio.high is None:
        return undefined(ratio.reason, n=n, method=method)
    low, high = (1.0 if np.isinf(x) else (x - 1.0) / (x + 1.0) for x in (ratio.low, ratio.high))
    value = (a * d - b * c) / (a * d + b * c)
    return Estimate(value, min(low, value), max(high, value), n, method)
