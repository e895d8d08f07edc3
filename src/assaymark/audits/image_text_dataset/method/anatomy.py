"""What is in the table: summaries read off histograms and counters that any number of batches add up to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.method.key_sketch import Duplicates, KeySketch, Multiplicity, duplicates
from assaymark.audits.image_text_dataset.method.near_duplicates import (
    NearDuplicates,
    Pairs,
    cosine_pairs,
    group_pairs,
    hamming_pairs,
    near_duplicates,
)
from assaymark.result import Estimate, undefined
from assaymark.stats import gini, mean_from_summary, top_share, wilson

__all__ = [
    "PAPER_SIZES",
    "Concentration",
    "Duplicates",
    "KeySketch",
    "LengthSummary",
    "Multiplicity",
    "NearDuplicates",
    "Pairs",
    "SizeShare",
    "category_shares",
    "concentration",
    "cosine_pairs",
    "duplicates",
    "group_pairs",
    "hamming_pairs",
    "histogram_quantile",
    "host_share",
    "length_summary",
    "near_duplicates",
    "size_counts",
    "size_shares",
]

Counts = npt.NDArray[np.int64]

PAPER_SIZES = (1024, 512, 256)


class LengthSummary(NamedTuple):
    """Lengths of the texts (characters or tokens); `longest_counted` is the first length of the open last bin."""

    n: int
    mean: Estimate
    median: Estimate
    low_decile: Estimate
    high_decile: Estimate
    empty: Estimate
    longest_counted: int
    overflow: Estimate


def histogram_quantile(counts: npt.ArrayLike, values: npt.ArrayLike, q: float, *, confidence: float = 0.95) -> Estimate:
    """Quantile of a histogram with limits from the binomial distribution of ranks (order statistics).

    Parameters
    ----------
    counts : int array, shape (n_bins,)
    values : array, shape (n_bins,), ascending
        The value that stands for each bin (its length, or its middle): the answer is one of them.
    q : float in (0, 1)
    """
    counts, values = np.asarray(counts, np.int64), np.asarray(values, np.float64)
    n = int(counts.sum())
    method = f"order statistics {confidence:.0%}"
    if not n:
        return undefined("nothing counted", method=method)
    limits = wilson(q * n, n, confidence=confidence)
    assert limits.low is not None and limits.high is not None
    upto = counts.cumsum()
    ranks = np.clip(np.ceil(np.array([limits.low, q, limits.high]) * n), 1, n)
    low, value, high = values[np.searchsorted(upto, ranks)]
    return Estimate(float(value), float(low), float(high), n, method)


def length_summary(counts: npt.ArrayLike, *, confidence: float = 0.95) -> LengthSummary:
    """Summary of a histogram of lengths 0, 1, 2, ...; the last bin holds that length and everything longer.

    Notes
    -----
    The mean counts the last bin at its lower end; `overflow` says how many texts that concerns.
    """
    counts = np.asarray(counts, np.int64)
    lengths = np.arange(len(counts), dtype=np.float64)
    n = int(counts.sum())
    if n < 2:
        mean = undefined("fewer than 2 texts", n=n)
    else:
        average = float(counts @ lengths) / n
        sd = math.sqrt(float(counts @ (lengths - average) ** 2) / (n - 1))
        mean = mean_from_summary(average, sd, n, confidence=confidence)
    low, median, high = (histogram_quantile(counts, lengths, q, confidence=confidence) for q in (0.1, 0.5, 0.9))
    empty, longest = (wilson(int(counts[i]), n, confidence=confidence) for i in (0, -1))
    return LengthSummary(n, mean, median, low, high, empty, len(counts) - 1, longest)


class SizeShare(NamedTuple):
    """Share of the sized images with either side, and with both sides, of at least `limit` pixels (LAION's own report)."""

    limit: int
    either: Estimate
    both: Estimate


def size_counts(
    width: npt.ArrayLike, height: npt.ArrayLike, *, limits: Sequence[int] = PAPER_SIZES
) -> tuple[Counts, Counts, int]:
    """(either, both, sized): images with either / both sides >= each limit, and images whose two sides are known.

    NaN, zero and negative sides are unknown.
    """
    w, h = np.asarray(width, np.float64), np.asarray(height, np.float64)
    known = (w > 0) & (h > 0)
    bounds = np.asarray(limits, np.float64)
    wide, tall = w[known, None] >= bounds, h[known, None] >= bounds
    return (wide | tall).sum(axis=0, dtype=np.int64), (wide & tall).sum(axis=0, dtype=np.int64), int(known.sum())


def size_shares(
    either: npt.ArrayLike, both: npt.ArrayLike, sized: int, *, limits: Sequence[int] = PAPER_SIZES, confidence: float = 0.95
) -> tuple[SizeShare, ...]:
    """Shares of `size_counts`, one entry per limit in the order given."""
    return tuple(
        SizeShare(limit, wilson(int(e), sized, confidence=confidence), wilson(int(b), sized, confidence=confidence))
        for limit, e, b in zip(limits, np.asarray(either), np.asarray(both), strict=True)
    )


class Concentration(NamedTuple):
    """How few sources the rows come from. `top[k]` is the share of the k largest."""

    sources: int
    rows: int
    gini: Estimate
    top: dict[int, Estimate]


def concentration(
    counts: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    top: Sequence[int] = (1, 10, 100),
    confidence: float = 0.95,
    resamples: int = 200,
) -> Concentration:
    """Concentration of rows on registered domains (or authors, hosts), from rows per source; empty sources are left out."""
    counts = np.asarray(counts, np.int64)
    counts = counts[counts > 0]
    shares = {k: top_share(counts, k, confidence=confidence) for k in top}
    return Concentration(
        len(counts), int(counts.sum()), gini(counts, rng=rng, resamples=resamples, confidence=confidence), shares
    )


def host_share(counts: Mapping[str, int], hosts: Collection[str], *, confidence: float = 0.95) -> Estimate:
    """Share of rows from a given set of hosts (stock-photo sites, shops)."""
    wanted = {host.lower() for host in hosts}
    inside = sum(count for host, count in counts.items() if host.lower() in wanted)
    return wilson(inside, sum(counts.values()), confidence=confidence)


def category_shares(counts: Mapping[str, int], *, confidence: float = 0.95) -> dict[str, Estimate]:
    """Share of each value of a category (tag, licence, language), most frequent first, ties by name."""
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {name: wilson(count, total, confidence=confidence) for name, count in ranked}
