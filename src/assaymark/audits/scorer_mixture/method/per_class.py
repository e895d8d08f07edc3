"""Weights for scorers of several classes: one-hot least squares, each class its own weights or one set for all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.least_squares import rank_and_condition, reduce_rows

__all__ = ["ClassFit", "class_decisions", "class_scores", "ols_per_class"]

Floats = npt.NDArray[np.float64]


class ClassFit(NamedTuple):
    """Mixtures of C classes.

    Attributes
    ----------
    weights : array, shape (C, N)
        Equal rows when the weights are shared.
    intercepts : array, shape (C,)
    ranks : array of int, shape (C,)
    condition : float
        The largest of the classes.
    shared : bool
    """

    weights: Floats
    intercepts: Floats
    ranks: npt.NDArray[np.int64]
    condition: float
    shared: bool


def ols_per_class(F: Any, Y: Any, *, shared: bool = False, intercept: bool = False, sample_weight: Any = None) -> ClassFit:
    """Least squares of one-hot labels on the networks' scores of the same class.

    Parameters
    ----------
    F : array_like, shape (n, N, C)
        Probability that network i gives class c.
    Y : array_like, shape (n, C), one-hot, or (n,) of class numbers
    shared : bool
        One weight for each network in all classes; an intercept stays one for each class.

    Notes
    -----
    With C = 2, scores that sum to 1 and an intercept, M_0 = 1 - M_1, so argmax decides as the binary fit at 0.5 does.
    """
    scores = np.asarray(F)
    if scores.ndim != 3:
        raise ValueError(f"scores of shape {scores.shape}: expected (items, networks, classes)")
    n, networks, classes = scores.shape
    targets = np.asarray(Y)
    if targets.ndim == 1:
        targets = (targets[:, None] == np.arange(classes)).astype(np.float64)
    if targets.shape != (n, classes):
        raise ValueError(f"labels of shape {targets.shape} for {n} items and {classes} classes")
    problems = [
        reduce_rows(scores[:, :, c], targets[:, c], intercept=intercept, sample_weight=sample_weight) for c in range(classes)
    ]
    if shared:
        # every class is centred by its own means, so the stacked problem keeps one intercept for each
        A, c = np.vstack([p.A for p in problems]), np.concatenate([p.c for p in problems])
        weights = np.tile(np.linalg.lstsq(A, c, rcond=None)[0], (classes, 1))
    else:
        weights = np.stack([np.linalg.lstsq(p.A, p.c, rcond=None)[0] for p in problems])
    found = [rank_and_condition(p) for p in problems]
    intercepts = np.array(
        [p.label_mean - float(p.score_means @ row) if intercept else 0.0 for p, row in zip(problems, weights, strict=True)]
    )
    ranks = np.array([rank for rank, _ in found], dtype=np.int64)
    return ClassFit(weights.reshape(classes, networks), intercepts, ranks, max(c for _, c in found), shared)


def class_scores(F: Any, fit: ClassFit) -> Floats:
    """Mixture scores M_c = sum_i beta_ci f_ic + a_c; shape (n, C)."""
    return np.asarray(np.einsum("nkc,ck->nc", np.asarray(F, dtype=np.float64), fit.weights) + fit.intercepts)


def class_decisions(F: Any, fit: ClassFit) -> npt.NDArray[np.int64]:
    """argmax over classes; shape (n,). Ties go to the first class."""
    return np.asarray(class_scores(F, fit).argmax(axis=1), dtype=np.int64)
