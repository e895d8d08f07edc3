"""A bounded sample of counted posts with their engagement: those with the smallest hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.probes.periods import merged_names
from assaymark.audits.generated_text_prevalence.probes.posts import PostRules
from assaymark.data.hashing import coded, hash_column
from assaymark.data.probe import Batch, Probe, State

__all__ = ["ENGAGEMENT", "RowProbe", "SampledPosts"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ENGAGEMENT = ("likes", "comments", "shares")
"""Concepts that count what others did with a post."""


class SampledPosts(NamedTuple):
    """Posts by rising hash; arrays of one length. `author` is a hash, 0 where there is none; counts are NaN where missing."""

    probability: Floats
    platform: Ints
    period: Ints
    topic: Ints
    author: Ints
    followers: Floats
    engagement: dict[str, Floats]
    platforms: dict[int, str]


@dataclass(frozen=True)
class RowProbe(Probe):
    """Keeps up to `size` posts."""

    rules: PostRules
    size: int
    name: ClassVar[str] = "rows"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        wanted = (*ENGAGEMENT, "topic", "followers", "author")
        return (*self.rules.columns, *(name for name in wanted if name in self.rules.has))

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        counted, has = parsed.counted, self.rules.has
        none, nothing = np.zeros(batch.rows, np.int64), np.full(batch.rows, np.nan)
        author = (hash_column(batch.column("author")) >> np.uint64(1)).astype(np.int64) if "author" in has else none
        columns: dict[str, Any] = {
            "key": parsed.key,
            "probability": parsed.probability,
            "platform": parsed.platform.codes,
            "period": parsed.period,
            "topic": coded(batch.column("topic")).codes if "topic" in has else none,
            "author": author,
            "followers": batch.numbers("followers") if "followers" in has else nothing,
            **{name: batch.numbers(name) for name in ENGAGEMENT if name in has},
        }
        return self._cut({name: values[counted] for name, values in columns.items()}, parsed.platform.names)

    def combine(self, states: Sequence[State]) -> State:
        arrays = {name: np.concatenate([state["arrays"][name] for state in states]) for name in states[0]["arrays"]}
        return self._cut(arrays, merged_names(states, "platforms"))

    def _cut(self, arrays: dict[str, Any], platforms: dict[str, int]) -> State:
        # Posts with equal hashes are told apart by what else is known of them, so that the order of rows is no matter.
        rest = [values for name, values in arrays.items() if name != "key"]
        order = np.lexsort((*rest[::-1], arrays["key"]))[: self.size]
        return {"arrays": {name: values[order] for name, values in arrays.items()}, "platforms": platforms}

    def finalize(self, state: State) -> SampledPosts:
        arrays = {name: np.asarray(values) for name, values in state["arrays"].items() if name != "key"}
        engagement = {name: arrays.pop(name) for name in ENGAGEMENT if name in arrays}
        platforms = {code: name for name, code in state["platforms"].items()}
        return SampledPosts(**arrays, engagement=engagement, platforms=platforms)
