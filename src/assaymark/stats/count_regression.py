"""Ratios of counts (likes, comments, shares) between groups with other causes held fixed.

A raw ratio of means mixes the group with whatever goes with it: machine-written posts are newer and their authors have fewer
followers. A regression with a log link gives the ratio at equal month, topic and followers. Engagement has a heavy tail, so the
variance is mu + alpha mu^2 (NB2) and the errors are a sandwich, which holds when the variance law does not.

References
----------
.. [1] Cameron, A. C. and Trivedi, P. K. (2013). Regression Analysis of Count Data, 2nd ed. Cambridge, sections 3.2 (robust
   errors) and 3.3 (NB2).
.. [2] MacKinnon, J. G. and White, H. (1985). Some heteroskedasticity-consistent covariance matrix estimators. Journal of
   Econometrics 29, 305-325 (HC1, HC3).
.. [3] Long, J. S. and Ervin, L. H. (2000). Using heteroscedasticity consistent standard errors. Am. Statistician 54, 217-224.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, finite_vector, percent
from assaymark.stats.negative_binomial_fit import fit_counts
from assaymark.stats.regression_columns import (
    Errors,
    named_design,
    new_columns,
    robust_errors,
    sandwich_errors,
    standardised,
)

__all__ = ["MEMBERSHIP", "CountRegression", "log_linear", "negative_binomial"]

MEMBERSHIP = "membership"
_NO_FIT = (
    "no finite fit is best: the columns tell some rows whose counts are all 0 from the others, or a group's mean runs to 0"
)


class CountRegression(NamedTuple):
    """What each column does to the mean count.

    Attributes
    ----------
    coefficients : mapping of str to Estimate
        On the log scale, "intercept" first.
    ratios : mapping of str to Estimate
        exp(coefficient), unit "ratio": by what the mean is multiplied when the column rises by one.
    alpha : float
        Overdispersion of NB2; 0 where the fit fell back to quasi-Poisson, NaN where there is none.
    family : str
        "NB2", "quasi-Poisson" or "log-linear"; empty where nothing was fitted.
    dropped : tuple of str
        Columns that were left out; their estimates say why.
    reason : str
        Why nothing was fitted; empty otherwise.
    """

    coefficients: Mapping[str, Estimate]
    ratios: Mapping[str, Estimate]
    alpha: float
    family: str
    dropped: tuple[str, ...]
    reason: str = ""


class _Problem(NamedTuple):
    """Rows and columns that enter a fit, and why the other columns do not."""

    outcome: FloatArray
    design: FloatArray
    names: list[str]
    kept: list[int]
    dropped: dict[str, str]
    clusters: Any


def _counts(counts: Any) -> FloatArray:
    y = finite_vector(counts, "counts")
    if np.any(y < 0):
        raise InputError(f"counts: {int(np.sum(y < 0))} are negative; leave such rows out or shift the score")
    return y


def _clusters(clusters: Any, rows: int) -> Any:
    if clusters is None:
        return None
    labels = np.asarray(clusters)
    if labels.shape != (rows,):
        raise ValueError(f"{rows} counts but clusters of shape {labels.shape}")
    return labels


def _independent(y: FloatArray, design: FloatArray, names: list[str], clusters: Any, dropped: dict[str, str]) -> _Problem:
    """Leave out columns that a fit cannot tell from those before them."""
    left = [j for j, name in enumerate(names) if name not in dropped]
    new = new_columns(design[:, left])
    collinear = {names[j]: "collinear with the columns before it" for j, is_new in zip(left, new, strict=True) if not is_new}
    kept = [j for j, is_new in zip(left, new, strict=True) if is_new]
    return _Problem(y, design[:, kept], names, kept, dropped | collinear, clusters)


def _without_counts(y: FloatArray, design: FloatArray, names: list[str], clusters: Any) -> _Problem:
    """Leave out columns that have counts at one end only, together with the other rows, which the best fit takes to 0."""
    if not y.any():
        return _independent(y, design, names, clusters, {})
    counted, low, high = design[y > 0], design.min(axis=0), design.max(axis=0)
    at_low, at_high = (counted == low).all(axis=0), (counted == high).all(axis=0)
    ends = np.flatnonzero((low < high) & (at_low | at_high))
    rows = (design[:, ends] == np.where(at_low, low, high)[ends]).all(axis=1)
    dropped = {names[j]: f"every count is 0 unless it is {low[j] if at_low[j] else high[j]:g}: no finite ratio" for j in ends}
    return _independent(y[rows], design[rows], names, None if clusters is None else clusters[rows], dropped)


def _lack(problem: _Problem) -> str:
    rows, columns = problem.design.shape
    if rows < columns + 1:
        return f"{columns} coefficients need at least {columns + 1} rows, there are {rows}"
    if problem.clusters is not None and np.unique(problem.clusters).size < 2:
        return "all rows are of one cluster, which cannot say how clusters vary"
    if np.ptp(problem.outcome) == 0:
        return f"every count is {problem.outcome[0]:g}"
    return ""


def negative_binomial(
    counts: Any,
    design: Any,
    *,
    names: Sequence[str],
    membership: Any = None,
    clusters: Any = None,
    confidence: float = 0.95,
) -> CountRegression:
    """Negative binomial regression (NB2) with log link and robust errors ([1], section 3.3).

    Parameters
    ----------
    counts : array_like, shape (n,), >= 0
    design : array_like, shape (n, k), finite
        Without an intercept, which is added. Put the column that the question is about first (see `dummies` for categories).
    names : sequence of str, length k
    membership : array_like, shape (n,), in [0, 1], optional
        Probability that a row belongs to the group in question, given all that is known of the row (a detector's call, month,
        topic). The mean is then exp(x'b) (1 + (m - 1) w): a mixture of the two groups' means, not of their logarithms, and m is
        the ratio "membership". With 0 and 1 it is a dummy column.
    clusters : array_like, shape (n,), optional
        Labels (authors): rows of one cluster may depend on one another.

    Returns
    -------
    CountRegression
        A column that the columns before it determine is left out. So is one whose ratio would be 0 or infinite, as all counts
        are 0 where it is set (or where it is not), together with those rows. Its estimates are undefined with the reason. All
        are undefined when rows are too few, the counts do not vary, or no finite fit is best. Counts that vary no more than
        Poisson have no alpha: quasi-Poisson, with the same robust errors.

    Notes
    -----
    Maximum likelihood of the coefficients in turn with that of alpha, which are orthogonal ([1]). Limits with HC1 ([2]) or by
    cluster, quantiles of t. The sandwich is that of the coefficients at the fitted alpha. O(n k^2) per step, some ten steps;
    memory O(n k).

    In 200 platforms of 6,000 posts on which machine-written posts get 0.7 times the likes, are newer, and are by authors with
    fewer followers, the raw ratio of means was 0.49 and the interval at equal controls covered 0.7 in 97 %. With the calls of a
    detector (TPR .8, FPR .05) as the column the ratio was 0.81 and covered in 6 %, with `membership` 0.70 and 94 %.
    """
    y = _counts(counts)
    columns, every = named_design(design, names, y.size)
    if membership is not None:
        weight = finite_vector(membership, "membership")
        if weight.shape != y.shape or np.any((weight < 0) | (weight > 1)):
            raise InputError("membership: expected one probability between 0 and 1 for each count")
        columns, every = np.insert(columns, 1, weight, axis=1), [every[0], MEMBERSHIP, *every[1:]]
    problem = _without_counts(y, columns, every, _clusters(clusters, y.size))
    lack = _lack(problem)
    if lack:
        return _not_fitted(problem, lack, "NB2 log link")
    scaled = standardised(problem.design)
    mixed = None if membership is None or MEMBERSHIP in problem.dropped else problem.design[:, 1]
    fit = fit_counts(problem.outcome, scaled.columns, mixed)
    if fit is None:
        return _not_fitted(problem, _NO_FIT, "NB2 log link")
    # a mixture is not linear in its weights: there the column was not scaled
    back = scaled.back if mixed is None else _unscaled(scaled.back, 1)
    errors = robust_errors("HC1", problem.design, problem.clusters)
    deviations = sandwich_errors(fit.scores, fit.information, back, errors)
    family = "NB2" if fit.alpha > 0 else "quasi-Poisson"
    return _answer(problem, back @ fit.coefficients, deviations, errors, fit.alpha, family, "log link", confidence)


def _unscaled(back: FloatArray, column: int) -> FloatArray:
    back = back.copy()
    back[0, column], back[column, column] = 0.0, 1.0
    return back


def log_linear(
    counts: Any, design: Any, *, names: Sequence[str], clusters: Any = None, confidence: float = 0.95
) -> CountRegression:
    """Least squares on log(1 + count) with HC3 errors ([2], [3]), or errors by cluster.

    Parameters
    ----------
    counts, design, names, clusters
        As for `negative_binomial`.

    Returns
    -------
    CountRegression
        `ratios` are of geometric means of 1 + count, which is not the ratio of mean counts: where many counts are 0 it is
        nearer to 1. `alpha` is NaN.

    Notes
    -----
    O(n k^2). A row that its own column fits exactly has no residual and adds nothing to the errors.
    """
    y = np.log1p(_counts(counts))
    columns, every = named_design(design, names, y.size)
    problem = _independent(y, columns, every, _clusters(clusters, y.size), {})
    lack = _lack(problem)
    if lack:
        return _not_fitted(problem, lack, "log1p OLS")
    x, back = standardised(problem.design)
    information = x.T @ x
    coefficients = np.linalg.solve(information, x.T @ y)
    residuals = y - x @ coefficients
    errors = robust_errors("HC3", x, problem.clusters)
    if problem.clusters is None:
        room = 1.0 - np.einsum("ij,ij->i", x @ np.linalg.inv(information), x)
        residuals = np.divide(residuals, room, out=np.zeros_like(room), where=room > 1e-9)
    deviations = sandwich_errors(x * residuals[:, None], information, back, errors)
    return _answer(problem, back @ coefficients, deviations, errors, math.nan, "log-linear", "log1p OLS", confidence)


def _not_fitted(problem: _Problem, reason: str, method: str) -> CountRegression:
    n = problem.outcome.size
    why = {name: problem.dropped.get(name, reason) for name in problem.names}
    coefficients = {name: undefined(text, n=n, method=method) for name, text in why.items()}
    ratios = {name: undefined(text, n=n, method=method, unit="ratio") for name, text in why.items()}
    return CountRegression(coefficients, ratios, math.nan, "", tuple(problem.dropped), reason)


def _answer(
    problem: _Problem,
    coefficients: FloatArray,
    deviations: FloatArray,
    errors: Errors,
    alpha: float,
    family: str,
    link: str,
    confidence: float,
) -> CountRegression:
    from scipy.special import stdtrit

    n, method = problem.outcome.size, f"{family}, {link}, {errors.name}, t {percent(confidence)}"
    half = float(stdtrit(errors.df, 0.5 + confidence / 2.0)) * deviations
    place = {problem.names[j]: i for i, j in enumerate(problem.kept)}
    logs: dict[str, Estimate] = {}
    ratios: dict[str, Estimate] = {}
    for name in problem.names:
        if name in problem.dropped:
            logs[name] = undefined(problem.dropped[name], n=n, method=method)
            ratios[name] = undefined(problem.dropped[name], n=n, method=method, unit="ratio")
            continue
        i = place[name]
        value, low, high = coefficients[i], coefficients[i] - half[i], coefficients[i] + half[i]
        logs[name] = Estimate(value, low, high, n, method)
        with np.errstate(over="ignore"):
            ratios[name] = Estimate(np.exp(value), np.exp(low), np.exp(high), n, method, "ratio")
    return CountRegression(logs, ratios, alpha, family, tuple(problem.dropped))
