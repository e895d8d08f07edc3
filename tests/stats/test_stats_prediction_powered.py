"""Prediction-powered means: against ppi-python, against naive formulas, on planted truth."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.errors import ConfigError, InputError
from assaymark.stats import Predictions, bin_centres, ppi_mean, predictions_of, predictions_of_bins, score_bins, wilson

Z = 1.959963984540054


def material(seed: int, n: int = 200, rest: int = 5000, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels with prevalence 0.3, predictions biased upwards by 0.1 on a sample of n, predictions on the rest."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n + rest) < 0.3).astype(float)
    f = np.clip(0.1 + 0.6 * y + noise * rng.standard_normal(n + rest), 0, 1)
    return y[:n], f[:n], f[n:]


@pytest.mark.parametrize("lam", [None, 1.0, 0.0, 0.4])
@pytest.mark.parametrize("noise", [0.05, 0.3, 3.0])
def test_same_as_ppi_python(lam: float | None, noise: float) -> None:
    ppi_py = pytest.importorskip("ppi_py")
    y, f, rest = material(1, noise=noise)
    ours = ppi_mean(y, f, rest, lam=lam)
    low, high = ppi_py.ppi_mean_ci(y, f, rest, alpha=0.05, lam=lam)
    assert ours.value == pytest.approx(float(np.ravel(ppi_py.ppi_mean_pointestimate(y, f, rest, lam=lam))[0]), abs=1e-8)
    assert (ours.low, ours.high) == pytest.approx((float(low[0]), float(high[0])), abs=1e-8)


@pytest.mark.parametrize("lam", [1.0, 0.5])
def test_plain_formula(lam: float) -> None:
    y, f, rest = material(2)
    e = ppi_mean(y, f, rest, lam=lam)
    point = sum(lam * x for x in rest) / len(rest) + sum(a - lam * b for a, b in zip(y, f, strict=True)) / len(y)
    se = (np.var(y - lam * f) / len(y) + lam**2 * np.var(rest) / len(rest)) ** 0.5
    assert e.value == pytest.approx(point, abs=1e-12)
    assert (e.low, e.high) == pytest.approx((point - Z * se, point + Z * se), abs=1e-12)
    assert (e.n, e.unit, e.method) == (200, "share", f"PPI, lam {lam:g}, normal 95 %")


def test_tuned_weight_has_the_shortest_interval() -> None:
    y, f, rest = material(3)
    tuned = ppi_mean(y, f, rest)
    widths = {lam: (e := ppi_mean(y, f, rest, lam=float(lam))).high - e.low for lam in np.linspace(0, 1, 21)}
    assert tuned.high - tuned.low <= min(widths.values()) * 1.01
    assert tuned.high - tuned.low < widths[0.0]
    assert tuned.method.startswith("PPI++ (lam 0.")


def test_summaries_stream() -> None:
    y, f, rest = material(4)
    parts = predictions_of(rest[:100]).merged(predictions_of([])).merged(predictions_of(rest[100:]))
    assert parts == pytest.approx(Predictions(rest.mean(), rest.var(), rest.size), abs=1e-12)
    assert predictions_of([]).merged(predictions_of([])).n == 0
    whole, streamed = ppi_mean(y, f, rest), ppi_mean(y, f, parts)
    assert (streamed.value, streamed.low) == pytest.approx((whole.value, whole.low), abs=1e-12)


def test_binned_predictions_are_their_centres() -> None:
    _, _, rest = material(5)
    centred = bin_centres()[score_bins(rest)]
    counts = np.bincount(score_bins(rest), minlength=1024)
    assert predictions_of_bins(counts) == pytest.approx(predictions_of(centred), abs=1e-12)
    called = (bin_centres() >= 0.5).astype(float)
    assert predictions_of_bins(counts, called).mean == pytest.approx(np.mean(centred >= 0.5))
    assert predictions_of_bins(np.zeros(4, dtype=int)).n == 0


def test_planted_mean_is_covered() -> None:
    held = [abs(e.value - 0.3) <= e.high - e.value for e in (ppi_mean(*material(s, 150, 1500)) for s in range(400))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.035)


def test_no_positive_label_is_not_certainty() -> None:
    f = np.random.default_rng(6).random(50)
    e = ppi_mean(np.zeros(50), f, f)
    assert (e.value, e.low) == (0, 0)
    assert e.high == wilson(0, 50).high


def test_degenerate_and_refused() -> None:
    y, f, rest = material(7)
    assert ppi_mean(y[:1], f[:1], rest).reason == "1 labelled items, 2 are needed"
    assert ppi_mean(y, f, []).reason == "no unlabelled predictions"
    assert ppi_mean([2.0, 2.0], [1.0, 1.0], [1.0, 1.0]).reason == "labels and predictions do not vary"
    constant = ppi_mean(y, np.ones(200), np.ones(5000))
    assert constant.value == pytest.approx(y.mean())
    low = ppi_mean([0, 0, 0, 1.0], [0.1, 0.2, 0.1, 0.9], rest, lam=0.0, bounds=(0, 1))
    assert low.low == 0
    assert ppi_mean([0, 0, 0, 1.0], [0.1, 0.2, 0.1, 0.9], rest, lam=0.0).low < 0
    with pytest.raises(ValueError, match="predictions of them"):
        ppi_mean(y, f[:3], rest)
    with pytest.raises(InputError, match="summary"):
        ppi_mean(y, f, Predictions(0.1, -1.0, 5))
    with pytest.raises(ConfigError, match="lam"):
        ppi_mean(y, f, rest, lam=float("nan"))
