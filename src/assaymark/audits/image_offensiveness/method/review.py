"""Which images a person looks at, and what the verdicts say about all images.

The queue is a stratified random sample: bins of the score times classes. Looking at the top alone measures precision there and
nothing else; a few images of every stratum make the prevalence of the whole data set estimable without bias, as sum_h W_h p_h
with variance sum_h W_h^2 p_h (1 - p_h) / (n_h - 1).

References
----------
.. [1] Cochran, W. G. (1977). Sampling Techniques. Wiley, third edition.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats import stratified_prevalence
from assaymark.stats.checks import normal_quantile, percent

__all__ = [
    "SCORE_EDGES",
    "Strata",
    "allocate",
    "draw_review",
    "precision_at_k",
    "reviewed_prevalence",
    "score_strata",
    "stratified_share",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Variance = Literal["ours", "plain"]

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


def stratified_share(sizes: Any, reviewed: Any, positive: Any, *, effective: Any = None, confidence: float = 0.95) -> Estimate:
    """Share sum W_h p_h of a stratified sample, with the error of strata whose verdicts all agree.

    Parameters
    ----------
    sizes, reviewed, positive : array_like, shape (bins, classes)
        Rows of each stratum; rows that the reviewed images stand for; and those of them that were found offensive.
    effective : array_like, shape (bins, classes), optional
        Effective number of reviewed images where some stand for several rows; `reviewed` by default.

    Returns
    -------
    Estimate
        Unit "share"; undefined where a bin with images has no verdict at all.

    Notes
    -----
    Variance sum W_h^2 p_h (1 - p_h) / (n_h - 1) (1 - n_h / N_h) ([1], section 5). With n_h in the place of n_h - 1 the
    interval covers 86 to 90 % of the time where strata have four verdicts. In a stratum of few verdicts that all agree
    p_h (1 - p_h) is 0 although little is known; there the share of its whole bin, (k + 1/2) / (n + 1) where that is 0 or 1 too,
    stands in for it. A stratum without verdicts joins the largest reviewed one of its bin.
    """
    N, m, k = (np.array(x, dtype=np.float64) for x in (sizes, reviewed, positive))
    n = m if effective is None else np.array(effective, dtype=np.float64)
    method, examined = f"stratified, bins pooled where verdicts agree, {percent(confidence)}", round(float(n.sum()))
    if not N.sum():
        return undefined("there are no images in these strata", n=examined, method=method, unit="share")
    empty = np.flatnonzero((N.sum(axis=1) > 0) & ~(m > 0).any(axis=1))
    if empty.size:
        reason = f"score bin {empty[0] + 1} of {len(N)} has images and no verdict"
        return undefined(reason, n=examined, method=method, unit="share")
    N = _joined(N, m > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(m > 0, k / m, 0.0)
        pooled_n, pooled_k = n.sum(axis=1, keepdims=True), (p * n).sum(axis=1, keepdims=True)
        pooled = np.clip(pooled_k / pooled_n, 0.5 / (pooled_n + 1), 1 - 0.5 / (pooled_n + 1))
        differ = (p > 0) & (p < 1)
        spread = np.where(differ, p, pooled)
        left = np.clip(1 - m / N, 0.0, 1.0)
        terms = (N / N.sum()) ** 2 * spread * (1 - spread) / np.where(differ, np.maximum(n - 1, 1), n) * left
    variance = float(np.nansum(np.where((N > 0) & (n > 0), terms, 0.0)))
    point = float((N / N.sum() * p).sum())
    half = normal_quantile(confidence) * math.sqrt(variance)
    return Estimate(point, max(point - half, 0.0), min(point + half, 1.0), examined, method, "share")


def _joined(sizes: Floats, seen: npt.NDArray[np.bool_]) -> Floats:
    """Sizes where the strata without verdicts have joined the largest reviewed one of their bin."""
    joined = np.where(seen, sizes, 0.0)
    largest = np.argmax(np.where(seen, sizes, -1.0), axis=1)
    joined[np.arange(len(sizes)), largest] += np.where(seen, 0.0, sizes).sum(axis=1)
    return joined


def reviewed_prevalence(
    sizes: Any, stratum: Any, verdicts: Any, *, variance: Variance = "ours", confidence: float = 0.95
) -> Estimate:
    """Share of offensive images in the whole data set from the verdicts on a stratified sample.

    Parameters
    ----------
    sizes : int array, shape (strata,): images of each stratum in the data set
    stratum, verdicts : arrays, shape (reviewed,): stratum of each reviewed image, and whether a person found it offensive
    variance : "ours" or "plain"
        That of `stratified_share`, or sum W_h^2 p_h (1 - p_h) / n_h, which is too small on average.

    Returns
    -------
    Estimate
        Unit "share"; undefined where a stratum with images was not reviewed.
    """
    code, positive = np.asarray(stratum, dtype=np.int64), np.asarray(verdicts) == 1
    size = np.asarray(sizes, dtype=np.int64)
    trials = np.bincount(code, minlength=size.size)
    successes = np.bincount(code[positive], minlength=size.size)
    if variance == "plain":
        return stratified_prevalence(size, successes, trials, confidence=confidence)
    return stratified_share(size[:, None], trials[:, None], successes[:, None], confidence=confidence)


def precision_at_k(
    scores: Any,
    stratum: Any,
    reviewed: Any,
    verdicts: Any,
    *,
    k: int,
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
    held, seen, found = (
        np.bincount(codes, minlength=strata)[:, None]
        for codes in (code[top], code[rows[inside]], code[rows[inside & positive]])
    )
    return stratified_share(held, seen, found, confidence=confidence)
