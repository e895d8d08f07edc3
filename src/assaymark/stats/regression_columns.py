"""Columns of a regression: categories as dummies, columns that say nothing new left out, scaling for a stable fit.

References
----------
.. [1] Goodnight, J. H. (1979). A tutorial on the SWEEP operator. The American Statistician 33, 149-158.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, InputError
from assaymark.stats.checks import FloatArray

__all__ = ["Dummies", "dummies"]

INTERCEPT = "intercept"
_SMALLEST_ANGLE = 1e-10  # squared sine of the angle between a column and those before it, below which it is one of them


class Dummies(NamedTuple):
    """One 0/1 column for each category but the reference.

    Attributes
    ----------
    columns : array, shape (n, levels - 1)
    names : tuple of str
        `"month=2023-01"`, `"month=(others)"`.
    reference : str
        The largest category, which the coefficients compare with.
    """

    columns: FloatArray
    names: tuple[str, ...]
    reference: str


def dummies(codes: Any, *, name: str, most: int = 50) -> Dummies:
    """Dummy columns of a categorical control.

    Parameters
    ----------
    codes : array_like, shape (n,)
        Labels of one type, such as months or topics.
    name : str
        Of the control, put before each label.
    most : int, >= 2
        Categories kept apart; beyond, the rarest share one column, "(others)".

    Returns
    -------
    Dummies
        Columns by falling size. No column when there is one category.

    Notes
    -----
    O(n log n + n levels).
    """
    labels = np.asarray(codes)
    if labels.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {labels.shape}")
    if most < 2:
        raise ConfigError(f"most = {most}: a category and a reference are at least 2")
    if labels.size == 0:
        return Dummies(np.empty((0, 0)), (), "")
    distinct, code, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    pooled = order.size > most
    levels = most if pooled else order.size
    position = np.minimum(rank, levels - 1)[code]
    columns = (position[:, None] == np.arange(1, levels)).astype(np.float64)
    names = [f"{name}={distinct[at]}" for at in order[1:levels]]
    if pooled:
        names[-1] = f"{name}=(others)"
    return Dummies(columns, tuple(names), f"{name}={distinct[order[0]]}")


def named_design(design: Any, names: Sequence[str], rows: int) -> tuple[FloatArray, list[str]]:
    """The design, shape (rows, 1 + columns), with an intercept before it, and all names; values and names checked."""
    columns = np.asarray(design, dtype=np.float64)
    if columns.ndim == 1:
        columns = columns[:, None]
    if columns.shape != (rows, len(names)):
        raise ValueError(
            f"design of shape {columns.shape}, expected ({rows}, {len(names)}): one row a count, one column a name"
        )
    every = [INTERCEPT, *names]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise ConfigError(f"two columns are called {twice[0]!r} (the intercept is added here): name each once")
    bad = np.flatnonzero(~np.isfinite(columns).all(axis=0))
    if bad.size:
        raise InputError(
            f"column {names[bad[0]]!r} holds missing or infinite values; count such rows as skipped, leave them out"
        )
    return np.column_stack([np.ones(rows), columns]), every


def new_columns(design: FloatArray) -> npt.NDArray[np.bool_]:
    """Which columns are no linear combination of those before them ([1]).

    Order decides, not size, so that the column a question is about, put first, is never the one that goes. O(n k^2).
    """
    norms = np.sqrt(np.einsum("ij,ij->j", design, design))
    scaled = design / np.where(norms > 0, norms, 1.0)
    left = scaled.T @ scaled
    kept = np.zeros(norms.size, dtype=np.bool_)
    for j in range(norms.size):
        if left[j, j] > _SMALLEST_ANGLE:
            kept[j] = True
            left = left - np.outer(left[:, j], left[j]) / left[j, j]
    return kept


class Standardised(NamedTuple):
    """Columns of mean 0 and sd 1 beside the intercept; `back @ b` are the coefficients of the columns as they came."""

    columns: FloatArray
    back: FloatArray


def standardised(design: FloatArray) -> Standardised:
    """An intercept and other columns, which are shifted and scaled so that the normal equations are well conditioned."""
    means, sds = design.mean(axis=0), design.std(axis=0)
    means[0], sds[0] = 0.0, 1.0
    back = np.diag(1.0 / sds)
    back[0] -= means / sds
    back[0, 0] = 1.0
    return Standardised((design - means) / sds, back)


class Errors(NamedTuple):
    """Which sandwich is used: its name, its factor for few rows or clusters, degrees of freedom, and the rows' clusters."""

    name: str
    factor: float
    df: int
    cluster_of: npt.NDArray[np.int64] | None


def robust_errors(kind: str, design: FloatArray, clusters: Any) -> Errors:
    """HC1 or HC3 by row, or by cluster (G / (G - 1) (n - 1) / (n - k), t with G - 1)."""
    rows, columns = design.shape
    if clusters is None:
        factor = rows / (rows - columns) if kind == "HC1" else 1.0
        return Errors(kind, factor, rows - columns, None)
    distinct, position = np.unique(clusters, return_inverse=True)
    groups = distinct.size
    factor = groups / max(groups - 1, 1) * (rows - 1) / (rows - columns)
    return Errors(f"cluster-robust, {groups} clusters", factor, groups - 1, position)


def sandwich_errors(scores: FloatArray, information: FloatArray, back: FloatArray, errors: Errors) -> FloatArray:
    """Robust standard errors, the root of the diagonal of A^-1 B A^-1, of the coefficients `back @ b`.

    Parameters
    ----------
    scores : array, shape (n, k)
        Of each row; their crossproduct, by row or cluster, is B.
    information : array, shape (k, k)
        A.
    back : array, shape (k, k)
    """
    if errors.cluster_of is not None:
        groups = int(errors.cluster_of.max()) + 1
        scores = np.column_stack([np.bincount(errors.cluster_of, weights=column, minlength=groups) for column in scores.T])
    influence = scores @ (np.linalg.inv(information) @ back.T)
    return np.asarray(np.sqrt(errors.factor * np.einsum("ij,ij->j", influence, influence)))
