"""Lexicon hits by category and term, with word boundaries and as substrings side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.probes.sample import bottom_rows, hash_strings, merge_bottom
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary, texts
from assaymark.data.lexicon import Hits
from assaymark.data.probe import Batch, Probe, add_states

__all__ = ["LexiconCounts", "LexiconProbe"]

Ints = npt.NDArray[np.int64]


class LexiconCounts(NamedTuple):
    """Rows with at least one hit. First axis: 0 word boundaries, 1 substrings."""

    rows: int
    any: Ints  # (2,)
    categories: Ints  # (2, n_categories)
    languages: Ints  # (2, n_languages)
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
        n_terms = len(words.lexicon_terms)
        any_, terms = np.zeros(2, np.int64), np.zeros((2, n_terms), np.int64)
        categories = np.zeros((2, len(words.categories)), np.int64)
        languages = np.zeros((2, len(words.languages)), np.int64)
        for axis, mode in enumerate(("word", "substring")):
            hits = words.hits(batch, f"lexicons.{mode}")
            any_[axis] = len(np.unique(hits.rows))
            terms[axis] = np.bincount(hits.terms, minlength=n_terms)
            categories[axis] = _rows_of_groups(hits, words.category_of, len(words.categories))
            languages[axis] = _rows_of_groups(hits, words.language_of, len(words.languages))
        flagged = np.flatnonzero(words.lexicon_flag(batch))
        keys = batch.once("text hash", lambda: hash_strings(texts(batch)))
        return {
            "rows": batch.rows,
            "any": any_,
            "categories": categories,
            "languages": languages,
            "terms": terms,
            **bottom_rows(batch, keys, flagged, self.examples),
        }

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        sample = merge_bottom(states, self.examples)
        return {**add_states([{k: v for k, v in s.items() if k not in sample} for s in states]), **sample}

    def finalize(self, state: Mapping[str, Any]) -> LexiconCounts:
        return LexiconCounts(
            int(state["rows"]),
            state["any"],
            state["categories"],
            state["languages"],
            state["terms"],
            state["shard"],
            state["row"],
        )


def _rows_of_groups(hits: Hits, group_of: Ints, n_groups: int) -> Ints:
    """Rows with a term of each group, (n_groups,); a row with two terms of one group counts once."""
    if not n_groups:
        return np.zeros(0, np.int64)
    pairs = np.unique(hits.rows.astype(np.int64) * n_groups + group_of[hits.terms])
    return np.bincount(pairs % n_groups, minlength=n_groups).astype(np.int64)
