"""Histograms of scores without labels: what production says of each scorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.drift import score_histogram
from assaymark.audits.scorer_mixture.probes.row_keys import RowRules
from assaymark.data.probe import Batch, Probe, State

__all__ = ["BINS", "ScoreHistograms"]

BINS = 20


@dataclass(frozen=True)
class ScoreHistograms(Probe):
    """Counts of each scorer's scores in equal bins of [0, 1]; missing scores are not counted."""

    rules: RowRules
    name: ClassVar[str] = "histograms"

    @property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """Concepts that are read."""
        return self.rules.concepts

    def aggregate(self, batch: Batch) -> State:
        scores = self.rules.parse(batch).scores
        counts = [score_histogram(column, bins=BINS) for column in scores.T]
        return {"counts": np.array(counts, dtype=np.int64).reshape(len(self.rules.scorers), BINS)}

    def finalize(self, state: State) -> npt.NDArray[np.int64]:
        return np.asarray(state["counts"])
