"""Scores that are not there: a weighted sum for each pattern, or the mean with an indicator. Never a silent zero.

A zero would say "surely benign" for an image that the detector could not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.least_squares import Fit
from assaymark.audits.scorer_mixture.method.weights import ols
from assaymark.stats.combination import combine_scores

__all__ = [
    "Imputation",
    "PatternFit",
    "apply_imputation",
    "fit_by_pattern",
    "impute_mean",
    "patterns",
    "score_by_pattern",
]

Floats = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]


class Imputation(NamedTuple):
    """Means that stand in for missing scores, and the networks that get an indicator column.

    Attributes
    ----------
    means : array, shape (k,); indicated : int array, shape (m,), networks with a missing score in the fit rows
    """

    means: Floats
    indicated: npt.NDArray[np.int64]


class PatternFit(NamedTuple):
    """One mixture for each set of networks that answered.

    Attributes
    ----------
    present : bool array, shape (patterns, k)
    fits : tuple of Fit
        On all fit rows that have at least these networks; weights of the absent ones are 0.
    rows : int array, shape (patterns,)
        Fit rows behind each.
    """

    present: Masks
    fits: tuple[Fit, ...]
    rows: npt.NDArray[np.int64]


def patterns(F: Any) -> tuple[Masks, npt.NDArray[np.int64]]:
    """Distinct sets of present networks, shape (patterns, k), and the number of the set of each row, shape (n,)."""
    present = ~np.isnan(np.asarray(F, dtype=np.float64))
    found, which = np.unique(present, axis=0, return_inverse=True)
    return found, np.asarray(which, dtype=np.int64).reshape(-1)


def fit_by_pattern(F: Any, y: Any, *, fitter: Callable[[Any, Any], Fit] = ols, needed: Any = None) -> PatternFit:
    """Refit the mixture for every pattern of present networks.

    Parameters
    ----------
    F : array_like, shape (n, k), NaN where a score is missing
    fitter : callable
        `fitter(F, y) -> Fit` on complete rows.
    needed : bool array, shape (patterns, k), optional
        Patterns to fit; by default those of F. Rows to be scored may have others.

    Notes
    -----
    A pattern is fitted on every row that has at least its networks, so that rare patterns borrow the complete rows. A pattern
    without networks or without rows gets no fit and is left out.
    """
    scores, labels = np.asarray(F, dtype=np.float64), np.asarray(y)
    present = ~np.isnan(scores)
    wanted = patterns(scores)[0] if needed is None else np.asarray(needed, dtype=bool)
    kept, fits, rows = [], [], []
    for pattern in wanted:
        usable = present[:, pattern].all(axis=1)
        if not pattern.any() or not usable.any():
            continue
        fit = fitter(scores[np.ix_(usable, pattern)], labels[usable])
        weights = np.zeros(scores.shape[1])
        weights[pattern] = fit.weights
        kept.append(pattern)
        fits.append(fit._replace(weights=weights))
        rows.append(int(usable.sum()))
    return PatternFit(np.array(kept, dtype=bool).reshape(-1, scores.shape[1]), tuple(fits), np.array(rows, dtype=np.int64))


def score_by_pattern(F: Any, fitted: PatternFit) -> Floats:
    """Mixture score of each row by the fit of its pattern, shape (n,); NaN for a pattern without a fit."""
    scores = np.asarray(F, dtype=np.float64)
    found, which = patterns(scores)
    total = np.full(len(scores), np.nan)
    for number, pattern in enumerate(found):
        same = np.flatnonzero((fitted.present == pattern).all(axis=1))
        if same.size:
            fit = fitted.fits[int(same[0])]
            rows = which == number
            chosen = scores[np.ix_(rows, pattern)]
            total[rows] = combine_scores(chosen, "linear", weights=fit.weights[pattern], intercept=fit.intercept)
    return total


def impute_mean(F: Any, *, sample_weight: Any = None) -> Imputation:
    """Means of the present scores of each network, from the fit rows.

    Raises
    ------
    ValueError
        A network without a single score.
    """
    scores = np.asarray(F, dtype=np.float64)
    weights = np.ones(len(scores)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    present = ~np.isnan(scores)
    mass = weights @ present
    if not np.all(mass > 0):
        raise ValueError(f"networks {np.flatnonzero(mass <= 0).tolist()} have no score at all: leave them out")
    return Imputation(weights @ np.where(present, scores, 0.0) / mass, np.flatnonzero(~present.all(axis=0)))


def apply_imputation(F: Any, imputation: Imputation) -> Floats:
    """Scores with means filled in, followed by a 0/1 column for each indicated network; shape (n, k + m).

    The indicator lets the fit say what a missing score means, instead of pretending that it was average.
    """
    scores = np.asarray(F, dtype=np.float64)
    absent = np.isnan(scores)
    filled = np.where(absent, imputation.means, scores)
    return np.column_stack([filled, absent[:, imputation.indicated].astype(np.float64)])
