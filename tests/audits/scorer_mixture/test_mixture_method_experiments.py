"""Planted experiments A, B, C and E give the published numbers; populations by quadrature are what large samples tend to."""

from __future__ import annotations

import numpy as np
import pytest

from assaymark.audits.scorer_mixture.method.collinearity import condition_number, vif
from assaymark.audits.scorer_mixture.method.least_squares import Fit
from assaymark.audits.scorer_mixture.method.moments import moments
from assaymark.audits.scorer_mixture.method.operating import best_threshold
from assaymark.audits.scorer_mixture.method.weights import best_single, ols, ridge
from assaymark.audits.scorer_mixture.planted import planted_scores, population_moments, population_weights
from assaymark.audits.scorer_mixture.trials import method_trials
from assaymark.testing.calibration import agrees

SEEDS = range(20)


def _accuracy(F, y, fit: Fit, *, threshold: float = 0.5) -> float:
    return float(np.mean((F @ fit.weights + fit.intercept >= threshold) == (y == 1)))


def _average(k: int) -> Fit:
    return Fit(np.full(k, 1 / k), 0.0, k, 1.0)


def _near(found: list[float], published: float, sd: float) -> None:
    """The mean of 20 seeds lies within 3 standard deviations (over seeds) of the published number."""
    assert abs(np.mean(found) - published) <= 3 * sd, (np.mean(found), published)


def test_experiment_a_unequal_networks() -> None:
    found: dict[str, list[float]] = {name: [] for name in ("average", "ols", "shifted", "best", *(f"s{i}" for i in range(6)))}
    weak, order = [], 0
    for seed in SEEDS:
        drawn = planted_scores(seed, 4400, experiment="A")
        F, y, G, z = drawn.scores[:400], drawn.labels[:400], drawn.scores[400:], drawn.labels[400:]
        plain, shifted = ols(F, y), ols(F, y, intercept=True)
        for i in range(6):
            found[f"s{i}"].append(float(np.mean((G[:, i] >= 0.5) == z)))
        found["average"].append(_accuracy(G, z, _average(6)))
        found["best"].append(_accuracy(G, z, best_single(F, y)))
        found["ols"].append(_accuracy(G, z, plain))
        found["shifted"].append(_accuracy(G, z, shifted))
        weak.append(np.abs(plain.weights[4:]))
        order += int((np.diff(shifted.weights[:4]) < 0).all())
    for i, published in enumerate((0.947, 0.919, 0.864, 0.815, 0.602, 0.602)):
        _near(found[f"s{i}"], published, 0.005)
    _near(found["average"], 0.892, 0.005)
    _near(found["ols"], 0.973, 0.004)
    _near(found["shifted"], 0.994, 0.001)
    assert all(o > b and o > a for o, b, a in zip(found["ols"], found["best"], found["average"], strict=True))
    assert np.mean(found["average"]) < np.mean(found["best"])
    assert np.median(weak) < 0.1
    assert order >= 12  # the weights rank the four good networks, with an intercept


def test_order_of_the_weights_follows_quality_only_with_an_intercept() -> None:
    plain, shifted = population_weights("A"), population_weights("A", intercept=True)
    assert (np.diff(shifted.weights[:5]) < 0).all()
    assert plain.weights[3] < plain.weights[4] < 0  # quality 0.9 below the weak ones: no accident of a sample
    assert np.abs(plain.weights[4:]).max() < 0.1 and np.abs(shifted.weights[4:]).max() < 0.1


@pytest.mark.parametrize("experiment", ["A", "E"])
@pytest.mark.parametrize("null", [False, True])
def test_population_is_what_a_large_sample_tends_to(experiment, null) -> None:
    n = 300_000
    drawn = planted_scores(5, n, experiment=experiment, null=null)
    exact, sample = population_moments(experiment, null=null), moments(drawn.scores, drawn.labels)
    # means of products in [0, 1]: standard error at most 0.5 / sqrt(n)
    assert np.abs(sample.xtx / n - exact.xtx).max() < 4.5 * 0.5 / np.sqrt(n)
    assert np.abs(sample.xty / n - exact.xty).max() < 4.5 * 0.5 / np.sqrt(n)
    for intercept in (False, True):
        truth = population_weights(experiment, intercept=intercept, null=null)
        fit = ols(drawn.scores, drawn.labels, intercept=intercept)
        assert np.abs(fit.weights - truth.weights).max() < 0.012
        assert fit.intercept == pytest.approx(truth.intercept, abs=0.008)
    single = ((drawn.scores >= 0.5) == drawn.labels[:, None]).mean(axis=0)
    assert np.abs(single - truth.single_accuracies).max() < 0.004


