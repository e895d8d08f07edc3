"""Regression of a share on time: logit of the rate as a line, a broken line or a spline, with overdispersion of the periods.

Trials of one period have more in common than a binomial law knows (who posts, what was in the news), so the variance of the
counts is phi times the binomial one, with phi from Pearson's X^2 of the periods and never below 1, and Student's t in place of
the normal law because phi is itself estimated ([1]). This covers variation that is independent from period to period.

References
----------
.. [1] McCullagh, P. and Nelder, J. A. (1989). Generalized Linear Models, 2nd ed. Chapman & Hall, section 4.5.
.. [2] Albert, A. and Anderson, J. A. (1984). On the existence of maximum likelihood estimates in logistic regression models.
   Biometrika 71, 1-10 (separation).
.. [3] Harrell, F. E. (2015). Regression Modeling Strategies, 2nd ed. Springer, section 2.4.5 (restricted cubic splines).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from assaymark.errors import ConfigError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, counts_within, finite_vector, percent

__all__ = ["BinomialTrend", "binomial_trend", "natural_spline"]

_STEPS = 50
_SETTLED = 1e-14  # gain in log-likelihood still to be had: a coefficient is then within 1e-7 of its standard errors
_FARTHEST = 30.0  # a logit beyond it is a rate that no count can tell from 0 or 1
_SMALLEST_SHARE = 1e-6
_STILL = 1e-3  # largest move of a fitted logit; where the counts are separated it goes on by about 1 a step


class BinomialTrend(NamedTuple):
    """A fitted course of a share.

    Attributes
    ----------
    before, after : Estimate
        Change of the log-odds per unit of time on both sides of the knot; the same slope twice without a knot, undefined for a
        spline, which has no single slope.
    change : Estimate
        after - before; undefined without a knot.
    dispersion : float
        Pearson's phi, at least 1; NaN where nothing was fitted.
    fitted, low, high : arrays, shape (periods,)
        The share at each time, periods without trials included, with pointwise limits; NaN where nothing was fitted.
    reason : str
        Why nothing was fitted; empty otherwise.
    """

    before: Estimate
    after: Estimate
    change: Estimate
    dispersion: float
    fitted: FloatArray
    low: FloatArray
    high: FloatArray
    reason: str = ""


def natural_spline(times: Any, df: int) -> FloatArray:
    """Basis of natural cubic splines without the constant, knots at equidistant quantiles of the times ([3]).

    Parameters
    ----------
    times : array_like, shape (n,), finite
    df : int, >= 1
        Columns; there are df + 1 knots, the first and last time among them. One column is the line itself.

    Returns
    -------
    array, shape (n, df)
        Linear beyond the outer knots, scaled to the range of the times.
    """
    t = finite_vector(times, "times")
    if df < 1:
        raise ConfigError(f"df = {df}: a spline has at least one column")
    knots = np.quantile(t, np.linspace(0.0, 1.0, df + 1))
    if np.any(np.diff(knots) <= 0):
        raise ConfigError(f"df = {df} asks for {df + 1} different times as knots; take a smaller df")
    width = knots[-1] - knots[0]
    scaled, knots = (t - knots[0]) / width, (knots - knots[0]) / width

    def cubic(knot: float) -> FloatArray:
        return np.asarray((np.maximum(scaled - knot, 0.0) ** 3 - np.maximum(scaled - 1.0, 0.0) ** 3) / (1.0 - knot))

    last = cubic(knots[-2])
    return np.column_stack([scaled, *(cubic(knot) - last for knot in knots[:-2])])


class _Fit(NamedTuple):
    coefficients: FloatArray
    root: FloatArray  # covariance = root @ root.T, without dispersion
    rates: FloatArray


def _expit(eta: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * eta)))


def _irls(design: FloatArray, k: FloatArray, n: FloatArray) -> _Fit | None:
    """Newton's method with halved steps; None where it does not settle, as at separation ([2])."""

    def loss(b: FloatArray) -> float:
        eta = design @ b
        return float(n @ np.logaddexp(0.0, eta) - k @ eta)

    b = np.zeros(design.shape[1])
    start = float(k.sum() / n.sum())
    b[0] = math.log(start / (1.0 - start))
    for _ in range(_STEPS):
        p = _expit(design @ b)
        information = (design.T * (n * p * (1.0 - p))) @ design
        score = design.T @ (k - n * p)
        try:
            root = np.asarray(np.linalg.inv(np.linalg.cholesky(information)).T, dtype=np.float64)
        except np.linalg.LinAlgError:
            return None
        step, before, share = root @ (root.T @ score), loss(b), 1.0
        move, gain = float(np.abs(design @ step).max()), float(score @ step)
        while share > _SMALLEST_SHARE and loss(b + share * step) > before:
            share /= 2.0
        if gain <= _SETTLED or share <= _SMALLEST_SHARE:  # in the latter case what is left to gain is rounding
            return _Fit(b, root, p) if move <= _STILL and float(np.abs(design @ b).max()) < _FARTHEST else None
        b = b + share * step
    return None


