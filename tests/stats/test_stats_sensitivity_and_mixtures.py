"""Bands over generators, the floor of a window before, and mixtures of word probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from assaymark.errors import InputError
from assaymark.stats import Rate, floor_adjusted, mixture_mle, newcombe, rogan_gladen, sensitivity_band

SPECIFICITY = Rate(950, 1000)
GENERATORS = {"old": Rate(180, 200), "new": Rate(90, 150)}


def test_band_spans_the_generators() -> None:
    observed = Rate(1500, 10_000)
    found = sensitivity_band(observed, GENERATORS, SPECIFICITY)
    old, new = (rogan_gladen(observed, GENERATORS[name], SPECIFICITY) for name in ("old", "new"))
    assert found.by_generator == {"old": old, "new": new}
    assert (found.band.low, found.band.high) == (old.low, new.high)
    pooled = rogan_gladen(observed, Rate(270, 350), SPECIFICITY)
    assert found.band.value == pooled.value
    assert old.value < found.band.value < new.value
    assert found.missed == ()


def test_band_holds_the_truth_when_the_generator_changes() -> None:
    rng = np.random.default_rng(0)
    for name, tpr in (("old", 0.9), ("new", 0.6)):
        held = 0
        for _ in range(100):
            called = rng.binomial(5000, 0.2 * tpr + 0.8 * 0.05)
            rates = {"old": Rate(rng.binomial(200, 0.9), 200), "new": Rate(rng.binomial(150, 0.6), 150)}
            band = sensitivity_band(Rate(called, 5000), rates, Rate(rng.binomial(1000, 0.95), 1000)).band
            held += band.low <= 0.2 <= band.high
        assert held >= 93, name


def test_generators_that_go_unseen_are_named() -> None:
    observed = Rate(100, 1000)
    found = sensitivity_band(observed, {**GENERATORS, "unseen": Rate(8, 100)}, SPECIFICITY)
    assert found.missed == ("unseen",)
    assert "1 that the detector does not separate left out" in found.band.method
    nothing = sensitivity_band(observed, {"unseen": Rate(8, 100)}, SPECIFICITY)
    assert not nothing.band.defined
    assert sensitivity_band(observed, {}, SPECIFICITY).band.reason == "no generator is given"


def test_floor_is_taken_off_and_corrected_with() -> None:
    observed, floor, sensitivity = Rate(300, 2000), Rate(40, 4000), Rate(80, 100)
    found = floor_adjusted(observed, floor, sensitivity)
    assert found.above_floor == newcombe(300, 2000, 40, 4000)
    assert found.corrected == rogan_gladen(observed, sensitivity, Rate(3960, 4000))
    assert found.corrected.value == pytest.approx((0.15 - 0.01) / (0.8 - 0.01))
    assert not floor_adjusted(observed, Rate(0, 0), sensitivity).above_floor.defined


def words(rng: np.random.Generator, share: float, n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of 40 words under both sources, and how often each occurred in a mixture."""
    human, machine = rng.dirichlet(np.ones(40)), rng.dirichlet(np.ones(40))
    return np.log(human), np.log(machine), rng.multinomial(n, (1 - share) * human + share * machine)


def test_mixture_is_the_maximum_and_its_interval_the_profile() -> None:
    human, machine, counts = words(np.random.default_rng(1), 0.3)

    def log_likelihood(a: float) -> float:
        return float(counts @ np.log((1 - a) * np.exp(human) + a * np.exp(machine)))

    best = minimize_scalar(lambda a: -log_likelihood(a), bounds=(0, 1), method="bounded", options={"xatol": 1e-9})
    e = mixture_mle(human, machine, counts)
    assert e.value == pytest.approx(best.x, abs=1e-6)
    for limit in (e.low, e.high):
        assert log_likelihood(e.value) - log_likelihood(limit) == pytest.approx(1.959964**2 / 2, abs=1e-4)
    assert (e.n, e.unit) == (3000, "share")


def test_counts_are_items() -> None:
    human, machine, counts = words(np.random.default_rng(2), 0.6, 200)
    spread = mixture_mle(np.repeat(human, counts), np.repeat(machine, counts))
    together = mixture_mle(human, machine, counts)
    assert (spread.value, spread.low, spread.n) == (pytest.approx(together.value), pytest.approx(together.low), 200)


@pytest.mark.parametrize(("share", "least"), [(0.0, 0.94), (0.3, 0.91)])
def test_mixture_interval_covers(share: float, least: float) -> None:
    rng = np.random.default_rng(3)
    found = [mixture_mle(*words(rng, share, 400)) for _ in range(150)]
    assert np.mean([e.low <= share <= e.high for e in found]) >= least
    assert all(e.high > e.low for e in found)


def test_items_that_one_source_cannot_make() -> None:
    far = mixture_mle([-1.0, -1.0, -5000.0], [-1.0, -5000.0, -1.0], [0, 60, 40])
    assert far.value == pytest.approx(0.4, abs=1e-6)
    assert mixture_mle([-1.0], [-5000.0]).value == 0
    assert mixture_mle([-5000.0], [-1.0]).value == 1


def test_undefined_and_refused() -> None:
    assert mixture_mle([], []).reason == "no items"
    assert "same probability" in mixture_mle([-1.0, -2.0], [-1.0, -2.0]).reason
    with pytest.raises(InputError, match="negative"):
        mixture_mle([-1.0], [-2.0], [-1.0])
    with pytest.raises(InputError, match="missing or infinite"):
        mixture_mle([-np.inf], [-2.0])
    with pytest.raises(ValueError, match="log-probabilities"):
        mixture_mle([-1.0], [-2.0, -1.0])
