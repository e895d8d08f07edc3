"""What each network adds to the accuracy of the mixture: Shapley shares, and the accuracy without it.

A coalition S of networks has the value v(S) = accuracy, on evaluation rows, of the least-squares mixture of S fitted on the fit
rows. Every fit comes from one set of moments, so the fit rows are never read again.

References
----------
.. [1] Shapley, L. S. (1953). A value for n-person games. Contributions to the Theory of Games II, 307-317.
.. [2] Castro, J., Gomez, D. and Tejada, J. (2009). Polynomial calculation of the Shapley value based on sampling. Computers and
   Operations Research 36, 1726-1730.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.moments import Moments
from assaymark.audits.scorer_mixture.method.weights import ols_from_moments
from assaymark.result import Estimate, undefined
from assaymark.stats import wilson
from assaymark.stats.checks import normal_quantile, percent

__all__ = ["EXACT_NETWORKS", "LeftOut", "Shapley", "coalition_coefficients", "leave_one_network_out", "shapley_accuracy"]

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]

EXACT_NETWORKS = 10
"""Up to as many networks all 2^N coalitions are fitted; above, permutations are sampled."""
BLOCK_CELLS = 2**19
"""Rows times coalitions evaluated at a time: 4 MB of scores."""


class Shapley(NamedTuple):
    """Shapley shares of accuracy.

    Attributes
    ----------
    shares : tuple of Estimate, one a network, in percentage points
        Together accuracy of all - accuracy of none. The interval is over evaluation rows, given the fits (and, where
        permutations were sampled, over these).
    full, empty : Estimate
        Accuracy with all networks, and with none (the intercept decides alone).
    coalitions : int
        Distinct coalitions fitted.
    exact : bool
    """

    shares: tuple[Estimate, ...]
    full: Estimate
    empty: Estimate
    coalitions: int
    exact: bool


class LeftOut(NamedTuple):
    """Accuracy of the mixture refitted without each network, and what that network's absence costs (paired, same rows)."""

    without: tuple[Estimate, ...]
    loss: tuple[Estimate, ...]
    full: Estimate


def coalition_coefficients(of: Moments, members: Masks, *, intercept: bool = True) -> Floats:
    """Least-squares coefficients of coalitions.

    Parameters
    ----------
    members : bool array, shape (coalitions, k)

    Returns
    -------
    array, shape (coalitions, k + 1)
        Zero for those outside; the intercept last (0 without one).
    """
    found = np.zeros((len(members), of.networks + 1))
    for row, inside in zip(found, members, strict=True):
        chosen = np.flatnonzero(inside)
        if chosen.size:
            at = np.append(chosen, of.networks)
            fit = ols_from_moments(of._replace(xtx=of.xtx[np.ix_(at, at)], xty=of.xty[at]), intercept=intercept)
            row[chosen], row[-1] = fit.weights, fit.intercept
        elif intercept:
            row[-1] = of.xty[-1] / of.weight
    return found


class _Contrasts(NamedTuple):
    """Sums over rows of `correct @ contrasts`, of its squares, and of `correct` itself."""

    sums: Floats
    squares: Floats
    correct: Floats
    rows: int


