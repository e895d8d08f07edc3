"""How many counted posts are labelled texts too, which makes a detector look better on the stream than it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.generated_text_prevalence.probes.posts import PostRules
from assaymark.data.hashing import hash_column
from assaymark.data.probe import Batch, Probe, State

__all__ = ["SharedProbe", "text_hashes"]


def text_hashes(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hashes of different texts, rising; blanks have none."""
    written = [text.strip() for text in texts if text.strip()]
    hashes: npt.NDArray[np.uint64] = np.unique(hash_column(pa.array(written, pa.large_string())))
    return hashes


@dataclass(frozen=True)
class SharedProbe(Probe):
    """Counts the counted posts whose text is one of the labelled texts; `known` are the hashes of those."""

    rules: PostRules
    known: npt.NDArray[np.uint64]
    name: ClassVar[str] = "shared"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return tuple(dict.fromkeys((*self.rules.columns, "text")))

    def aggregate(self, batch: Batch) -> State:
        counted = self.rules.parse(batch).counted
        texts = pc.utf8_trim_whitespace(pc.fill_null(batch.column("text"), ""))
        return {"posts": int(np.isin(hash_column(texts)[counted], self.known).sum())}

    def combine(self, states: Sequence[State]) -> State:
        return {"posts": sum(int(state["posts"]) for state in states)}

    def finalize(self, state: State) -> int:
        return int(state["posts"])
