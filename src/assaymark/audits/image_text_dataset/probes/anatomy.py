"""What is in the table: missing texts, lengths, sizes, licences, tags, similarities, scripts, domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.probes.hate_content import tag_codes
from assaymark.audits.image_text_dataset.probes.vocabulary import blank_texts, texts, trimmed_texts
from assaymark.data.lexicon_text import string_buffer
from assaymark.data.probe import Batch, Probe, add_states
from assaymark.report.domains import encode_domains

__all__ = ["DOMAIN_CAPACITY", "SCRIPTS", "AnatomyCounts", "AnatomyProbe"]

Ints = npt.NDArray[np.int64]

LENGTHS = 2001
"""Lengths 0..1999 are counted exactly, longer ones in the last bin."""

DOMAIN_CAPACITY = 200_000
"""Distinct domains counted exactly; beyond it the rarest are folded into one number, and the result says so."""

SCRIPTS = {
    "Latin": r"\p{Latin}",
    "Han": r"\p{Han}",
    "Kana": r"[\p{Hiragana}\p{Katakana}]",
    "Hangul": r"\p{Hangul}",
    "Cyrillic": r"\p{Cyrillic}",
    "Arabic": r"\p{Arabic}",
    "Devanagari": r"\p{Devanagari}",
    "Thai": r"\p{Thai}",
    "Greek": r"\p{Greek}",
    "Hebrew": r"\p{Hebrew}",
}
SIZES = (256, 512, 1024)
_BLANKS = np.isin(np.arange(256), list(b" \t\n\f\r"))


class AnatomyCounts(NamedTuple):
    rows: int
    null_text: int
    blank_text: int
    characters: Ints  # (LENGTHS,)
    words: Ints  # (LENGTHS,)
    either: Ints  # (3,): rows with either side >= 256, 512, 1024
    both: Ints  # (3,)
    sized: int
    aspect: Ints  # (40,): log2(width / height) from -4 to 4
    licence: dict[str, int]
    tags: dict[str, int]
    similarity: Ints  # (200,): cosine from -1 to 1
    similarity_missing: int
    scripts: dict[str, int]
    languages: dict[str, int]
    domains: dict[str, int]
    other_domains: int
    no_url: int


class AnatomyProbe(Probe):
    name = "anatomy"
    optional = ("text", "url", "width", "height", "licence", "tag", "similarity", "language")

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        return {
            "rows": batch.rows,
            **_text(batch),
            **_sizes(batch),
            **_similarity(batch),
            "licence": _counts(batch.column("licence")) if "licence" in batch else {},
            "languages": _counts(batch.column("language")) if "language" in batch else {},
            "tags": _tags(batch),
            **_domains(batch),
        }

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        merged = add_states(states)
        if len(merged["domains"]) > DOMAIN_CAPACITY:
            ranked = sorted(merged["domains"].items(), key=lambda item: (-item[1], item[0]))
            merged["other_domains"] += sum(count for _, count in ranked[DOMAIN_CAPACITY:])
            merged["domains"] = dict(ranked[:DOMAIN_CAPACITY])
        return merged

    def finalize(self, state: Mapping[str, Any]) -> AnatomyCounts:
        return AnatomyCounts(**{field: state[field] for field in AnatomyCounts._fields})


def _text(batch: Batch) -> dict[str, Any]:
    state: dict[str, Any] = {
        "null_text": 0,
        "blank_text": 0,
        "characters": np.zeros(LENGTHS, np.int64),
        "words": np.zeros(LENGTHS, np.int64),
        "scripts": {},
    }
    if "text" not in batch:
        return state
    values = texts(batch)
    characters = pc.utf8_length(values).to_numpy(zero_copy_only=False)
    blank = blank_texts(batch)
    nulls = batch.column("text").null_count
    state["null_text"], state["blank_text"] = nulls, int(blank.sum()) - nulls
    state["characters"] = _length_histogram(characters)
    state["words"] = _length_histogram(np.where(blank, 0, _gaps(trimmed_texts(batch)) + 1))
    state["scripts"] = _scripts(values, blank)
    return state


def _gaps(trimmed: pa.Array) -> Ints:
    """Runs of blanks (space, tab, line ends) inside each trimmed text, (n,). On bytes: a regex costs fifty times as much."""
    buffer = string_buffer(trimmed)
    blank = _BLANKS[buffer.data]
    blank[1:] &= ~blank[:-1]  # where a run begins; trimmed texts do not begin with one, so rows do not run into each other
    return np.diff(np.searchsorted(np.flatnonzero(blank), buffer.edges)).astype(np.int64)


def _length_histogram(lengths: npt.NDArray[Any]) -> Ints:
    return np.bincount(np.minimum(lengths, LENGTHS - 1).astype(np.int64), minlength=LENGTHS).astype(np.int64)


def _scripts(values: pa.Array, blank: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Rows that hold each script; most rows are pure ASCII and are settled by one comparison of lengths."""
    wide = pc.not_equal(pc.binary_length(values), pc.utf8_length(values).cast(pa.int64())).to_numpy(zero_copy_only=False)
    wide = wide.astype(bool)
    letters = pc.match_substring_regex(values, "[A-Za-z]").to_numpy(zero_copy_only=False).astype(bool)
    rare = values.filter(pa.array(wide))
    counts = {name: pc.sum(pc.match_substring_regex(rare, pattern)).as_py() or 0 for name, pattern in SCRIPTS.items()}
    counts["Latin"] += int((letters & ~wide).sum())
    counts["no letters"] = int((~letters & ~wide & ~blank).sum())
    return {name: int(count) for name, count in counts.items() if count}


