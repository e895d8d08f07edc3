"""Flags by class, and the sample that people are to look at: some images of each stratum, a stratum being a score bin of "
"a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.probes.groups import merge_named, named_counts
from assaymark.audits.image_offensiveness.probes.rule import COLUMNS, FlagRule, changes
from assaymark.data.probe import Batch, Probe, State

__all__ = ["ClassCounts", "ClassProbe", "StratumSample"]

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

SAMPLE = {
    "class_key": np.uint64,
    "bin": np.int64,
    "key": np.uint64,
    "shard": np.int64,
    "row": np.int64,
    "copies": np.int64,
    "flagged": np.int64,
    "log_odds": np.float32,
}
"""Columns of the sample. `copies` counts the rows with the same content, of which the first one stands for all."""


class StratumSample(NamedTuple):
    """Distinct contents with the smallest hashes of each (class, bin), by rising hash within it."""

    class_key: Keys
    bin: Ints
    key: Keys
    shard: Ints
    row: Ints
    copies: Ints
    flagged: Ints
    log_odds: npt.NDArray[np.float32]


class ClassCounts(NamedTuple):
    """`bins[i, j]` are the scored rows of class i in score bin j; class "" holds rows without a class."""

    names: list[str]
    keys: Keys
    flagged: Ints  # (classes,)
    bins: Ints  # (classes, n_bins)
    sample: StratumSample


class ClassProbe(Probe):
    """`edges` are the inner edges of the score bins, rising; a row lies in the bin that begins at or below its score."""

    name = "classes"
    columns = COLUMNS
    optional = ("label",)

    def __init__(self, rule: FlagRule, edges: tuple[float, ...], *, per_stratum: int) -> None:
        self.rule, self.edges, self.per_stratum = rule, edges, per_stratum

    def aggregate(self, batch: Batch) -> State:
        rows, classes = self.rule.rows(batch), self.rule.classes(batch)
        known = np.flatnonzero(rows.known)
        with np.errstate(divide="ignore"):
            limits = np.log(self.edges) - np.log1p(-np.asarray(self.edges))
        bins = np.digitize(rows.log_odds[known], limits.astype(np.float32))
        width, codes = len(self.edges) + 1, classes.codes[known]
        counts = np.bincount(codes * width + bins, minlength=len(classes.names) * width).reshape(-1, width)
        flagged = np.bincount(codes[rows.flagged[known]], minlength=len(classes.names))
        named = named_counts(classes.names, classes.keys, np.concatenate([flagged[:, None], counts], axis=1).astype(np.int64))
        values = (
            classes.keys[codes], bins, rows.key[known], rows.shard[known], rows.row[known],
            np.ones(len(known)), rows.flagged[known], rows.log_odds[known],
        )  # fmt: skip
        sample = {name: np.asarray(v, SAMPLE[name]) for name, v in zip(SAMPLE, values, strict=True)}
        return {**named, **self._cut([sample], named["keys"])}

    def combine(self, states: Sequence[State]) -> State:
        named = merge_named(states)
        return {**named, **self._cut(states, named["keys"])}

    def _cut(self, samples: Sequence[Mapping[str, Any]], kept: Keys) -> dict[str, Any]:
        """The `per_stratum` smallest hashes of each stratum of the classes that are kept.

        A hash among the smallest of the whole is among the smallest of every part, so copies are counted exactly.
        """
        columns = {name: np.concatenate([np.asarray(s[name], kind) for s in samples]) for name, kind in SAMPLE.items()}
        inside = np.isin(columns["class_key"], kept)
        columns = {name: values[inside] for name, values in columns.items()}
        order = np.lexsort(tuple(columns[name] for name in ("row", "shard", "key", "bin", "class_key")))
        columns = {name: values[order] for name, values in columns.items()}
        if not len(order):
            return columns
        new_stratum = changes(columns["class_key"]) | changes(columns["bin"])
        first = np.flatnonzero(new_stratum | changes(columns["key"]))
        copies = np.add.reduceat(columns["copies"], first)
        columns = {name: values[first] for name, values in columns.items()} | {"copies": copies}
        starts = np.flatnonzero(new_stratum[first])
        rank = np.arange(len(first)) - np.repeat(starts, np.diff(np.append(starts, len(first))))
        return {name: values[rank < self.per_stratum] for name, values in columns.items()}

    def finalize(self, state: State) -> ClassCounts:
        counts = np.asarray(state["counts"]).reshape(-1, len(self.edges) + 2)
        sample = StratumSample(**{name: np.asarray(state[name], kind) for name, kind in SAMPLE.items()})
        return ClassCounts(list(state["names"]), np.asarray(state["keys"]), counts[:, 0], counts[:, 1:], sample)
