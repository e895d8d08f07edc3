"""The images with the highest scores, in all and of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.probes.groups import MOST_GROUPS
from assaymark.audits.image_offensiveness.probes.rule import COLUMNS, FlagRule, changes
from assaymark.data.probe import Batch, Probe, State

__all__ = ["Shortlist", "ShortlistProbe"]

COLUMNS_KEPT = {
    "log_odds": np.float32, "class_key": np.uint64, "key": np.uint64, "shard": np.int64, "row": np.int64, "flagged": np.int64
}  # fmt: skip


class Shortlist(NamedTuple):
    """Distinct contents by falling log-odds, equal ones by hash; `overall` marks the best of all, the others of their class."""

    log_odds: npt.NDArray[np.float32]
    class_key: npt.NDArray[np.uint64]
    key: npt.NDArray[np.uint64]
    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    flagged: npt.NDArray[np.int64]
    overall: npt.NDArray[np.bool_]
    of_class: npt.NDArray[np.bool_]


class ShortlistProbe(Probe):
    name = "shortlist"
    columns = COLUMNS
    optional = ("label",)

    def __init__(self, rule: FlagRule, *, size: int, per_class: int) -> None:
        self.rule, self.size, self.per_class = rule, size, per_class

    def aggregate(self, batch: Batch) -> State:
        rows, classes = self.rule.rows(batch), self.rule.classes(batch)
        known = rows.known
        values: tuple[npt.NDArray[Any], ...] = (
            rows.log_odds, classes.keys[classes.codes], rows.key, rows.shard, rows.row, rows.flagged,
        )  # fmt: skip
        return self._cut(
            [{name: np.asarray(v[known], COLUMNS_KEPT[name]) for name, v in zip(COLUMNS_KEPT, values, strict=True)}]
        )

    def combine(self, states: Sequence[State]) -> State:
        return self._cut(states)

    def _cut(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Rows that are among the best of all or of their class, best first."""
        columns = {name: np.concatenate([np.asarray(s[name], kind) for s in states]) for name, kind in COLUMNS_KEPT.items()}
        order = np.lexsort((columns["row"], columns["shard"], columns["class_key"], columns["key"], -columns["log_odds"]))
        columns = {name: values[order] for name, values in columns.items()}
        if not len(order):
            return {**columns, "rank": np.zeros(0, np.int64), "class_rank": np.zeros(0, np.int64)}
        # equal pictures have equal scores, so they lie side by side
        first = np.flatnonzero(changes(columns["key"]) | changes(columns["class_key"]))
        columns = {name: values[first] for name, values in columns.items()}
        rank, class_rank = np.arange(len(first)), _rank_within(columns["class_key"])
        listed = np.unique(columns["class_key"])[:MOST_GROUPS]
        class_rank[~np.isin(columns["class_key"], listed)] = self.per_class
        kept = (rank < self.size) | (class_rank < self.per_class)
        return {name: values[kept] for name, values in columns.items()} | {
            "rank": rank[kept].astype(np.int64), "class_rank": class_rank[kept].astype(np.int64)
        }  # fmt: skip

    def finalize(self, state: State) -> Shortlist:
        columns = {name: np.asarray(state[name], kind) for name, kind in COLUMNS_KEPT.items()}
        return Shortlist(
            **columns,
            overall=np.asarray(state["rank"]) < self.size,
            of_class=np.asarray(state["class_rank"]) < self.per_class,
        )


def _rank_within(groups: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Position of each row among the rows of its group, in the order they come."""
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    starts = np.searchsorted(sorted_groups, sorted_groups)
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(len(groups)) - starts
    return rank
