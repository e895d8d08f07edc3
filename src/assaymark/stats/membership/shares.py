"""Limits of a weighted sum of shares that are correlated, because they were counted on the same trials.

Newcombe's square-and-add: the distances from each share to its Wilson limits take the place of standard errors in the
variance of a sum. For two shares of the same pairs this is his method 10 for paired data ([1]), for two separate samples his
method 10 for independent ones ([2]); here it serves any number of shares, missing answers, and groups of rows.

References
----------
.. [1] Newcombe, R. G. (1998). Improved confidence intervals for the difference between binomial proportions based on paired
   data. Statistics in Medicine 17, 2635-2650 (method 10).
.. [2] Newcombe, R. G. (1998). Interval estimation for the difference between independent proportions: comparison of eleven
   methods. Statistics in Medicine 17, 873-890 (method 10).
.. [3] Donner, A. and Zou, G. Y. (2010). Closed-form confidence intervals for functions of the normal mean and standard
   deviation. Statistical Methods in Medical Research 21, 347-359 (square-and-add in general).
.. [4] Rao, J. N. K. and Scott, A. J. (1992). A simple method for the analysis of clustered binary data. Biometrics 48,
   577-585 (effective sample sizes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from assaymark.stats.checks import FloatArray
from assaymark.stats.intervals import wilson_limits
from assaymark.stats.membership.trials import IntArray, distinct_units

__all__ = ["Calls", "ShareTable", "SumOfShares", "group_confidence", "share_table", "sum_of_shares"]


class Calls(NamedTuple):
    """Calls of one share: 1.0 where the attack says member, and the independent unit of each call."""

    said: FloatArray
    unit: IntArray


class ShareTable(NamedTuple):
    """Shares, what their limits rest on, and how they vary together."""

    shares: FloatArray  # (k,)
    sizes: FloatArray  # (k,) calls
    effective: FloatArray  # (k,) independent calls that would say as much; equal to `sizes` without groups
    residuals: FloatArray  # (units, k) sum over the calls of a unit of (call - share)
    groups: int  # the fewest groups behind a share; 0 without groups


class SumOfShares(NamedTuple):
    value: float
    low: float
    high: float


def share_table(samples: Sequence[Calls], *, units: int, grouped: bool) -> ShareTable:
    """Shares of several samples of calls on the same units.

    Notes
    -----
    With groups the effective size is n / design effect, from the variance between groups ([4]); never above n. A share of 0
    or 1 shows no variance: it then rests on as many calls as there are groups.
    """
    shares = np.array([sample.said.mean() for sample in samples])
    sizes = np.array([float(sample.said.size) for sample in samples])
    centred = [sample.said - share for sample, share in zip(samples, shares, strict=True)]
    columns = [np.bincount(s.unit, weights=c, minlength=units) for s, c in zip(samples, centred, strict=True)]
    residuals = np.column_stack(columns).astype(np.float64)
    if not grouped:
        return ShareTable(shares, sizes, sizes, residuals, 0)
    groups = np.array([float(distinct_units(units, sample.unit)) for sample in samples])
    variance = (residuals**2).sum(axis=0) / sizes**2 * groups / (groups - 1.0)
    spread = shares * (1.0 - shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where(spread > 0, np.minimum(spread / variance, sizes), groups)
    return ShareTable(shares, sizes, np.maximum(effective, 1.0), residuals, int(groups.min()))


def group_confidence(confidence: float, groups: int) -> float:
    """Confidence whose normal quantile is Student's for this many groups; unchanged for 0, which means no groups."""
    if groups == 0:
        return confidence
    from scipy.special import stdtrit

    inner = 2.0 * NormalDist().cdf(float(stdtrit(groups - 1, 0.5 + confidence / 2.0))) - 1.0
    return min(inner, 1.0 - 1e-15)  # two groups have a t quantile of 12.7, beyond the last probability below 1


def sum_of_shares(table: ShareTable, weights: Sequence[float], *, confidence: float) -> SumOfShares:
    """sum_i w_i p_i with square-and-add limits ([1], [3]), inside what shares in [0, 1] allow.

    Notes
    -----
    low = value - sqrt(a' R a) with a_i = w_i (p_i - l_i) for w_i > 0, w_i (u_i - p_i) else, l and u Wilson's limits; high
    alike. R holds the correlations; where one would shorten the interval its numerator is brought 1/2 nearer to 0, which is
    the continuity correction of [1], and without which shares that never differ would have a certain difference.
    """
    w = np.asarray(weights, dtype=np.float64)
    inner = group_confidence(confidence, table.groups)
    low, high = wilson_limits(table.shares * table.effective, table.effective, confidence=inner)
    down, up = np.maximum(table.shares - low, 0.0), np.maximum(high - table.shares, 0.0)
    r = _correlations(table, w)
    value = math.fsum(w * table.shares)  # exactly 0 where shares cancel
    below = _length(w * np.where(w > 0, down, up), r)
    above = _length(w * np.where(w > 0, up, down), r)
    least, most = float(w[w < 0].sum()), float(w[w > 0].sum())
    return SumOfShares(value, min(max(value - below, least), value), max(min(value + above, most), value))


def _length(steps: FloatArray, correlations: FloatArray) -> float:
    return math.sqrt(max(float(steps @ correlations @ steps), 0.0))


def _correlations(table: ShareTable, w: FloatArray) -> FloatArray:
    products = table.residuals.T @ table.residuals
    design = np.sqrt(table.sizes / table.effective)
    step = np.where(products * np.outer(w, w) < 0, 0.5 * np.outer(design, design), 0.0)
    shrunk = np.sign(products) * np.maximum(np.abs(products) - step, 0.0)
    scale = np.sqrt(np.outer(np.diag(products), np.diag(products)))
    r = np.where(scale > 1e-9, shrunk / np.where(scale > 1e-9, scale, 1.0), 0.0)
    np.fill_diagonal(r, 1.0)
    return np.asarray(r)
