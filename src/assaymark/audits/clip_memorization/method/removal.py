"""Which pairs a removal takes, whom it takes them from, and which of several trainings is best.

References
----------
.. [1] Wang et al. Captured by Captions: On Memorization and its Mitigation in CLIP Models. ICLR 2025, arXiv 2502.07830.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import wilson

__all__ = ["GroupShare", "RemovalRule", "group_composition", "pareto_front", "recommended", "removed"]

RemovalRule = Literal["memorized", "random", "dissimilar"]


class GroupShare(NamedTuple):
    """A group among the pairs and among those that would be removed."""

    group: str
    pairs: Estimate
    removed: Estimate
    lost: Estimate  # share of the group's own pairs that is removed


def removed(
    scores: Any, count: int, *, rule: RemovalRule, rng: np.random.Generator, similarity: Any = None
) -> npt.NDArray[np.int64]:
    """Positions of the pairs that a rule takes out: the removal study of [1], and its two controls.

    Parameters
    ----------
    scores : array_like, shape (n,)
        CLIPMem; a pair without a score is never taken as memorized.
    count : int
    rule : "memorized" (highest scores), "random", or "dissimilar" (lowest `similarity`)
    """
    values = np.asarray(scores, dtype=np.float64)
    count = min(count, len(values))
    if rule == "random":
        return np.sort(rng.choice(len(values), size=count, replace=False))
    key = -values if rule == "memorized" else np.asarray(similarity, dtype=np.float64)
    order = np.argsort(np.where(np.isfinite(key), key, np.inf), kind="stable")
    return np.sort(order[: min(count, int(np.isfinite(key).sum()))])


def group_composition(groups: Sequence[str], taken: Any, *, confidence: float = 0.95) -> tuple[GroupShare, ...]:
    """Groups of the pairs before a removal and among what it takes, most affected first: rare groups may vanish unseen.

    Parameters
    ----------
    groups : sequence of str, length n
    taken : array_like of int
        Positions that are removed.
    """
    names, codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    chosen = np.asarray(taken, dtype=np.int64)
    all_counts = np.bincount(codes, minlength=len(names))
    lost = np.bincount(codes[chosen], minlength=len(names))
    rows = [
        GroupShare(
            str(name),
            wilson(int(all_counts[at]), len(codes), confidence=confidence),
            wilson(int(lost[at]), len(chosen), confidence=confidence),
            wilson(int(lost[at]), int(all_counts[at]), confidence=confidence),
        )
        for at, name in enumerate(names)
    ]
    return tuple(sorted(rows, key=lambda row: (-(row.lost.value or 0.0), row.group)))


def pareto_front(memorization: Any, utility: Any) -> npt.NDArray[np.bool_]:
    """Which trainings no other beats in both: less memorization without less utility, or more utility without more of it.

    Parameters
    ----------
    memorization, utility : array_like, shape (n,)
        A training with NaN in one of them is on no front.
    """
    m, u = np.asarray(memorization, dtype=np.float64), np.asarray(utility, dtype=np.float64)
    known = np.isfinite(m) & np.isfinite(u)
    beaten = np.zeros(len(m), bool)
    for at in np.flatnonzero(known):
        others = known & (m <= m[at]) & (u >= u[at]) & ((m < m[at]) | (u > u[at]))
        beaten[at] = bool(others.any())
    return known & ~beaten


def recommended(memorization: Sequence[Estimate], utility_gains: Sequence[Estimate], *, worse: float = 0.0) -> int | None:
    """Position of the training with the least memorization among those whose utility is not shown to be worse.

    Parameters
    ----------
    memorization : of each training
    utility_gains : utility minus that of the baseline, paired over seeds
        One whose interval lies below `worse` (0 or a tolerated loss, negative) as a whole is shown to be worse; one that is
        undefined is not considered.
    """
    able = [
        at
        for at, gain in enumerate(utility_gains)
        if gain.high is not None and gain.high >= worse and memorization[at].value is not None
    ]
    return min(able, key=lambda at: float(memorization[at].value or 0.0)) if able else None
