"""Rows that fit and rows that judge: folds for scores and weights on data too small for three splits, and signs of leakage.

Rows of one group (one site, one person, one near-duplicate cluster) are never torn apart. The split into fitting and test rows
is made while the input is read (`probes.row_keys`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.least_squares import Fit
from assaymark.audits.scorer_mixture.method.weights import ols
from assaymark.result import Estimate
from assaymark.stats import newcombe
from assaymark.stats.combination import combine_scores

__all__ = ["accuracy_gaps", "cross_fitted_scores", "fold_numbers"]


def fold_numbers(
    labels: Any, *, folds: int, rng: np.random.Generator, groups: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.int64]:
    """Fold 0 to `folds` - 1 of each row: classes spread evenly, rows of one group together.

    Parameters
    ----------
    labels : array_like, shape (n,)
        Any number of classes.
    groups : array, shape (n,), optional
        Near-duplicates, frames of a film, one site. A group counts for the rarest class that it holds.

    Returns
    -------
    array of int, shape (n,)
        Without groups the sizes of each class in the folds differ by at most 1.

    Raises
    ------
    ValueError
        Fewer than two folds, or shapes that do not fit.

    Notes
    -----
    Groups are shuffled, ordered by class and size, and dealt out like cards. O(n log n).
    """
    classes = np.asarray(labels)
    if folds < 2:
        raise ValueError("at least 2 folds")
    together = np.arange(classes.size) if groups is None else np.asarray(groups)
    if classes.ndim != 1 or together.shape != classes.shape:
        raise ValueError(f"labels of shape {classes.shape} and groups of shape {together.shape}: expected one for each row")
    _, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    rarity = np.empty(len(counts), dtype=np.int64)
    rarity[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    _, unit = np.unique(together, return_inverse=True)
    sizes = np.bincount(unit)
    stratum = np.full(len(sizes), len(counts))
    np.minimum.at(stratum, unit, rarity[place])
    order = np.lexsort((rng.permutation(len(sizes)), -sizes, stratum))
    fold = np.empty(len(sizes), dtype=np.int64)
    fold[order] = np.arange(len(sizes)) % folds
    return np.asarray(fold[unit])


def cross_fitted_scores(F: Any, y: Any, folds: Any, *, fitter: Callable[[Any, Any], Fit] = ols) -> npt.NDArray[np.float64]:
    """Mixture score of each row by the weights fitted on the other folds: for data too small for three splits.

    Parameters
    ----------
    F : array_like, shape (n, k), complete; y : array_like, shape (n,)
    folds : int array, shape (n,)
        Of `fold_numbers`.
    fitter : callable
        `fitter(F, y) -> Fit`.

    Returns
    -------
    array, shape (n,)

    Raises
    ------
    ValueError
        All rows lie in one fold.
    """
    scores, labels, fold = np.asarray(F, dtype=np.float64), np.asarray(y), np.asarray(folds)
    total = np.empty(len(scores))
    for number in np.unique(fold):
        inside = fold == number
        if inside.all():
            raise ValueError("all rows lie in one fold: nothing is left to fit on")
        fit = fitter(scores[~inside], labels[~inside])
        total[inside] = combine_scores(scores[inside], "linear", weights=fit.weights, intercept=fit.intercept)
    return total


def accuracy_gaps(
    F_fit: Any, y_fit: Any, F_test: Any, y_test: Any, *, threshold: float = 0.5, confidence: float = 0.95
) -> tuple[Estimate, ...]:
    """Accuracy of each network on the fit rows minus that on the test rows, Newcombe's interval.

    A network that was trained on the fit rows looks better there than it is, and least squares hands it the weight (planted
    experiment C): an interval above 0 is a reason to distrust the split. Missing scores are left out.
    """
    found = []
    for fit, test in zip(np.asarray(F_fit, dtype=np.float64).T, np.asarray(F_test, dtype=np.float64).T, strict=True):
        counts: list[int] = []
        for column, labels in ((fit, np.asarray(y_fit)), (test, np.asarray(y_test))):
            seen = ~np.isnan(column)
            counts += [int(((column >= threshold) == (labels > 0.5))[seen].sum()), int(seen.sum())]
        found.append(newcombe(*counts, confidence=confidence))
    return tuple(found)
