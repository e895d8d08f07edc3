"""Lexicon hits by category and term, with word boundaries and as substrings side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.probes.sample import bottom_rows, hash_strings, merge_bottom
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary, texts
from assaymark.data.probe import Batch, Probe, add_states

__all__ = ["LexiconCounts", "LexiconProbe"]

Ints = npt.NDArray[np.int64]


class LexiconCounts(NamedTuple):
    """Rows with at least one hit. First axis: 0 word boundaries, 1 substrings."""

    rows: int
    any: Ints  # (2,)
    categories: Ints  # (2, n_categories)
    terms: Ints  # (2, n_terms)
    example_shards: Ints
    example_rows: Ints


class LexiconProbe(Probe):
    name = "lexicons"
    columns = ("text",)

    def __init__(self, vocabulary: Vocabulary, *, examples: int = 5) -> None:
        self.vocabulary, self.examples = vocabulary, examples

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        words = self.vocabulary
        n_terms, n_categories = len(words.lexicon_terms), len(words.categories)
        any_, categories, terms = np.zeros(2, np.int64), np.zeros((2, n_categories), np.int64), np.zeros((2, n_terms), np.int64)
        for axis, mode in enumerate(("word", "substring")):
            hits = words.hits(batch, f"lexicons.{mode}")
            any_[axis] = len(np.unique(hits.rows))
            terms[axis] = np.bincount(hits.terms, minlength=n_terms)
            if n_categories:
                pairs = np.unique(hits.rows.astype(np.int64) * n_categories + words.category_of[hits.terms])
                categories[axis] = np.bincount(pairs % n_categories, minlength=n_categories)
        flagged = np.flatnonzero(words.lexicon_flag(batch))
        keys = batch.once("text hash", lambda: hash_strings(texts(batch)))
        return {
            "rows": batch.rows,
            "any": any_,
            "categories": categories,
            "terms": terms,
            **bottom_rows(batch, keys, flagged, self.examples),
        }

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        sample = merge_bottom(states, self.examples)
        return {**add_states([{k: v for k, v in s.items() if k not in sample} for s in states]), **sample}

    def finalize(self, state: Mapping[str, Any]) -> LexiconCounts:
        return LexiconCounts(
            int(state["rows"]), state["any"], state["categories"], state["terms"], state["shard"], state["row"]
        )
