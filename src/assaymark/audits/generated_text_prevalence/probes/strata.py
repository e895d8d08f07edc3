"""Posts by topic, year and number of followers: how many, how many called machine-written, and their summed probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.probes.periods import merged_names, told_apart
from assaymark.audits.generated_text_prevalence.probes.posts import PostRules
from assaymark.data.dates import period_start
from assaymark.data.hashing import coded
from assaymark.data.keyed_sums import KeyedSums, merge_sums, sum_by_key
from assaymark.data.probe import Batch, Probe, State

__all__ = ["MOST_TOPICS", "SCALE", "StrataProbe", "Stratum"]

Ints = npt.NDArray[np.int64]

MOST_TOPICS = 20_000
"""Topics that are told apart; of more, those with the smallest hashes, and the others are left out together."""

SCALE = 1 << 20
"""Probabilities are summed as whole multiples of 1 / SCALE: sums are then the same in any order."""

TOPIC, FOLLOWERS = 0, 1


class Stratum(NamedTuple):
    """Counted posts with one value: `kind` is "topic" or "followers", `value` a topic or the number of a bin of followers.

    `called` are those with a probability at or above the threshold, `probability` the sum of all probabilities.
    """

    kind: str
    platform: str
    value: str
    year: int
    posts: int
    called: int
    probability: float


@dataclass(frozen=True)
class StrataProbe(Probe):
    """Sums in the cells kind x platform x value x year."""

    rules: PostRules
    threshold: float
    edges: tuple[int, ...]
    name: ClassVar[str] = "strata"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return (*self.rules.columns, *(name for name in ("topic", "followers") if name in self.rules.has))

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        counted = parsed.counted
        probability = parsed.probability[counted]
        values = np.column_stack([np.ones(len(counted)), probability >= self.threshold, np.rint(probability * SCALE)]).astype(
            np.int64
        )
        platform, year = parsed.platform.codes[counted], _years(period_start(parsed.period[counted], self.rules.unit))
        parts, topics = [], {}
        if "topic" in self.rules.has:
            found = coded(batch.column("topic"))
            rows = np.flatnonzero(found.codes[counted] > 0)
            topic = found.codes[counted][rows]
            parts.append(_sums(TOPIC, platform[rows], topic, year[rows], values[rows]))
            held = set(topic.tolist())
            topics = {name: code for name, code in found.names.items() if code in held}
        if "followers" in self.rules.has:
            followers = batch.numbers("followers")[counted]
            rows = np.flatnonzero(np.isfinite(followers))
            bins = np.searchsorted(self.edges, followers[rows], side="left")
            parts.append(_sums(FOLLOWERS, platform[rows], bins, np.zeros(len(rows), np.int64), values[rows]))
        found_sums = merge_sums(parts) if parts else KeyedSums(np.zeros((0, 4), np.int64), np.zeros((0, 3), np.int64))
        return self._bounded(found_sums, topics, parsed.platform.names)

    def combine(self, states: Sequence[State]) -> State:
        found = merge_sums([KeyedSums(state["keys"], state["sums"]) for state in states])
        return self._bounded(found, merged_names(states, "topics"), merged_names(states, "platforms"))

    def _bounded(self, found: KeyedSums, topics: dict[str, int], platforms: dict[str, int]) -> State:
        if len(topics) > MOST_TOPICS:
            kept = set(sorted(topics.values())[:MOST_TOPICS])
            topics = {name: code for name, code in topics.items() if code in kept}
            stay = (found.keys[:, 0] != TOPIC) | np.isin(found.keys[:, 2], np.array(sorted(kept)))
            found = KeyedSums(found.keys[stay], found.sums[stay])
        return {"keys": found.keys, "sums": found.sums, "topics": topics, "platforms": platforms}

    def finalize(self, state: State) -> tuple[Stratum, ...]:
        topics = told_apart(state["topics"])
        platforms = told_apart(state["platforms"], self.rules.unnamed_platform)
        strata = []
        for (kind, platform, value, year), (posts, called, probability) in zip(
            np.asarray(state["keys"]).tolist(), np.asarray(state["sums"]).tolist(), strict=True
        ):
            shown = topics[value] if kind == TOPIC else str(value)
            name = "topic" if kind == TOPIC else "followers"
            strata.append(Stratum(name, platforms[platform], shown, year, posts, called, probability / SCALE))
        return tuple(sorted(strata))


def _sums(kind: int, platform: Ints, value: Ints, year: Ints, values: Ints) -> KeyedSums:
    return sum_by_key(np.column_stack([np.full(len(value), kind, np.int64), platform, value, year]), values)


def _years(microseconds: Ints) -> Ints:
    return microseconds.astype("M8[us]").astype("M8[Y]").astype(np.int64) + 1970
