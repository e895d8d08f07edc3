"""Counts of the longitudinal term audit: each term's slice, its unsafe rows, and what the tag says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.probes.hate_content import tag_codes
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.data.probe import Batch, Probe

__all__ = ["SliceCounts", "SliceProbe"]

Ints = npt.NDArray[np.int64]


class SliceCounts(NamedTuple):
    """`unsafe_in_text` leaves the URL out of the weak label, so that the share seen only in URLs can be read off."""

    rows: int
    unsafe: int
    unsafe_in_text: int
    n: Ints  # (n_terms,)
    k: Ints  # (n_terms,)
    k_in_text: Ints  # (n_terms,)
    tags: dict[str, tuple[int, int]]  # tag -> rows, unsafe rows
    slice_tags: dict[str, Ints]  # tag -> unsafe rows of each term's slice


class SliceProbe(Probe):
    name = "slice_test"
    columns = ("text",)
    optional = ("url", "tag")

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        n_terms = len(self.vocabulary.slices)
        unsafe = self.vocabulary.unsafe(batch)
        in_text = self.vocabulary.unsafe_in(batch, "text")
        hits = self.vocabulary.hits(batch, "slices")
        counts = np.bincount(hits.terms, minlength=n_terms)
        state: dict[str, Any] = {
            "rows": batch.rows,
            "unsafe": int(unsafe.sum()),
            "unsafe_in_text": int(in_text.sum()),
            "n": counts.astype(np.int64),
            "k": np.bincount(hits.terms[unsafe[hits.rows]], minlength=n_terms).astype(np.int64),
            "k_in_text": np.bincount(hits.terms[in_text[hits.rows]], minlength=n_terms).astype(np.int64),
            "tag_rows": {},
            "tag_unsafe": {},
            "slice_tag": {},
        }
        if "tag" in batch:
            names, codes = tag_codes(batch)
            rows, flagged = np.bincount(codes, minlength=len(names)), np.bincount(codes[unsafe], minlength=len(names))
            state["tag_rows"] = {t: int(x) for t, x in zip(names, rows, strict=True) if x}
            state["tag_unsafe"] = {t: int(x) for t, x in zip(names, flagged, strict=True) if x}
            inside = unsafe[hits.rows]
            pairs, sizes = np.unique(
                hits.terms[inside].astype(np.int64) * len(names) + codes[hits.rows[inside]], return_counts=True
            )
            state["slice_tag"] = {
                f"{p // len(names)}|{names[p % len(names)]}": int(c)
                for p, c in zip(pairs.tolist(), sizes.tolist(), strict=True)
            }
        return state

    def finalize(self, state: Mapping[str, Any]) -> SliceCounts:
        tags = {t: (int(n), int(state["tag_unsafe"].get(t, 0))) for t, n in sorted(state["tag_rows"].items())}
        by_tag = {t: np.zeros(len(self.vocabulary.slices), np.int64) for t in tags}
        for key, count in state["slice_tag"].items():
            term, _, tag = key.partition("|")
            by_tag[tag][int(term)] = count
        return SliceCounts(
            int(state["rows"]),
            int(state["unsafe"]),
            int(state["unsafe_in_text"]),
            state["n"],
            state["k"],
            state["k_in_text"],
            tags,
            by_tag,
        )
