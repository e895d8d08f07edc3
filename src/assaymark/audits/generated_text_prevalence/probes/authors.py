"""How the share varies from author to author, from a sample of authors that are known by salted hash alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.probes.posts import PostRules
from assaymark.data.hashing import coded, mixed
from assaymark.data.keyed_sums import KeyedSums, merge_sums, sum_by_key
from assaymark.data.probe import Batch, Probe, State

__all__ = ["AuthorProbe"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AuthorProbe(Probe):
    """Counted posts and those called machine-written of up to `size` authors, those with the smallest salted hashes."""

    rules: PostRules
    threshold: float
    salt: bytes
    size: int = 50_000
    name: ClassVar[str] = "authors"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return (*self.rules.columns, "author")

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        counted = parsed.counted
        author = coded(batch.column("author")).codes[counted]
        rows = np.flatnonzero(author > 0)
        secret = np.uint64(int.from_bytes(blake2b(self.salt, digest_size=8).digest(), "big"))
        hashed = (mixed(author[rows].astype(np.uint64) ^ secret) >> np.uint64(1)).astype(np.int64)
        called = parsed.probability[counted][rows] >= self.threshold
        return self._cut(sum_by_key(hashed[:, None], np.column_stack([np.ones(len(rows), np.int64), called])))

    def combine(self, states: Sequence[State]) -> State:
        return self._cut(merge_sums([KeyedSums(state["keys"], state["sums"]) for state in states]))

    def _cut(self, found: KeyedSums) -> State:
        # Sorted by hash: an author among the smallest of all is among the smallest of every part that knows them.
        return {"keys": found.keys[: self.size], "sums": found.sums[: self.size]}

    def finalize(self, state: State) -> Ints:
        """Posts and called posts, shape (authors, 2), in no order that says who they are."""
        return np.asarray(state["sums"], np.int64)
