"""Differences of cells: the detector's errors are common to them and cancel, also where a cell on its own is clipped at 0."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.stats import LabelledBins, bin_counts, mixed_cells, quantify

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


def test_populations_with_errors_of_their_own_add_up() -> None:
    """Two populations that the detector errs on differently: each corrected by its own errors, they and their sum hold."""
    shifts, shares, posts = (-0.8, 0.8), (0.1, 0.3), 4_000
    held = np.zeros(3)
    for seed in range(30):
        rng = np.random.default_rng(seed)

        def drawn(machine: np.ndarray, shift: float, rng: np.random.Generator = rng) -> np.ndarray:
            z = rng.standard_normal(machine.size) + np.where(machine, 1.5, -1.5 + shift)
            return bin_counts(1 / (1 + np.exp(-3 * z)), BINS)

        parts = []
        for shift, share in zip(shifts, shares, strict=True):
            labelled = LabelledBins(drawn(np.zeros(200, bool), shift), drawn(np.ones(200, bool), shift))
            cells = np.stack([drawn(rng.random(posts) < share, shift), drawn(np.zeros(0, bool), shift)])
            parts.append(quantify(labelled, cells, rng=rng, methods=("cc", "pacc", "emq"), resamples=200))
        whole = mixed_cells(parts)
        assert whole.items.tolist() == [2 * posts, 0] and not whole.estimates["pacc"][1].defined
        estimates = [parts[0].estimates["pacc"][0], parts[1].estimates["pacc"][0], whole.estimates["pacc"][0]]
        held += [e.low <= truth <= e.high for e, truth in zip(estimates, (*shares, np.mean(shares)), strict=True)]
        assert whole.estimates["cc"][0].value == pytest.approx(np.mean([part.points["cc"][0] for part in parts]))
    assert held.min() >= 25


def test_a_part_keeps_its_draws() -> None:
    labelled, cells = streams(1)
    found = quantify(labelled, cells, rng=np.random.default_rng(0), methods=("pacc",), resamples=50)
    first = found.part(slice(0, 1))
    np.testing.assert_array_equal(first.course("pacc")[1], found.course("pacc")[1][:, :1])
    assert first.estimates["pacc"] == found.estimates["pacc"][:1]


def test_a_mean_below_nothing_keeps_its_interval() -> None:
    """A detector that calls fewer posts than its labelled texts led one to expect: none is machine-written, give or take."""
    rng = np.random.default_rng(4)
    sides = [scores(np.full(400, kind), rng) for kind in (False, True)]
    sides[0][:60] = 0.9  # labelled human texts that are called far more often than those of the stream
    labelled = LabelledBins(*(bin_counts(side, BINS) for side in sides))
    cells = np.stack([bin_counts(scores(np.zeros(2_000, bool), rng), BINS) for _ in range(2)])
    found = quantify(labelled, cells, rng=rng, methods=("pacc",), resamples=200)
    points, draws = found.course("pacc")
    assert draws.max() < 0 and points.max() < 0, "the case is about draws that all lie outside"
    for share in (found.pooled("pacc"), mixed_cells([found, found]).estimates["pacc"][0]):
        assert share.value == share.low == 0.0
        assert 0.001 < share.high < 0.1
