"""Platt's fit against a plain optimiser, with weights, and where classes separate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from assaymark.errors import InputError
from assaymark.stats import platt


def targets(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    ones, zeros = weight[y == 1].sum(), weight[y == 0].sum()
    return np.where(y == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))


def plain_fit(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    target = targets(y, weight)

    def loss(fit: np.ndarray) -> float:
        z = fit[0] * x + fit[1]
        return float(np.sum(weight * (np.logaddexp(0, z) - target * z)))

    return minimize(loss, [0.1, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}).x


@pytest.mark.parametrize(("stretch", "shift", "seed"), [(1.0, 0.0, 0), (30.0, 0.0, 1), (5.0, 40.0, 2), (-3.0, 1.0, 3)])
def test_least_cross_entropy_against_smoothed_targets(stretch: float, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = (rng.random(300) < 0.3).astype(int)
    x = stretch * (rng.standard_normal(300) + y) + shift
    np.testing.assert_allclose(platt(x, y), plain_fit(x, y, np.ones(300)), rtol=1e-4, atol=1e-4)


def test_whole_weights_are_repeated_rows_up_to_the_targets_they_share() -> None:
    rng = np.random.default_rng(4)
    y = (rng.random(80) < 0.4).astype(int)
    x, weight = rng.standard_normal(80) + y, rng.integers(0, 4, 80)
    for scale in (True, False):
        often = platt(np.repeat(x, weight), np.repeat(y, weight), scale=scale)
        np.testing.assert_allclose(platt(x, y, scale=scale, sample_weight=weight), often, rtol=1e-7)
    np.testing.assert_allclose(platt(x, y, sample_weight=weight), plain_fit(x, y, weight), atol=1e-5)


def test_the_offset_alone_meets_the_sum_of_the_targets() -> None:
    rng = np.random.default_rng(5)
    y = rng.random(200) < 0.2
    x = 60 * rng.standard_normal(200)
    only = platt(x, y, scale=False)
    assert only.slope == 1.0
    assert np.sum(1 / (1 + np.exp(-only.apply(x)))) == pytest.approx(targets(y, np.ones(200)).sum(), rel=1e-9)


def test_separated_classes_and_equal_scores_stay_finite() -> None:
    for reach in (1e-3, 3.0, 3e5):
        fit = platt(reach * np.array([-3.0, -2.0, 2.0, 3.0]), [0, 0, 1, 1])
        assert np.isfinite(fit).all() and fit.slope > 0
        # two of each class: Platt's targets 3/4 and 1/4 are what separated rows approach
        assert 0.7 < 1 / (1 + np.exp(-fit.apply(reach * 2.5))) < 0.8
    equal = platt(np.full(6, 7.3), [0, 0, 0, 0, 1, 1])
    assert equal.slope == 1.0 and 1 / (1 + np.exp(-equal.apply(7.3))) == pytest.approx((4 / 6 + 2 * 3 / 4) / 6)
    assert np.isnan(equal.apply(np.nan))


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(InputError, match="both classes"):
        platt([1.0, 2.0], [1, 1])
    with pytest.raises(InputError, match="both classes"):
        platt([1.0, 2.0], [0, 1], sample_weight=[1.0, 0.0])
    with pytest.raises(InputError, match="missing or infinite"):
        platt([1.0, np.nan], [0, 1])
    with pytest.raises(InputError, match="negative"):
        platt([1.0, 2.0], [0, 1], sample_weight=[1.0, -1.0])
    with pytest.raises(ValueError, match="2 scores but 3 weights"):
        platt([1.0, 2.0], [0, 1], sample_weight=[1.0, 1.0, 1.0])
