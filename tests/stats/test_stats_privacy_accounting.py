"""Epsilon against closed forms, an independent accountant, and published values."""

from __future__ import annotations

import importlib.util
import math
import sys

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import gammaln, logsumexp
from scipy.stats import norm

from assaymark.errors import ConfigError, MissingExtra, UnknownName
from assaymark.stats import gaussian_epsilon, gaussian_noise_multiplier, pure_epsilon, pure_step_epsilon

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("dp_accounting") is None, reason="the extra `privacy` is not installed"
)


def exact_gaussian_epsilon(sigma: float, delta: float) -> float:
    """Balle and Wang (2018), theorem 8: delta = Phi(1 / 2s - eps s) - e^eps Phi(-1 / 2s - eps s)."""

    def excess(epsilon: float) -> float:
        low = epsilon + norm.logcdf(-1 / (2 * sigma) - epsilon * sigma)
        return float(norm.cdf(1 / (2 * sigma) - epsilon * sigma) - math.exp(min(low, 1.0)) - delta)

    return float(brentq(excess, 0.0, 1e6))


def renyi_epsilon(sigma: float, q: float, steps: int, delta: float) -> float:
    """Integer orders of the sampled Gaussian by its binomial sum, and the conversion of Canonne et al. (2020), prop. 12."""
    best = math.inf
    for order in range(2, 65):
        k = np.arange(order + 1)
        choose = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
        log_a = logsumexp(choose + k * math.log(q) + (order - k) * math.log1p(-q) + (k * k - k) / (2 * sigma**2))
        conversion = math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
        best = min(best, steps * float(log_a) / (order - 1) + conversion)
    return best


@needs_library
@pytest.mark.parametrize("sigma", [0.03, 0.7, 2.0, 20.0, 300.0])
@pytest.mark.parametrize(("steps", "delta"), [(1, 1e-3), (1, 1e-5), (100, 1e-5)])
def test_gaussian_releases_against_the_closed_form(sigma: float, steps: int, delta: float) -> None:
    exact = exact_gaussian_epsilon(sigma / math.sqrt(steps), delta)
    close = gaussian_epsilon(sigma, steps=steps, delta=delta)
    assert exact <= close <= exact * 1.0003
    assert close <= gaussian_epsilon(sigma, steps=steps, delta=delta, accountant="rdp") <= 1.35 * exact + 0.01


@needs_library
@pytest.mark.parametrize(
    ("sigma", "q", "steps"), [(4.0, 0.01, 10_000), (1.1, 256 / 60_000, 14_062), (2.0, 0.2, 400), (6.0, 0.05, 50)]
)
def test_sampled_releases_against_an_independent_accountant(sigma: float, q: float, steps: int) -> None:
    # the library also tries fractional orders, so that its bound is no larger
    independent = renyi_epsilon(sigma, q, steps, 1e-5)
    renyi = gaussian_epsilon(sigma, steps=steps, delta=1e-5, sampling_rate=q, accountant="rdp")
    assert 0.97 * independent <= renyi <= independent * (1 + 1e-9)
    assert 0.8 * renyi < gaussian_epsilon(sigma, steps=steps, delta=1e-5, sampling_rate=q) < renyi


@needs_library
def test_published_examples_of_the_renyi_accountant() -> None:
    # Abadi et al. (2016): q = 0.01, sigma = 4, T = 10,000, delta = 1e-5 gave 1.26;
    # the conversion has improved since
    settings = {"delta": 1e-5, "accountant": "rdp"}
    assert gaussian_epsilon(4.0, steps=10_000, sampling_rate=0.01, **settings) == pytest.approx(1.0355, abs=1e-4)
    # the tutorial of TensorFlow Privacy: 60,000 digits, batches of 256, noise 1.1, 60 epochs
    assert gaussian_epsilon(1.1, steps=14_062, sampling_rate=256 / 60_000, **settings) == pytest.approx(2.5966, abs=1e-4)


@needs_library
@pytest.mark.parametrize(
    ("rows", "drawn", "steps", "sigmas"),
    [
        (30_000, 20, 100, (0.51, 0.46, 0.39, 0.31)),  # AG News
        (40_000, 80, 100, (0.63, 0.54, 0.45, 0.36)),  # DBpedia
        (2_953, 80, 80, (1.08, 0.81, 0.64, 0.5)),  # MIT movies, genre
        (1_561, 80, 80, (1.52, 1.04, 0.77, 0.58)),  # MIT movies, director
    ],
)
def test_noise_of_tang_et_al_gives_the_epsilons_they_state(
    rows: int, drawn: int, steps: int, sigmas: tuple[float, ...]
) -> None:
    """Published noise for epsilon 1, 2, 4, 8 at delta 1 / rows, in two digits, by another library's accountant."""
    for stated, sigma in zip((1.0, 2.0, 4.0, 8.0), sigmas, strict=True):
        epsilon = gaussian_epsilon(sigma, steps=steps, delta=1 / rows, sampling_rate=drawn / rows)
        assert 0.88 * stated < epsilon <= stated


