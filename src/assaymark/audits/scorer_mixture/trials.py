"""Planted experiments on the methods alone: what weights buy, what they cannot, and how they are fooled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from assaymark.audit import Expectation, Trial
from assaymark.audits.scorer_mixture.method.inference import robust_inference, weight_estimates
from assaymark.audits.scorer_mixture.method.least_squares import Fit
from assaymark.audits.scorer_mixture.method.operating import best_threshold
from assaymark.audits.scorer_mixture.method.weights import best_single, ols
from assaymark.audits.scorer_mixture.planted import FIT_ROWS, MEMORISER_QUALITY, TEST_ROWS, planted_scores, population_weights
from assaymark.result import Estimate
from assaymark.stats import mean, wilson

if TYPE_CHECKING:
    from assaymark.audits.scorer_mixture.measures.textures import TextureScores

__all__ = ["method_trials", "texture_trials"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def method_trials(seed: int) -> Sequence[Trial]:
    """Experiments A (unequal networks), C (a network that knows its training rows) and E (equal networks)."""
    return [*_unequal(seed), *_leakage(seed), *_equal(seed)]


def texture_trials(drawn: TextureScores) -> Sequence[Trial]:
    """Experiment D: real networks on synthetic textures, with and without a broken one (`measures.textures`)."""
    from assaymark.audits.scorer_mixture.measures.textures import BROKEN, SOUND

    right: dict[str, Flags] = {}
    for name, columns in (("sound", SOUND), ("broken", BROKEN)):
        F, G = drawn.fit[:, columns], drawn.test[:, columns]
        fits = {"mixture": ols(F, drawn.fit_labels, intercept=True), "single": best_single(F, drawn.fit_labels)}
        fits["average"] = _average(F.shape[1])
        right |= {f"{name} {way}": _right(G, drawn.test_labels, fit) for way, fit in fits.items()}
    slack: Expectation = "not above"
    return [
        Trial(
            "D: accuracy of the average minus the mixture", 0.005, _gain(right["sound average"], right["sound mixture"]), slack
        ),
        Trial(
            "D: accuracy of the best single minus the mixture",
            0.005,
            _gain(right["sound single"], right["sound mixture"]),
            slack,
        ),
        Trial(
            "D: accuracy of the mixture minus the average, one network broken",
            0.0,
            _gain(right["broken mixture"], right["broken average"]),
            "above",
        ),
    ]


def _right(F: Floats, y: npt.NDArray[np.int64], fit: Fit, *, threshold: float = 0.5) -> Flags:
    """Which rows a mixture decides correctly."""
    return np.asarray((F @ fit.weights + fit.intercept >= threshold) == (y == 1))


def _gain(a: Flags, b: Flags) -> Estimate:
    """Difference of two accuracies on the same rows, t interval of the paired differences."""
    return mean(a.astype(np.float64) - b.astype(np.float64), unit="percentage points")


def _accuracy(right: Flags) -> Estimate:
    return wilson(int(right.sum()), right.size)


def _average(k: int) -> Fit:
    return Fit(np.full(k, 1.0 / k), 0.0, k, 1.0)


def _unequal(seed: int) -> list[Trial]:
    drawn = planted_scores(seed, FIT_ROWS + TEST_ROWS, experiment="A")
    F, y = drawn.scores[:FIT_ROWS], drawn.labels[:FIT_ROWS]
    G, z = drawn.scores[FIT_ROWS:], drawn.labels[FIT_ROWS:]
    plain, shifted, single = ols(F, y), ols(F, y, intercept=True), best_single(F, y)
    right = {"plain": _right(G, z, plain), "shifted": _right(G, z, shifted), "single": _right(G, z, single)}
    right["average"] = _right(G, z, _average(F.shape[1]))
    trials = [
        Trial(
            "A: accuracy of least squares minus the best single network", 0.0, _gain(right["plain"], right["single"]), "above"
        ),
        Trial("A: accuracy of least squares minus the average", 0.0, _gain(right["plain"], right["average"]), "above"),
        Trial(
            "A: accuracy of the average minus the best single network", 0.0, _gain(right["average"], right["single"]), "below"
        ),
        Trial("A: accuracy with an intercept minus without", 0.0, _gain(right["shifted"], right["plain"]), "above"),
    ]
    truth = population_weights("A", intercept=True)
    weights = weight_estimates(robust_inference(F, y, shifted, intercept=True))
    for i, name in enumerate(drawn.names):
        trials.append(Trial(f"A: weight of {name}, HC3 interval", float(truth.weights[i]), weights[i]))
    single_accuracy = _accuracy((G[:, 0] >= 0.5) == (z == 1))
    trials.append(Trial("A: accuracy of network_1", float(truth.single_accuracies[0]), single_accuracy))
    return trials


def _leakage(seed: int) -> list[Trial]:
    drawn = planted_scores(seed, 2 * FIT_ROWS + TEST_ROWS, experiment="C")
    F, y = drawn.scores, drawn.labels
    held_out = np.flatnonzero(~drawn.trained_on)
    fit_rows, test_rows = held_out[:FIT_ROWS], held_out[FIT_ROWS:]
    fooled, honest = ols(F[drawn.trained_on], y[drawn.trained_on]), ols(F[fit_rows], y[fit_rows])
    G, z = F[test_rows], y[test_rows]
    right_fooled, right_honest = _right(G, z, fooled), _right(G, z, honest)
    # the memorised column is the label itself, so all weight goes to it and the test accuracy is that of network 1 alone
    alone = float(ndtr(MEMORISER_QUALITY))
    return [
        Trial("C: test accuracy, weights fitted on training rows", alone, _accuracy(right_fooled)),
        Trial("C: test accuracy, held-out fit rows minus training rows", 0.0, _gain(right_honest, right_fooled), "above"),
    ]


def _equal(seed: int) -> list[Trial]:
    drawn = planted_scores(seed, FIT_ROWS + TEST_ROWS, experiment="E")
    F, y = drawn.scores[:FIT_ROWS], drawn.labels[:FIT_ROWS]
    G, z = drawn.scores[FIT_ROWS:], drawn.labels[FIT_ROWS:]
    plain, shifted = ols(F, y), ols(F, y, intercept=True)
    tuned = best_threshold(F @ plain.weights, y).threshold
    average = _right(G, z, _average(F.shape[1]))
    trials = [
        Trial("E: accuracy with an intercept minus the average", 0.0, _gain(_right(G, z, shifted), average), "not above"),
        Trial("E: accuracy without an intercept minus the average", 0.0, _gain(_right(G, z, plain), average), "below"),
        Trial(
            "E: accuracy of plain weights at the tuned threshold minus at 0.5",
            0.0,
            _gain(_right(G, z, plain, threshold=tuned), _right(G, z, plain)),
            "above",
        ),
    ]
    return trials
