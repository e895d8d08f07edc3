"""How unevenly items are spread over sources: domains, authors, people.

References
----------
.. [1] Gini, C. (1912). Variabilità e mutabilità. Bologna.
.. [2] Dixon, P. M. et al. (1987). Bootstrapping the Gini coefficient of inequality. Ecology 68, 1548-1551.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.bootstrap_weights import resample_weights
from assaymark.stats.checks import FloatArray, finite_vector, percent
from assaymark.stats.intervals import wilson
from assaymark.stats.resampling import percentile_estimate

__all__ = ["gini", "top_share"]


def _counts(counts: Any) -> FloatArray:
    array = finite_vector(counts, "counts")
    if np.any(array < 0):
        raise InputError(f"counts: {int(np.sum(array < 0))} are negative; a count is 0 or more")
    return array


def _gini_of_sorted(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Gini coefficient of each row of `weights`, shape (b, k), over ascending `values`, shape (k,); NaN where all are 0."""
    upto = np.cumsum(weights, axis=1)
    n = upto[:, -1]
    # a value occurring w times after r smaller units has ranks r + 1 .. r + w, which add up to w (2 r + w + 1) / 2
    rank_sums = weights * (2 * upto - weights + 1) / 2
    total = weights @ values
    with np.errstate(divide="ignore", invalid="ignore"):
        gini = 2 * (rank_sums @ values) / (n * total) - (n + 1) / n
    return np.where(total > 0, np.clip(gini, 0.0, 1.0), np.nan)


def gini(counts: Any, *, rng: np.random.Generator, resamples: int = 1000, confidence: float = 0.95) -> Estimate:
    """Gini coefficient of counts per source, with a bootstrap over sources ([2]).

    Parameters
    ----------
    counts : array_like, shape (sources,), >= 0
        Items of each source; sources without items count, so leave them out if they are not meant.
    rng : numpy.random.Generator

    Returns
    -------
    Estimate
        In [0, 1): 0 when all sources are equal, (n - 1) / n when one holds everything. n is the number of sources.
        Undefined below two sources or without items.

    Notes
    -----
    O(n log n + resamples * distinct counts).
    """
    array = _counts(counts)
    method = f"Gini, bootstrap {percent(confidence)}, {resamples} resamples of sources"
    if array.size < 2:
        return undefined("a Gini coefficient needs at least 2 sources", n=array.size, method=method)
    if not array.any():
        return undefined("no source has an item", n=array.size, method=method)
    values, multiplicity = np.unique(array, return_counts=True)
    point = float(_gini_of_sorted(values, multiplicity[None, :].astype(np.float64))[0])
    blocks = resample_weights(multiplicity, rng=rng, resamples=resamples)
    draws = np.concatenate([_gini_of_sorted(values, weights) for weights in blocks])
    return percentile_estimate(point, draws, n=array.size, method=method, confidence=confidence)


def top_share(counts: Any, k: int, *, confidence: float = 0.95) -> Estimate:
    """Share of all items that comes from the k largest sources, Wilson interval.

    The interval treats items as drawn independently and the identity of the k sources as given; n is the number of items.
    With k or fewer sources the share is 1 by definition. Undefined without items.
    """
    if k < 1:
        raise ValueError(f"k = {k}: the top has at least one source")
    array = _counts(counts)
    largest = np.partition(array, array.size - k)[-k:] if array.size > k else array
    estimate = wilson(float(largest.sum()), float(array.sum()), confidence=confidence)
    if not estimate.defined:
        return undefined("no source has an item", method=estimate.method, unit="share")
    return estimate
