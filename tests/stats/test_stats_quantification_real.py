"""Published detector scores of human and machine texts: areas to the third decimal, and what correction is worth."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from assaymark.stats import (
    acc,
    bin_counts,
    calibrate_bins,
    cc,
    emq,
    hdy,
    labelled_bins,
    pacc,
    platt,
    quantify,
    roc_auc,
)

pytestmark = pytest.mark.shared_data

LIKELIHOOD = "gpt-neo-2.7B.likelihood"
FAST = "gpt-j-6B_gpt-neo-2.7B.sampling_discrepancy_analytic"
AREAS = [
    (FAST, 0.862, 0.949),
    (LIKELIHOOD, 0.724, 0.907),
    ("gpt-neo-2.7B.logrank", 0.711, 0.906),
    ("roberta-base-openai-detector", 0.850, 0.760),
    ("roberta-large-openai-detector", 0.860, 0.675),
    ("gpt-neo-2.7B.entropy", 0.431, 0.314),
]


@cache
def table(path: Path) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Scores and labels by detector and generator, pooled over the three sources of texts."""
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            pair = float(row["score"]), int(row["label"])
            found.setdefault((row["detector"], row["source_model"]), []).append(pair)
    return {key: (np.array([s for s, _ in rows]), np.array([y for _, y in rows])) for key, rows in found.items()}


@pytest.mark.parametrize(("detector", "davinci", "chat"), AREAS)
def test_pooled_areas(shared_data: Path, detector: str, davinci: float, chat: float) -> None:
    scores = table(shared_data / "llm-text-pairs" / "detector_scores.csv")
    for generator, expected in (("davinci", davinci), ("gpt-3.5-turbo", chat)):
        assert roc_auc(*scores[detector, generator]).value == pytest.approx(expected, abs=0.00051)


def errors(score: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Mean absolute error over prevalences 0 to 0.6, mostly low ones: samples of 500, half of the texts calibrate."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for _ in range(10):
        calibrating = rng.random(label.size) < 0.5
        # one fixed map into [0, 1], fitted on the calibration half
        unit = 1 / (1 + np.exp(-platt(score[calibrating], label[calibrating]).apply(score)))
        labelled = labelled_bins(unit[calibrating], label[calibrating])
        posterior = calibrate_bins(labelled)
        pools = [unit[~calibrating & (label == y)] for y in (0, 1)]
        for prevalence in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6):
            ones = round(500 * prevalence)
            target = bin_counts(np.concatenate([rng.choice(pools[0], 500 - ones), rng.choice(pools[1], ones)]))
            for name, value in (
                ("cc", cc(target)),
                ("acc", acc(labelled, target)),
                ("pacc", pacc(labelled, target, posterior)),
                ("emq", emq(target, posterior, labelled.prior)),
                ("hdy", hdy(labelled, target, histograms=(8,))),
            ):
                found.setdefault(name, []).append(abs(float(value) - ones / 500))
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_correction_takes_the_error_down(shared_data: Path) -> None:
    scores = table(shared_data / "llm-text-pairs" / "detector_scores.csv")
    mean: dict[str, dict[str, float]] = {}
    for detector in (LIKELIHOOD, FAST):
        both = [scores[detector, generator] for generator in ("davinci", "gpt-3.5-turbo")]
        mean[detector] = errors(np.concatenate([s for s, _ in both]), np.concatenate([y for _, y in both]))
    assert mean[LIKELIHOOD]["cc"] == pytest.approx(0.184, abs=0.03)
    assert mean[FAST]["cc"] == pytest.approx(0.106, abs=0.02)
    for method in ("acc", "pacc", "emq", "hdy"):
        assert mean[LIKELIHOOD][method] < 0.055, method
        assert mean[FAST][method] < 0.035, method
        assert mean[FAST][method] < mean[FAST]["cc"] / 3, method
    assert mean[LIKELIHOOD]["emq"] < mean[LIKELIHOOD]["acc"] + 0.005


def test_planted_share_of_real_texts_is_covered(shared_data: Path) -> None:
    score, label = table(shared_data / "llm-text-pairs" / "detector_scores.csv")[FAST, "gpt-3.5-turbo"]
    rng = np.random.default_rng(1)
    unit = 1 / (1 + np.exp(-(score - 1)))
    calibrating = rng.random(label.size) < 0.5
    pools = [unit[~calibrating & (label == y)] for y in (0, 1)]
    cells = np.stack([bin_counts(np.concatenate([rng.choice(pools[0], 500 - k), rng.choice(pools[1], k)])) for k in (25, 200)])
    labelled = labelled_bins(unit[calibrating], label[calibrating])
    found = quantify(labelled, cells, rng=rng, methods=("cc", "acc", "pacc", "emq"), resamples=500)
    for method in ("acc", "pacc", "emq"):
        for e, truth in zip(found.estimates[method], (0.05, 0.4), strict=True):
            assert e.low <= truth <= e.high, method
    assert found.estimates["cc"][0].low > 0.05
