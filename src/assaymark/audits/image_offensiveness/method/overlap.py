"""What one detector sees and another does not: regions of the Venn diagram, and agreement beyond chance.

Q16 finds threat, violence and disgust, not sexual content: of 60 images that a survey by hand listed as such it flags 4. How
little two detectors overlap is the reason to run both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import cohen_kappa_from_table, wilson

__all__ = ["Overlap", "PairOverlap", "overlap", "venn_counts"]

MOST_DETECTORS = 16


class PairOverlap(NamedTuple):
    """Two detectors.

    Attributes
    ----------
    first, second : str
    both, first_only, second_only, neither : int
    kappa : Estimate, Cohen's kappa
    first_finds, second_finds : Estimate, share of the other's flags that the first (second) raises too
    """

    first: str
    second: str
    both: int
    first_only: int
    second_only: int
    neither: int
    kappa: Estimate
    first_finds: Estimate
    second_finds: Estimate


class Overlap(NamedTuple):
    """All detectors.

    regions : tuple of (names of the detectors that flag, those that do not being silent; images), every combination once
    pairs : tuple of PairOverlap
    any_flag : Estimate, share of images that at least one flags
    """

    regions: tuple[tuple[tuple[str, ...], int], ...]
    pairs: tuple[PairOverlap, ...]
    any_flag: Estimate


def venn_counts(flags: Any) -> npt.NDArray[np.int64]:
    """Images in each region, shape (2^k,): bit j of the index says whether detector j flags. Parts add up.

    Parameters
    ----------
    flags : bool array, shape (n, k), k <= 16
    """
    table = np.asarray(flags, dtype=np.bool_)
    if table.ndim != 2 or not 1 <= table.shape[1] <= MOST_DETECTORS:
        raise ValueError(f"flags of shape {table.shape}: expected (images, detectors), at most {MOST_DETECTORS} detectors")
    k = table.shape[1]
    return np.bincount(table @ (1 << np.arange(k)), minlength=1 << k)


def overlap(counts: Any, names: Sequence[str], *, confidence: float = 0.95) -> Overlap:
    """Regions, pairs and their agreement from `venn_counts`.

    Parameters
    ----------
    counts : int array, shape (2^k,)
    names : sequence of k str
    """
    images = np.asarray(counts, dtype=np.int64)
    k = len(names)
    if images.shape != (1 << k,):
        raise ValueError(f"{images.size} regions do not fit {k} detectors")
    index = np.arange(1 << k)
    regions = tuple((tuple(names[j] for j in range(k) if i >> j & 1), int(images[i])) for i in index.tolist())
    pairs = tuple(_pair(images, index, names, i, j, confidence) for i, j in combinations(range(k), 2))
    total = int(images.sum())
    return Overlap(regions, pairs, wilson(total - int(images[0]), total, confidence=confidence))


def _pair(
    images: npt.NDArray[np.int64], index: npt.NDArray[np.int64], names: Sequence[str], i: int, j: int, confidence: float
) -> PairOverlap:
    table = np.bincount((index >> i & 1) * 2 + (index >> j & 1), weights=images, minlength=4).astype(np.int64).reshape(2, 2)
    both, first_only, second_only, neither = (int(table[a, b]) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0)))
    return PairOverlap(
        names[i],
        names[j],
        both,
        first_only,
        second_only,
        neither,
        cohen_kappa_from_table(table, confidence=confidence),
        wilson(both, both + second_only, confidence=confidence),
        wilson(both, both + first_only, confidence=confidence),
    )
