"""Labelled texts, as many as fit: who wrote each, with what, where, and which texts must stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from assaymark.audits.generated_text_prevalence.probes.periods import merged_names
from assaymark.audits.generated_text_prevalence.probes.posts import count_words
from assaymark.data.dates import DateFormat, parse_dates
from assaymark.data.hashing import coded, hash_column, mixed
from assaymark.data.probe import Batch, Probe, State
from assaymark.data.text_pairs import NEITHER, LabelRule

__all__ = ["LABEL_REASONS", "LabelledProbe", "LabelledTexts"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LABEL_REASONS = ("no label", "label that is neither", "no text", "beyond max_labelled")


class LabelledTexts(NamedTuple):
    """Texts by rising hash of their source; arrays have shape (n,).

    Attributes
    ----------
    label : 1 for machine-written, 0 for written by people.
    words : number of words; 0 where there is no text.
    generator, platform : codes; `generators` and `platforms` give their names (0 is missing).
    unit : hash of the source (of the text where no source is given): equal for a text and its twin.
    scores : columns of precomputed scores, NaN where missing.
    skipped : rows that are not used, by reason.
    late : texts labelled human that are dated after the release of a generator, and after the cut-off.
    """

    texts: list[str]
    label: npt.NDArray[np.int8]
    words: Ints
    generator: Ints
    platform: Ints
    unit: npt.NDArray[np.uint64]
    scores: dict[str, Floats]
    generators: dict[int, str]
    platforms: dict[int, str]
    skipped: dict[str, int]
    late: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of texts."""
        return len(self.label)


@dataclass(frozen=True)
class LabelledProbe(Probe):
    """Keeps up to `size` labelled texts.

    Attributes
    ----------
    rule : which labels mean machine-written, and which human.
    limits : microseconds since 1970 of the release and of the cut-off for human texts.
    """

    rule: LabelRule
    size: int
    has: frozenset[str]
    scores: tuple[str, ...]
    dates: DateFormat | None
    limits: tuple[int, int]
    name: ClassVar[str] = "labelled"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        wanted = ("text", "generator", "platform", "source_id") + (("created_at",) if self.dates is not None else ())
        return ("label", *(name for name in wanted if name in self.has), *self.scores)

    def aggregate(self, batch: Batch) -> State:
        label = self._labels(batch)
        has_text = "text" in self.has
        texts = pc.fill_null(batch.column("text"), "") if has_text else None
        words = count_words(texts) if texts is not None else np.zeros(batch.rows, np.int64)
        empty = (words == 0) if has_text and not self.scores else np.zeros(batch.rows, bool)
        cases = [label == -1, label == -2, empty]
        reason = np.select(cases, [0, 1, 2], -1)
        kept = np.flatnonzero(reason < 0)
        generator, platform = (self._coded(batch, name) for name in ("generator", "platform"))
        arrays: dict[str, Any] = {
            "unit": self._units(batch),
            "label": label,
            "words": words,
            "generator": generator[0],
            "platform": platform[0],
            **{name: batch.numbers(name) for name in self.scores},
        }
        state = {
            "arrays": {name: values[kept] for name, values in arrays.items()},
            "texts": texts.take(kept).to_pylist() if texts is not None else [""] * len(kept),
            "generators": generator[1],
            "platforms": platform[1],
            "skipped": np.bincount(reason[reason >= 0], minlength=len(LABEL_REASONS)).astype(np.int64),
            "late": self._late(batch, label),
        }
        return self._cut(state)

    def _labels(self, batch: Batch) -> npt.NDArray[np.int8]:
        """1 machine, 0 human, -1 missing, -2 neither."""
        written = batch.column("label")
        codes = self.rule.codes(written)
        blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(written, ""))), 0).to_numpy(zero_copy_only=False)
        return np.where(codes == NEITHER, np.where(blank, -1, -2), codes).astype(np.int8)

    def _coded(self, batch: Batch, name: str) -> tuple[Ints, dict[str, int]]:
        if name not in self.has:
            return np.zeros(batch.rows, np.int64), {}
        found = coded(batch.column(name))
        return found.codes, found.names

    def _units(self, batch: Batch) -> npt.NDArray[np.uint64]:
        """Hash of the source within its platform; of the text, or of the row, where there is none."""
        if "source_id" in self.has:
            source = hash_column(batch.column("source_id"))
            where = self._coded(batch, "platform")[0].astype(np.uint64)
            return np.where(
                pc.is_null(batch.column("source_id")).to_numpy(zero_copy_only=False), self._texts(batch), mixed(source ^ where)
            )
        return self._texts(batch)

    def _texts(self, batch: Batch) -> npt.NDArray[np.uint64]:
        if "text" in self.has:
            return hash_column(batch.column("text"))
        parts = [hash_column(batch.column(name)) for name in self.scores]
        total = np.zeros(batch.rows, np.uint64)
        for part in parts:
            total = mixed(total ^ part)
        return total

    def _late(self, batch: Batch, label: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        if self.dates is None:
            return np.zeros(2, np.int64)
        parsed = parse_dates(batch.column("created_at"), format=self.dates)
        dated = (label == 0) & parsed.valid
        return np.array([int((dated & (parsed.microseconds > limit)).sum()) for limit in self.limits], np.int64)

    def combine(self, states: Sequence[State]) -> State:
        names = states[0]["arrays"]
        return self._cut(
            {
                "arrays": {name: np.concatenate([state["arrays"][name] for state in states]) for name in names},
                "texts": [text for state in states for text in state["texts"]],
                "generators": merged_names(states, "generators"),
                "platforms": merged_names(states, "platforms"),
                "skipped": np.sum([state["skipped"] for state in states], axis=0),
                "late": np.sum([state["late"] for state in states], axis=0),
            }
        )

    def _cut(self, state: dict[str, Any]) -> State:
        arrays, texts = state["arrays"], state["texts"]
        order = sorted(range(len(texts)), key=lambda row: _rank(arrays, texts, row))
        kept = order[: self.size]
        skipped = np.array(state["skipped"], np.int64)
        skipped[LABEL_REASONS.index("beyond max_labelled")] += len(order) - len(kept)
        index = np.array(kept, np.int64)
        return {
            **state,
            "arrays": {name: values[index] for name, values in arrays.items()},
            "texts": [texts[row] for row in kept],
            "skipped": skipped,
        }

    def finalize(self, state: State) -> LabelledTexts:
        arrays = {name: np.asarray(values) for name, values in state["arrays"].items()}
        scores = {name: arrays.pop(name) for name in self.scores}
        names = {field: {code: name for name, code in state[field].items()} for field in ("generators", "platforms")}
        skipped = dict(zip(LABEL_REASONS, (int(count) for count in state["skipped"]), strict=True))
        return LabelledTexts(
            list(state["texts"]),
            arrays["label"].astype(np.int8),
            arrays["words"],
            arrays["generator"],
            arrays["platform"],
            arrays["unit"],
            scores,
            names["generators"],
            names["platforms"],
            skipped,
            (int(state["late"][0]), int(state["late"][1])),
        )


def _rank(arrays: dict[str, Any], texts: list[str], row: int) -> tuple[Any, ...]:
    return (int(arrays["unit"][row]), int(arrays["label"][row]), int(arrays["generator"][row]), texts[row])
