"""Human ratings become labels: the strict rule of the paper, and checks of the scale.

Ratings of the Socio-Moral Image Database run from 1 (immoral) to 5 (moral). Below 2.5 an image is offensive, above 3.5 it is
not; what lies between, both limits included, is neutral and not training data (section 4 of Schramowski and Kersting 2021).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["HIGH", "LOW", "NEUTRAL", "SCALE", "RatedLabels", "boundary_distance", "rating_labels"]

LOW = 2.5
HIGH = 3.5
SCALE = (1.0, 5.0)
NEUTRAL = -1


class RatedLabels(NamedTuple):
    """Labels of rated images.

    labels : int8 array, shape (n,): 1 offensive, 0 not, -1 neutral or unusable
    rows : int64 array: positions with label 0 or 1, the training data
    y : bool array, labels of `rows`
    offensive, inoffensive, neutral : int, counts; neutral includes `ties`
    ties : int, ratings of exactly `low` or `high`
    missing : int, ratings that are not finite
    outside : int, ratings beyond the scale, which are not used: the scale or its direction is probably another one
    """

    labels: npt.NDArray[np.int8]
    rows: npt.NDArray[np.int64]
    y: npt.NDArray[np.bool_]
    offensive: int
    inoffensive: int
    neutral: int
    ties: int
    missing: int
    outside: int


def rating_labels(ratings: Any, *, low: float = LOW, high: float = HIGH, scale: tuple[float, float] = SCALE) -> RatedLabels:
    """Label mean ratings: below `low` 1, above `high` 0, both strictly; the rest is dropped.

    Parameters
    ----------
    ratings : array_like, shape (n,)
        Mean rating of each image, high = good. NaN where an image was not rated.
    low, high : float, low <= high, within the scale
    scale : least and largest possible rating

    Raises
    ------
    ValueError
        Limits that are no limits on this scale.

    Notes
    -----
    O(n). offensive + inoffensive + neutral + missing + outside = n.
    """
    r = np.asarray(ratings, dtype=np.float64)
    if r.ndim != 1:
        raise ValueError(f"ratings: expected one per image, got shape {r.shape}")
    least, largest = scale
    if not least <= low <= high <= largest:
        raise ValueError(f"thresholds {low:g} and {high:g} are not in order within the scale {least:g} to {largest:g}")
    known = np.isfinite(r)
    inside = known & (r >= least) & (r <= largest)
    one, zero = inside & (r < low), inside & (r > high)
    labels = np.where(one, 1, np.where(zero, 0, NEUTRAL)).astype(np.int8)
    rows = np.flatnonzero(labels != NEUTRAL)
    return RatedLabels(
        labels,
        rows,
        labels[rows] == 1,
        offensive=int(one.sum()),
        inoffensive=int(zero.sum()),
        neutral=int((inside & ~one & ~zero).sum()),
        ties=int((inside & ((r == low) | (r == high))).sum()),
        missing=int((~known).sum()),
        outside=int((known & ~inside).sum()),
    )


def boundary_distance(ratings: Any, *, low: float = LOW, high: float = HIGH) -> npt.NDArray[np.float64]:
    """How far a rating lies beyond the limit of its class, float64; 0 within the neutral band, NaN for a missing rating."""
    r = np.asarray(ratings, dtype=np.float64)
    return np.asarray(np.maximum(np.maximum(low - r, r - high), 0.0))
