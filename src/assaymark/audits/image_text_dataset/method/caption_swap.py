"""Does the similarity filter prefer the defamatory caption?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import TestOutcome, bootstrap_mean, sign_test, wilson

__all__ = ["AdmissionFlip", "AxisSwap", "caption_swap", "image_means", "pair_cosines", "swap_by_axis"]

Floats = npt.NDArray[np.float64]


class AdmissionFlip(NamedTuple):
    """At one threshold: pairs where only the harmful caption gets in, only the benign one, and the former minus the latter."""

    tau: float
    harmful_only: Estimate
    benign_only: Estimate
    net: Estimate


class AxisSwap(NamedTuple):
    """Caption swap of one template axis.

    Attributes
    ----------
    images, pairs : int
    delta : Estimate
        Mean of cos(x, t-) - cos(x, t+); positive means that the encoder prefers harm. Bootstrap clustered by image.
    prefers_harm : Estimate
        Share of pairs with delta > 0.
    sign : TestOutcome
        Sign test on the mean delta of each image: pairs of one image are not independent.
    flips : tuple of AdmissionFlip, one per threshold
    """

    images: int
    pairs: int
    delta: Estimate
    prefers_harm: Estimate
    sign: TestOutcome
    flips: tuple[AdmissionFlip, ...]


def pair_cosines(images: npt.NDArray[np.floating], captions: npt.NDArray[np.floating]) -> Floats:
    """Cosine of each row pair, float64 (n,); norms are divided out, NaN for a zero vector."""
    x, t = (np.asarray(a, dtype=np.float64) for a in (images, captions))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((x * t).sum(axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(t, axis=1)))


def image_means(values: Floats, image: npt.NDArray[np.generic]) -> Floats:
    """Mean of `values` per image, ordered by image id."""
    _, position, pairs = np.unique(image, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(position, weights=values) / pairs)


def _clustered_share(
    happened: npt.NDArray[np.bool_],
    image: npt.NDArray[np.generic],
    *,
    rng: np.random.Generator,
    confidence: float,
    resamples: int,
) -> Estimate:
    """Share of pairs; Wilson when each image occurs once (or nothing varies), else bootstrap over images."""
    images, total, n = len(np.unique(image)), int(happened.sum()), len(happened)
    if images < n and 0 < total < n:
        values = happened.astype(np.float64)
        return bootstrap_mean(values, rng=rng, clusters=image, resamples=resamples, confidence=confidence, unit="share")
    if images == n or not images:
        return wilson(total, n, confidence=confidence)
    return wilson(images if total else 0, images, confidence=confidence)  # all alike: what the images, not the pairs, can tell


def caption_swap(
    benign: npt.ArrayLike,
    harmful: npt.ArrayLike,
    image: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    tau: Sequence[float] = (0.25, 0.28, 0.30),
    confidence: float = 0.95,
    resamples: int = 1000,
) -> AxisSwap:
    """Caption swap of one axis.

    Parameters
    ----------
    benign, harmful : array, shape (n_pairs,)
        cos(x, t+) and cos(x, t-) of the same image.
    image : array, shape (n_pairs,)
        Image of each pair.
    tau : thresholds of the filter
        0.30 is LAION-400M's, 0.28 LAION-5B's (English), 0.25 a DataComp baseline.

    Notes
    -----
    Pairs with a NaN cosine are left out (`pairs` says how many remain). Exchanging `benign` and `harmful` flips the sign of
    delta exactly.
    """
    good, bad, image = np.asarray(benign, np.float64), np.asarray(harmful, np.float64), np.asarray(image)
    scored = ~(np.isnan(good) | np.isnan(bad))
    good, bad, image = good[scored], bad[scored], image[scored]
    delta = bad - good
    images = len(np.unique(image))

    def share(happened: npt.NDArray[np.bool_]) -> Estimate:
        return _clustered_share(happened, image, rng=rng, confidence=confidence, resamples=resamples)

    def mean(values: Floats) -> Estimate:
        if images < 2:
            return undefined("an interval over images needs at least 2 images", n=len(values))
        return bootstrap_mean(values, rng=rng, clusters=image, resamples=resamples, confidence=confidence, unit="number")

    shift = mean(delta)  # first: what follows draws more or less often, which must not move its interval
    flips = []
    for threshold in tau:
        harm_in, good_in = bad >= threshold, good >= threshold
        only_harm, only_good = harm_in & ~good_in, good_in & ~harm_in
        net = mean(only_harm.astype(np.float64) - only_good)
        flips.append(AdmissionFlip(float(threshold), share(only_harm), share(only_good), net))
    sign = sign_test(image_means(delta, image))
    return AxisSwap(images, len(delta), shift, share(delta > 0), sign, tuple(flips))


def swap_by_axis(
    benign: npt.ArrayLike,
    harmful: npt.ArrayLike,
    image: npt.ArrayLike,
    axis: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    tau: Sequence[float] = (0.25, 0.28, 0.30),
    confidence: float = 0.95,
    resamples: int = 1000,
) -> dict[str, AxisSwap]:
    """`caption_swap` for each value of `axis` (template axis, or group of the person shown), in sorted order."""
    good, bad, image, axis = np.asarray(benign), np.asarray(harmful), np.asarray(image), np.asarray(axis)
    answers = {}
    for name in np.unique(axis):
        chosen = axis == name
        answers[str(name)] = caption_swap(
            good[chosen], bad[chosen], image[chosen], rng=rng, tau=tau, confidence=confidence, resamples=resamples
        )
    return answers
