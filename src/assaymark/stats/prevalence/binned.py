"""Detector scores in [0, 1] as counts over bins of equal width: small, mergeable, enough for every quantifier.

A month of posts becomes a few kilobytes however many posts there were. Counts of parts add up to the counts of the whole.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError
from assaymark.stats.checks import FloatArray, two_classes

__all__ = ["BINS", "LabelledBins", "bin_centres", "bin_counts", "labelled_bins", "regrouped", "score_bins"]

IntArray = npt.NDArray[np.int64]

BINS = 1024


class LabelledBins(NamedTuple):
    """Counts of labelled (calibration) scores by class; leading axes hold resamples. Field by field, parts add up."""

    negative: npt.NDArray[Any]  # (..., bins)
    positive: npt.NDArray[Any]  # (..., bins)

    @property
    def prior(self) -> FloatArray:
        """Share of positives among the labelled items, shape (...): what a classifier calibrated on them takes for granted."""
        zeros, ones = self.negative.sum(axis=-1), self.positive.sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(ones / (zeros + ones), dtype=np.float64)


def score_bins(scores: Any, bins: int = BINS) -> IntArray:
    """Number of the bin of each score: floor(score * bins); a score of exactly 1 belongs to the last bin.

    Parameters
    ----------
    scores : array_like, any shape, in [0, 1]

    Raises
    ------
    InputError
        When a score is missing or outside [0, 1]: scores of another range need a fixed map into it first.
    """
    score = np.asarray(scores, dtype=np.float64)
    wrong = np.flatnonzero(~((score >= 0) & (score <= 1)).ravel())
    if wrong.size:
        raise InputError(
            f"scores: {wrong.size} of {score.size} are missing or outside [0, 1], the first at position {wrong[0]} "
            f"({score.ravel()[wrong[0]]:g}); map them into [0, 1] with one fixed function first"
        )
    return np.minimum((score * bins).astype(np.int64), bins - 1)


def bin_counts(scores: Any, bins: int = BINS) -> IntArray:
    """Counts of the scores over the bins, shape (bins,)."""
    return np.bincount(score_bins(scores, bins).ravel(), minlength=bins)


def bin_centres(bins: int = BINS) -> FloatArray:
    """Middles (b + 1/2) / bins of the bins: what stands for a score that is only known by its bin."""
    return (np.arange(bins) + 0.5) / bins


def labelled_bins(scores: Any, labels: Any, bins: int = BINS) -> LabelledBins:
    """Counts by class of scores in [0, 1] with labels 0/1 (or booleans; 1 is the class whose prevalence is asked for)."""
    score, positive = two_classes(scores, labels)
    return LabelledBins(bin_counts(score[~positive], bins), bin_counts(score[positive], bins))


def regrouped(counts: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """Counts (..., bins) over `groups` wider bins, group j beginning at bin floor(j * bins / groups).

    Raises
    ------
    ValueError
        When there are more groups than bins.
    """
    bins = counts.shape[-1]
    if groups > bins:
        raise ValueError(f"{bins} bins cannot be regrouped into {groups}")
    if bins % groups == 0:
        return np.asarray(counts.reshape(*counts.shape[:-1], groups, bins // groups).sum(axis=-1))
    return np.asarray(np.add.reduceat(counts, np.arange(groups) * bins // groups, axis=-1))
