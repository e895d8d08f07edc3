"""Does an embedding space order images by their rating at all: principal components, a ridge direction, and its removal.

The first paper shows by a principal component analysis that the space of CLIP separates moral from immoral images where that of
an ImageNet network does not. A component is one direction out of d; the ridge direction is the best linear one, and its
cross-validated R^2 says how much of the rating the space holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.scoring import unit_rows
from assaymark.result import Estimate, undefined
from assaymark.stats import bootstrap_statistic, pearson, spearman

__all__ = ["Components", "MoralDirection", "RidgeDirection", "moral_direction", "principal_components", "remove_direction"]

Floats = npt.NDArray[np.float64]
PENALTIES = tuple(float(10.0**k) for k in range(-4, 4))


class Components(NamedTuple):
    """First principal components of centred unit rows.

    directions : float64 array, shape (k, d), orthonormal; the largest entry of each is positive
    explained : float64 array, shape (k,), share of the variance
    coordinates : float64 array, shape (n, k)
    correlations : tuple of k Estimates, Pearson correlation of each coordinate with the rating
    """

    directions: Floats
    explained: Floats
    coordinates: Floats
    correlations: tuple[Estimate, ...]


class RidgeDirection(NamedTuple):
    """Linear direction of the rating.

    direction : float64 array, shape (d,), unit length, rising with the rating
    penalty : float, chosen by generalised cross-validation on all rows
    predicted : float64 array, shape (n,), out-of-fold predictions
    r2 : Estimate, 1 - residual over total sum of squares of the out-of-fold predictions, bootstrap over images
    rank_correlation : Estimate, Spearman correlation of out-of-fold predictions and ratings
    """

    direction: Floats
    penalty: float
    predicted: Floats
    r2: Estimate
    rank_correlation: Estimate


class MoralDirection(NamedTuple):
    """Both views of one space."""

    components: Components
    ridge: RidgeDirection


def _pairs(V: Any, r: Any) -> tuple[Floats, Floats]:
    images, ratings = unit_rows(V), np.asarray(r, dtype=np.float64)
    if ratings.shape != (len(images.rows),):
        raise ValueError(f"{len(images.rows)} embeddings but ratings of shape {ratings.shape}")
    if images.invalid.any() or not np.isfinite(ratings).all():
        raise ValueError("leave out images without a direction or without a rating")
    return images.rows.astype(np.float64), ratings


def principal_components(V: Any, r: Any, *, components: int = 2, confidence: float = 0.95) -> Components:
    """First principal components, and the correlation of each with the rating; O(n d^2 + d^3).

    Parameters
    ----------
    V : array_like, shape (n, d)
    r : array_like, shape (n,), finite
    components : int <= d
    """
    a, ratings = _pairs(V, r)
    centred = a - a.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(values)[::-1][:components]
    directions = vectors[:, order].T
    # an eigenvector has no sign of its own
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    directions = directions * np.sign(largest)
    coordinates = centred @ directions.T
    explained = np.maximum(values[order], 0.0) / max(float(values.sum()), np.finfo(float).tiny)
    return Components(
        directions, explained, coordinates, tuple(pearson(c, ratings, confidence=confidence) for c in coordinates.T)
    )


def _ridge(a: Floats, r: Floats, penalties: Sequence[float]) -> tuple[Floats, float, float]:
    """Weights, intercept and penalty of least generalised cross-validation error, from one singular value decomposition."""
    middle, level = a.mean(axis=0), r.mean()
    U, s, Vt = np.linalg.svd(a - middle, full_matrices=False)
    target = U.T @ (r - level)
    rest = float(np.sum((r - level) ** 2) - np.sum(target**2))
    n, errors = len(r), []
    for penalty in penalties:
        shrink = s**2 / (s**2 + penalty)
        residual = float(np.sum(((1 - shrink) * target) ** 2)) + max(rest, 0.0)
        errors.append(n * residual / max(n - 1 - float(shrink.sum()), 1e-9) ** 2)
    best = float(penalties[int(np.argmin(errors))])
    weights = Vt.T @ (s / (s**2 + best) * target)
    return weights, float(level - middle @ weights), best


def _r2(weights: Floats, r: Floats, predicted: Floats) -> Floats:
    total = weights.sum(axis=1)
    mean = (weights @ r) / total
    spread = weights @ (r * r) - total * mean**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, 1.0 - (weights @ (r - predicted) ** 2) / spread, np.nan))


def ridge_direction(
    V: Any,
    r: Any,
    *,
    folds: int = 5,
    penalties: Sequence[float] = PENALTIES,
    groups: Any = None,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> RidgeDirection:
    """Ridge regression of the rating on unit rows, judged on folds that did not fit it.

    Parameters
    ----------
    folds : int >= 2
        The penalty is chosen anew within each, so that the choice is judged too.
    groups : array_like, shape (n,), optional
        Near duplicates stay in one fold.

    Notes
    -----
    O(folds * n d^2).
    """
    a, ratings = _pairs(V, r)
    codes = np.arange(len(a)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(codes.max(initial=-1)) + 1
    if folds < 2 or units < folds:
        raise ValueError(f"{units} images (groups) cannot be divided into {folds} folds")
    fold = (rng.permutation(units) % folds)[codes]
    predicted = np.empty(len(a))
    for k in range(folds):
        weights, level, _ = _ridge(a[fold != k], ratings[fold != k], penalties)
        predicted[fold == k] = a[fold == k] @ weights + level
    weights, _, penalty = _ridge(a, ratings, penalties)
    length = float(np.linalg.norm(weights))
    if float(np.ptp(ratings)) == 0.0:
        r2 = undefined("the ratings do not vary", n=len(a), method=f"{folds}-fold")
    else:
        r2 = bootstrap_statistic(
            (ratings, predicted), _r2, takes_weights=True, rng=rng, resamples=resamples, confidence=confidence
        )
    return RidgeDirection(
        weights / length if length else weights, penalty, predicted, r2, spearman(predicted, ratings, confidence=confidence)
    )


def moral_direction(
    V: Any,
    r: Any,
    *,
    components: int = 2,
    folds: int = 5,
    groups: Any = None,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> MoralDirection:
    """Principal components and ridge direction of the same rated embeddings (see the two functions)."""
    return MoralDirection(
        principal_components(V, r, components=components, confidence=confidence),
        ridge_direction(V, r, folds=folds, groups=groups, rng=rng, resamples=resamples, confidence=confidence),
    )


def remove_direction(V: Any, directions: Any) -> npt.NDArray[np.float32]:
    """Project rows onto the complement of one direction, shape (d,), or of several, (k, d), and scale them to unit length.

    A row that lies within the span becomes 0, and scoring reports it as invalid.
    """
    span = np.atleast_2d(np.asarray(directions, dtype=np.float64))
    basis = np.linalg.qr(span.T)[0]  # (d, k)
    a = unit_rows(V).rows.astype(np.float64)
    left = a - (a @ basis) @ basis.T
    left[np.linalg.norm(left, axis=1) < 1e-6] = 0.0  # rounding, not a direction
    return unit_rows(left).rows
