"""Bootstrap intervals of means, ratios, differences and any other statistic, of rows or of whole clusters.

All means here are ratios of two column sums, so one vectorised routine serves plain, weighted and clustered data. With
clusters (shards, domains, annotators) it is the clusters that are drawn, and rows are first summed within each: the interval
then covers the variation between clusters, which row-wise intervals miss. Intervals are percentile intervals, widened where
needed to contain the point.

References
----------
.. [1] Efron, B. and Tibshirani, R. (1993). An Introduction to the Bootstrap. Chapman & Hall, sections 8.3 and 13.3.
.. [2] Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application. Cambridge, section 3.8 (clusters).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.bootstrap_weights import resample_weights, resampled_sums
from assaymark.stats.checks import FloatArray, finite_vector, percent

__all__ = [
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_statistic",
    "percentile_estimate",
]


def percentile_estimate(
    point: float,
    draws: Any,
    *,
    n: int,
    method: str = "",
    unit: Unit = "number",
    confidence: float = 0.95,
) -> Estimate:
    """Percentile interval ([1], section 13.3) of a statistic from its values on resamples.

    Parameters
    ----------
    point : float
        The statistic on the data themselves.
    draws : array_like, shape (resamples,)
        Values on resamples; NaN where a resample left the statistic undefined.
    method : str
        Used as given; by default `"bootstrap 95 %, 1000 resamples"`.

    Returns
    -------
    Estimate
        Limits widened to contain the point. Undefined when the point is, or when more than half of the resamples are.
    """
    values = np.asarray(draws, dtype=np.float64)
    method = method or f"bootstrap {percent(confidence)}, {values.size} resamples"
    if not np.isfinite(point):
        return undefined("the statistic is not defined on these data", n=n, method=method, unit=unit)
    finite = values[np.isfinite(values)]
    lost = values.size - finite.size
    if finite.size < 2 or lost > values.size / 2:
        return undefined(f"the statistic is not defined on {lost} of {values.size} resamples", n=n, method=method, unit=unit)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(finite, (tail, 1.0 - tail))
    if lost:
        method += f" ({lost} without a value left out)"
    return Estimate(point, min(float(low), point), max(float(high), point), n, method, unit)


class _Sampling(NamedTuple):
    """The units that are drawn: rows, or clusters with the position of each row's cluster."""

    units: int
    rows: int
    cluster_of: npt.NDArray[np.int64] | None

    def name(self, confidence: float, resamples: int) -> str:
        if self.cluster_of is None:
            return f"bootstrap {percent(confidence)}, {resamples} resamples"
        return f"cluster bootstrap {percent(confidence)}, {resamples} resamples of {self.units} clusters"

    @property
    def lack(self) -> str:
        """Why the data are too few, or nothing."""
        if self.units >= 2:
            return ""
        if self.cluster_of is None or self.rows == 0:
            return f"a bootstrap needs at least 2 values, there {'is 1' if self.rows else 'are none'}"
        return "all rows are of one cluster, which cannot say how clusters vary"

    def unit_sums(self, columns: FloatArray) -> FloatArray:
        """Sum of each column, shape (rows, k), within each unit: shape (units, k)."""
        if self.cluster_of is None:
            return columns
        return np.column_stack([np.bincount(self.cluster_of, weights=c, minlength=self.units) for c in columns.T])


def _sampling(rows: int, clusters: Any) -> _Sampling:
    if clusters is None:
        return _Sampling(rows, rows, None)
    labels = np.asarray(clusters)
    if labels.shape != (rows,):
        raise ValueError(f"{rows} rows but cluster labels of shape {labels.shape}")
    distinct, position = np.unique(labels, return_inverse=True)
    return _Sampling(distinct.size, rows, position)


def _ratio_draws(columns: FloatArray, sampling: _Sampling, rng: np.random.Generator, resamples: int) -> FloatArray:
    """Ratio of the sums of the two columns on each resample; NaN where the denominator is 0."""
    sums = resampled_sums(sampling.unit_sums(columns), rng=rng, resamples=resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[:, 1] != 0, sums[:, 0] / sums[:, 1], np.nan)


def bootstrap_ratio(
    numerators: Any,
    denominators: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    clusters: Any = None,
    confidence: float = 0.95,
    unit: Unit = "ratio",
) -> Estimate:
    """Ratio of two sums over the same rows, such as hits per word or a rate from counts by shard.

    Parameters
    ----------
    numerators, denominators : array_like, shape (n,), finite
        The estimate is sum(numerators) / sum(denominators). A row is drawn as a whole.
    rng : numpy.random.Generator
    clusters : array_like, shape (n,), optional
        Labels; clusters are drawn instead of rows.

    Returns
    -------
    Estimate
        n is the number of rows. Undefined below two rows (clusters), or when the denominators sum to zero.
    """
    top, bottom = finite_vector(numerators, "numerators"), finite_vector(denominators, "denominators")
    if top.shape != bottom.shape:
        raise ValueError(f"{top.size} numerators but {bottom.size} denominators")
    sampling = _sampling(top.size, clusters)
    method = sampling.name(confidence, resamples)
    total = float(bottom.sum())
    reason = sampling.lack or ("the denominators sum to 0" if total == 0 else "")
    if reason:
        return undefined(reason, n=top.size, method=method, unit=unit)
    draws = _ratio_draws(np.column_stack([top, bottom]), sampling, rng, resamples)
    return percentile_estimate(float(top.sum()) / total, draws, n=top.size, method=method, unit=unit, confidence=confidence)


