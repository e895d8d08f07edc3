"""How often each item occurs in each bootstrap resample, drawn for many resamples at once.

A resample of n items is a multinomial vector of n trials over the items. What a bootstrap of sums needs is only the matrix
product of these weights with the columns to be summed, so no resample is ever built. Two things keep this cheap:

* items with equal values are one group with a multiplicity: 0/1 data of any size cost two multinomial cells per resample;
* weights are drawn in blocks of about a megabyte, so memory does not grow with n x resamples and blocks stay in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.stats.checks import FloatArray

__all__ = ["Groups", "group_equal_rows", "resample_weights", "resampled_sums"]

IntArray = npt.NDArray[np.int64]

BLOCK_ITEMS = 1 << 17
MOST_LEVELS = 64
SCREENED = 4096


class Groups(NamedTuple):
    """Distinct rows and how many items share each."""

    rows: FloatArray  # (groups, columns)
    multiplicity: IntArray  # (groups,)


class _Levels(NamedTuple):
    values: FloatArray
    codes: IntArray


def _levels(column: FloatArray) -> _Levels | None:
    """Distinct values and their codes, or None when there are more than `MOST_LEVELS`; O(n log levels), without sorting."""
    values = np.unique(column[:SCREENED])
    while values.size <= MOST_LEVELS:
        codes = np.minimum(np.searchsorted(values, column), values.size - 1)
        missed = column[values[codes] != column]
        if missed.size == 0:
            return _Levels(values, codes)
        values = np.union1d(values, missed[:SCREENED])
    return None


def group_equal_rows(columns: FloatArray) -> Groups:
    """Distinct rows of `columns`, shape (n, k), with multiplicities; the rows themselves when too many are distinct."""
    n = len(columns)
    every = Groups(columns, np.ones(n, dtype=np.int64))
    cells, code = 1, np.zeros(n, dtype=np.int64)
    for column in columns.T:
        levels = _levels(np.ascontiguousarray(column))
        if levels is None or cells * levels.values.size > SCREENED:
            return every
        cells *= levels.values.size
        code = code * levels.values.size + levels.codes
    multiplicity = np.bincount(code, minlength=cells)
    present = np.flatnonzero(multiplicity)
    # a multinomial cell costs about as much as drawing ten items one by one
    if present.size * 10 > n:
        return every
    first = np.empty(cells, dtype=np.int64)
    first[code] = np.arange(n)
    return Groups(columns[first[present]], multiplicity[present])


def resample_weights(
    multiplicity: npt.ArrayLike, *, rng: np.random.Generator, resamples: int, width: int = 0
) -> Iterator[FloatArray]:
    """Blocks of bootstrap weights: row r says how often each group occurs in resample r.

    Parameters
    ----------
    multiplicity : array_like of int, shape (groups,)
        Items in each group; all ones for separate items.
    rng : numpy.random.Generator
        The only source of randomness: same state, same weights.
    resamples : int
    width : int
        Elements that the caller needs for each resample, when that is more than the number of groups.

    Yields
    ------
    array, shape (some resamples, groups), float64
        Rows sum to the number of items. The blocks together have `resamples` rows.
    """
    if resamples < 2:
        raise ConfigError(f"resamples = {resamples}: a bootstrap needs at least 2, and a thousand for a 95 % interval")
    sizes = np.asarray(multiplicity, dtype=np.int64)
    rows = max(1, BLOCK_ITEMS // max(sizes.size, width, 1))
    separate = bool(np.all(sizes == 1))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        if separate:
            yield _separate_weights(sizes.size, count, rng)
        else:
            yield rng.multinomial(int(sizes.sum()), sizes / sizes.sum(), size=count).astype(np.float64)


def _separate_weights(n: int, count: int, rng: np.random.Generator) -> FloatArray:
    """Multinomial weights over n single items: draw n indices for each resample, count them."""
    picks = rng.integers(0, n, size=(count, n))
    picks += np.arange(count)[:, None] * n
    return np.bincount(picks.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


def resampled_sums(columns: Any, *, rng: np.random.Generator, resamples: int) -> FloatArray:
    """Column sums of bootstrap resamples of the rows.

    Parameters
    ----------
    columns : array, shape (n, k)

    Returns
    -------
    array, shape (resamples, k)

    Notes
    -----
    O(resamples * groups) where at most 64 distinct values occur in each column, O(resamples * n) otherwise; memory O(n).
    """
    groups = group_equal_rows(np.asarray(columns, dtype=np.float64))
    return np.concatenate(
        [weights @ groups.rows for weights in resample_weights(groups.multiplicity, rng=rng, resamples=resamples)]
    )
