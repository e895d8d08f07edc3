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
_UNKNOWN = np.uint16(0xFFFF)
_SCRIPT_OF_POINT = np.full(0x110000, _UNKNOWN)  # filled with what the data hold; every thread would write the same
_BLANKS = np.isin(np.arange(33), list(b" \t\n\f\r"))


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
            ranked = _ranked(merged["domains"])
            merged["other_domains"] += sum(count for _, count in ranked[DOMAIN_CAPACITY:])
            merged["domains"] = dict(ranked[:DOMAIN_CAPACITY])
        return merged

    def finalize(self, state: Mapping[str, Any]) -> AnatomyCounts:
        counts = AnatomyCounts(**{field: state[field] for field in AnatomyCounts._fields})
        return counts._replace(domains=dict(_ranked(counts.domains)))  # the order of rows must not show, nor decide a resample


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


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
    at = np.flatnonzero(buffer.data <= ord(" "))
    at = at[_BLANKS[buffer.data[at]]]
    runs = at[np.diff(at, prepend=-2) > 1]  # trimmed texts do not begin with a blank, so no run spans two rows
    return np.diff(np.searchsorted(runs, buffer.edges)).astype(np.int64)


def _length_histogram(lengths: npt.NDArray[Any]) -> Ints:
    return np.bincount(np.minimum(lengths, LENGTHS - 1).astype(np.int64), minlength=LENGTHS).astype(np.int64)


def _scripts(values: pa.Array, blank: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Rows that hold each script. ASCII rows hold letters or none; of the others the distinct characters are looked up."""
    narrow = pc.string_is_ascii(values).to_numpy(zero_copy_only=False).astype(bool)
    plain = values.filter(pa.array(narrow))
    letters = pc.match_substring_regex(plain, "[A-Za-z]").to_numpy(zero_copy_only=False).astype(bool)
    bits = _script_bits(values.filter(pa.array(~narrow)))
    counts = {name: int(np.count_nonzero(bits >> i & 1)) for i, name in enumerate(SCRIPTS)}
    counts["Latin"] += int(letters.sum())
    counts["no letters"] = int((~letters & ~blank[narrow]).sum())
    return {name: count for name, count in counts.items() if count}


def _script_bits(texts: pa.Array) -> npt.NDArray[np.uint16]:
    """Bit i of a text is set when it holds a character of script i, (n,); no text is empty."""
    if not len(texts):
        return np.zeros(0, np.uint16)
    points = np.frombuffer(string_buffer(texts).data.tobytes().decode().encode("utf-32-le"), np.uint32)
    table = _SCRIPT_OF_POINT
    if (unknown := points[table[points] == _UNKNOWN]).size:
        points_here = np.unique(unknown)
        letters = pa.array([chr(point) for point in points_here.tolist()], pa.large_string())
        found = [pc.match_substring_regex(letters, pattern).to_numpy(zero_copy_only=False) for pattern in SCRIPTS.values()]
        table[points_here] = sum(hit.astype(np.uint16) << i for i, hit in enumerate(found))
    starts = np.concatenate([[0], np.cumsum(pc.utf8_length(texts).to_numpy(zero_copy_only=False))[:-1]])
    return np.asarray(np.bitwise_or.reduceat(table[points], starts), dtype=np.uint16)


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
