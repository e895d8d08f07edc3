"""Two bounded samples of texts, called machine-written and not, for measures of their language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audits.generated_text_prevalence.probes.posts import PostRules
from assaymark.data.probe import Batch, Probe, State

__all__ = ["SampledTexts", "TextProbe"]

LONGEST = 20_000
"""Characters of a text that are kept: measures of style need no more, and one post may be a book."""


class SampledTexts(NamedTuple):
    """`texts` of both samples, and their `probability` (n,). `of` is how many counted posts each sample stands for."""

    texts: list[str]
    probability: npt.NDArray[np.float64]
    of: tuple[int, int]


@dataclass(frozen=True)
class TextProbe(Probe):
    """Keeps up to `size` texts at or above the threshold and as many below, those with the smallest hashes."""

    rules: PostRules
    threshold: float
    size: int
    name: ClassVar[str] = "texts"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return tuple(dict.fromkeys((*self.rules.columns, "text")))

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        state: dict[str, Any] = {}
        column = batch.column("text")
        for side, rows in zip(("below", "above"), self._sides(parsed.probability, parsed.counted), strict=True):
            order = rows[np.argsort(parsed.key[rows], kind="stable")][: self.size]
            texts = [text[:LONGEST] for text in column.take(pa.array(order)).to_pylist()]
            state[side] = _sorted(parsed.key[order], parsed.probability[order], texts, self.size)
            state[f"{side}_of"] = len(rows)
        return state

    def _sides(self, probability: Any, counted: Any) -> tuple[Any, Any]:
        above = probability[counted] >= self.threshold
        return counted[~above], counted[above]

    def combine(self, states: Sequence[State]) -> State:
        merged: dict[str, Any] = {}
        for side in ("below", "above"):
            key = np.concatenate([state[side]["key"] for state in states])
            probability = np.concatenate([state[side]["probability"] for state in states])
            texts = [text for state in states for text in state[side]["texts"]]
            merged[side] = _sorted(key, probability, texts, self.size)
            merged[f"{side}_of"] = sum(int(state[f"{side}_of"]) for state in states)
        return merged

    def finalize(self, state: State) -> SampledTexts:
        sides = [state["below"], state["above"]]
        return SampledTexts(
            [text for side in sides for text in side["texts"]],
            np.concatenate([np.asarray(side["probability"]) for side in sides]),
            (int(state["below_of"]), int(state["above_of"])),
        )


def _sorted(key: Any, probability: Any, texts: list[str], size: int) -> dict[str, Any]:
    order = sorted(range(len(texts)), key=lambda row: (int(key[row]), float(probability[row]), texts[row]))[:size]
    return {"key": key[order], "probability": probability[order], "texts": [texts[row] for row in order]}
