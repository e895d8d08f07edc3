"""Ratios of two shares, and of their odds, with log-normal intervals.

A zero cell makes the logarithm or its variance infinite. Only then, and in that table only, one half is added to all four
cells (Haldane and Anscombe); the point is then that of the corrected table and the method says so. Nothing can be said
about the ratio when neither group succeeded, nor about the odds ratio when nobody failed.

References
----------
.. [1] Katz, D. et al. (1978). Obtaining confidence intervals for the risk ratio in cohort studies. Biometrics 34, 469-474.
.. [2] Woolf, B. (1955). On estimating the relation between blood group and disease. Annals of Human Genetics 19, 251-253.
.. [3] Anscombe, F. J. (1956). On estimating binomial response relations. Biometrika 43, 461-464.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, Limits, counts_within, normal_quantile, percent

__all__ = ["RatioKind", "lift", "lift_limits", "odds_ratio", "ratio_limits", "ratio_points", "risk_ratio"]

RatioKind = Literal["risk", "odds"]


class _LogRatio(NamedTuple):
    log: FloatArray
    standard_error: FloatArray
    corrected: np.ndarray[Any, np.dtype[np.bool_]]


def _log_ratio(k1: Any, n1: Any, k2: Any, n2: Any, kind: RatioKind) -> _LogRatio:
    """Log ratio and its standard error (Katz [1] for risks, Woolf [2] for odds); NaN where undefined."""
    if kind not in ("risk", "odds"):
        raise ValueError(f"kind {kind!r} is neither 'risk' nor 'odds'")
    a, size1 = counts_within(k1, n1, name="first group")
    c, size2 = counts_within(k2, n2, name="second group")
    a, size1, c, size2 = np.broadcast_arrays(a, size1, c, size2)
    b, d = size1 - a, size2 - c
    known = (size1 > 0) & (size2 > 0) & (a + c > 0)
    if kind == "odds":
        known &= b + d > 0
    corrected = known & ((a == 0) | (b == 0) | (c == 0) | (d == 0))
    half = np.where(corrected, 0.5, 0.0)
    a, b, c, d = (np.where(known, cell + half, np.nan) for cell in (a, b, c, d))
    if kind == "risk":
        log = np.log(a / (a + b)) - np.log(c / (c + d))
        variance = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    else:
        log = np.log(a) - np.log(b) - np.log(c) + np.log(d)
        variance = 1 / a + 1 / b + 1 / c + 1 / d
    return _LogRatio(log, np.sqrt(variance), corrected)


def ratio_points(k1: Any, n1: Any, k2: Any, n2: Any, *, kind: RatioKind = "risk") -> FloatArray:
    """Point of the risk or odds ratio of many tables, corrected where a cell is zero; NaN where undefined."""
    return np.asarray(np.exp(_log_ratio(k1, n1, k2, n2, kind).log))


def ratio_limits(k1: Any, n1: Any, k2: Any, n2: Any, kind: RatioKind = "risk", *, confidence: float = 0.95) -> Limits:
    """Limits of the risk or odds ratio of many tables at once.

    Parameters
    ----------
    k1, n1, k2, n2 : array_like, broadcastable
        Successes and trials of the first and the second (reference) group.
    kind : "risk" or "odds"

    Returns
    -------
    Limits
        NaN where a group is empty or the ratio is undefined (see the module).
    """
    z = normal_quantile(confidence)
    ratio = _log_ratio(k1, n1, k2, n2, kind)
    half = z * ratio.standard_error
    return Limits(np.asarray(np.exp(ratio.log - half)), np.asarray(np.exp(ratio.log + half)))


def _ratio(k1: float, n1: float, k2: float, n2: float, kind: RatioKind, confidence: float) -> Estimate:
    name = "Katz log risk ratio" if kind == "risk" else "Woolf log odds ratio"
    method = f"{name} {percent(confidence)}"
    n = int(n1 + n2)
    ratio = _log_ratio(k1, n1, k2, n2, kind)
    if np.isnan(ratio.log):
        if n1 == 0 or n2 == 0:
            reason = "a group has no trials"
        else:
            reason = f"neither group has a {'success' if k1 + k2 == 0 else 'failure'}"
        return undefined(reason, n=n, method=method, unit="ratio")
    low, high = ratio_limits(k1, n1, k2, n2, kind, confidence=confidence)
    if ratio.corrected:
        method += ", 0.5 added to each cell (a cell is 0)"
    point = float(np.exp(ratio.log))
    return Estimate(point, min(float(low), point), max(float(high), point), n, method, "ratio")


def risk_ratio(k1: float, n1: float, k2: float, n2: float, *, confidence: float = 0.95) -> Estimate:
    """Ratio (k1/n1) / (k2/n2) of two independent shares, log-normal interval ([1]); zero cells as in the module."""
    return _ratio(k1, n1, k2, n2, "risk", confidence)


def odds_ratio(k1: float, n1: float, k2: float, n2: float, *, confidence: float = 0.95) -> Estimate:
    """Odds ratio of two independent shares, log-normal interval ([2]); zero cells as in the module."""
    return _ratio(k1, n1, k2, n2, "odds", confidence)


def lift_limits(successes: Any, trials: Any, all_successes: Any, all_trials: Any, *, confidence: float = 0.95) -> Limits:
    """Limits of `lift` for many groups at once; NaN where it is undefined.

    Parameters
    ----------
    successes, trials : array_like, broadcastable
        Of each group.
    all_successes, all_trials : array_like
        Of the whole, the groups included.
    """
    k, n = counts_within(successes, trials, name="group")
    total, size = counts_within(all_successes, all_trials, name="whole")
    limits = ratio_limits(k, n, *counts_within(total - k, size - n, name="rest of the whole"), confidence=confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight, point = n / size, (k / n) / (total / size)
        # increasing in the ratio of the group to the rest, so its limits are mapped one by one
        low, high = (ratio / (weight * ratio + 1.0 - weight) for ratio in limits)
    return Limits(np.asarray(np.minimum(low, point)), np.asarray(np.maximum(high, point)))


def lift(successes: float, trials: float, all_successes: float, all_trials: float, *, confidence: float = 0.95) -> Estimate:
    """Rate of a group over the rate of the whole that it is part of: 1 where the group is like all.

    Returns
    -------
    Estimate
        Unit "ratio"; n is the number of trials of the group. Undefined without trials or successes, or when the group is
        the whole.

    Notes
    -----
    The two rates share the group's own trials, so the interval of two independent shares does not hold. Group and rest are
    independent; with w the group's share of the trials, lift = R / (w R + 1 - w) where R is the ratio of group to rest, whose
    log-normal limits ([1]) are mapped. Zero cells are corrected in the limits only, which then contain the point.
    """
    method = f"lift, from Katz log ratio of group to rest, {percent(confidence)}"
    low, high = lift_limits(successes, trials, all_successes, all_trials, confidence=confidence)
    n = int(trials)
    if np.isnan(low):
        lacking = "the group has no trials" if trials == 0 else "the group is the whole"
        reason = "nothing succeeded in the whole" if all_successes == 0 else lacking
        return undefined(reason, n=n, method=method, unit="ratio")
    point = (successes / trials) / (all_successes / all_trials)
    return Estimate(point, float(low), float(high), n, method, "ratio")
