"""Histograms of scores without labels: what production says of each scorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.method.drift import score_histogram
from assaymark.audits.scorer_mixture.probes.row_keys import RowRules
from assaymark.data.probe import Batch, Probe, State

__all__ = ["BINS", "ProductionScores", "ScoreHistograms"]

BINS = 20
TOLERANCE = 1e-6


class ProductionScores(NamedTuple):
    """Counts by scorer and bin, and how many scores of each scorer lie outside [0, 1] (in the end bins)."""

    counts: npt.NDArray[np.int64]
    outside: npt.NDArray[np.int64]


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
        outside = ((scores < -TOLERANCE) | (scores > 1 + TOLERANCE)).sum(axis=0)
        return {"counts": np.array(counts, dtype=np.int64).reshape(len(self.rules.scorers), BINS), "outside": outside}

    def finalize(self, state: State) -> ProductionScores:
        return ProductionScores(np.asarray(state["counts"]), np.asarray(state["outside"]))
