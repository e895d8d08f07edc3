"""How many posts of each platform and period have which probability, and how many are not counted, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.probes.posts import LAST_UNDATED, REASONS, PostRules
from assaymark.data.keyed_sums import KeyedSums, merge_sums, sum_by_key
from assaymark.data.probe import Batch, Probe, State
from assaymark.stats.prevalence import score_bins

__all__ = ["MOST_PLATFORMS", "OTHERS", "PeriodCounts", "PeriodProbe", "merged_names", "told_apart"]

Ints = npt.NDArray[np.int64]

MOST_PLATFORMS = 12
"""Platforms with a curve of their own, those with the most counted posts; the others are counted together."""

OTHERS = "other platforms"


class PeriodCounts(NamedTuple):
    """Posts by platform and period.

    Attributes
    ----------
    platforms : tuple of str
        In alphabetical order; the last is `OTHERS` where there are more than `MOST_PLATFORMS`.
    periods : int64 array, shape (periods,)
        Codes of the periods in which some platform has a counted post, rising.
    counts : int64 array, shape (platforms, periods, bins)
        Counted posts by bin of their probability.
    dropped : int64 array, shape (platforms, periods, reasons)
        Posts of these periods that are not counted.
    reasons : dict
        All posts that are not counted, by reason.
    pooled : int
        Platforms that are counted together.
    """

    platforms: tuple[str, ...]
    periods: Ints
    counts: Ints
    dropped: Ints
    reasons: dict[str, int]
    pooled: int = 0

    @property
    def posts(self) -> Ints:
        """Counted posts, shape (platforms, periods)."""
        total: Ints = self.counts.sum(axis=2)
        return total


@dataclass(frozen=True)
class PeriodProbe(Probe):
    """Counts in the cells platform x period x bin, most of which are empty."""

    rules: PostRules
    bins: int
    name: ClassVar[str] = "periods"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return self.rules.columns

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        place = np.where(parsed.reason < 0, 0, -1 - parsed.reason.astype(np.int64))
        counted = parsed.counted
        place[counted] = score_bins(parsed.probability[counted], self.bins)
        dated = np.where((parsed.reason < 0) | (parsed.reason > LAST_UNDATED), parsed.period, 0)
        keys = np.column_stack([parsed.platform.codes, dated, place])
        found = sum_by_key(keys, np.ones((batch.rows, 1), np.int64))
        return {"keys": found.keys, "sums": found.sums, "platforms": parsed.platform.names}

    def combine(self, states: Sequence[State]) -> State:
        found = merge_sums([KeyedSums(state["keys"], state["sums"]) for state in states])
        return {"keys": found.keys, "sums": found.sums, "platforms": merged_names(states, "platforms")}

    def finalize(self, state: State) -> PeriodCounts:
        keys, sums = np.asarray(state["keys"]), np.asarray(state["sums"])[:, 0]
        counted, reason = keys[:, 2] >= 0, -1 - keys[:, 2]
        names = told_apart(state["platforms"], self.rules.unnamed_platform)
        codes = _largest(keys[:, 0], np.where(counted, sums, 0))
        pooled = len(np.unique(keys[:, 0])) - len(codes)
        codes = sorted(codes or [0], key=lambda code: names[code])
        row_of = {code: row for row, code in enumerate(codes)}
        rows = np.array([row_of.get(int(code), len(codes)) for code in keys[:, 0]], dtype=np.int64)
        platforms = (*(names[code] for code in codes), *([OTHERS] if pooled else []))
        periods = np.unique(keys[counted, 1])
        column = np.searchsorted(periods, keys[:, 1])
        known = np.isin(keys[:, 1], periods)
        counts = np.zeros((len(platforms), len(periods), self.bins), np.int64)
        np.add.at(counts, (rows[counted], column[counted], keys[counted, 2]), sums[counted])
        dropped = np.zeros((len(platforms), len(periods), len(REASONS)), np.int64)
        inside = ~counted & known & (reason > LAST_UNDATED)
        np.add.at(dropped, (rows[inside], column[inside], reason[inside]), sums[inside])
        reasons = {name: int(sums[~counted & (reason == i)].sum()) for i, name in enumerate(REASONS)}
        return PeriodCounts(platforms, periods, counts, dropped, reasons, pooled)


def _largest(platform: Ints, posts: Ints) -> list[int]:
    """Codes of the platforms with the most counted posts; of equals those with the smaller codes, which are hashes."""
    codes, place = np.unique(platform, return_inverse=True)
    total = np.bincount(place, weights=posts, minlength=len(codes))
    most = MOST_PLATFORMS if len(codes) > MOST_PLATFORMS else len(codes)
    return [int(code) for code in codes[np.argsort(-total, kind="stable")[:most]]]


def told_apart(names: Mapping[str, int], unnamed: str = "") -> dict[int, str]:
    """Code to name, 0 to `unnamed`. Names that differ in case or spaces alone get a number: estimates are named after them."""
    found: dict[int, str] = {}
    taken = {_plain(unnamed), "all platforms"}
    for name, code in sorted(names.items()):
        number = 1
        while _plain(name if number == 1 else f"{name} ({number})") in taken:
            number += 1
        found[code] = name if number == 1 else f"{name} ({number})"
        taken.add(_plain(found[code]))
    return {**found, 0: unnamed}


def _plain(name: str) -> str:
    return " ".join(name.lower().split())


def merged_names(states: Sequence[State], field: str) -> dict[str, int]:
    """Names of codes of several states."""
    names: dict[str, Any] = {}
    for state in states:
        names |= state[field]
    return {name: int(code) for name, code in names.items()}
