"""Probability measures against scikit-learn, a naive loop over bins, and planted calibration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics

from assaymark.errors import ConfigError, InputError
from assaymark.stats import brier_score, calibration_error, expected_calibration_error, log_loss, reliability_curve, wilson


def planted(n: int, stretch: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are `stretch` times the true ones, and outcomes of the true ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, n)
    return 1 / (1 + np.exp(-stretch * logits)), rng.random(n) < 1 / (1 + np.exp(-logits))


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_brier_and_log_loss_equal_scikit_learn() -> None:
    p, y = planted(400)
    assert brier_score(p, y).value == pytest.approx(metrics.brier_score_loss(y, p), rel=1e-12)
    loss = log_loss(p, y)
    assert loss.value == pytest.approx(metrics.log_loss(y, p), rel=1e-9)
    errors = -np.log(np.where(y, p, 1 - p))
    interval = scipy_stats.t.interval(0.95, 399, errors.mean(), scipy_stats.sem(errors))
    assert (loss.low, loss.high) == pytest.approx(interval, rel=1e-9)


def test_certain_and_wrong_is_finite_and_named() -> None:
    loss = log_loss([1.0, 0.0, 1.0], [0, 0, 1], clip=1e-3)
    assert loss.value == pytest.approx((-np.log(1e-3) - 2 * np.log(1 - 1e-3)) / 3)
    assert "0.001" in loss.method
    assert log_loss([0.0, 1.0], [0, 1]).low >= 0
    with pytest.raises(ConfigError, match="clip"):
        log_loss([0.5, 0.5], [0, 1], clip=0)


def test_limits_stay_where_the_measure_can_be() -> None:
    few = brier_score([0.0, 0.0, 1.0], [0, 0, 0])
    assert (few.low, few.high) == (0.0, 1.0)
    assert not brier_score([0.5], [1]).defined
    assert not brier_score([], []).defined
    for measure in (brier_score, log_loss):
        with pytest.raises(InputError, match=r"outside \[0, 1\], the first, 1\.5, at position 1"):
            measure([0.2, 1.5], [0, 1])


def naive_error(p: np.ndarray, y: np.ndarray, bins: int) -> float:
    """Sort, cut into equal parts, average: right where no two probabilities are equal and bins divide n."""
    order = np.argsort(p)
    parts = zip(np.split(p[order], bins), np.split(y[order].astype(float), bins), strict=True)
    return sum(len(a) / len(p) * abs(a.mean() - b.mean()) for a, b in parts)


def test_calibration_error_is_the_loop_over_equal_bins() -> None:
    p, y = planted(600, 2.0)
    found = expected_calibration_error(p, y, bins=15, rng=rng(), resamples=50)
    assert found.value == pytest.approx(naive_error(p, y, 15), abs=1e-12)
    assert calibration_error(p, y, bins=15) == pytest.approx(found.value, abs=1e-12)
    assert np.isnan(calibration_error([], []))
    curve = reliability_curve(p, y, bins=15)
    assert curve.items.tolist() == [40] * 15
    assert found.value == pytest.approx(float(np.average(np.abs(curve.probability - curve.observed), weights=curve.items)))
    mixed = np.random.default_rng(1).permutation(600)
    assert expected_calibration_error(p[mixed], y[mixed], rng=rng(), resamples=50).value == pytest.approx(found.value)
    assert curve.low[0] == pytest.approx(wilson(round(curve.observed[0] * 40), 40).low)


def test_equal_probabilities_share_a_bin() -> None:
    p = np.repeat([0.1, 0.2, 0.9], [50, 30, 20])
    y = np.zeros(100, bool)
    y[:5], y[-18:] = True, True
    curve = reliability_curve(p, y)
    assert curve.probability.tolist() == pytest.approx([0.1, 0.2, 0.9])
    assert curve.items.tolist() == [50, 30, 20]
    found = expected_calibration_error(p, y, rng=rng(), resamples=100)
    assert found.value == pytest.approx(0.3 * 0.2)


def test_calibrated_probabilities_are_not_accused_and_stretched_ones_are() -> None:
    accused = 0
    for seed in range(60):
        fair = expected_calibration_error(*planted(300, seed=seed), rng=rng(), resamples=150)
        assert fair.value > 0
        accused += fair.low > 0
    assert accused <= 6
    for seed in range(10):
        found = expected_calibration_error(*planted(1500, 2.0, seed), rng=rng(), resamples=150)
        assert found.low > 0.05
        assert found.high < 0.17


def test_calibration_error_needs_items() -> None:
    assert not expected_calibration_error([], [], rng=rng()).defined
    assert not expected_calibration_error([0.4], [1], rng=rng()).defined
    assert reliability_curve([], []).items.size == 0
    with pytest.raises(ConfigError, match="bins"):
        reliability_curve([0.5], [1], bins=0)
    one = expected_calibration_error([0.5] * 20, [0, 1] * 10, rng=rng())
    assert (one.value, one.low) == (0.0, 0.0)
