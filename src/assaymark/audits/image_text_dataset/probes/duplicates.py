"""Repeated rows by (URL, TEXT), by TEXT, by URL and by content hash, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.method.key_sketch import KeySketch
from assaymark.audits.image_text_dataset.probes.sample import hash_strings, perceptual_hashes
from assaymark.audits.image_text_dataset.probes.vocabulary import texts
from assaymark.data.probe import Batch, Probe

__all__ = ["DuplicateProbe"]

CAPACITY = 1 << 17
"""Keys kept for each kind of duplicate: exact below this many distinct keys, an estimate with an interval above."""


class DuplicateProbe(Probe):
    """`finalize` gives one `KeySketch` for each kind of key. A row without the key (null, empty) is not counted for it."""

    name = "duplicates"
    optional = ("url", "text", "sha256", "md5", "phash")

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self.capacity = capacity

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        hashes: dict[str, npt.NDArray[np.uint64]] = {}
        present: dict[str, npt.NDArray[np.bool_]] = {}
        for concept in ("url", "text", "sha256", "md5"):
            if concept in batch:
                values = texts(batch, concept)
                hashes[concept] = batch.once(f"{concept} hash", partial(hash_strings, values))
                present[concept] = pc.not_equal(values, "").to_numpy(zero_copy_only=False).astype(bool)
        keys = {concept: hashes[concept][present[concept]] for concept in hashes}
        if "url" in hashes and "text" in hashes:
            both = present["url"] & present["text"]
            keys["url and text"] = (hashes["url"] * np.uint64(0x9E3779B97F4A7C15) ^ hashes["text"])[both]
        if "phash" in batch:
            # The hash itself is the key, so that near duplicates can be read off the kept keys.
            perceptual = perceptual_hashes(batch)
            keys["phash"] = perceptual.values[perceptual.known]
        state: dict[str, Any] = {}
        for kind, values in keys.items():
            for name, part in KeySketch.of(values, capacity=self.capacity).state().items():
                state[f"{kind}|{name}"] = part
        return state

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for kind in self._kinds(states[0]):
            sketches = [self._sketch(state, kind) for state in states]
            for name, part in KeySketch.merge(sketches).state().items():
                merged[f"{kind}|{name}"] = part
        return merged

    def finalize(self, state: Mapping[str, Any]) -> dict[str, KeySketch]:
        return {kind: self._sketch(state, kind) for kind in self._kinds(state)}

    @staticmethod
    def _kinds(state: Mapping[str, Any]) -> list[str]:
        return list(dict.fromkeys(key.partition("|")[0] for key in state))

    @staticmethod
    def _sketch(state: Mapping[str, Any], kind: str) -> KeySketch:
        return KeySketch.restore({k.partition("|")[2]: v for k, v in state.items() if k.partition("|")[0] == kind})