def _sizes(batch: Batch) -> dict[str, Any]:
    state = {"either": np.zeros(3, np.int64), "both": np.zeros(3, np.int64), "sized": 0, "aspect": np.zeros(40, np.int64)}
    if "width" not in batch or "height" not in batch:
        return state
    width, height = batch.numbers("width"), batch.numbers("height")
    known = (width > 0) & (height > 0)
    limits = np.asarray(SIZES)
    wide, tall = width[known, None] >= limits, height[known, None] >= limits
    ratio = np.log2(width[known] / height[known])
    bins = np.clip(np.floor((ratio + 4) * 5), 0, 39).astype(np.int64)
    return {
        "either": (wide | tall).sum(axis=0, dtype=np.int64),
        "both": (wide & tall).sum(axis=0, dtype=np.int64),
        "sized": int(known.sum()),
        "aspect": np.bincount(bins, minlength=40).astype(np.int64),
    }


def _similarity(batch: Batch) -> dict[str, Any]:
    if "similarity" not in batch:
        return {"similarity": np.zeros(200, np.int64), "similarity_missing": 0}
    values = batch.numbers("similarity")
    known = np.isfinite(values)
    bins = np.clip(np.floor(np.round((values[known] + 1) * 100, 6)), 0, 199).astype(np.int64)
    return {"similarity": np.bincount(bins, minlength=200).astype(np.int64), "similarity_missing": int((~known).sum())}


def _counts(column: pa.Array) -> dict[str, int]:
    counted = pc.value_counts(pc.fill_null(column.cast(pa.string()), ""))
    return {str(entry["values"]): int(entry["counts"]) for entry in counted.to_pylist()}


def _tags(batch: Batch) -> dict[str, int]:
    if "tag" not in batch:
        return {}
    names, codes = tag_codes(batch)
    return {name: int(count) for name, count in zip(names, np.bincount(codes, minlength=len(names)), strict=True)}


def _domains(batch: Batch) -> dict[str, Any]:
    if "url" not in batch:
        return {"domains": {}, "other_domains": 0, "no_url": 0}
    domains = batch.once("domains", lambda: encode_domains(batch.column("url")))
    return {"no_url": batch.column("url").null_count, "domains": domains.counts(), "other_domains": 0}
