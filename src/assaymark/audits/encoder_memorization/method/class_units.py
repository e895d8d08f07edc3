"""ClassMem: how much a unit reacts to one class, the selectivity index of [3] in `method`, as [1] sets it beside UnitMem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats.memorization.units import DEAD

__all__ = ["ClassMemorization", "ClassState", "Others", "class_memorization", "class_memorization_of", "class_state"]

Floats = npt.NDArray[np.float64]
Others = Literal["classes", "points"]


class ClassState(NamedTuple):
    """Sums of mean activations, shape (classes, units), and points of each class, shape (classes,); states add up."""

    total: Floats
    points: npt.NDArray[np.int64]


class ClassMemorization(NamedTuple):
    """Of each unit: ClassMem, shape (units,), NaN where dead or with fewer than two classes; the class it prefers."""

    classmem: Floats
    favourite: npt.NDArray[np.int64]


def class_state(mu: npt.ArrayLike, labels: npt.ArrayLike, *, classes: int) -> ClassState:
    """State of some points: `mu` has shape (n, units), `labels` shape (n,), in [0, classes), -1 where there is none."""
    values, codes = np.asarray(mu, np.float64), np.asarray(labels, np.int64)
    known = codes >= 0
    total = np.zeros((classes, values.shape[1]))
    np.add.at(total, codes[known], values[known])
    return ClassState(total, np.bincount(codes[known], minlength=classes))


def class_memorization_of(states: Sequence[ClassState], *, others: Others = "classes") -> ClassMemorization:
    """ClassMem from states; see `class_memorization`."""
    total, count = np.sum([state.total for state in states], axis=0), np.sum([state.points for state in states], axis=0)
    present = np.flatnonzero(count)
    if len(present) < 2:
        return ClassMemorization(np.full(total.shape[1], np.nan), np.full(total.shape[1], -1))
    sums, sizes = total[present], count[present]
    means = sums / sizes[:, None]
    best = np.nan_to_num(means, nan=-np.inf).argmax(axis=0)
    columns = np.arange(means.shape[1])
    largest = means[best, columns]
    if others == "classes":
        rest = (means.sum(axis=0) - largest) / (len(present) - 1)
    else:
        rest = (sums.sum(axis=0) - sums[best, columns]) / (sizes.sum() - sizes[best])
    size = largest + rest
    with np.errstate(invalid="ignore", divide="ignore"):
        classmem = np.where(np.abs(size) < DEAD, np.nan, (largest - rest) / size)
    return ClassMemorization(classmem, present[best])


def class_memorization(
    mu: npt.ArrayLike, labels: npt.ArrayLike, *, classes: int | None = None, others: Others = "classes"
) -> ClassMemorization:
    """Selectivity of each unit for the class that it reacts to most ([3]; ClassMem of [1]).

    Parameters
    ----------
    mu : array, shape (n, units), >= 0
    labels : int array, shape (n,), -1 where there is none
    others : {"classes", "points"}
        The rest is the mean over the means of the other classes, or over their points, which weighs classes by their size.

    Notes
    -----
    (largest - rest) / (largest + rest) of class means. O(n x units).
    """
    codes = np.asarray(labels, np.int64)
    known = int(codes.max()) + 1 if codes.size else 0
    return class_memorization_of([class_state(mu, codes, classes=classes or max(known, 1))], others=others)
