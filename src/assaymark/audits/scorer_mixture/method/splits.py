"""Which rows train the networks, which fit the weights, which test: by a hash of a key, never by position.

A row keeps its place when rows are added, removed or reordered, and rows of one group (one site, one person, one near-duplicate
cluster) are never torn apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.least_squares import Fit
from assaymark.audits.scorer_mixture.method.weights import ols
from assaymark.result import Estimate
from assaymark.stats import newcombe
from assaymark.stats.combination import combine_scores

__all__ = ["FIT", "TEST", "TRAIN", "accuracy_gaps", "cross_fitted_scores", "fold_numbers", "split_rows", "unit_hash"]

TRAIN, FIT, TEST = 0, 1, 2


def unit_hash(keys: Sequence[Any], *, salt: str = "") -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each key: the first 53 bits of BLAKE2b of the salt and the key's text.

    Equal keys get equal numbers on every machine; another salt gives an independent draw. O(distinct keys) hashes.
    """
    texts = np.asarray(keys)
    if texts.ndim != 1:
        raise ValueError("one key for each row")
    distinct, where = np.unique(texts.astype(str), return_inverse=True)
    start = hashlib.blake2b(digest_size=8, key=salt.encode()[:64])
    numbers = np.empty(distinct.size, dtype=np.uint64)
    for i, text in enumerate(distinct.tolist()):
        state = start.copy()
        state.update(text.encode())
        numbers[i] = int.from_bytes(state.digest(), "big") >> 11
    return np.asarray((numbers.astype(np.float64) / 2.0**53)[where])


def split_rows(
    keys: Sequence[Any],
    *,
    shares: tuple[float, float, float] = (0.0, 0.5, 0.5),
    groups: Sequence[Any] | None = None,
    salt: str = "",
) -> npt.NDArray[np.int8]:
    """TRAIN, FIT or TEST for each row.

    Parameters
    ----------
    keys : sequence of n
        What identifies a row: an id, a content hash.
    shares : three numbers >= 0 that sum to 1
        Of the networks' training rows, the weights' fit rows, and the test rows. With off-the-shelf networks the first is 0.
    groups : sequence of n, optional
        Rows of one group go together; shares then hold for groups.

    Returns
    -------
    array of int8, shape (n,)
    """
    if min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise ValueError(f"shares {shares} do not sum to 1")
    unit = unit_hash(keys if groups is None else groups, salt=f"split{salt}")
    if groups is not None and len(groups) != len(keys):
        raise ValueError(f"{len(keys)} keys but {len(groups)} groups")
    return np.searchsorted(np.cumsum(shares)[:2], unit, side="right").astype(np.int8)


def fold_numbers(
    keys: Sequence[Any], *, folds: int = 5, groups: Sequence[Any] | None = None, salt: str = ""
) -> npt.NDArray[np.int64]:
    """Fold 0 ... folds - 1 of each row for out-of-fold scores; as even as the hash makes them, groups together.

    Independent of `split_rows` with the same salt.
    """
    if folds < 2:
        raise ValueError("at least 2 folds")
    unit = unit_hash(keys if groups is None else groups, salt=f"fold{salt}")
    return np.minimum((unit * folds).astype(np.int64), folds - 1)


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
