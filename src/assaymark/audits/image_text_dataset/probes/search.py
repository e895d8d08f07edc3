"""Plain text search for the retrieval queries: how many rows hold the words, and a sample of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.probes.sample import bottom_rows, hash_strings, merge_bottom
from assaymark.audits.image_text_dataset.probes.vocabulary import normalised, texts
from assaymark.data.lexicon import Lexicon, Matcher, Term
from assaymark.data.probe import Batch, Probe

__all__ = ["SearchHits", "SearchProbe"]


class SearchHits(NamedTuple):
    """`counts[q]` rows hold the words of query q; `rows[q]` are at most k of them as (shard, row), shape (n, 2)."""

    counts: npt.NDArray[np.int64]
    rows: tuple[npt.NDArray[np.int64], ...]


class SearchProbe(Probe):
    name = "search"
    columns = ("text",)

    def __init__(self, queries: Sequence[str], *, k: int) -> None:
        self.queries, self.k = tuple(queries), k
        self._matcher = Matcher((Lexicon.of("queries", [Term(q) for q in self.queries]),), mode="word")

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        hits = self._matcher.find(normalised(batch, self._matcher.normalise), normalised=True)
        keys = batch.once("text hash", lambda: hash_strings(texts(batch)))
        state: dict[str, Any] = {"counts": np.bincount(hits.terms, minlength=len(self.queries)).astype(np.int64)}
        for q in range(len(self.queries)):
            sample = bottom_rows(batch, keys, hits.rows[hits.terms == q].astype(np.int64), self.k)
            state |= {f"{q}|{name}": values for name, values in sample.items()}
        return state

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        merged: dict[str, Any] = {"counts": np.sum([state["counts"] for state in states], axis=0, dtype=np.int64)}
        for q in range(len(self.queries)):
            parts = [{name: state[f"{q}|{name}"] for name in ("keys", "shard", "row")} for state in states]
            merged |= {f"{q}|{name}": values for name, values in merge_bottom(parts, self.k).items()}
        return merged

    def finalize(self, state: Mapping[str, Any]) -> SearchHits:
        rows = tuple(np.stack([state[f"{q}|shard"], state[f"{q}|row"]], axis=1) for q in range(len(self.queries)))
        return SearchHits(np.asarray(state["counts"]), rows)
