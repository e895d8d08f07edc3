"""Point estimators of prevalence from binned scores: classify-and-count and what corrects it.

Every function works along the last axis (bins) and broadcasts over all leading ones, so that one call serves the cells of a
table (months, platforms) or a thousand resamples of each.

References
----------
.. [1] Forman, G. (2008). Quantifying counts and costs via classification. DMKD 17, 164-206 (CC, ACC).
.. [2] Bella, A. et al. (2010). Quantification via probability estimators. ICDM (PCC, PACC).
.. [3] Saerens, M., Latinne, P. and Decaestecker, C. (2002). Adjusting the outputs of a classifier to new a priori
   probabilities. Neural Computation 14, 21-41 (EMQ).
.. [4] González-Castro, V., Alaiz-Rodríguez, R. and Alegre, E. (2013). Class distribution estimation based on the Hellinger
   distance. Information Sciences 218, 146-164 (HDy).
.. [5] Maletzke, A. et al. (2019). DyS: a framework for mixture models in quantification. AAAI (Topsøe distance).
.. [6] Liang, W. et al. (2024). Monitoring AI-modified content at scale. ICML (distributional quantification).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.stats.checks import FloatArray
from assaymark.stats.prevalence.binned import LabelledBins, regrouped
from assaymark.stats.prevalence.concave import Slopes, affine_ratio, log_mixture_slopes, maximise_share

__all__ = ["HISTOGRAMS", "MIXTURE_BINS", "acc", "adjusted", "cc", "dys", "emq", "emq_iterations", "hdy", "mle", "pacc", "pcc"]

HISTOGRAMS = (8, 16, 32, 64)
MIXTURE_BINS = 32
# below this the mass of a bin has no influence that rounding would not have
_LEAST_MASS = 1e-12

Counts = npt.NDArray[Any]


def threshold_bin(threshold: float, bins: int) -> int:
    """First bin that is called positive: the bin boundary nearest to the threshold."""
    if not 0.0 < threshold < 1.0:
        raise ConfigError(f"threshold {threshold!r} is not between 0 and 1")
    return round(threshold * bins)


def cc(targets: Counts, *, threshold: float = 0.5) -> FloatArray:
    """Classify and count ([1]): share of items scored at or above the threshold; the AI Attribution Rate is this.

    Parameters
    ----------
    targets : array, shape (..., bins)
        Counts; here and below NaN where there is no item.
    threshold : float
        Taken at the nearest bin boundary, so it moves by at most half a bin.

    Returns
    -------
    array, shape (...)
    """
    called = targets[..., threshold_bin(threshold, targets.shape[-1]) :].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(called / targets.sum(axis=-1), dtype=np.float64)


def adjusted(observed: Any, at_zero: Any, at_one: Any, *, clip: bool = True) -> FloatArray:
    """(observed - at_zero) / (at_one - at_zero), clipped to [0, 1]; NaN where at_one does not exceed at_zero.

    Without the clip it can lie outside, as differences and means of shares want it: see `Quantification.difference`.
    """
    gap = np.asarray(at_one, dtype=np.float64) - at_zero
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (observed - np.asarray(at_zero)) / np.where(gap > 0, gap, np.nan)
    return np.asarray(np.clip(share, 0.0, 1.0) if clip else share)


def acc(labelled: LabelledBins, targets: Counts, *, threshold: float = 0.5) -> FloatArray:
    """Adjusted classify and count ([1]), the Rogan-Gladen estimate (CC - FPR) / (TPR - FPR) on counts, clipped to [0, 1]."""
    rates = (cc(part, threshold=threshold) for part in labelled)
    return adjusted(cc(targets, threshold=threshold), *rates)


def pcc(targets: Counts, posterior: FloatArray) -> FloatArray:
    """Probabilistic classify and count ([2]): mean posterior of the items; posterior has shape (..., bins)."""
    weight = np.asarray(targets, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.einsum("...b,...b->...", weight, posterior) / weight.sum(axis=-1))


def pacc(labelled: LabelledBins, targets: Counts, posterior: FloatArray) -> FloatArray:
    """Adjusted PCC ([2]): (mean s - mean s|0) / (mean s|1 - mean s|0), clipped to [0, 1]."""
    return adjusted(pcc(targets, posterior), *(pcc(part, posterior) for part in labelled))


def emq(targets: Counts, posterior: FloatArray, prior: Any) -> FloatArray:
    """Maximum likelihood prevalence under prior shift: the fixed point of the EM iteration of [3], without the iterations.

    Parameters
    ----------
    targets : array, shape (..., bins)
    posterior : array, shape (..., bins), inside (0, 1)
        Calibrated P(positive | bin) at the prevalence `prior`.
    prior : array_like, shape (...)

    Returns
    -------
    array, shape (...)

    Notes
    -----
    EM climbs sum_b t_b log(q s_b / p0 + (1 - q)(1 - s_b) / (1 - p0)), which is concave in q; Newton's method finds the same
    maximum in some six steps where EM may need thousands (it slows down with the overlap of the classes). O(bins) a step.
    """
    weight = np.asarray(targets, dtype=np.float64)
    p0 = np.asarray(prior, dtype=np.float64)[..., None]
    ratio = affine_ratio((1.0 - posterior) / (1.0 - p0), posterior / p0)
    return _where_items(weight, maximise_share(log_mixture_slopes(weight, ratio), _halves(weight, posterior)))


def emq_iterations(
    targets: Counts, posterior: FloatArray, prior: float, *, tolerance: float = 1e-6, iterations: int = 1000
) -> float:
    """The EM iteration as published ([3]), one cell: the reference for `emq`, slow and never beyond its own tolerance.

    q starts at the prior p0; s_b' = (q / p0) s_b / ((q / p0) s_b + ((1 - q) / (1 - p0)) (1 - s_b)); q <- mean of s'.
    """
    weight = np.asarray(targets, dtype=np.float64)
    q = prior
    for _ in range(iterations):
        one, zero = q / prior * posterior, (1.0 - q) / (1.0 - prior) * (1.0 - posterior)
        before, q = q, float(weight @ (one / (one + zero)) / weight.sum())
        if abs(q - before) < tolerance:
            break
    return q


def hdy(labelled: LabelledBins, targets: Counts, *, histograms: Sequence[int] = HISTOGRAMS) -> FloatArray:
    """Prevalence whose mixture of the class histograms has the least Hellinger distance to the targets' ([4]).

    Parameters
    ----------
    labelled : LabelledBins, shape (..., bins)
    targets : array, shape (..., bins)
    histograms : sequence of int
        Numbers of bins; the estimate is the median over them ([4] takes 10, 20, ..., 110).

    Notes
    -----
    1 - H^2 = sum_b sqrt(t_b ((1 - a) h_b + a m_b)) is concave in a, so Newton's method replaces the search over a grid.
    """

    def slopes_of(target: FloatArray, zero: FloatArray, one: FloatArray) -> Callable[[FloatArray], Slopes]:
        root, gap = np.sqrt(target) * 0.5, one - zero

        def slopes(a: FloatArray) -> Slopes:
            mixture = np.maximum(zero + a[..., None] * gap, _LEAST_MASS)
            u = gap / mixture
            pull = root * np.sqrt(mixture) * u
            return Slopes(pull.sum(axis=-1), -0.5 * np.einsum("...b,...b->...", pull, u))

        return slopes

    return _matched(labelled, targets, histograms, slopes_of)


def dys(labelled: LabelledBins, targets: Counts, *, histograms: Sequence[int] = HISTOGRAMS) -> FloatArray:
    """As `hdy` with the Topsøe distance sum t log(2t / (t + q)) + q log(2q / (t + q)), the best of those compared in [5].

    The distance is convex in the mixture q, hence in a: d/da = sum d_b log(2 q_b / (t_b + q_b)).
    """

    def slopes_of(target: FloatArray, zero: FloatArray, one: FloatArray) -> Callable[[FloatArray], Slopes]:
        gap = one - zero

        def slopes(a: FloatArray) -> Slopes:
            mixture = np.maximum(zero + a[..., None] * gap, _LEAST_MASS)
            both = mixture + target
            first = -np.einsum("...b,...b->...", gap, np.log(2.0 * mixture / both))
            return Slopes(first, -np.sum(gap * gap * target / (mixture * both), axis=-1))

        return slopes

    return _matched(labelled, targets, histograms, slopes_of)


def mle(labelled: LabelledBins, targets: Counts, *, bins: int = MIXTURE_BINS) -> FloatArray:
    """Maximum likelihood of a mixture of the two class histograms ([6] with score bins for words): sum t_b log(c_b + a d_b).

    Each class histogram takes one further item spread like all labelled items, (k_b + share_b) / (n + 1): no bin that holds a
    labelled item then has probability 0 in either class. Target items in bins without any labelled item say nothing.
    """
    zero, one = (np.asarray(regrouped(part, bins), dtype=np.float64) for part in labelled)
    both = zero + one
    share = both / both.sum(axis=-1, keepdims=True)
    zero, one = ((part + share) / (part.sum(axis=-1, keepdims=True) + 1.0) for part in (zero, one))
    weight = np.asarray(regrouped(targets, bins), dtype=np.float64)
    return _where_items(weight, maximise_share(log_mixture_slopes(weight, affine_ratio(zero, one)), _halves(weight, zero)))


def _matched(
    labelled: LabelledBins,
    targets: Counts,
    histograms: Sequence[int],
    slopes_of: Callable[[FloatArray, FloatArray, FloatArray], Callable[[FloatArray], Slopes]],
) -> FloatArray:
    """Median over the numbers of bins of the share that brings the mixture nearest to the targets."""
    found = []
    start: FloatArray | None = None
    for groups in histograms:
        zero, one, target = (_distribution(regrouped(part, groups)) for part in (*labelled, targets))
        start = _halves(target, zero) if start is None else start
        start = _where_items(target, maximise_share(slopes_of(target, zero, one), start))
        found.append(start)
    return np.asarray(np.median(found, axis=0))


def _distribution(counts: Counts) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(counts / counts.sum(axis=-1, keepdims=True), dtype=np.float64)


def _halves(first: FloatArray, second: FloatArray) -> FloatArray:
    """Starting shares for the leading axes of both."""
    return np.full(np.broadcast_shapes(first.shape, second.shape)[:-1], 0.5)


def _where_items(weight: FloatArray, share: FloatArray) -> FloatArray:
    """NaN where there is no item, whose flat likelihood would read as 0."""
    return np.where(weight.sum(axis=-1) > 0, share, np.nan)
