"""Exact sufficient statistics of all rows, by split, class and pattern of missing scores: what a streamed fit needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.probes.row_keys import RowRules
from assaymark.data.probe import Batch, Probe, State

__all__ = ["MAX_PATTERNS", "MomentsProbe", "Streamed"]

Floats = npt.NDArray[np.float64]
MAX_PATTERNS = 256
"""Patterns of missing scores whose statistics are kept, those with fewest missing first."""


class Streamed(NamedTuple):
    """Statistics of all rows.

    Attributes
    ----------
    grams : mapping of (split, label, pattern) to array, shape (k + 1, k + 1)
        X'X of the rows, X the scores with a column of ones last; `pattern` has bit i set where scorer i is present. Rows and
        columns of absent scorers are zero.
    rows : mapping of (split, label, pattern) to int
    dropped : mapping of reason to int
    low, high : arrays, shape (columns,)
        Extremes of each score column, infinite where it holds nothing.
    kept, beyond : int
        Rows in `rows`, and usable rows whose pattern was one too many.
    """

    grams: Mapping[tuple[int, int, int], Floats]
    rows: Mapping[tuple[int, int, int], int]
    dropped: Mapping[str, int]
    low: Floats
    high: Floats
    kept: int
    beyond: int

    def without(self, lost: Sequence[int], scorers: int) -> Streamed:
        """The statistics as if some scorers had never been there: exact, since moments of fewer columns are a part of them."""
        stay = [i for i in range(scorers) if i not in set(lost)]
        cut = np.ix_([*stay, scorers], [*stay, scorers])
        grams: dict[tuple[int, int, int], Floats] = {}
        rows: dict[tuple[int, int, int], int] = {}
        for (split, label, pattern), gram in self.grams.items():
            thinner = sum(1 << new for new, old in enumerate(stay) if pattern >> old & 1)
            key = split, label, thinner
            grams[key] = grams[key] + gram[cut] if key in grams else gram[cut]
            rows[key] = rows.get(key, 0) + self.rows[split, label, pattern]
        return self._replace(grams=grams, rows=rows)


@dataclass(frozen=True)
class MomentsProbe(Probe):
    """Sums of products by split, label and pattern of missing scores."""

    rules: RowRules
    name: ClassVar[str] = "moments"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return self.rules.concepts

    def aggregate(self, batch: Batch) -> State:
        parsed = self.rules.parse(batch)
        present = np.isfinite(parsed.scores)
        k = present.shape[1]
        pattern = present @ (1 << np.arange(k, dtype=np.int64))
        codes = (pattern << 4) | (parsed.split.astype(np.int64) << 1) | parsed.label
        grams = {}
        filled = np.column_stack([np.where(present, parsed.scores, 0.0), np.ones(len(pattern))])
        for code in np.unique(codes):
            rows = filled[codes == code]
            grams[str(int(code))] = np.concatenate([[len(rows)], (rows.T @ rows).ravel()])
        return {
            "grams": _fewest_missing(grams, k),
            "usable": len(pattern),
            "dropped": parsed.dropped,
            "low": parsed.low,
            "high": parsed.high,
        }

    def combine(self, states: Sequence[State]) -> State:
        grams: dict[str, Floats] = {}
        for state in states:
            for code, values in state["grams"].items():
                grams[code] = grams[code] + values if code in grams else values
        return {
            "grams": _fewest_missing(grams, len(self.rules.scorers)),
            "usable": sum(int(state["usable"]) for state in states),
            "dropped": np.sum([state["dropped"] for state in states], axis=0),
            "low": np.min([state["low"] for state in states], axis=0),
            "high": np.max([state["high"] for state in states], axis=0),
        }

    def finalize(self, state: State) -> Streamed:
        k = len(self.rules.scorers)
        grams, rows = {}, {}
        for code, values in state["grams"].items():
            key = int(code) >> 1 & 7, int(code) & 1, int(code) >> 4
            grams[key], rows[key] = np.asarray(values[1:]).reshape(k + 1, k + 1), int(values[0])
        dropped = dict(zip(self.rules.reasons, (int(n) for n in state["dropped"]), strict=True))
        kept = sum(rows.values())
        return Streamed(grams, rows, dropped, state["low"], state["high"], kept, int(state["usable"]) - kept)


def _fewest_missing(grams: Mapping[str, Any], k: int) -> dict[str, Any]:
    """The patterns kept. The order is total and the same everywhere, so that merging in any order keeps the same ones."""
    patterns = {int(code) >> 4 for code in grams}
    if len(patterns) > MAX_PATTERNS:
        patterns = set(sorted(patterns, key=lambda p: (k - p.bit_count(), p))[:MAX_PATTERNS])
    return {code: grams[code] for code in sorted(grams, key=int) if int(code) >> 4 in patterns}
