"""Corrected and stratified prevalence on planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.errors import ConfigError, InputError
from assaymark.stats import Rate, rogan_gladen, stratified_prevalence, wilson, wilson_limits

SENSITIVITY, SPECIFICITY, PREVALENCE = 0.8, 0.99, 0.05
TARGET, POSITIVES, NEGATIVES = 20_000, 200, 500


def planted_rates(rng: np.random.Generator) -> tuple[Rate, Rate, Rate]:
    called = PREVALENCE * SENSITIVITY + (1 - PREVALENCE) * (1 - SPECIFICITY)
    return (
        Rate(int(rng.binomial(TARGET, called)), TARGET),
        Rate(int(rng.binomial(POSITIVES, SENSITIVITY)), POSITIVES),
        Rate(int(rng.binomial(NEGATIVES, SPECIFICITY)), NEGATIVES),
    )


def test_point_and_delta_interval_by_hand() -> None:
    estimate = rogan_gladen(Rate(500, 10_000), Rate(80, 100), Rate(196, 200))
    youden, pi = 0.8 + 0.98 - 1, (0.05 + 0.98 - 1) / 0.78
    variance = (0.05 * 0.95 / 10_000 + pi**2 * 0.8 * 0.2 / 100 + (1 - pi) ** 2 * 0.98 * 0.02 / 200) / youden**2
    assert estimate.value == pytest.approx(pi, rel=1e-12)
    assert estimate.high == pytest.approx(pi + 1.959963984540054 * variance**0.5, rel=1e-12)
    assert estimate.low == pytest.approx(pi - 1.959963984540054 * variance**0.5, rel=1e-12)
    assert (estimate.n, estimate.unit, estimate.method) == (10_000, "share", "Rogan-Gladen, delta 95 %")


@pytest.mark.parametrize("method", ["delta", "bootstrap"])
def test_planted_prevalence_is_covered(method: str) -> None:
    rng, covered = np.random.default_rng(7), 0
    for _ in range(300):
        estimate = rogan_gladen(*planted_rates(rng), method=method, rng=rng, resamples=500)
        covered += estimate.low <= PREVALENCE <= estimate.high
    assert 0.90 <= covered / 300 <= 0.99


def test_an_interval_of_the_target_sample_alone_covers_too_little() -> None:
    rng, covered = np.random.default_rng(7), 0
    for _ in range(300):
        observed, sensitivity, specificity = planted_rates(rng)
        youden = sensitivity.share + specificity.share - 1
        low, high = ((x + specificity.share - 1) / youden for x in wilson_limits(observed.successes, observed.trials))
        covered += low <= PREVALENCE <= high
    assert covered / 300 < 0.80


def test_the_correction_recovers_the_planted_prevalence() -> None:
    called = PREVALENCE * SENSITIVITY + (1 - PREVALENCE) * (1 - SPECIFICITY)
    exact = rogan_gladen(Rate(called * 1e6, 1e6), Rate(0.8e6, 1e6), Rate(0.99e6, 1e6))
    assert exact.value == pytest.approx(PREVALENCE, rel=1e-9)
    assert exact.high - exact.low < 0.002


def test_delta_and_bootstrap_agree_on_ample_data() -> None:
    rates = Rate(3_000, 40_000), Rate(640, 800), Rate(1_960, 2_000)
    delta = rogan_gladen(*rates)
    boot = rogan_gladen(*rates, method="bootstrap", rng=np.random.default_rng(0), resamples=20_000)
    assert (boot.low, boot.value, boot.high) == pytest.approx((delta.low, delta.value, delta.high), rel=0.06)
    again = rogan_gladen(*rates, method="bootstrap", rng=np.random.default_rng(0), resamples=20_000)
    assert boot == again


@pytest.mark.parametrize("method", ["delta", "bootstrap"])
def test_clipping_keeps_the_uncertainty(method: str) -> None:
    # fewer calls than the false positive rate alone explains: the raw value is negative
    low = rogan_gladen(Rate(2, 500), Rate(80, 100), Rate(190, 200), method=method, rng=np.random.default_rng(1))
    assert low.value == low.low == 0.0
    assert 0.01 < low.high < 0.2
    high = rogan_gladen(Rate(495, 500), Rate(80, 100), Rate(190, 200), method=method, rng=np.random.default_rng(1))
    assert high.value == high.high == 1.0
    assert 0.8 < high.low < 1.0


@pytest.mark.parametrize("method", ["delta", "bootstrap"])
def test_perfect_looking_rates_from_few_trials_are_not_certain(method: str) -> None:
    few = rogan_gladen(Rate(0, 50), Rate(10, 10), Rate(20, 20), method=method, rng=np.random.default_rng(2))
    many = rogan_gladen(Rate(0, 50_000), Rate(9_999, 10_000), Rate(20_000, 20_000), method=method, rng=np.random.default_rng(2))
    assert few.value == many.value == 0.0
    assert few.high > 0.03 > 0.001 > many.high


def test_a_blind_detector_is_refused() -> None:
    for sensitivity, specificity in ((0.5, 0.5), (0.3, 0.74), (0.1, 0.1)):
        estimate = rogan_gladen(Rate(5, 10), Rate(1000 * sensitivity, 1000), Rate(1000 * specificity, 1000))
        assert not estimate.defined
        assert "hardly separates" in estimate.reason
    assert rogan_gladen(Rate(5, 10), Rate(510, 1000), Rate(550, 1000)).defined
    assert rogan_gladen(Rate(0, 0), Rate(1, 1), Rate(0, 0)).reason == "observed rate and specificity without trials"


def test_wrong_arguments() -> None:
    rates = Rate(5, 10), Rate(9, 10), Rate(9, 10)
    with pytest.raises(ConfigError, match="needs a generator"):
        rogan_gladen(*rates, method="bootstrap")
    with pytest.raises(ConfigError, match="neither"):
        rogan_gladen(*rates, method="exact")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="between 0 and n"):
        Rate(11, 10)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=3, max_size=3), st.integers(0, 5))
def test_any_rates_give_an_ordered_interval_or_a_reason(pairs: list[tuple[int, int]], seed: int) -> None:
    rates = [Rate(min(pair), max(pair)) for pair in pairs]
    for method in ("delta", "bootstrap"):
        estimate = rogan_gladen(*rates, method=method, rng=np.random.default_rng(seed), resamples=50)
        assert estimate.reason if not estimate.defined else 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_stratified_by_hand() -> None:
    estimate = stratified_prevalence([600, 300, 100], [10, 30, 5], [100, 60, 50])
    w, p, n = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.5, 0.1]), np.array([100, 60, 50])
    half = 1.959963984540054 * np.sqrt(np.sum(w**2 * p * (1 - p) / n))
    assert estimate.value == pytest.approx(0.22, rel=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx((0.22 - half, 0.22 + half), rel=1e-12)
    assert (estimate.n, estimate.method) == (210, "stratified normal 95 %")


def test_stratified_covers_and_corrects_oversampling() -> None:
    rng, covered, naive = np.random.default_rng(3), 0, 0
    sizes, truth, n = np.array([0.9, 0.1]), np.array([0.02, 0.4]), np.array([300, 300])
    target = float(sizes @ truth)
    for _ in range(300):
        k = rng.binomial(n, truth)
        estimate, pooled = stratified_prevalence(sizes, k, n), wilson(int(k.sum()), int(n.sum()))
        covered += estimate.low <= target <= estimate.high
        naive += pooled.low <= target <= pooled.high
    assert 0.90 <= covered / 300 <= 0.99
    assert naive == 0


def test_stratified_edges() -> None:
    assert (
        "1 strata with weight have no trials, the first at position 1" in stratified_prevalence([1, 1], [1, 0], [5, 0]).reason
    )
    assert stratified_prevalence([1, 0], [1, 0], [5, 0]).value == pytest.approx(0.2)
    assert stratified_prevalence([0, 0], [1, 1], [5, 5]).reason == "no stratum has weight"
    none = stratified_prevalence([0.5, 0.5], [0, 0], [50, 50])
    assert none.value == none.low == 0.0
    assert none.high == pytest.approx(wilson(0, 100).high)
    mixed = stratified_prevalence([0.5, 0.5], [50, 0], [50, 50])
    assert mixed.low < 0.5 < mixed.high
    with pytest.raises(InputError, match="negative"):
        stratified_prevalence([1, -1], [1, 1], [2, 2])
    with pytest.raises(ValueError, match="weights but"):
        stratified_prevalence([1], [1, 1], [2, 2])