def _evaluate(F: Any, y: Any, coef: Floats, contrasts: Floats, threshold: float) -> _Contrasts:
    """Per row and coalition, is the decision right? Then the contrasts of these, in blocks of rows."""
    scores, labels = np.asarray(F), np.asarray(y) > 0.5
    if scores.ndim != 2 or scores.shape[1] != coef.shape[1] - 1 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores of shape {scores.shape} and labels of shape {labels.shape} do not fit the moments")
    width = contrasts.shape[1]
    squares, correct = np.zeros(width), np.zeros(len(coef))
    step = max(1, BLOCK_CELLS // len(coef))
    weights, cut = np.ascontiguousarray(coef[:, :-1].T), threshold - coef[:, -1]
    narrow = contrasts.astype(np.float32)
    for start in range(0, len(scores), step):
        block = scores[start : start + step].astype(np.float64, copy=False)
        right = (block @ weights >= cut) == labels[start : start + step, None]
        correct += np.count_nonzero(right, axis=0)
        each = right.astype(np.float32) @ narrow
        squares += (each.astype(np.float64) ** 2).sum(axis=0)
    return _Contrasts(correct @ contrasts, squares, correct, len(scores))


def _estimates(found: _Contrasts, method: str, *, confidence: float, extra: Floats | None = None) -> tuple[Estimate, ...]:
    """Means of the contrasts with normal limits over rows; `extra` is a further variance of each mean."""
    n, method = found.rows, f"{method}, normal {percent(confidence)}"
    if n < 2:
        return tuple(undefined("fewer than 2 evaluation rows", n=n, method=method) for _ in found.sums)
    means = found.sums / n
    variance = np.maximum(found.squares / n - means**2, 0.0) / (n - 1)
    half = normal_quantile(confidence) * np.sqrt(variance + (0.0 if extra is None else extra))
    return tuple(
        Estimate(float(m), float(m - h), float(m + h), n, method, "percentage points") for m, h in zip(means, half, strict=True)
    )


def shapley_accuracy(
    of: Moments,
    F: Any,
    y: Any,
    *,
    intercept: bool = True,
    threshold: float = 0.5,
    rng: np.random.Generator | None = None,
    permutations: int = 200,
    confidence: float = 0.95,
) -> Shapley:
    """Shapley share of each network in the accuracy ([1]).

    Parameters
    ----------
    of : Moments
        Of the fit rows.
    F : array_like, shape (n, k); y : array_like, shape (n,)
        Evaluation rows, not the fit rows.
    rng, permutations
        Needed above `EXACT_NETWORKS` networks: shares are then means over random orders ([2]).

    Notes
    -----
    Exact: 2^k fits of O(k^3), then O(n k 2^k) on the rows in blocks. Sampled: at most permutations * k + 1 coalitions.
    """
    k = of.networks
    exact = k <= EXACT_NETWORKS
    if exact:
        members, contrasts = _all_coalitions(k)
        orders: npt.NDArray[np.int64] = np.zeros((0, k, 2), dtype=np.int64)
    else:
        if rng is None or permutations < 2:
            raise ValueError(f"above {EXACT_NETWORKS} networks shares are sampled: give rng and at least 2 permutations")
        members, contrasts, orders = _sampled_coalitions(k, rng, permutations)
    found = _evaluate(F, y, coalition_coefficients(of, members, intercept=intercept), contrasts, threshold)
    accuracy = found.correct / max(found.rows, 1)
    if exact:
        shares = _estimates(found, "exact Shapley value over evaluation rows", confidence=confidence)
    else:
        gains = accuracy[orders[:, :, 1]] - accuracy[orders[:, :, 0]]
        method = f"Shapley value over {len(orders)} random orders and evaluation rows"
        shares = _estimates(found, method, confidence=confidence, extra=gains.var(axis=0, ddof=1) / len(orders))
    sizes = members.sum(axis=1)
    counts = (int(found.correct[int(np.argmax(sizes == size))]) for size in (k, 0))
    full, empty = (wilson(count, found.rows, confidence=confidence) for count in counts)
    return Shapley(shares, full, empty, len(members), exact)


def _all_coalitions(k: int) -> tuple[Masks, Floats]:
    """All 2^k coalitions, row number = bit mask; and the matrix that turns their values into Shapley values."""
    codes = np.arange(2**k)
    members = (codes[:, None] >> np.arange(k)) & 1 == 1
    sizes = members.sum(axis=1)
    # |S|! (k - |S| - 1)! / k!, the share of orders in which exactly S comes before i
    before = np.array([1.0 / (k * math.comb(k - 1, size)) if size < k else 0.0 for size in range(k + 1)])
    joined = np.where(members, before[np.maximum(sizes - 1, 0)][:, None], 0.0)
    return members, joined - np.where(members, 0.0, before[sizes][:, None])


def _sampled_coalitions(k: int, rng: np.random.Generator, permutations: int) -> tuple[Masks, Floats, npt.NDArray[np.int64]]:
    """Distinct prefixes of random orders, contrasts of their values, and each order's coalitions before and after a network."""
    order = rng.permuted(np.tile(np.arange(k), (permutations, 1)), axis=1)
    prefixes = np.zeros((permutations, k + 1, k), dtype=bool)
    for step in range(k):
        prefixes[:, step + 1] = prefixes[:, step]
        np.put_along_axis(prefixes[:, step + 1], order[:, step : step + 1], True, axis=1)
    members, code = np.unique(prefixes.reshape(-1, k), axis=0, return_inverse=True)
    code = code.reshape(permutations, k + 1)
    pairs = np.empty((permutations, k, 2), dtype=np.int64)
    rows = np.arange(permutations)[:, None]
    pairs[rows, order, 0], pairs[rows, order, 1] = code[:, :-1], code[:, 1:]
    contrasts = np.zeros((len(members), k))
    networks = np.broadcast_to(np.arange(k), (permutations, k))
    np.add.at(contrasts, (pairs[:, :, 1], networks), 1.0 / permutations)
    np.add.at(contrasts, (pairs[:, :, 0], networks), -1.0 / permutations)
    return members, contrasts, pairs


def leave_one_network_out(
    of: Moments, F: Any, y: Any, *, intercept: bool = True, threshold: float = 0.5, confidence: float = 0.95
) -> LeftOut:
    """Accuracy on evaluation rows of the mixture refitted without each network. O(n k^2)."""
    k = of.networks
    members = np.vstack([np.ones((1, k), dtype=bool), ~np.eye(k, dtype=bool)])
    contrasts = np.vstack([np.ones((1, k)), -np.eye(k)])
    found = _evaluate(F, y, coalition_coefficients(of, members, intercept=intercept), contrasts, threshold)
    loss = _estimates(found, "accuracy with all - without it, paired over evaluation rows", confidence=confidence)
    full, *without = (wilson(int(count), found.rows, confidence=confidence) for count in found.correct)
    return LeftOut(tuple(without), loss, full)
