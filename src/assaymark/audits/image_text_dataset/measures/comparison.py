"""The hate content of two data sets side by side: does it grow, by how much, and is that more than chance?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.hate_content import (
    Exceedance,
    ScaleComparison,
    ShardComparison,
    compare_scale,
    compare_shards,
    row_effect,
)
from assaymark.audits.image_text_dataset.probes.hate_content import HateContentCounts
from assaymark.result import Estimate
from assaymark.stats import newcombe

__all__ = ["Comparison", "compare"]


class Comparison(NamedTuple):
    """The audited data set (B) against the baseline (A), label by label and threshold by threshold."""

    scales: dict[str, ScaleComparison]  # by label; the last one is "any"
    gaps: tuple[tuple[float, Estimate], ...]  # threshold, rate of any here minus there
    shards: ShardComparison | None
    row_effect: Estimate
    total: int

    @property
    def any(self) -> ScaleComparison:
        return self.scales["any"]


def compare(
    counts: HateContentCounts, baseline: HateContentCounts, config: ImageTextDatasetConfig, *, total: int
) -> Comparison | None:
    """Compare what the two passes counted; None when one data set has no scored text.

    Parameters
    ----------
    total : rows of the audited data set as a whole, which the excess count refers to.
    """
    if not counts.n or not baseline.n:
        return None
    b, a = (_at(c.thresholds, config.theta) for c in (counts, baseline))
    scales = {
        label: compare_scale(
            int(baseline.exceeding[i, a]),
            baseline.n,
            int(counts.exceeding[i, b]),
            counts.n,
            total_b=total,
            confidence=config.confidence,
        )
        for i, label in enumerate(counts.labels)
    }
    gaps = tuple(
        (float(theta), newcombe(int(counts.exceeding[-1, j]), counts.n, int(baseline.exceeding[-1, j]), baseline.n))
        for j, theta in enumerate(counts.thresholds)
    )
    rates = [c.shard_exceeding[:, -1] / c.shard_n for c in (baseline, counts)]
    shards = compare_shards(*rates, confidence=config.confidence) if min(map(len, rates)) >= 2 else None
    return Comparison(scales, gaps, shards, row_effect(_sums(baseline), _sums(counts)), total)


def _at(thresholds: npt.NDArray[np.float64], theta: float) -> int:
    return int(np.argmin(np.abs(thresholds - theta)))


def _sums(counts: HateContentCounts) -> Exceedance:
    return Exceedance(counts.exceeding, counts.n, counts.unscored, counts.score_sums, counts.score_squares)