def test_experiment_b_a_copied_network() -> None:
    largest, damped, accuracy, damped_accuracy, inflation = [], [], [], [], []
    for seed in SEEDS:
        drawn = planted_scores(seed, 4400, experiment="B")
        F, y, G, z = drawn.scores[:400], drawn.labels[:400], drawn.scores[400:], drawn.labels[400:]
        wild, calm = ols(F, y), ridge(F, y, alpha=1e-3 * 400)
        largest.append(np.abs(wild.weights).max())
        damped.append(np.abs(calm.weights).max())
        accuracy.append(_accuracy(G, z, wild))
        damped_accuracy.append(_accuracy(G, z, calm))
        inflation.append(vif(F)[[0, 6]].min())
        assert "do not interpret" in wild.note and condition_number(F) > 1e6
    assert 2e3 < np.median(largest) < 3e4  # published: about 7e3
    _near(damped, 0.42, np.std(damped))
    _near(accuracy, 0.971, 0.004)
    _near(damped_accuracy, 0.971, 0.004)
    assert min(inflation) > 1e3
    assert planted_scores(0, 10, experiment="B", null=True).scores.shape == (10, 6)


def test_experiment_c_a_network_that_knows_its_training_rows() -> None:
    fooled, honest, weight = [], [], []
    for seed in SEEDS:
        drawn = planted_scores(seed, 4800, experiment="C")
        F, y, train = drawn.scores, drawn.labels, drawn.trained_on
        assert train.sum() == 400 and np.array_equal(F[train, 0], y[train])
        fit_rows, test_rows = np.flatnonzero(~train)[:400], np.flatnonzero(~train)[400:]
        leaky, clean = ols(F[train], y[train]), ols(F[fit_rows], y[fit_rows])
        weight.append(leaky.weights[0])
        fooled.append(_accuracy(F[test_rows], y[test_rows], leaky))
        honest.append(_accuracy(F[test_rows], y[test_rows], clean))
    assert np.allclose(weight, 1.0, atol=1e-9)
    _near(fooled, 0.62, 0.008)
    _near(honest, 0.948, 0.005)
    assert not planted_scores(0, 100, experiment="C", null=True).trained_on.any()


def test_experiment_e_weights_cannot_beat_the_average_of_equals() -> None:
    average, shifted, plain, tuned, cuts = [], [], [], [], []
    for seed in SEEDS:
        drawn = planted_scores(seed, 4400, experiment="E")
        F, y, G, z = drawn.scores[:400], drawn.labels[:400], drawn.scores[400:], drawn.labels[400:]
        fit = ols(F, y)
        cut = best_threshold(F @ fit.weights, y).threshold
        cuts.append(cut)
        average.append(_accuracy(G, z, _average(5)))
        shifted.append(_accuracy(G, z, ols(F, y, intercept=True)))
        plain.append(_accuracy(G, z, fit))
        tuned.append(_accuracy(G, z, fit, threshold=cut))
    _near(average, 0.9925, 0.0012)
    _near(shifted, 0.9922, 0.0013)
    _near(plain, 0.968, 0.005)
    _near(tuned, 0.988, 0.003)
    _near(cuts, 0.59, 0.03)
    assert np.mean(shifted) <= np.mean(average) and np.mean(plain) < np.mean(tuned) < np.mean(shifted)


def test_same_seed_same_table() -> None:
    a, b = (planted_scores(3, 50, experiment="A") for _ in range(2))
    assert np.array_equal(a.scores, b.scores) and np.array_equal(a.labels, b.labels)
    assert not np.array_equal(a.scores, planted_scores(4, 50, experiment="A").scores)
    assert ((a.scores >= 0) & (a.scores <= 1)).all() and len(a.names) == 6
    with pytest.raises(ValueError, match="none of"):
        planted_scores(0, 5, experiment="Z")  # type: ignore[arg-type]


def test_trials_agree_with_their_truth() -> None:
    verdicts: dict[str, list[bool]] = {}
    for seed in range(12):
        for trial in method_trials(seed):
            assert trial.estimate.defined
            verdicts.setdefault(trial.name, []).append(bool(agrees(trial)))
    assert len(verdicts) >= 14
    for name, found in verdicts.items():
        assert np.mean(found) >= 0.75, name
    assert np.mean([v for found in verdicts.values() for v in found]) > 0.94
