"""What a row filter does to one batch: the rules that name a row, and the counts before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.config import FilterRowsConfig
from assaymark.audits.image_text_dataset.method.first_seen import SeenKeys
from assaymark.audits.image_text_dataset.probes.hate_content import tag_codes
from assaymark.audits.image_text_dataset.probes.sample import hash_strings
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary, texts
from assaymark.data.probe import Batch

__all__ = ["MEASURES", "Filter", "Tally"]

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MEASURES = ("unsafe", "lexicon", "hate_content")
"""Flags that are counted before and after, whatever the rules."""


@dataclass
class Tally:
    """Counts that add up over batches. Axis 0 of pairs: all rows, kept rows."""

    n_terms: int
    n_axes: int
    rows: int = 0
    kept: int = 0
    rules: dict[str, int] = field(default_factory=dict)
    first_rule: dict[str, int] = field(default_factory=dict)
    flags: dict[str, Ints] = field(default_factory=dict)
    terms: Ints = field(init=False)
    axes: Ints = field(init=False)

    def __post_init__(self) -> None:
        self.terms = np.zeros((2, self.n_terms), np.int64)
        self.axes = np.zeros((2, self.n_axes), np.int64)

    def add(self, other: Tally) -> None:
        self.rows += other.rows
        self.kept += other.kept
        for mine, theirs in ((self.rules, other.rules), (self.first_rule, other.first_rule)):
            for rule, count in theirs.items():
                mine[rule] = mine.get(rule, 0) + count
        for flag, counts in other.flags.items():
            self.flags[flag] = self.flags.get(flag, np.zeros(2, np.int64)) + counts
        self.terms += other.terms
        self.axes += other.axes


class _Decided(NamedTuple):
    keep: Mask
    tally: Tally


@dataclass
class Filter:
    """The rules of one run, in the order in which a dropped row is booked. `seen` grows from batch to batch.

    `scores` gives the largest text score of each row, NaN where there is none; None without a text model.
    """

    config: FilterRowsConfig
    words: Vocabulary
    rules: tuple[str, ...]
    measures: tuple[str, ...]
    score_labels: tuple[str, ...] = ()
    scorer: Any = None
    seen: SeenKeys = field(default_factory=SeenKeys)

    def __post_init__(self) -> None:
        self.axes = tuple(dict.fromkeys(term.category or "terms" for term in self.words.slices))
        self._axis_of = np.array([self.axes.index(term.category or "terms") for term in self.words.slices], dtype=np.int64)

    def empty(self) -> Tally:
        return Tally(len(self.words.slices), len(self.axes))

    def decide(self, batch: Batch, listed: Mask) -> _Decided:
        """Which rows stay, and what that changes. `listed`: rows that the removal manifest names."""
        named: dict[str, Mask] = {}
        keep = np.ones(batch.rows, dtype=bool)
        tally = self.empty()
        for rule in self.rules:
            named[rule] = listed if rule == "manifest" else self._named_by(rule, batch, keep)
            tally.first_rule[rule] = int((named[rule] & keep).sum())
            tally.rules[rule] = int(named[rule].sum())
            keep &= ~named[rule]
        tally.rows, tally.kept = batch.rows, int(keep.sum())
        for measure in self.measures:
            flag = self._flag(measure, batch)
            tally.flags[measure] = np.array([flag.sum(), (flag & keep).sum()], dtype=np.int64)
        self._count_groups(batch, keep, tally)
        return _Decided(keep, tally)

    def _named_by(self, rule: str, batch: Batch, keep: Mask) -> Mask:
        if rule == "tag":
            names, codes = tag_codes(batch)
            wanted = {tag.upper() for tag in self.config.keep_tags}
            return np.asarray(~np.array([name in wanted for name in names], dtype=bool)[codes])
        if rule == "duplicate":
            return self._repeated(batch, keep)
        return self._flag({"score": "hate_content"}.get(rule, rule), batch)

    def _flag(self, measure: str, batch: Batch) -> Mask:
        if measure == "unsafe":
            return self.words.unsafe(batch)
        if measure == "lexicon":
            return self.words.lexicon_flag(batch)
        return np.asarray(np.nan_to_num(self._top_scores(batch), nan=0.0) > self.config.theta)

    def _top_scores(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Largest label of each text; NaN for an empty text, which no model is asked about."""

        def compute() -> npt.NDArray[np.float64]:
            if self.scorer is None:
                columns = [batch.numbers(f"text_toxicity.{label}") for label in self.score_labels]
                return np.asarray(np.stack(columns, axis=1).max(axis=1))
            return np.asarray(np.asarray(self.scorer(texts(batch)), dtype=np.float64).max(axis=1))

        return batch.once("top score", compute)

    def _repeated(self, batch: Batch, keep: Mask) -> Mask:
        """Rows whose key an earlier kept row has. Dropped rows leave no key: a kept row is never lost to a dropped twin."""
        keys = np.zeros(batch.rows, dtype=np.uint64)
        whole = keep.copy()
        for concept in self.config.duplicate_key:
            values = texts(batch, concept)
            keys = keys * np.uint64(0x9E3779B97F4A7C15) ^ hash_strings(values)
            whole &= pc.not_equal(values, "").to_numpy(zero_copy_only=False).astype(bool)
        candidates = np.flatnonzero(whole)
        repeated = np.zeros(batch.rows, dtype=bool)
        repeated[candidates[~self.seen.first(keys[candidates])]] = True
        return repeated

    def _count_groups(self, batch: Batch, keep: Mask, tally: Tally) -> None:
        """Rows that name each term and each axis, before and after."""
        if not self.words.slices or "text" not in batch:
            return
        hits = self.words.hits(batch, "slices")
        pairs = np.unique(hits.rows.astype(np.int64) * len(self.axes) + self._axis_of[hits.terms])
        rows, axes = np.divmod(pairs, len(self.axes))
        for at, mask in enumerate((np.ones(batch.rows, bool), keep)):
            tally.terms[at] = np.bincount(hits.terms[mask[hits.rows]], minlength=len(self.words.slices))
            tally.axes[at] = np.bincount(axes[mask[rows]], minlength=len(self.axes))


def manifest_rows(table: pa.Table) -> Mapping[int, Ints]:
    """Sorted distinct row numbers of each shard that a removal manifest names."""
    shard, row = (table.column(name).cast(pa.int64()).to_numpy() for name in ("shard", "row"))
    return {int(index): np.unique(row[shard == index]) for index in np.unique(shard)}
