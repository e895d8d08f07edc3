"""A bounded sample of rows that does not depend on their order: those with the smallest hashes of their content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.columns import SLICE
from assaymark.audits.scorer_mixture.probes.row_keys import RowRules
from assaymark.data.hashing import coded
from assaymark.data.probe import Batch, Probe, State

__all__ = ["MAX_VALUES", "RowSample", "SampledRows"]

Floats = npt.NDArray[np.float64]
MAX_VALUES = 50
"""Distinct values of an attribute above which it is no slice."""
_LONGEST = 40  # characters of a value that is shown


class SampledRows(NamedTuple):
    """Rows by rising key.

    `scores` (n, scorers), `baselines` (n, baselines) of rules that are only compared; `label`, `split`, `shard`, `row` (n,);
    `unit` is equal for rows that must stay together; `slices` maps an attribute to the code of each row, `values` a code to its
    name; `crowded` are attributes with too many values.
    """

    key: npt.NDArray[np.uint64]
    unit: npt.NDArray[np.uint64]
    scores: Floats
    baselines: Floats
    label: npt.NDArray[np.int8]
    split: npt.NDArray[np.int8]
    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    classes: Floats
    class_label: npt.NDArray[np.int16]
    slices: Mapping[str, npt.NDArray[np.int64]]
    values: Mapping[str, Mapping[int, str]]
    crowded: tuple[str, ...]


@dataclass(frozen=True)
class RowSample(Probe):
    """Keeps up to `size` rows with all that is known of them."""

    rules: RowRules
    size: int
    baselines: tuple[str, ...] = ()
    name: ClassVar[str] = "rows"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return (*self.rules.concepts, *(f"members.{name}" for name in self.baselines))

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        kept = parsed.kept
        baselines = [batch.numbers(f"members.{name}")[kept] for name in self.baselines]
        arrays: dict[str, Any] = {
            "key": parsed.key,
            "unit": parsed.unit,
            "scores": parsed.scores,
            "baselines": np.column_stack(baselines) if baselines else np.zeros((len(kept), 0)),
            "label": parsed.label,
            "split": parsed.split,
            "shard": batch.numbers("shard")[kept].astype(np.int64),
            "row": batch.numbers("row")[kept].astype(np.int64),
            "classes": parsed.classes,
            "class_label": parsed.class_label,
        }
        values: dict[str, dict[str, int]] = {}
        for name in self.rules.slices:
            found = coded(batch.column(f"{SLICE}{name}"), longest=_LONGEST)
            rows = arrays[f"{SLICE}{name}"] = found.codes[kept]
            held = set(rows.tolist())
            values[name] = {value: code for value, code in found.names.items() if code in held}
        return self._cut(arrays, values)

    def combine(self, states: Sequence[State]) -> State:
        names = states[0]["arrays"].keys()
        arrays = {name: np.concatenate([state["arrays"][name] for state in states]) for name in names}
        values: dict[str, dict[str, int]] = {name: {} for name in self.rules.slices}
        for state in states:
            for name, known in state["values"].items():
                values[name] |= known
        return self._cut(arrays, values)

    def _cut(self, arrays: Mapping[str, Any], values: Mapping[str, Mapping[str, int]]) -> State:
        order = np.lexsort((arrays["row"], arrays["shard"], arrays["key"]))[: self.size]
        # One more than may be shown is kept, to know that there are too many; the smallest codes, so that order is no matter.
        bounded = {
            name: dict(sorted(known.items(), key=lambda item: item[1])[: MAX_VALUES + 1]) for name, known in values.items()
        }
        return {"arrays": {name: values[order] for name, values in arrays.items()}, "values": bounded}

    def finalize(self, state: State) -> SampledRows:
        arrays = dict(state["arrays"])
        slices = {name: arrays.pop(f"{SLICE}{name}") for name in self.rules.slices}
        values = {name: {code: value for value, code in known.items()} for name, known in state["values"].items()}
        crowded = tuple(name for name, known in values.items() if len(known) > MAX_VALUES)
        return SampledRows(**arrays, slices=slices, values=values, crowded=crowded)
