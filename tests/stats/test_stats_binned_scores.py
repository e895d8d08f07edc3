"""Scores as counts over bins, and posteriors fitted on the counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from assaymark.errors import ConfigError, InputError
from assaymark.stats import (
    LabelledBins,
    bin_centres,
    bin_counts,
    calibrate_bins,
    labelled_bins,
    platt,
    regrouped,
    score_bins,
)


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


def drawn(rng: np.random.Generator, negatives: int = 60, positives: int = 40, bins: int = 64) -> LabelledBins:
    labels = np.repeat([0, 1], [negatives, positives])
    return labelled_bins(1 / (1 + np.exp(-rng.normal(1.5 * labels - 1, 1.3))), labels, bins)


def test_one_belongs_to_the_last_bin_and_edges_to_the_upper() -> None:
    assert score_bins([0.0, 0.24, 0.25, 0.5, 0.999, 1.0], 4).tolist() == [0, 0, 1, 2, 3, 3]
    assert score_bins([1.0]).tolist() == [1023]
    assert bin_counts([0.1, 1.0, 0.12], 4).tolist() == [2, 0, 0, 1]
    assert bin_centres(4).tolist() == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize("wrong", [-0.01, 1.01, np.nan])
def test_scores_outside_are_named(wrong: float) -> None:
    with pytest.raises(InputError, match="first at position 1"):
        score_bins([0.5, wrong])


def test_counts_of_parts_add_up() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    assert np.array_equal(bin_counts(scores[:200]) + bin_counts(scores[200:]), bin_counts(scores))
    labelled = labelled_bins(scores, scores > 0.7)
    assert (labelled.negative.sum(), labelled.positive.sum()) == (np.sum(scores <= 0.7), np.sum(scores > 0.7))
    assert labelled.prior == pytest.approx(np.mean(scores > 0.7))


@pytest.mark.parametrize("groups", [1, 4, 7, 10, 64])
def test_regrouped_is_the_histogram_with_wider_bins(groups: int) -> None:
    counts = np.random.default_rng(1).integers(0, 9, size=(3, 64))
    expected = np.zeros((3, groups), dtype=int)
    for b in range(64):
        owner = max(j for j in range(groups) if j * 64 // groups <= b)
        expected[:, owner] += counts[:, b]
    assert np.array_equal(regrouped(counts, groups), expected)


def test_more_groups_than_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be regrouped"):
        regrouped(np.ones(8, dtype=int), 9)


def test_platt_on_counts_is_platt_on_items() -> None:
    rng = np.random.default_rng(2)
    sets = [drawn(rng) for _ in range(5)]
    together = calibrate_bins(LabelledBins(np.stack([s.negative for s in sets]), np.stack([s.positive for s in sets])))
    margin = logit(bin_centres(64))
    for labelled, posterior in zip(sets, together, strict=True):
        items = np.concatenate([np.repeat(margin, labelled.negative), np.repeat(margin, labelled.positive)])
        fit = platt(items, np.repeat([0, 1], [60, 40]))
        assert logit(posterior) == pytest.approx(fit.apply(margin), abs=1e-6)
        assert logit(calibrate_bins(labelled)) == pytest.approx(fit.apply(margin), abs=1e-6)


def test_separated_classes_stay_finite() -> None:
    labelled = LabelledBins(np.array([30, 20, 0, 0]), np.array([0, 0, 10, 40]))
    posterior = calibrate_bins(labelled)
    assert np.all(np.diff(posterior) > 0)
    assert 0 < posterior[0] < 0.1
    assert 0.9 < posterior[-1] < 1


def test_temperature_is_the_slope_of_least_loss() -> None:
    labelled = drawn(np.random.default_rng(3), 100, 100)
    margin = logit(bin_centres(64))
    high, low = 101 / 102, 1 / 102

    def loss(slope: float) -> float:
        z = slope * margin
        soft = np.logaddexp(0, z)
        return float(labelled.positive @ (soft - high * z) + labelled.negative @ (soft - low * z))

    slope = minimize_scalar(loss, bounds=(0.01, 10), method="bounded", options={"xatol": 1e-10}).x
    assert logit(calibrate_bins(labelled, "temperature")) == pytest.approx(slope * margin, abs=1e-4)


def test_isotonic_rises_and_keeps_the_mean() -> None:
    labelled = drawn(np.random.default_rng(4), 300, 300)
    posterior = calibrate_bins(labelled, "isotonic")
    assert np.all(np.diff(posterior) >= 0)
    weight = labelled.negative + labelled.positive
    assert weight @ posterior / weight.sum() == pytest.approx(0.5, abs=0.01)
    assert posterior.min() >= 1 / 602 - 1e-12


def test_no_calibration_is_the_centres() -> None:
    assert np.array_equal(calibrate_bins(drawn(np.random.default_rng(5)), "none"), bin_centres(64))


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="plat"):
        calibrate_bins(drawn(np.random.default_rng(6)), "plat")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="both classes"):
        calibrate_bins(LabelledBins(np.array([3, 1]), np.array([0, 0])))
