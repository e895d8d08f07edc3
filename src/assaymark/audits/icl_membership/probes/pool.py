"""Labelled texts, as many as fit, each once: those that demonstrations and outsiders are drawn from."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.hashing import hash_column
from assaymark.data.probe import Batch, Probe, State

__all__ = ["BEYOND", "REASONS", "PoolProbe", "PoolTexts"]

BEYOND = "beyond max_pool"
REASONS = ("no text", "no label", "repeats another text", BEYOND)


class PoolTexts(NamedTuple):
    """Texts by rising hash of their normalised form; `key` (n,) is that hash, `label` what the data say."""

    key: npt.NDArray[np.uint64]
    text: list[str]
    label: list[str]
    skipped: dict[str, int]


@dataclass(frozen=True)
class PoolProbe(Probe):
    """Keeps the `size` texts with the smallest hashes; white space and Unicode forms are brought to one form."""

    size: int
    name: ClassVar[str] = "pool"
    columns: tuple[str, ...] = ("text", "label")

    def aggregate(self, batch: Batch) -> State:
        texts = [_normal(value) for value in batch.column("text").to_pylist()]
        labels = [_normal(value) for value in batch.column("label").to_pylist()]
        skipped = np.zeros(len(REASONS), np.int64)
        skipped[0] = sum(not text for text in texts)
        kept = [row for row, text in enumerate(texts) if text and labels[row]]
        skipped[1] = len(texts) - skipped[0] - len(kept)
        text = [texts[row] for row in kept]
        key = hash_column(pa.array(text, pa.large_string()))
        return self._cut({"key": key, "text": text, "label": [labels[row] for row in kept], "skipped": skipped})

    def combine(self, states: Sequence[State]) -> State:
        return self._cut(
            {
                "key": np.concatenate([state["key"] for state in states]),
                "text": [text for state in states for text in state["text"]],
                "label": [label for state in states for label in state["label"]],
                "skipped": np.sum([state["skipped"] for state in states], axis=0),
            }
        )

    def _cut(self, state: dict[str, Any]) -> State:
        """Each text once (of different labels the first by name), the smallest hashes first."""
        key, text, label = state["key"], state["text"], state["label"]
        order = sorted(range(len(text)), key=lambda row: (int(key[row]), text[row], label[row]))
        single = [row for place, row in enumerate(order) if not place or text[order[place - 1]] != text[row]]
        kept = single[: self.size]
        skipped = np.array(state["skipped"], np.int64)
        skipped[2] += len(order) - len(single)
        skipped[3] += len(single) - len(kept)
        return {
            "key": key[np.array(kept, np.int64)],
            "text": [text[row] for row in kept],
            "label": [label[row] for row in kept],
            "skipped": skipped,
        }

    def finalize(self, state: State) -> PoolTexts:
        skipped = dict(zip(REASONS, (int(count) for count in state["skipped"]), strict=True))
        return PoolTexts(np.asarray(state["key"], np.uint64), list(state["text"]), list(state["label"]), skipped)


def _normal(value: Any) -> str:
    """NFKC, white space as single spaces; empty for a missing value."""
    return "" if value is None else " ".join(unicodedata.normalize("NFKC", str(value)).split())
