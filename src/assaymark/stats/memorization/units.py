"""UnitMem: how much a unit of a network reacts to one single point, from a matrix or in one pass.

References
----------
.. [1] Wang et al. Localizing Memorization in SSL Vision Encoders. NeurIPS 2024, arXiv 2409.19069, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "DEAD",
    "RECTIFIERS",
    "Rectify",
    "Rest",
    "UnitMemorization",
    "UnitState",
    "merge_units",
    "rectified",
    "unit_memorization",
    "unit_memorization_of",
    "unit_state",
]

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]
Rest = Literal["mean", "median"]
Rectify = Literal["relu", "shift", "abs", "none"]
RECTIFIERS: tuple[Rectify, ...] = ("relu", "shift", "abs", "none")

DEAD = 1e-8
"""A unit whose largest and remaining activation add up to less says nothing about any point."""


class UnitState(NamedTuple):
    """What has to be kept of n points for every unit; states of different points merge.

    Attributes
    ----------
    top : array, shape (m, units), falling
        Largest mean activations; -inf where there were fewer than m points.
    owner : int64 array, shape (m, units)
        Keys of their points; of equal activations the smaller key comes first, so that order does not matter.
    total : array, shape (units,)
        Sum over the points; NaN where an activation was no number.
    least : array, shape (units,)
    points : int
    """

    top: Floats
    owner: Keys
    total: Floats
    least: Floats
    points: int


class UnitMemorization(NamedTuple):
    """Of each unit.

    Attributes
    ----------
    unitmem : array, shape (units,)
        In [0, 1] for activations >= 0; NaN for a dead unit, and where an activation was no number.
    largest, rest : arrays, shape (units,)
        Mean activation for its most activating points, and for the others.
    owner : int64 array, shape (units,)
        Key of the most activating point.
    dead : bool array, shape (units,)
    """

    unitmem: Floats
    largest: Floats
    rest: Floats
    owner: Keys
    dead: npt.NDArray[np.bool_]


def rectified(activations: Any, *, how: Rectify) -> Any:
    """Activations before averaging, numpy or torch, made fit for UnitMem, whose range needs them to be >= 0.

    relu: as if the unit were followed by one; abs: by its size. shift (by the smallest mean activation of the unit) and none
    leave them: what is subtracted is known only at the end.
    """
    if how == "relu":
        return activations.clip(0)
    return abs(activations) if how == "abs" else activations


def unit_state(mu: npt.ArrayLike, keys: npt.ArrayLike, *, top: int = 1) -> UnitState:
    """State of some points.

    Parameters
    ----------
    mu : array, shape (n, units)
        Activation of each unit for each point, averaged over its views.
    keys : int64 array, shape (n,)
        Who the points are.
    top : int
        How many of the largest are kept.

    Notes
    -----
    O(top x n x units).
    """
    values, names = np.asarray(mu, np.float64), np.asarray(keys, np.int64)
    order = np.argsort(names, kind="stable")  # argmax takes the first of equal ones
    left, names = np.where(np.isnan(values), -np.inf, values)[order], names[order]
    units = values.shape[1]
    found = np.full((top, units), -np.inf)
    owner = np.zeros((top, units), np.int64)
    for place in range(min(top, len(names))):
        best = left.argmax(axis=0)
        found[place], owner[place] = left[best, np.arange(units)], names[best]
        left[best, np.arange(units)] = -np.inf
    least = values.min(axis=0) if len(values) else np.full(units, np.inf)
    return UnitState(found, owner, values.sum(axis=0), least, len(values))


def merge_units(states: Sequence[UnitState]) -> UnitState:
    """State of all points of several states: exact for maxima, owners and counts, to rounding for sums; in any order."""
    tops, owners = np.concatenate([state.top for state in states]), np.concatenate([state.owner for state in states])
    kept = np.lexsort((owners, -tops), axis=0)[: max(len(state.top) for state in states)]
    return UnitState(
        np.take_along_axis(tops, kept, axis=0),
        np.take_along_axis(owners, kept, axis=0),
        np.sum([state.total for state in states], axis=0),
        np.min([state.least for state in states], axis=0),
        sum(state.points for state in states),
    )


def unit_memorization_of(state: UnitState, *, shift: bool = False) -> UnitMemorization:
    """UnitMem with the mean of the rest ([1], eq. 4), from a merged state.

    Parameters
    ----------
    state : UnitState
        With m > 1 kept maxima the mean of the m largest takes the place of the largest (ours).
    shift : bool
        Subtract the smallest mean activation of each unit first.
    """
    m, n = len(state.top), state.points
    if n <= m:
        blank = np.full(len(state.total), np.nan)
        return UnitMemorization(blank, blank, blank, state.owner[0], np.zeros(len(blank), bool))
    largest = state.top.mean(axis=0)
    rest = (state.total - state.top.sum(axis=0)) / (n - m)
    if shift:
        largest, rest = largest - state.least, rest - state.least
    return _compared(largest, rest, state.owner[0])


def unit_memorization(mu: npt.ArrayLike, *, rest: Rest = "mean", top: int = 1) -> UnitMemorization:
    """Selectivity of each unit for its most activating point (UnitMem, [1], eq. 4).

    Parameters
    ----------
    mu : array, shape (n, units), >= 0
        Activation of each unit for each point, averaged over its views.
    rest : {"mean", "median"}
        What the largest is compared with: the mean of the other points, as the paper has it, or their median, as its code.

    Returns
    -------
    UnitMemorization
        The key of a point is its row.

    Notes
    -----
    (largest - rest) / (largest + rest). Compare units on the same points only: the largest of more points is larger. The
    median needs the whole matrix, the mean one pass (`unit_state`). O(n x units), with a median O(n log n x units).
    """
    values = np.asarray(mu, np.float64)
    state = unit_state(values, np.arange(len(values)), top=top)
    if rest == "mean" or len(values) <= top:
        return unit_memorization_of(state)
    others = np.sort(values, axis=0)[:-top]
    return _compared(state.top.mean(axis=0), np.median(others, axis=0), state.owner[0])


def _compared(largest: Floats, rest: Floats, owner: Keys) -> UnitMemorization:
    size = largest + rest
    dead = np.abs(size) < DEAD
    with np.errstate(invalid="ignore", divide="ignore"):
        unitmem = np.where(dead | ~np.isfinite(size), np.nan, (largest - rest) / size)
    return UnitMemorization(unitmem, largest, rest, owner, dead)
