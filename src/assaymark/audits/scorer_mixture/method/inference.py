"""How sure the weights are: robust standard errors in two passes over the rows, and the exact leave-one-out.

The target is 0 or 1, so the errors of a linear fit cannot have one variance: heteroscedasticity-robust errors are the default.

References
----------
.. [1] White, H. (1980). A heteroskedasticity-consistent covariance matrix estimator. Econometrica 48, 817-838 (HC0).
.. [2] MacKinnon, J. G. and White, H. (1985). Some heteroskedasticity-consistent covariance matrix estimators with improved
   finite sample properties. J. Econometrics 29, 305-325 (HC1 to HC3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from assaymark.audits.scorer_mixture.method.collinearity import condition_number, effective_networks, score_correlation, vif
from assaymark.audits.scorer_mixture.method.least_squares import EPS, Fit
from assaymark.audits.scorer_mixture.method.moments import Block, Moments, blocks_of, merge_all, moments
from assaymark.audits.scorer_mixture.method.weight_bootstrap import bootstrap_intervals, bootstrap_weights
from assaymark.result import Estimate, undefined

__all__ = [
    "Covariance",
    "Inference",
    "bootstrap_intervals",
    "bootstrap_weights",
    "condition_number",
    "effective_networks",
    "hc_from_blocks",
    "leave_one_out_scores",
    "leverages",
    "robust_inference",
    "score_correlation",
    "vif",
    "weight_estimates",
]

Floats = npt.NDArray[np.float64]
Covariance = Literal["HC3", "HC2", "HC1", "HC0", "classic"]
_KINDS = ("HC3", "HC2", "HC1", "HC0", "classic")


class Inference(NamedTuple):
    """Coefficients (weights, then the intercept where there is one) with their uncertainty; arrays of length k or k + 1.

    Attributes
    ----------
    coef, se, t, p, low, high : arrays
        Student's t with `df` degrees of freedom; NaN without spare rows, and `note` says so.
    cov : array, square
    df : int
        Rows minus rank.
    kind : str
    leverages : array, shape (n,)
        Diagonal of the hat matrix (of the weighted problem); empty from `hc_from_blocks`.
    max_leverage : float
    rows : int
    confidence : float
    note : str
    """

    coef: Floats
    se: Floats
    t: Floats
    p: Floats
    low: Floats
    high: Floats
    cov: Floats
    df: int
    kind: str
    leverages: Floats
    max_leverage: float
    rows: int
    confidence: float
    note: str = ""


class _Bread(NamedTuple):
    """Pseudo-inverse of the normal matrix, its rank, and the coefficients of a fit."""

    inverse: Floats
    rank: int
    coef: Floats
    intercept: bool
    rows: int


def robust_inference(
    F: Any,
    y: Any,
    fit: Fit,
    *,
    cov: Covariance = "HC3",
    intercept: bool = False,
    sample_weight: Any = None,
    confidence: float = 0.95,
) -> Inference:
    """Standard errors of a least-squares fit on the rows it was fitted on.

    Parameters
    ----------
    F : array_like, shape (n, k); y : array_like, shape (n,)
    fit : Fit
        Of `weights.ols` on the same rows, with the same `intercept` and sample weights.
    cov : "HC3" (default), "HC2", "HC1", "HC0" ([1], [2]) or "classic"
        HC3 divides each residual by 1 - leverage: it errs on the wide side in small samples.
    sample_weight : array_like, shape (n,), optional
        Weighted least squares: scores, labels and residuals times the root of the weight.

    Returns
    -------
    Inference

    Notes
    -----
    Two passes of O(n k^2) over the rows; memory O(n) for the leverages.
    """
    scores, labels = np.asarray(F), np.asarray(y)
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    passes = _Rows(scores, labels, weights)
    return _two_passes(passes, fit, cov=cov, intercept=intercept, confidence=confidence, keep=True)


class _Rows:
    """The rows as an iterable that can be gone through twice."""

    def __init__(self, F: Any, y: Any, weight: Floats | None) -> None:
        self.rows = F, y, weight

    def __iter__(self) -> Iterator[Block]:
        F, y, weight = self.rows
        return blocks_of(F, y, sample_weight=weight)


def hc_from_blocks(
    blocks: Iterable[Any], fit: Fit, *, cov: Covariance = "HC3", intercept: bool = False, confidence: float = 0.95
) -> Inference:
    """`robust_inference` on blocks of rows in two passes: the normal matrix, then leverages and residuals.

    Parameters
    ----------
    blocks : iterable of (F, y) or (F, y, sample_weight), that can be iterated twice
        A list, or an object whose `__iter__` reads the shards again; a generator is refused.

    Notes
    -----
    Memory of one block, however many there are.
    """
    if iter(blocks) is blocks:
        raise ValueError("two passes need blocks that can be read twice: give a list or an object with __iter__")
    return _two_passes(blocks, fit, cov=cov, intercept=intercept, confidence=confidence, keep=False)


def _two_passes(
    blocks: Iterable[Any], fit: Fit, *, cov: Covariance, intercept: bool, confidence: float, keep: bool
) -> Inference:
    if cov not in _KINDS:
        raise ValueError(f"covariance {cov!r} is none of {', '.join(_KINDS)}")
    total = merge_all(_block_moments(block) for block in blocks)
    bread = _bread_of(total, fit, intercept)
    width = len(bread.coef)
    meat, squares, highest = np.zeros((width, width)), 0.0, 0.0
    kept: list[Floats] = [np.zeros(0)]
    for block in blocks:
        X, residual, leverage = _second_pass(block, bread)
        squares += float(residual @ residual)
        highest = max(highest, float(leverage.max(initial=0.0)))
        if keep:
            kept.append(leverage)
        scaled = X * (residual * _inflation(leverage, cov))[:, None]
        meat += scaled.T @ scaled
    df = bread.rows - bread.rank
    if cov == "classic":
        covariance = bread.inverse * (squares / df if df > 0 else np.nan)
    else:
        covariance = bread.inverse @ meat @ bread.inverse
        if cov == "HC1":
            covariance *= bread.rows / df if df > 0 else np.nan
    found = _inference(bread, covariance, df, kind=cov, confidence=confidence, note=fit.note)
    return found._replace(leverages=np.concatenate(kept), max_leverage=highest)


def _block_moments(block: Any) -> Moments:
    F, y, *weight = block
    return moments(F, y, sample_weight=weight[0] if weight else None)


def _bread_of(total: Moments, fit: Fit, intercept: bool) -> _Bread:
    k = total.networks
    width = k + int(intercept)
    coef = np.append(fit.weights, fit.intercept) if intercept else fit.weights
    # scaled to a unit diagonal, so that the cut for the rank does not depend on the units of the scores
    normal = total.xtx[:width, :width]
    scale = np.sqrt(np.maximum(np.diag(normal), np.finfo(np.float64).tiny))
    values, vectors = np.linalg.eigh(normal / np.outer(scale, scale))
    kept = values > 32 * width * EPS * values[-1]
    scaled = vectors[:, kept] / scale[:, None]
    return _Bread((scaled / values[kept]) @ scaled.T, int(kept.sum()), coef, intercept, total.rows)


def _second_pass(block: Any, bread: _Bread) -> tuple[Floats, Floats, Floats]:
    """Weighted design, residuals and leverages of the rows of a block."""
    F, y, *given = block
    X = np.asarray(F, dtype=np.float64)
    if bread.intercept:
        X = np.column_stack([X, np.ones(len(X))])
    residual = np.asarray(y, dtype=np.float64) - X @ bread.coef
    if given and given[0] is not None:
        root = np.sqrt(np.asarray(given[0], dtype=np.float64))
        X, residual = X * root[:, None], residual * root
    return X, residual, np.einsum("ij,jk,ik->i", X, bread.inverse, X, optimize=True)


def _inflation(leverage: Floats, cov: str) -> Floats:
    if cov not in ("HC2", "HC3"):
        return np.ones_like(leverage)
    spare = 1.0 - leverage
    # a row of leverage 1 is fitted exactly: its residual is 0 and tells nothing about the spread
    alone = spare < 1e-10
    power = 0.5 if cov == "HC2" else 1.0
    return np.where(alone, 0.0, np.where(alone, 1.0, spare) ** -power)


def _inference(bread: _Bread, covariance: Floats, df: int, *, kind: str, confidence: float, note: str) -> Inference:
    se = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if df <= 0:
        se = np.full(len(bread.coef), np.nan)
        note = "; ".join(filter(None, [note, f"no standard errors: {bread.rows} rows for {bread.rank} coefficients"]))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = bread.coef / se
    p = 2.0 * stdtr(max(df, 1), -np.abs(t))
    half = float(stdtrit(max(df, 1), 0.5 + confidence / 2.0)) * se
    none = np.zeros(0)
    ends = bread.coef - half, bread.coef + half
    return Inference(bread.coef, se, t, p, *ends, covariance, df, kind, none, 0.0, bread.rows, confidence, note)


def weight_estimates(found: Inference) -> tuple[Estimate, ...]:
    """Each coefficient as an estimate, weights first; undefined where there is no standard error."""
    method = f"{found.kind}, Student t {found.confidence:.0%}"
    return tuple(
        Estimate(float(b), float(low), float(high), found.rows, method)
        if np.isfinite(low) and np.isfinite(high)
        else undefined(found.note or "no standard error", n=found.rows, method=method)
        for b, low, high in zip(found.coef, found.low, found.high, strict=True)
    )


def leverages(F: Any, *, intercept: bool = False, sample_weight: Any = None) -> Floats:
    """Diagonal of the hat matrix, shape (n,), in [0, 1]; it sums to the rank. O(n k^2)."""
    labels = np.zeros(len(F))
    passes = _Rows(F, labels, None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64))
    total = merge_all(_block_moments(block) for block in passes)
    nothing = Fit(np.zeros(total.networks), 0.0, 0, 0.0)
    bread = _bread_of(total, nothing, intercept)
    return np.concatenate([_second_pass(block, bread)[2] for block in passes])


def leave_one_out_scores(F: Any, y: Any, fit: Fit, *, intercept: bool = False, sample_weight: Any = None) -> Floats:
    """Mixture score of each row by the fit on all other rows, exactly: y - residual / (1 - leverage).

    Returns
    -------
    array, shape (n,)
        NaN for a row of leverage 1, without which its direction cannot be fitted.
    """
    scores = np.asarray(F, dtype=np.float64)
    residual = np.asarray(y, dtype=np.float64) - scores @ fit.weights - fit.intercept
    spare = 1.0 - leverages(scores, intercept=intercept, sample_weight=sample_weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = np.asarray(y, dtype=np.float64) - residual / spare
    return np.where(spare < 1e-10, np.nan, left_out)
