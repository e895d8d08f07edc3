"""Which images a person looks at, and what the verdicts say about all images.

The queue is a stratified random sample: bins of the score times classes. Looking at the top alone measures precision there and
nothing else; a few images of every stratum make the prevalence of the whole data set estimable without bias, as sum_h W_h p_h
with variance sum_h W_h^2 p_h (1 - p_h) / (n_h - 1).
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from assaymark.result import Estimate, undefined
from assaymark.stats import stratified_prevalence

__all__ = [
    "SCORE_EDGES",
    "Strata",
    "allocate",
    "draw_review",
    "precision_at_k",
    "reviewed_prevalence",
    "score_strata",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Variance = Literal["unbiased", "paper"]

SCORE_EDGES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)


class Strata(NamedTuple):
    """Strata of a data set.

    stratum : int64 array, shape (n,): stratum of each image, bin * classes + class; -1 for skipped images
    sizes : int64 array, shape (bins * classes,)
    expected : float64 array, of the same shape: mean score, a first guess at the share of offensive images; NaN where empty
    """

    stratum: Counts
    sizes: Counts
    expected: Floats


def score_strata(scores: Any, codes: Any = None, *, classes: int = 1, edges: tuple[float, ...] = SCORE_EDGES) -> Strata:
    """Strata by bins of the score and class.

    Parameters
    ----------
    scores : array_like, shape (n,), in [0, 1]; NaN for skipped images
    codes : int array, shape (n,), in [0, classes), optional
    edges : rising, from the least to the largest score; a bin holds its lower edge, the last also its upper one
    """
    s = np.asarray(scores, dtype=np.float64)
    code = np.zeros(s.shape, dtype=np.int64) if codes is None else np.asarray(codes, dtype=np.int64)
    bins = len(edges) - 1
    known = np.isfinite(s) & (code >= 0)
    if code.shape != s.shape or code.max(initial=-1) >= classes:
        raise ValueError(f"{code.shape} codes do not fit {s.shape} scores and {classes} classes")
    if bins < 1 or (np.diff(edges) <= 0).any() or (s[known] < edges[0]).any() or (s[known] > edges[-1]).any():
        raise ValueError("edges rise, and every score lies between the first and the last")
    cell = np.clip(np.searchsorted(edges, s, side="right") - 1, 0, bins - 1)
    stratum = np.where(known, cell * classes + code, -1)
    sizes = np.bincount(stratum[known], minlength=bins * classes)
    sums = np.bincount(stratum[known], weights=s[known], minlength=bins * classes)
    with np.errstate(invalid="ignore"):
        return Strata(stratum, sizes, sums / sizes)


def allocate(
    sizes: Any,
    budget: int,
    *,
    expected: Any = None,
    least: int = 2,
    method: Literal["proportional", "neyman"] = "neyman",
) -> Counts:
    """How many images of each stratum to review.

    Parameters
    ----------
    sizes : int array, shape (strata,)
    budget : int
        Images in all. No stratum gets more than it has.
    expected : float array, shape (strata,), optional
        Guessed share of offensive images; "neyman" gives N_h sqrt(p_h (1 - p_h)), the guess kept within [0.05, 0.95], since a
        score that is sure of itself may be wrong. 0.5 everywhere by default.
    least : int
        Images of every stratum that is not empty, before the rest is shared out: without them the estimate is undefined.

    Raises
    ------
    ValueError
        A budget below what `least` asks for.
    """
    size = np.asarray(sizes, dtype=np.int64)
    given = np.minimum(size, least)
    if budget < given.sum():
        raise ValueError(f"a budget of {budget} images cannot give {least} to each of {int((size > 0).sum())} strata")
    guess = np.full(size.shape, 0.5) if expected is None else np.nan_to_num(np.asarray(expected, dtype=np.float64), nan=0.5)
    guess = np.clip(guess, 0.05, 0.95)
    want = size * (np.sqrt(guess * (1 - guess)) if method == "neyman" else 1.0)
    while (left := budget - int(given.sum())) > 0 and (given < size).any():
        open_ = np.where(given < size, want, 0.0)
        part = left * open_ / open_.sum()
        step = np.minimum(np.floor(part).astype(np.int64), size - given)
        if not step.any():  # fewer images than strata are left: the largest claims first
            step = np.zeros_like(given)
            step[np.argsort(-part, kind="stable")[:left]] = 1
            step = np.minimum(step, size - given)
        given = given + step
    return given


def draw_review(stratum: Any, allocation: Any, *, rng: np.random.Generator) -> Counts:
    """Simple random sample without replacement of each stratum: rows in rising order. O(n log n)."""
    code, wanted = np.asarray(stratum, dtype=np.int64), np.asarray(allocation, dtype=np.int64)
    rows = rng.permutation(np.flatnonzero(code >= 0))
    rows = rows[np.argsort(code[rows], kind="stable")]
    sizes = np.bincount(code[rows], minlength=wanted.size)
    rank = np.arange(rows.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(rows[rank < wanted[code[rows]]])


def _stratified(sizes: Counts, positive: Counts, examined: Counts, *, variance: Variance, confidence: float) -> Estimate:
    """`stratified_prevalence`, with the interval of the unbiased variance where that is asked for and above 0."""
    plain = stratified_prevalence(sizes, positive, examined, confidence=confidence)
    if variance == "paper" or plain.value is None:
        return plain
    kept = sizes > 0
    W, n = sizes[kept] / sizes.sum(), examined[kept]
    p = positive[kept] / n
    spread = float(np.sum(W**2 * p * (1 - p) / np.maximum(n - 1, 1)))
    if spread == 0.0:
        return plain
    half = float(ndtri(0.5 + confidence / 2)) * math.sqrt(spread)
    low, high = max(plain.value - half, 0.0), min(plain.value + half, 1.0)
    return Estimate(plain.value, low, high, plain.n, f"stratified normal {100 * confidence:g} %, n_h - 1", "share")


def reviewed_prevalence(
    sizes: Any, stratum: Any, verdicts: Any, *, variance: Variance = "unbiased", confidence: float = 0.95
) -> Estimate:
    """Share of offensive images in the whole data set from the verdicts on a stratified sample.

    Parameters
    ----------
    sizes : int array, shape (strata,): images of each stratum in the data set
    stratum, verdicts : arrays, shape (reviewed,): stratum of each reviewed image, and whether a person found it offensive
    variance : "unbiased" or "paper"
        p_h (1 - p_h) / n_h is too small on average, by (n_h - 1) / n_h. In strata of a few images that is a lot: with 50 strata
        and 200 to 300 reviewed images its 95 % interval covers 86 to 90 % of the time, with n_h - 1 it covers 92 to 96 %.

    Returns
    -------
    Estimate
        Unit "share"; undefined where a stratum with images was not reviewed.
    """
    code, positive = np.asarray(stratum, dtype=np.int64), np.asarray(verdicts) == 1
    size = np.asarray(sizes, dtype=np.int64)
    trials = np.bincount(code, minlength=size.size)
    successes = np.bincount(code[positive], minlength=size.size)
    return _stratified(size, successes, trials, variance=variance, confidence=confidence)


def precision_at_k(
    scores: Any,
    stratum: Any,
    reviewed: Any,
    verdicts: Any,
    *,
    k: int,
    variance: Variance = "unbiased",
    confidence: float = 0.95,
) -> Estimate:
    """Share of offensive images among the k highest scores, from the reviewed ones among them.

    Parameters
    ----------
    scores : array_like, shape (n,), NaN for skipped images
    stratum : int array, shape (n,)
    reviewed : int array, shape (m,), rows that were reviewed: random within each stratum
    verdicts : bool array, shape (m,)

    Returns
    -------
    Estimate
        Strata are weighted by how many of the k they hold, because they were reviewed at different rates. n counts the reviewed
        images among the k. Undefined where a stratum among the k has none, or fewer than k images have a score.
    """
    s, code, rows = np.asarray(scores, np.float64), np.asarray(stratum, np.int64), np.asarray(reviewed, np.int64)
    positive = np.asarray(verdicts) == 1
    known = np.flatnonzero(np.isfinite(s) & (code >= 0))
    if k < 1 or known.size < k:
        return undefined(f"there are {known.size} scored images, fewer than k = {k}", method="stratified normal", unit="share")
    top = known[np.argsort(-s[known], kind="stable")[:k]]
    strata = int(code.max(initial=-1)) + 1
    inside = np.isin(rows, top)
    return _stratified(
        np.bincount(code[top], minlength=strata),
        np.bincount(code[rows[inside & positive]], minlength=strata),
        np.bincount(code[rows[inside]], minlength=strata),
        variance=variance,
        confidence=confidence,
    )
