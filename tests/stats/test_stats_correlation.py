"""Linear correlation against scipy, its interval against planted pairs, and its ends. Rank correlation: classification."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from assaymark.errors import InputError
from assaymark.stats import pearson


def test_pearson_and_its_limits_equal_scipy() -> None:
    rng = np.random.default_rng(5)
    for n in (4, 9, 300):
        x, y = rng.standard_normal((2, n))
        y = 1e6 + 3 * y - x
        reference = scipy_stats.pearsonr(x, y)
        found = pearson(x, y, confidence=0.9)
        assert found.value == pytest.approx(reference.statistic, abs=1e-9) and found.n == n
        np.testing.assert_allclose((found.low, found.high), reference.confidence_interval(0.9), rtol=1e-6)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_pearson_covers_the_truth(rho: float) -> None:
    rng, covered = np.random.default_rng(4), 0
    for _ in range(600):
        x, e = rng.standard_normal((2, 60))
        found = pearson(x, rho * x + np.sqrt(1 - rho**2) * e)
        covered += found.low <= rho <= found.high
    assert 0.92 <= covered / 600 <= 0.98


def test_pearson_at_the_ends() -> None:
    line = pearson(np.arange(5), 3.0 - 0.1 * np.arange(5))
    assert line.value == pytest.approx(-1.0) and line.low == line.high == line.value
    assert "at least 4 pairs" in pearson([1, 2, 3], [1, 2, 3]).reason
    assert pearson([0.1] * 5, [1, 2, 3, 4, 5]).reason == "a does not vary"
    assert pearson([0.1] * 5, [0.3] * 5).reason == "neither a nor b varies"
    with pytest.raises(InputError, match="missing or infinite"):
        pearson([1, 2, 3, np.nan], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="pairs"):
        pearson([1, 2], [1])
