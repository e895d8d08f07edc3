"""Prevalence from a stratified sample of examined items.

References
----------
.. [1] Cochran, W. G. (1977). Sampling Techniques, 3rd ed. Wiley, section 5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, counts_within, finite_vector, normal_quantile, percent
from assaymark.stats.intervals import wilson

__all__ = ["stratified_prevalence"]


def stratified_prevalence(weights: Any, successes: Any, trials: Any, *, confidence: float = 0.95) -> Estimate:
    """Prevalence sum(W_h p_h) from a stratified sample, variance sum(W_h^2 p_h (1 - p_h) / n_h) ([1]).

    Parameters
    ----------
    weights : array_like, shape (strata,), >= 0
        Size of each stratum in the population, or its share; scaled to sum to 1.
    successes, trials : array_like, shape (strata,)
        Positives and items examined in each stratum.

    Returns
    -------
    Estimate
        Unit "share", limits clipped to [0, 1]; n is the number of items examined. Undefined when a stratum with weight was
        not examined. Where every stratum is at 0 or 1 the variance formula gives 0: the limits are then Wilson's for the
        effective sample size 1 / sum(W_h^2 / n_h).
    """
    size = finite_vector(weights, "weights")
    k, n = counts_within(finite_vector(successes, "successes"), finite_vector(trials, "trials"))
    if not size.shape == k.shape:
        raise ValueError(f"{size.size} weights but {k.size} strata")
    if np.any(size < 0):
        raise InputError(f"weights: {size.min():g} is negative; a weight is 0 or more")
    method, examined = f"stratified normal {percent(confidence)}", int(n.sum())
    total = float(size.sum())
    if total == 0:
        return undefined("no stratum has weight", n=examined, method=method, unit="share")
    missing = np.flatnonzero((size > 0) & (n == 0))
    if missing.size:
        reason = f"{missing.size} strata with weight have no trials, the first at position {missing[0]}"
        return undefined(reason, n=examined, method=method, unit="share")
    kept = size > 0
    share, p = size[kept] / total, k[kept] / n[kept]
    point = min(max(float(share @ p), 0.0), 1.0)
    variance = float(np.sum(share**2 * p * (1.0 - p) / n[kept]))
    if variance == 0.0:
        low, high = _effective_wilson(point, share, n[kept], confidence)
        method = f"stratified Wilson {percent(confidence)}, effective n"
    else:
        half = normal_quantile(confidence) * math.sqrt(variance)
        low, high = point - half, point + half
    return Estimate(point, min(max(low, 0.0), point), max(min(high, 1.0), point), examined, method, "share")


def _effective_wilson(point: float, share: FloatArray, n: FloatArray, confidence: float) -> tuple[float, float]:
    effective = 1.0 / float(np.sum(share**2 / n))
    limits = wilson(point * effective, effective, confidence=confidence)
    assert limits.low is not None and limits.high is not None
    return limits.low, limits.high
