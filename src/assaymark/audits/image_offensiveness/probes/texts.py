"""A bounded sample of the texts of flagged rows and of the others: what the words of both are counted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_offensiveness.probes.rule import COLUMNS, FlagRule, hash_strings, mixed_keys
from assaymark.data.probe import Batch, Probe, State

__all__ = ["TextProbe", "TextSample"]

LONGEST = 500
"""Characters kept of a text."""


class TextSample(NamedTuple):
    """Texts of flagged rows and of the others, and how many rows with a text there were of each.

    places : int64 array, shape (len(flagged), 2): shard and row of each flagged text
    """

    flagged: list[str]
    others: list[str]
    flagged_rows: int
    other_rows: int
    places: npt.NDArray[np.int64]


class TextProbe(Probe):
    """Keeps the texts with the smallest hashes of (picture, text), so that order and size of the batches do not matter."""

    name = "texts"
    columns = (*COLUMNS, "text")
    optional = ("label",)

    def __init__(self, rule: FlagRule, *, size: int) -> None:
        self.rule, self.size = rule, size

    def aggregate(self, batch: Batch) -> State:
        rows = self.rule.rows(batch)
        texts = pc.utf8_slice_codeunits(pc.fill_null(batch.column("text").cast(pa.large_string()), ""), 0, LONGEST)
        filled = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0).to_numpy(zero_copy_only=False)
        key = mixed_keys(rows.key, hash_strings(texts))
        state: dict[str, Any] = {}
        for side, mask in (("flagged", rows.flagged), ("others", rows.known & ~rows.flagged)):
            chosen = np.flatnonzero(mask & filled)
            state[f"{side}_rows"] = len(chosen)
            chosen = chosen[np.lexsort((rows.row[chosen], rows.shard[chosen], key[chosen]))][: self.size]
            state[f"{side}_keys"] = key[chosen]
            state[f"{side}_texts"] = texts.take(pa.array(chosen)).to_pylist()
            state[f"{side}_places"] = np.stack([rows.shard[chosen], rows.row[chosen]], axis=1)
        return state

    def combine(self, states: Sequence[State]) -> State:
        merged: dict[str, Any] = {}
        for side in ("flagged", "others"):
            keys = np.concatenate([np.asarray(state[f"{side}_keys"], np.uint64) for state in states])
            texts = [text for state in states for text in state[f"{side}_texts"]]
            places = np.concatenate([np.asarray(state[f"{side}_places"], np.int64).reshape(-1, 2) for state in states])
            order = np.lexsort((places[:, 1], places[:, 0], keys))[: self.size]
            merged[f"{side}_places"] = places[order]
            merged[f"{side}_rows"] = sum(int(state[f"{side}_rows"]) for state in states)
            merged[f"{side}_keys"], merged[f"{side}_texts"] = keys[order], [texts[i] for i in order]
        return merged

    def finalize(self, state: Mapping[str, Any]) -> TextSample:
        return TextSample(
            list(state["flagged_texts"]),
            list(state["others_texts"]),
            int(state["flagged_rows"]),
            int(state["others_rows"]),
            np.asarray(state["flagged_places"], np.int64).reshape(-1, 2),
        )
