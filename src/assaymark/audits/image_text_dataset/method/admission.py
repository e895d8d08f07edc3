"""A similarity cut-off as a curation rule: what and whom it lets in, threshold by threshold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import Limits, ratio_limits, wilson, wilson_limits

__all__ = [
    "FourFifths",
    "ShareCurve",
    "ThresholdCurve",
    "equal_kept_share",
    "four_fifths",
    "histogram_at_least",
    "threshold_curve",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ShareCurve(NamedTuple):
    """A share over a grid, arrays (..., n_points): successes, trials, value, Wilson limits; NaN where nothing is counted."""

    successes: Counts
    trials: Counts
    value: Floats
    limits: Limits

    def at(self, index: int | tuple[int, ...], *, confidence: float = 0.95) -> Estimate:
        return wilson(int(self.successes[index]), int(self.trials[index]), confidence=confidence)


def share_curve(successes: npt.ArrayLike, trials: npt.ArrayLike, *, confidence: float = 0.95) -> ShareCurve:
    """Element-wise shares with Wilson limits."""
    k, n = np.broadcast_arrays(np.asarray(successes, np.int64), np.asarray(trials, np.int64))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = k / n
    return ShareCurve(k, n, value, wilson_limits(k, n, confidence=confidence))


def histogram_at_least(counts: npt.ArrayLike, edges: npt.ArrayLike, tau: npt.ArrayLike) -> Counts:
    """Rows with value >= tau from histograms with bins [edge_i, edge_i+1).

    Parameters
    ----------
    counts : int array, shape (..., n_bins)
    edges : array, shape (n_bins + 1,), ascending
    tau : array, shape (n_points,)
        Each must be an edge (within 1e-9): between edges a histogram does not know the answer.

    Returns
    -------
    int64 array, shape (..., n_points)

    Raises
    ------
    ValueError
        A threshold inside a bin.
    """
    counts, edges, tau = np.asarray(counts, np.int64), np.asarray(edges, np.float64), np.atleast_1d(np.asarray(tau, np.float64))
    if counts.shape[-1] != len(edges) - 1:
        raise ValueError(f"{counts.shape[-1]} bins need {counts.shape[-1] + 1} edges, not {len(edges)}")
    nearest = np.abs(edges[None, :] - tau[:, None]).argmin(axis=1)
    off = np.abs(edges[nearest] - tau) > 1e-9
    if off.any():
        raise ValueError(f"threshold {tau[off][0]:g} is not an edge of the histogram")
    suffix = np.zeros((*counts.shape[:-1], len(edges)), dtype=np.int64)
    suffix[..., :-1] = counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return np.asarray(suffix[..., nearest])


class ThresholdCurve(NamedTuple):
    """Curves over tau. A pair is kept iff similarity >= tau.

    Attributes
    ----------
    tau : float64 (n_tau,)
    kept : share of all rows that are kept
    unsafe_kept, unsafe_dropped : share of unsafe rows among the kept, and among the dropped
    group_kept, group_dropped : share of each group's rows among the kept / dropped, (n_groups, n_tau)
    admission : share of each group's rows that are kept, (n_groups, n_tau)
    """

    tau: Floats
    kept: ShareCurve
    unsafe_kept: ShareCurve
    unsafe_dropped: ShareCurve
    group_kept: ShareCurve
    group_dropped: ShareCurve
    admission: ShareCurve


def threshold_curve(
    total: npt.ArrayLike,
    unsafe: npt.ArrayLike,
    groups: npt.ArrayLike,
    edges: npt.ArrayLike,
    tau: npt.ArrayLike,
    *,
    confidence: float = 0.95,
) -> ThresholdCurve:
    """Threshold curve from histograms of similarity.

    Parameters
    ----------
    total, unsafe : int array, shape (n_bins,)
        Histogram of all scored rows, and of those with the unsafe label.
    groups : int array, shape (n_groups, n_bins)
        Histogram per group (a row may belong to several, or none); shape (0, n_bins) without groups.
    edges : array, shape (n_bins + 1,)
    tau : array, shape (n_tau,), edges of the histogram
        The paper's range is 0.15 to 0.40.
    """
    total, unsafe = np.asarray(total, np.int64), np.asarray(unsafe, np.int64)
    groups = np.asarray(groups, np.int64).reshape(-1, len(total))
    if (unsafe > total).any() or (groups > total).any():
        raise ValueError("a bin holds more unsafe or group rows than rows")
    kept, kept_unsafe, kept_group = (histogram_at_least(x, edges, tau) for x in (total, unsafe, groups))
    n, n_unsafe, n_group = total.sum(), unsafe.sum(), groups.sum(axis=1, keepdims=True)

    def curve(successes: Counts, trials: npt.ArrayLike) -> ShareCurve:
        return share_curve(successes, trials, confidence=confidence)

    return ThresholdCurve(
        np.atleast_1d(np.asarray(tau, np.float64)),
        curve(kept, n),
        curve(kept_unsafe, kept),
        curve(n_unsafe - kept_unsafe, n - kept),
        curve(kept_group, kept),
        curve(n_group - kept_group, n - kept),
        curve(kept_group, n_group),
    )


class FourFifths(NamedTuple):
    """Admission ratio to a reference group, (n_groups, n_tau), its limits, and where it surely is below four fifths."""

    reference: npt.NDArray[np.int64]
    ratio: Floats
    limits: Limits
    below: npt.NDArray[np.bool_]


def four_fifths(admission: ShareCurve, *, reference: int | None = None, confidence: float = 0.95) -> FourFifths:
    """Four-fifths rule at each threshold: admission rate of each group over that of the best admitted one.

    Parameters
    ----------
    admission : ShareCurve, arrays (n_groups, n_tau)
    reference : int, optional
        Group to compare with; by default the one with the highest rate at each tau. Choosing the highest makes the ratios a
        little too low by chance in small groups; name the reference for a test.

    Returns
    -------
    FourFifths
        `below` needs the upper limit under 0.8. The reference's own ratio is 1 with limits 1. NaN where nothing is admitted.
    """
    k, n = admission.successes, admission.trials
    rate = np.where(n > 0, admission.value, -1.0)
    best = rate.argmax(axis=0) if reference is None else np.full(k.shape[1], reference)
    column = np.arange(k.shape[1])
    base_k, base_n = np.broadcast_to(k[best, column], k.shape), np.broadcast_to(n[best, column], k.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (k / n) / (base_k / base_n)
    low, high = ratio_limits(k, n, base_k, base_n, kind="risk", confidence=confidence)
    # A zero cell moves the log interval off the plain ratio (half a count is added): keep the ratio inside its limits.
    low, high = np.fmin(low, ratio), np.fmax(high, ratio)
    own = np.arange(len(k))[:, None] == best[None, :]
    undefined_there = np.isnan(ratio)
    low, high = (np.where(undefined_there, np.nan, np.where(own, 1.0, x)) for x in (low, high))
    return FourFifths(np.asarray(best, np.int64), ratio, Limits(low, high), high < 0.8)


def equal_kept_share(counts: npt.ArrayLike, edges: npt.ArrayLike, *, share: float, confidence: float = 0.95) -> Estimate:
    """Threshold at which an encoder keeps `share` of the rows: thresholds do not transfer between encoders.

    Parameters
    ----------
    counts : int array, shape (n_bins,)
        Histogram of the encoder's similarity.
    share : float in (0, 1)
        Share that another encoder keeps at its own threshold.

    Returns
    -------
    Estimate
        Linear within a bin; the interval inverts the binomial interval of the kept share (order statistics), widened to bins.
    """
    counts, edges = np.asarray(counts, np.int64), np.asarray(edges, np.float64)
    n = int(counts.sum())
    method = f"histogram quantile, order statistics {confidence:.0%}"
    if not 0 < share < 1:
        raise ValueError("the share to keep lies strictly between 0 and 1")
    if n == 0:
        return undefined("no scored rows", method=method)
    kept = np.concatenate([[n], n - counts.cumsum()]) / n
    spread = wilson(round(share * n), n, confidence=confidence)
    assert spread.low is not None and spread.high is not None

    def threshold(target: float) -> float:
        return float(np.interp(-target, -kept, edges))

    value, low, high = threshold(share), threshold(max(spread.high, share)), threshold(min(spread.low, share))
    return Estimate(value, min(low, value), max(high, value), n, method)