def _design(t: FloatArray, knot: float | None, spline_df: int | None) -> FloatArray:
    """Constant first; then a line, both sides of a broken line, or a spline. Times are scaled to a range of one."""
    if knot is not None and spline_df is not None:
        raise ConfigError("knot and spline_df exclude one another: a broken line or a spline")
    one = np.ones(t.size)
    if spline_df is not None:
        return np.column_stack([one, natural_spline(t, spline_df)])
    width = max(float(np.ptp(t)), np.finfo(float).tiny)
    if knot is None:
        return np.column_stack([one, (t - t.mean()) / width])
    return np.column_stack([one, np.minimum(t - knot, 0.0) / width, np.maximum(t - knot, 0.0) / width])


def binomial_trend(
    successes: Any,
    trials: Any,
    times: Any,
    *,
    knot: float | None = None,
    spline_df: int | None = None,
    confidence: float = 0.95,
) -> BinomialTrend:
    """Quasi-binomial regression of counts on time ([1]).

    Parameters
    ----------
    successes, trials : array_like, shape (periods,)
        Periods without trials do not enter the fit.
    times : array_like, shape (periods,), finite
    knot : float, optional
        Time at which the line may break. It is taken as known: where it was chosen for the counts at hand (`onset_point`), the
        interval of the change is too short.
    spline_df : int, optional
        Columns of a natural cubic spline in place of a line.

    Returns
    -------
    BinomialTrend
        Nothing is fitted, and `reason` says why, where the counts do not vary, periods are fewer than coefficients + 1, the
        knot leaves no slope on one side, or the counts are separated (no finite fit).

    Notes
    -----
    Limits: coefficient -+ t sqrt(phi V), and the same for the logit of a fitted share. O(periods * columns^2) per step, some
    six steps.
    """
    k, n = counts_within(finite_vector(successes, "successes"), finite_vector(trials, "trials"))
    t = finite_vector(times, "times")
    if t.shape != k.shape:
        raise ValueError(f"{k.size} counts but {t.size} times")
    used, size = n > 0, int(n.sum())
    method = f"quasi-binomial logit, t {percent(confidence)}"
    if t.size == 0:
        return _not_fitted("there are no periods", 0, 0, method)
    design = _design(t, knot, spline_df)
    k, n = k[used], n[used]
    lack = _lack(design[used], k, n)
    fit = None if lack else _irls(design[used], k, n)
    if fit is None:
        return _not_fitted(lack or "the counts are separated in time: no finite slope fits best", size, t.size, method)
    df = int(used.sum()) - design.shape[1]
    dispersion = max(1.0, _pearson(k, n, fit.rates) / df)
    return _course(fit, design, t, dispersion, _quantile(df, confidence), size, method, knot, spline_df)


def _pearson(k: FloatArray, n: FloatArray, rates: FloatArray) -> float:
    return float(np.sum((k - n * rates) ** 2 / (n * rates * (1.0 - rates))))


def _quantile(df: int, confidence: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + confidence / 2.0))


def _lack(design: FloatArray, k: FloatArray, n: FloatArray) -> str:
    columns = design.shape[1]
    if len(design) < columns + 1:
        return f"{columns} coefficients need at least {columns + 1} periods with trials, there are {len(design)}"
    if k.sum() in (0.0, n.sum()):
        return f"no period has a {'success' if k.sum() == 0 else 'failure'}"
    if np.linalg.matrix_rank(design) < columns:
        return "the periods with trials leave a slope undetermined: move the knot, or take fewer columns"
    return ""


def _not_fitted(reason: str, n: int, periods: int, method: str) -> BinomialTrend:
    lost, nothing = undefined(reason, n=n, method=method), np.full(periods, np.nan)
    return BinomialTrend(lost, lost, lost, math.nan, nothing, nothing, nothing, reason)


def _course(
    fit: _Fit,
    design: FloatArray,
    t: FloatArray,
    dispersion: float,
    quantile: float,
    size: int,
    method: str,
    knot: float | None,
    spline_df: int | None,
) -> BinomialTrend:
    root = math.sqrt(dispersion) * fit.root
    width = float(np.ptp(t))

    def combined(*weights: float) -> Estimate:
        row = np.array(weights) / width
        value, half = float(row @ fit.coefficients), quantile * float(np.linalg.norm(row @ root))
        return Estimate(value, value - half, value + half, size, method)

    no_knot = undefined("no knot was given", n=size, method=method)
    if spline_df is not None:
        before = after = undefined("a spline has no single slope", n=size, method=method)
        change = no_knot
    elif knot is None:
        before = after = combined(0.0, 1.0)
        change = no_knot
    else:
        before, after, change = combined(0.0, 1.0, 0.0), combined(0.0, 0.0, 1.0), combined(0.0, -1.0, 1.0)
    eta = design @ fit.coefficients
    half = quantile * np.linalg.norm(design @ root, axis=1)
    return BinomialTrend(before, after, change, dispersion, _expit(eta), _expit(eta - half), _expit(eta + half))
