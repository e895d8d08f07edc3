"""The points that units react to: are those that own units the memorized ones? ([1], section 5, in `method`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats import TestOutcome, welch
from assaymark.stats.memorization.scores import extremes

__all__ = ["OwnerTests", "owner_tests", "units_owned"]

Floats = npt.NDArray[np.float64]


class OwnerTests(NamedTuple):
    """Scores of owners against those of the others; UnitMem of units of the most against those of the least memorized."""

    scores: TestOutcome
    owning: Floats
    others: Floats
    units: TestOutcome
    of_most: Floats
    of_least: Floats


def units_owned(owners: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many units each point owns: it activates them most.

    Parameters
    ----------
    owners : int64 array, shape (units,)
        Key of the owner of each unit.
    keys : int64 array, shape (n,), distinct

    Returns
    -------
    array, shape (n,)
    """
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], owners), max(len(keys) - 1, 0))
    counts = np.zeros(len(keys), np.int64)
    if len(keys):
        mine = keys[order][place] == owners
        np.add.at(counts, order[place[mine]], 1)
    return counts


def owner_tests(
    raw: Floats, keys: npt.NDArray[np.int64], *, unitmem: Floats, owners: npt.NDArray[np.int64], size: int = 50
) -> OwnerTests:
    """Welch's tests, one-sided: owners have higher scores, and units of memorized points higher UnitMem.

    Parameters
    ----------
    raw : array, shape (n,)
        SSLMem of points that could own a unit; NaN where undefined.
    keys : int64 array, shape (n,)
    unitmem, owners : arrays, shape (units,)
        Of units that are defined.
    size : int
        Of the groups of the most and the least memorized points (50 in [1]).
    """
    known = np.isfinite(raw)
    raw, keys = raw[known], keys[known]
    owned = units_owned(owners, keys) > 0
    groups = extremes(raw, size=size)
    of_most, of_least = (unitmem[np.isin(owners, keys[rows])] for rows in (groups.most, groups.least))
    return OwnerTests(
        welch(raw[owned], raw[~owned], alternative="greater"),
        raw[owned],
        raw[~owned],
        welch(of_most, of_least, alternative="greater"),
        of_most,
        of_least,
    )
