"""Has a scorer changed since its weights were fitted? Histograms of its scores, then and now.

References
----------
.. [1] Yurdakul, B. and Naranjo, J. (2020). Statistical properties of the population stability index. J. Risk Model Validation
   14(4): under no change PSI is about (1 / n + 1 / m) times a chi-squared variable with bins - 1 degrees of freedom.
.. [2] Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge, section 5.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, kolmogorov

from assaymark.result import Estimate, undefined

__all__ = ["Drift", "psi", "score_drift", "score_histogram"]

Floats = npt.NDArray[np.float64]


class Drift(NamedTuple):
    """Change of the scores of one network.

    Attributes
    ----------
    psi, ks : Estimate
        Population stability index, and the largest distance of the cumulated shares at bin edges; basic bootstrap intervals.
    psi_by_chance : float
        Mean of the index if nothing changed, (bins - 1)(1 / n + 1 / m): it is never 0 in samples.
    psi_p, ks_p : float
        p-values against no change: chi-squared for PSI; Kolmogorov's limit for KS, conservative on histograms.
    """

    psi: Estimate
    ks: Estimate
    psi_by_chance: float
    psi_p: float
    ks_p: float


def score_histogram(scores: Any, *, bins: int = 20) -> npt.NDArray[np.int64]:
    """Counts of scores in equal bins of [0, 1]; NaN is left out, values outside fall into the end bins. Parts add up."""
    values = np.asarray(scores, dtype=np.float64)
    values = values[~np.isnan(values)]
    index = np.clip(np.floor(values * bins), 0, bins - 1).astype(np.int64)
    return np.bincount(index, minlength=bins)


def psi(before: Any, after: Any) -> Floats:
    """Population stability index, sum of (q - p) ln(q / p) over bins; half a count is added to every bin.

    Parameters
    ----------
    before, after : array_like, shape (..., bins), counts

    Returns
    -------
    array, shape (...)
    """
    p, q = (np.asarray(counts, dtype=np.float64) + 0.5 for counts in (before, after))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def _ks(before: Any, after: Any) -> Floats:
    p, q = (np.asarray(counts, dtype=np.float64) for counts in (before, after))
    cumulated = (np.cumsum(x, axis=-1) / x.sum(axis=-1, keepdims=True) for x in (p, q))
    first, second = cumulated
    return np.asarray(np.abs(first - second).max(axis=-1))


def _basic(point: float, draws: Floats, *, n: int, confidence: float) -> Estimate:
    """Reflected percentiles, cut at 0 and stretched to hold the point."""
    tail = (1.0 - confidence) / 2.0
    low, high = (2.0 * point - float(np.quantile(draws, level)) for level in (1.0 - tail, tail))
    method = f"basic bootstrap {100 * confidence:g} %, {len(draws)} resamples"
    return Estimate(point, min(max(low, 0.0), point), max(high, point), n, method)


def score_drift(before: Any, after: Any, *, rng: np.random.Generator, resamples: int = 1000, confidence: float = 0.95) -> Drift:
    """Drift between two histograms of the same bins.

    Parameters
    ----------
    before, after : array_like of int, shape (bins,)
        Counts at fitting and now (`score_histogram`).

    Notes
    -----
    O(resamples bins); the scores themselves are not needed. Bins that are empty in both do not count.

    Both are distances: sampling alone makes them larger, and resampling adds as much again. The basic bootstrap interval ([2])
    takes that excess off, where percentiles would double it (with 60 new scores and no change at all, their lower limit of PSI
    lies above 0.25 every second time).
    """
    first, second = np.asarray(before, dtype=np.int64), np.asarray(after, dtype=np.int64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"histograms of shapes {first.shape} and {second.shape}: expected the same bins")
    n, m = int(first.sum()), int(second.sum())
    if min(n, m) == 0:
        nothing = undefined("no scores before or after", n=n + m)
        return Drift(nothing, nothing, float("nan"), float("nan"), float("nan"))
    used = first + second > 0
    first, second = first[used], second[used]
    draws = rng.multinomial(n, first / n, size=resamples), rng.multinomial(m, second / m, size=resamples)
    index, distance = float(psi(first, second)), float(_ks(first, second))
    found = [
        _basic(point, statistic(*draws), n=n + m, confidence=confidence) for point, statistic in ((index, psi), (distance, _ks))
    ]
    freedom, noise = int(used.sum()) - 1, 1.0 / n + 1.0 / m
    psi_p = float(chdtrc(freedom, index / noise)) if freedom else 1.0
    return Drift(found[0], found[1], freedom * noise, psi_p, float(kolmogorov(distance / np.sqrt(noise))))