def bootstrap_mean(
    values: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    weights: Any = None,
    clusters: Any = None,
    confidence: float = 0.95,
    unit: Unit = "number",
) -> Estimate:
    """Mean, or weighted mean, with a percentile bootstrap interval.

    Parameters
    ----------
    values : array_like, shape (n,), finite
    rng : numpy.random.Generator
        Same generator state, same interval.
    weights : array_like, shape (n,), >= 0, optional
        Weight of each value in the mean; a drawn row brings its weight along.
    clusters : array_like, shape (n,), optional
        Labels; whole clusters are drawn instead of rows.

    Returns
    -------
    Estimate
        Undefined with a reason below two values, or when all values are of one cluster. Equal values give an interval
        without width: a bootstrap cannot see what did not occur, so use `wilson` for shares at 0 or 1.

    Notes
    -----
    Time O(resamples * n) for continuous values, O(n + resamples) for 0/1 values, O(n + resamples * clusters) for clusters.
    """
    array = finite_vector(values)
    share = np.ones(array.size) if weights is None else finite_vector(weights, "weights")
    if np.any(share < 0):
        raise InputError(f"weights: {int(np.sum(share < 0))} are negative; a weight is 0 or more")
    if share.shape != array.shape:
        raise ValueError(f"{array.size} values but {share.size} weights")
    return bootstrap_ratio(
        array * share, share, rng=rng, resamples=resamples, clusters=clusters, confidence=confidence, unit=unit
    )


def bootstrap_difference(
    a: Any,
    b: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    paired: bool = False,
    clusters_a: Any = None,
    clusters_b: Any = None,
    confidence: float = 0.95,
    unit: Unit = "number",
) -> Estimate:
    """Difference of means, mean(a) - mean(b), of independent or paired samples.

    Parameters
    ----------
    a, b : array_like, shapes (n,) and (m,), finite
        One length when paired.
    paired : bool
        Draw pairs: the interval of the mean of a - b; `clusters_a` then holds the clusters of the pairs.
    clusters_a, clusters_b : array_like, optional
        Labels by sample; clusters are drawn instead of rows.

    Returns
    -------
    Estimate
        n is the number of pairs, or of values in both samples.
    """
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    if paired:
        if first.shape != second.shape:
            raise ValueError(f"pairs of {first.size} and {second.size} values")
        return bootstrap_mean(
            first - second, rng=rng, resamples=resamples, clusters=clusters_a, confidence=confidence, unit=unit
        )
    samples = [(first, _sampling(first.size, clusters_a)), (second, _sampling(second.size, clusters_b))]
    method, n = samples[0][1].name(confidence, resamples), first.size + second.size
    for name, (_, sampling) in zip("ab", samples, strict=True):
        if sampling.lack:
            return undefined(f"sample {name}: {sampling.lack}", n=n, method=method, unit=unit)
    draws_a, draws_b = (
        _ratio_draws(np.column_stack([x, np.ones(x.size)]), sampling, rng, resamples) for x, sampling in samples
    )
    point = float(first.mean() - second.mean())
    return percentile_estimate(point, draws_a - draws_b, n=n, method=method, unit=unit, confidence=confidence)


def bootstrap_statistic(
    arrays: Sequence[Any],
    statistic: Callable[..., Any],
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    clusters: Any = None,
    takes_weights: bool = False,
    confidence: float = 0.95,
    unit: Unit = "number",
) -> Estimate:
    """Any statistic of arrays that are resampled together along their first axis.

    Parameters
    ----------
    arrays : sequence of arrays, each of length n
    statistic : callable
        `statistic(*arrays) -> float`, NaN where undefined. With `takes_weights` it is
        `statistic(weights, *arrays) -> (resamples,)` on weights of shape (resamples, n), which is much faster where
        the statistic can be written with weights.
    clusters : array_like, shape (n,), optional

    Returns
    -------
    Estimate

    Notes
    -----
    Without `takes_weights` the statistic is called once for each resample on arrays whose rows are in the data's order.
    """
    columns = [np.asarray(array) for array in arrays]
    rows = len(columns[0]) if columns else 0
    if any(len(column) != rows for column in columns):
        raise ValueError(f"arrays of different lengths: {[len(column) for column in columns]}")
    sampling = _sampling(rows, clusters)
    method = sampling.name(confidence, resamples)
    if sampling.lack:
        return undefined(sampling.lack, n=rows, method=method, unit=unit)
    draws: list[FloatArray] = []
    for block in resample_weights(np.ones(sampling.units), rng=rng, resamples=resamples, width=rows):
        weights = block if sampling.cluster_of is None else block[:, sampling.cluster_of]
        if takes_weights:
            draws.append(np.asarray(statistic(weights, *columns), dtype=np.float64))
            continue
        picked = (np.repeat(np.arange(rows), row.astype(np.int64)) for row in weights)
        draws.append(np.array([float(statistic(*(c[index] for c in columns))) for index in picked]))
    point = statistic(np.ones((1, rows)), *columns)[0] if takes_weights else statistic(*columns)
    return percentile_estimate(float(point), np.concatenate(draws), n=rows, method=method, unit=unit, confidence=confidence)