@needs_library
def test_more_of_anything_costs_more() -> None:
    base = {"steps": 100, "delta": 1e-5, "sampling_rate": 0.1}
    middle = gaussian_epsilon(2.0, **base)
    assert gaussian_epsilon(2.5, **base) < middle < gaussian_epsilon(1.5, **base)
    assert gaussian_epsilon(2.0, **base | {"steps": 50}) < middle < gaussian_epsilon(2.0, **base | {"steps": 200})
    assert (
        gaussian_epsilon(2.0, **base | {"sampling_rate": 0.05})
        < middle
        < gaussian_epsilon(2.0, **base | {"sampling_rate": 1.0})
    )
    assert gaussian_epsilon(2.0, **base | {"delta": 1e-3}) < middle < gaussian_epsilon(2.0, **base | {"delta": 1e-8})


@needs_library
@pytest.mark.parametrize(("epsilon", "q"), [(2.0, 0.05), (0.3, 1.0), (1.0, 1.0), (100.0, 1.0), (1e5, 1.0)])
def test_noise_for_an_epsilon_is_the_least(epsilon: float, q: float) -> None:
    sigma = gaussian_noise_multiplier(epsilon, steps=60, delta=1e-5, sampling_rate=q)
    assert gaussian_epsilon(sigma, steps=60, delta=1e-5, sampling_rate=q) <= epsilon
    assert gaussian_epsilon(0.995 * sigma, steps=60, delta=1e-5, sampling_rate=q) > epsilon


@needs_library
def test_an_epsilon_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be had"):
        gaussian_noise_multiplier(1e-9, steps=10, delta=1e-12)


def test_no_noise_and_no_release() -> None:
    assert gaussian_epsilon(0.0, steps=3, delta=1e-5) == math.inf
    assert gaussian_epsilon(1.0, steps=0, delta=1e-5) == 0.0
    assert pure_epsilon(1.0, steps=0) == 0.0


def test_sampled_randomised_response_meets_the_pure_bound() -> None:
    """A bit told truly with probability e^e / (1 + e^e): the ratio with and without a row of rate q is the bound itself."""
    for step, q in [(0.1, 0.3), (1.0, 0.01), (3.0, 0.5)]:
        true, other = math.exp(step) / (1 + math.exp(step)), 1 / (1 + math.exp(step))
        ratio = (q * true + (1 - q) * other) / other
        assert pure_epsilon(step, steps=7, sampling_rate=q) == pytest.approx(7 * math.log(ratio))


def test_pure_epsilon_does_not_overflow_and_inverts() -> None:
    assert pure_epsilon(5_000.0, steps=2, sampling_rate=0.5) == pytest.approx(2 * (5_000.0 + math.log(0.5)))
    for q in (0.02, 0.7, 1.0):
        step = pure_step_epsilon(3.0, steps=50, sampling_rate=q)
        assert pure_epsilon(step, steps=50, sampling_rate=q) == pytest.approx(3.0)


@needs_library
def test_orders_that_are_left_out_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    gaussian_epsilon(0.58, steps=80, delta=1e-3, sampling_rate=0.051, accountant="rdp")
    assert not caplog.records


def test_an_unknown_accountant_is_refused() -> None:
    with pytest.raises(UnknownName, match="known: pld, rdp"):
        gaussian_epsilon(1.0, steps=1, delta=1e-5, accountant="prv")  # type: ignore[arg-type]


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(MissingExtra, match=r"assaymark\[privacy\]"):
        gaussian_epsilon(1.0, steps=1, delta=1e-5)


@pytest.mark.parametrize(
    ("sigma", "settings"),
    [
        (1.0, {"steps": 1, "delta": 0.0}),
        (1.0, {"steps": 1, "delta": 1.0}),
        (1.0, {"steps": -1, "delta": 0.1}),
        (-1.0, {"steps": 1, "delta": 0.1}),
        (math.nan, {"steps": 1, "delta": 0.1}),
        (1.0, {"steps": 1, "delta": 0.1, "sampling_rate": 0.0}),
        (1.0, {"steps": 1, "delta": 0.1, "sampling_rate": 1.5}),
    ],
)
def test_values_out_of_range_are_refused(sigma: float, settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        gaussian_epsilon(sigma, **settings)


def test_targets_out_of_range_are_refused() -> None:
    for epsilon in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError):
            gaussian_noise_multiplier(epsilon, steps=1, delta=1e-5)
        with pytest.raises(ConfigError):
            pure_step_epsilon(epsilon, steps=1)
    with pytest.raises(ConfigError):
        gaussian_noise_multiplier(1.0, steps=0, delta=1e-5)
    with pytest.raises(ConfigError):
        pure_epsilon(-1.0, steps=1)
