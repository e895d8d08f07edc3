"""Similarity histograms of all, unsafe and group rows: everything the threshold curve needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.data.probe import Batch, Probe, add_states

__all__ = ["AdmissionCounts", "AdmissionProbe"]

Ints = npt.NDArray[np.int64]


class AdmissionCounts(NamedTuple):
    """Histograms over `edges` (cosine, 0.001 wide so that every cut-off to three decimals is exact)."""

    edges: npt.NDArray[np.float64]  # (n_bins + 1,)
    all: Ints  # (n_bins,)
    unsafe: Ints  # (n_bins,)
    groups: Ints  # (n_terms, n_bins): rows of each slice
    missing: int
    encoders: dict[str, Ints]  # column of a further encoder -> its own histogram, (n_bins,)


class AdmissionProbe(Probe):
    name = "admission"
    columns = ("similarity",)
    edges = np.round(np.arange(-1000, 1001) / 1000, 3)

    def __init__(self, vocabulary: Vocabulary, *, encoders: Sequence[str] = ()) -> None:
        self.vocabulary, self.encoders = vocabulary, tuple(encoders)
        self.optional = ("text", "url", *(f"similarity.{column}" for column in self.encoders))

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        bins, known = _bins(batch.numbers("similarity"))
        n_bins = len(self.edges) - 1

        def histogram(mask: npt.NDArray[np.bool_]) -> Ints:
            return np.bincount(bins[mask & known], minlength=n_bins).astype(np.int64)

        pairs = np.zeros(0, np.int64)
        unsafe = np.zeros(batch.rows, dtype=bool)
        if "text" in batch:
            unsafe = self.vocabulary.unsafe(batch)
            hits = self.vocabulary.hits(batch, "slices")
            inside = known[hits.rows]
            pairs = hits.terms[inside].astype(np.int64) * n_bins + bins[hits.rows[inside]]
        # Sparse (term, bin) pairs: a dense table of all terms would outweigh the batch it describes.
        cells, counts = np.unique(pairs, return_counts=True)
        return {
            "all": histogram(np.ones(batch.rows, dtype=bool)),
            "unsafe": histogram(unsafe),
            "missing": int((~known).sum()),
            "cells": cells,
            "cell_counts": counts.astype(np.int64),
            **{f"encoder|{column}": _histogram(batch, f"similarity.{column}") for column in self.encoders},
        }

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        merged = add_states([{k: v for k, v in s.items() if not k.startswith("cell")} for s in states])
        cells, where = np.unique(np.concatenate([s["cells"] for s in states]), return_inverse=True)
        counts = np.zeros(len(cells), dtype=np.int64)
        np.add.at(counts, where, np.concatenate([s["cell_counts"] for s in states]))
        return {**merged, "cells": cells, "cell_counts": counts}

    def finalize(self, state: Mapping[str, Any]) -> AdmissionCounts:
        groups = np.zeros((len(self.vocabulary.slices), len(self.edges) - 1), dtype=np.int64)
        groups.reshape(-1)[state["cells"]] = state["cell_counts"]
        encoders = {column: state[f"encoder|{column}"] for column in self.encoders}
        return AdmissionCounts(self.edges, state["all"], state["unsafe"], groups, int(state["missing"]), encoders)


def _bins(similarity: npt.NDArray[np.float64]) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Bin of each row, and which rows have a similarity.

    A value on an edge belongs to the bin above it, as the filter keeps cos >= tau; rounding guards 0.3 = 0.29999...
    """
    n_bins = len(AdmissionProbe.edges) - 1
    bins = np.floor(np.round(np.nan_to_num(similarity) * 1000, 6)).astype(np.int64) + 1000
    return np.clip(bins, 0, n_bins - 1), np.isfinite(similarity)


def _histogram(batch: Batch, name: str) -> Ints:
    bins, known = _bins(batch.numbers(name))
    return np.bincount(bins[known], minlength=len(AdmissionProbe.edges) - 1).astype(np.int64)
