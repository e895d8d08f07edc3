"""Words of the counted posts, by the detector's call and by its probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from assaymark.audits.generated_text_prevalence.method.words import WordCounts, count_words, merge_counts
from assaymark.audits.generated_text_prevalence.probes.posts import PostRules
from assaymark.data.probe import Batch, Probe, State

__all__ = ["WordCounts", "WordProbe"]


@dataclass(frozen=True)
class WordProbe(Probe):
    """Counts of words, of up to 200,000 distinct ones."""

    rules: PostRules
    threshold: float
    name: ClassVar[str] = "words"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return tuple(dict.fromkeys((*self.rules.columns, "text")))

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        counted = parsed.counted
        texts = batch.column("text").take(pa.array(counted)).to_pylist()
        return count_words(texts, parsed.probability[counted], threshold=self.threshold).state()

    def combine(self, states: Sequence[State]) -> State:
        return merge_counts([WordCounts.from_state(state) for state in states]).state()

    def finalize(self, state: State) -> WordCounts:
        return WordCounts.from_state(state)
