"""In which classes flags concentrate: shares, lift over the data set, tests, and thresholds of a class's own.

Masks, prisons and insects dominate the flags of ImageNet. Lift lets a reviewer discount such a class; a class-conditional
threshold lets every class contribute to the shortlist.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats import Limits, benjamini_hochberg, fisher_exact, ratio_limits, wilson_limits

__all__ = ["ClassTable", "class_counts", "class_table", "class_thresholds"]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class ClassTable(NamedTuple):
    """One entry per class, arrays of shape (classes,); NaN where the class has no image.

    Attributes
    ----------
    n, flagged : images and flagged images
    share, share_limits : flagged / n with Wilson limits
    lift, lift_limits : share over the share of the whole data set, the class included; 1 where the flag rate is uniform
    p_value : Fisher's exact test of the class against all others, two-sided
    p_adjusted : Benjamini-Hochberg over the classes that could be tested
    order : positions of the classes, largest lower limit of the lift first, so that tiny classes do not lead
    """

    n: Counts
    flagged: Counts
    share: Floats
    share_limits: Limits
    lift: Floats
    lift_limits: Limits
    p_value: Floats
    p_adjusted: Floats
    order: Counts


def class_counts(flagged: Any, codes: Any, *, classes: int) -> tuple[Counts, Counts]:
    """Images and flagged images of each class; counts of parts of a data set add up.

    Parameters
    ----------
    flagged : bool array, shape (n,)
    codes : int array, shape (n,), in [0, classes); negative where the class is unknown
    """
    flags, code = np.asarray(flagged, dtype=np.bool_), np.asarray(codes, dtype=np.int64)
    if flags.shape != code.shape or code.max(initial=-1) >= classes:
        raise ValueError(f"{flags.shape} flags and {code.shape} codes do not fit {classes} classes")
    known = code >= 0
    return np.bincount(code[known], minlength=classes), np.bincount(code[known & flags], minlength=classes)


def class_table(n: Any, flagged: Any, *, confidence: float = 0.95) -> ClassTable:
    """Flag rate of each class beside that of the data set.

    Parameters
    ----------
    n, flagged : int array, shape (classes,), 0 <= flagged <= n

    Notes
    -----
    A class is part of the data set it is compared with, so the two shares are not independent. With f = n / N and RR the risk
    ratio of the class against all others, lift = RR / (f RR + 1 - f), which rises with RR: the limits of the lift are those of
    the risk ratio (Katz), carried through this line. O(classes).
    """
    size, k = np.atleast_1d(np.asarray(n, np.int64)), np.atleast_1d(np.asarray(flagged, np.int64))
    if size.shape != k.shape or (k < 0).any() or (k > size).any():
        raise ValueError("counts do not fit: 0 <= flagged <= n for each class")
    total, hits = int(size.sum()), int(k.sum())
    rest_n, rest_k = total - size, hits - k
    with np.errstate(divide="ignore", invalid="ignore"):
        share = k / size
        lift = share / (hits / total) if hits else np.full(size.shape, np.nan)
    limits = _lift_limits(k, size, rest_k, rest_n, lift, confidence)
    tested = (size > 0) & (rest_n > 0)
    p, adjusted = np.full(size.shape, np.nan), np.full(size.shape, np.nan)
    if tested.any():
        p[tested] = fisher_exact(*(x[tested] for x in (k, size - k, rest_k, rest_n - rest_k)))
        adjusted[tested] = benjamini_hochberg(p[tested])
    order = np.lexsort((-lift, -np.nan_to_num(limits.low, nan=-1.0)))
    return ClassTable(
        size, k, share, wilson_limits(k, size, confidence=confidence), lift, limits, p, adjusted, order.astype(np.int64)
    )


def _lift_limits(k: Counts, n: Counts, rest_k: Counts, rest_n: Counts, lift: Floats, confidence: float) -> Limits:
    low, high = ratio_limits(k, n, rest_k, rest_n, kind="risk", confidence=confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = n / (n + rest_n)
        low, high = (limit / (f * limit + 1.0 - f) for limit in (low, high))
    whole = (rest_n == 0) & np.isfinite(lift)  # the only class is the data set: its lift is 1 by definition
    low, high = np.where(whole, lift, np.fmin(low, lift)), np.where(whole, lift, np.fmax(high, lift))
    undefined = ~np.isfinite(lift)
    return Limits(np.where(undefined, np.nan, low), np.where(undefined, np.nan, high))


def class_thresholds(scores: Any, codes: Any, *, classes: int, share: float, floor: float = 0.0) -> Floats:
    """Least threshold of each class that flags at most `share` of it, score >= threshold being flagged.

    Parameters
    ----------
    scores : array_like, shape (n,)
        NaN for skipped images, which neither count nor are flagged.
    codes : int array, shape (n,), in [0, classes); negative where the class is unknown
    share : float in [0, 1]
    floor : float
        No threshold lies below it: a harmless class need not fill its share.

    Returns
    -------
    float64 array, shape (classes,); `floor` for a class without images. O(n log n).
    """
    s, code = np.asarray(scores, dtype=np.float64), np.asarray(codes, dtype=np.int64)
    if s.shape != code.shape or not 0.0 <= share <= 1.0:
        raise ValueError("one code per score, and a share between 0 and 1")
    usable = np.isfinite(s) & (code >= 0)
    s, code = s[usable], code[usable]
    order = np.lexsort((-s, code))
    s, sizes = s[order], np.bincount(code, minlength=classes)
    starts = np.cumsum(sizes) - sizes
    kept = np.floor(share * sizes + 1e-9).astype(np.int64)
    thresholds = np.full(classes, float(floor))
    cut = kept < sizes
    # above the first score that must not be flagged; those tied with it are not flagged either
    thresholds[cut] = np.maximum(np.nextafter(s[(starts + kept)[cut]], np.inf), floor)
    return thresholds
