"""The corrected resampled t interval: the formula, its edges, and its coverage where the plain interval fails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from assaymark.errors import ConfigError
from assaymark.stats.resampled_t import corrected_resampled_t


def test_formula() -> None:
    values = np.array([0.91, 0.95, 0.93, 0.97, 0.92])
    found = corrected_resampled_t(values, test_share=0.2, confidence=0.9)
    half = stats.t.ppf(0.95, 4) * np.sqrt((1 / 5 + 0.25) * values.var(ddof=1))
    assert (found.value, found.low, found.high) == pytest.approx((values.mean(), values.mean() - half, values.mean() + half))
    assert found.n == 5 and "90 %" in found.method


def test_edges() -> None:
    assert not corrected_resampled_t([0.9], test_share=0.1).defined
    high = corrected_resampled_t([0.97, 1.0, 1.0], test_share=0.1, unit="share")
    assert high.high == 1.0
    with pytest.raises(ConfigError):
        corrected_resampled_t([0.9, 0.8], test_share=10)


def test_coverage_over_overlapping_splits() -> None:
    """Mean of a sample estimated on random tenths of it: the plain t interval forgets that the tenths overlap."""
    rng = np.random.default_rng(0)
    covered = {"corrected": 0, "plain": 0}
    for _ in range(400):
        sample = rng.standard_normal(200)
        means = np.array([sample[rng.permutation(200)[:20]].mean() for _ in range(40)])
        corrected = corrected_resampled_t(means, test_share=0.1)
        covered["corrected"] += corrected.low <= 0 <= corrected.high
        half = stats.t.ppf(0.975, 39) * means.std(ddof=1) / np.sqrt(40)
        covered["plain"] += abs(means.mean()) <= half
    assert covered["corrected"] > 0.92 * 400 and covered["plain"] < 0.8 * 400
