"""Differences of cells: the detector's errors are common to them and cancel, also where a cell on its own is clipped at 0."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.stats import LabelledBins, bin_counts, quantify

BINS, POSTS, RISE = 256, 20_000, 0.15


def scores(machine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 1 / (1 + np.exp(-3 * (rng.standard_normal(machine.size) + np.where(machine, 1.5, -1.5))))


def streams(seed: int) -> tuple[LabelledBins, np.ndarray]:
    """100 labelled texts of each kind, a stream without machines and one with 15 %."""
    rng = np.random.default_rng(seed)
    labelled = LabelledBins(*(bin_counts(scores(np.full(100, kind), rng), BINS) for kind in (False, True)))
    cells = np.stack([bin_counts(scores(rng.random(POSTS) < share, rng), BINS) for share in (0.0, RISE)])
    return labelled, cells


@pytest.mark.parametrize("method", ["acc", "pacc"])
def test_the_rise_from_nothing_is_covered(method: str) -> None:
    held, clipped, width = 0, 0, []
    for seed in range(60):
        labelled, cells = streams(seed)
        found = quantify(labelled, cells, rng=np.random.default_rng(seed), methods=(method,), resamples=200)
        rise = found.difference(method, 1, 0)
        clipped += found.points[method][0] == 0.0
        held += rise.low <= RISE <= rise.high
        width.append(rise.high - rise.low)
    assert clipped > 20, "the case is about cells that are clipped"
    assert held >= 52
    # the false positive rate is known to +- 5 percentage points only, and hardly matters to a difference
    assert np.mean(width) < 0.05


def test_means_of_cells_are_not_pulled_up_by_clipping() -> None:
    rng = np.random.default_rng(0)
    labelled = LabelledBins(*(bin_counts(scores(np.full(50_000, kind), rng), BINS) for kind in (False, True)))
    months = np.stack([bin_counts(scores(np.zeros(100, dtype=bool), rng), BINS) for _ in range(60)])
    found = quantify(labelled, months, rng=rng, methods=("pacc",), resamples=200)
    points, _ = found.course("pacc")
    assert found.points["pacc"].mean() > points.mean() + 0.004, "clipped months have too large a mean"
    assert found.pooled("pacc").value == pytest.approx(max(points.mean(), 0.0), abs=1e-12)
    points, draws = found.course("pacc")
    assert points.min() < 0 and draws.min() < 0
    assert found.draws["pacc"].min() >= 0


def test_methods_without_a_line_keep_their_draws() -> None:
    labelled, cells = streams(0)
    found = quantify(labelled, cells, rng=np.random.default_rng(0), methods=("emq",), resamples=50)
    points, draws = found.course("emq")
    assert points is found.points["emq"] and draws is found.draws["emq"]
