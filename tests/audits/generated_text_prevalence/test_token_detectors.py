"""Scores from token statistics, the conversion to probabilities, and calibration on labelled texts."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from assaymark.audits.generated_text_prevalence.method.score_calibration import calibrate_score
from assaymark.audits.generated_text_prevalence.method.token_detectors import (
    BINOCULARS_ACCURACY,
    BINOCULARS_LOW_FPR,
    FAST_DETECTGPT_NORMALS,
    TOKEN_DETECTORS,
    binoculars,
    fast_detectgpt,
    fast_detectgpt_probability,
    fast_detectgpt_sampled,
    lrr,
    undefined_scores,
)
from assaymark.stats import roc_auc

DETECTOR = {detector.name: detector for detector in TOKEN_DETECTORS}


def token_tables(rng: np.random.Generator, lengths: list[int], vocabulary: int = 50) -> list[dict[str, np.ndarray]]:
    """Per-token statistics of random predictions p (scoring) and q (reference), by their definitions."""
    texts = []
    for tokens in lengths:
        p, q = (rng.dirichlet(np.full(vocabulary, 0.3), tokens) + 1e-9 for _ in range(2))
        p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
        chosen = np.array([rng.choice(vocabulary, p=row) for row in p])
        at = p[np.arange(tokens), chosen]
        mu = (q * np.log(p)).sum(1)
        texts.append(
            {
                "l": np.log(at),
                "rank": 1 + (p > at[:, None]).sum(1),
                "mu": mu,
                "var": (q * np.log(p) ** 2).sum(1) - mu**2,
                "entropy": -(p * np.log(p)).sum(1),
            }
        )
    return texts


def summary_of(texts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    ranks = [t["rank"] - 1 for t in texts]
    return {
        "tokens": np.array([len(t["l"]) for t in texts], float),
        "log_likelihood": np.array([t["l"].mean() for t in texts]),
        "rank": np.array([t["rank"].mean() for t in texts]),
        "log_rank": np.array([np.log(t["rank"]).mean() for t in texts]),
        "entropy": np.array([t["entropy"].mean() for t in texts]),
        "rank_below_10": np.array([(r < 10).mean() for r in ranks]),
        "rank_below_100": np.array([((r >= 10) & (r < 100)).mean() for r in ranks]),
        "rank_below_1000": np.array([((r >= 100) & (r < 1000)).mean() for r in ranks]),
        "rank_above": np.array([(r >= 1000).mean() for r in ranks]),
        "expected_log_likelihood": np.array([t["mu"].mean() for t in texts]),
        "log_likelihood_variance": np.array([t["var"].sum() for t in texts]),
        "sampled_mean": np.array([t["mu"].mean() for t in texts]),
        "sampled_sd": np.array([np.sqrt(t["var"].sum()) / len(t["l"]) for t in texts]),
    }


def test_scores_follow_their_definitions_token_by_token() -> None:
    texts = token_tables(np.random.default_rng(0), [2, 7, 40, 300])
    summary = summary_of(texts)
    for i, t in enumerate(texts):
        expected = sum(t["l"] - t["mu"]) / np.sqrt(sum(t["var"]))
        assert fast_detectgpt(summary)[i] == pytest.approx(expected)
        assert lrr(summary)[i] == pytest.approx(-sum(t["l"]) / sum(np.log(t["rank"])))
        assert binoculars(summary)[i] == pytest.approx(-(-t["l"].mean() / -t["mu"].mean()))
    # the sampled form, told the moments of its samples, is the analytic one
    np.testing.assert_allclose(fast_detectgpt_sampled(summary), fast_detectgpt(summary))
    assert DETECTOR["gltr"].score(summary).shape == (4, 4)
    np.testing.assert_allclose(DETECTOR["gltr"].score(summary).sum(axis=1), 1.0)


def test_samples_of_the_reference_give_the_analytic_score() -> None:
    """With q = p, texts drawn from the predictions themselves have scores around 0 with variance 1 ([3], section 3.3)."""
    texts = []
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.full(30, 0.5), 60)
    mu, var = (p * np.log(p)).sum(1), (p * np.log(p) ** 2).sum(1) - (p * np.log(p)).sum(1) ** 2
    for _ in range(2000):
        chosen = (rng.random(60)[:, None] > p.cumsum(1)[:, :-1]).sum(1)
        texts.append(np.log(p[np.arange(60), chosen]).mean())
    summary = {
        "tokens": np.full(2000, 60.0),
        "log_likelihood": np.array(texts),
        "expected_log_likelihood": np.full(2000, mu.mean()),
        "log_likelihood_variance": np.full(2000, var.sum()),
    }
    scores = fast_detectgpt(summary)
    assert abs(scores.mean()) < 4 / np.sqrt(2000)
    assert scores.std() == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("detector", [d for d in TOKEN_DETECTORS if d.orientation != "to be learnt"], ids=lambda d: d.name)
def test_higher_says_machine(detector: object) -> None:
    """A text that its model finds likelier has the higher score, whatever the sign of the raw statistic."""
    human = {
        **{"tokens": 50.0, "log_likelihood": -4.0, "rank": 400.0, "log_rank": 3.0, "expected_log_likelihood": -3.5},
        **{"log_likelihood_variance": 100.0, "sampled_mean": -3.5, "sampled_sd": 0.2},
    }
    machine = {**human, "log_likelihood": -2.5, "rank": 20.0, "log_rank": 1.2}
    both = {name: np.array([human[name], machine[name]]) for name in human}
    scores = DETECTOR[detector.name].score(both)  # type: ignore[attr-defined]
    assert scores[1] > scores[0]


def test_missing_stays_missing_and_is_counted() -> None:
    summary = summary_of(token_tables(np.random.default_rng(2), [5, 5, 5]))
    for values in summary.values():
        values[0] = np.nan
    for detector in TOKEN_DETECTORS:
        scores = detector.score(summary)
        assert np.isnan(scores[0]).any() and np.isfinite(scores[1:]).all(), detector.name
        assert undefined_scores(detector, summary) == {"too few tokens for statistics": 1}
    summary["log_rank"][1] = 0.0
    summary["log_likelihood_variance"][2] = -1e-18
    assert np.isnan(lrr(summary)[1]) and np.isnan(fast_detectgpt(summary)[2])
    reasons = undefined_scores(DETECTOR["lrr"], summary)
    assert reasons == {"too few tokens for statistics": 1, DETECTOR["lrr"].guard: 1}
    assert undefined_scores(DETECTOR["fast-detectgpt"], summary)["the predicted distributions have no variance"] == 1


def test_binoculars_thresholds_are_the_published_ones() -> None:
    assert DETECTOR["binoculars"].thresholds == {"accuracy": -0.9015310749276843, "low FPR": -0.8536432310785527}
    ratio = np.array([0.85, 0.89, 0.95])
    scores = binoculars({"log_likelihood": -ratio * 3, "expected_log_likelihood": np.full(3, -3.0)})
    assert (scores >= -BINOCULARS_ACCURACY).tolist() == [True, True, False]
    assert (scores >= -BINOCULARS_LOW_FPR).tolist() == [True, False, False]


@pytest.mark.parametrize("model", FAST_DETECTGPT_NORMALS)
def test_probability_is_bayes_and_monotone(model: str) -> None:
    mu0, s0, mu1, s1 = FAST_DETECTGPT_NORMALS[model]
    x = np.linspace(-40, 40, 4001)
    found = fast_detectgpt_probability(x, mu0, s0, mu1, s1)
    log_ratio = norm.logpdf(x, mu1, s1) - norm.logpdf(x, mu0, s0)
    vertex = x[np.argmin(log_ratio)]
    # the plain conversion rises again on the left: at -40 it calls a text a machine's for certain
    assert -2.0 < vertex < 0.0 and expit(log_ratio[0]) > 0.999
    right = x > vertex + 0.02
    np.testing.assert_allclose(found[right], expit(log_ratio[right]), atol=1e-12)
    assert (np.diff(found) >= 0).all()
    assert found[0] == pytest.approx(expit(log_ratio.min()), abs=1e-4)
    assert np.isnan(fast_detectgpt_probability(np.nan, mu0, s0, mu1, s1))


def test_probability_of_equal_and_reversed_widths() -> None:
    x = np.linspace(-50, 50, 1001)
    even = fast_detectgpt_probability(x, -1.0, 2.0, 1.0, 2.0)
    np.testing.assert_allclose(even, expit(x * 2 / 4), atol=1e-12)
    narrow = fast_detectgpt_probability(x, 0.0, 2.0, 2.0, 1.0)
    assert (np.diff(narrow) >= 0).all()
    log_ratio = norm.logpdf(x, 2.0, 1.0) - norm.logpdf(x, 0.0, 2.0)
    assert narrow[-1] == pytest.approx(expit(log_ratio.max()), abs=1e-3)
    with pytest.raises(ValueError, match="larger than 0"):
        fast_detectgpt_probability(x, 0.0, 0.0, 1.0, 1.0)


# --- calibration -----------------------------------------------------------------------------------------------------------


def test_calibration_learns_the_sign_and_the_probabilities() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(20_000) < 0.3
    scores = rng.normal(np.where(labels, -1.0, 1.0), 1.0) * 100 + 7
    fit = calibrate_score(scores, labels)
    assert fit.direction == -1 and fit.prior == pytest.approx(0.3, abs=0.01)
    assert fit.auroc.value == pytest.approx(1 - roc_auc(scores, labels).value)
    exact = expit(-2 * (scores - 7) / 100 + np.log(0.3 / 0.7))
    assert np.abs(fit.probability(scores) - exact).max() < 0.03
    even = calibrate_score(scores, labels, balanced=True)
    assert even.prior == 0.5
    assert np.abs(even.probability(scores) - expit(-2 * (scores - 7) / 100)).max() < 0.03


def test_vector_calibration_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    labels = rng.random(3000) < 0.4
    shares = np.where(labels[:, None], rng.dirichlet([9, 3, 2, 1], 3000), rng.dirichlet([6, 4, 3, 2], 3000))
    spread = shares.std(axis=0)
    for balanced in (False, True):
        fit = calibrate_score(shares, labels, balanced=balanced)
        oracle = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000, class_weight="balanced" if balanced else None)
        oracle.fit((shares - shares.mean(axis=0)) / spread, labels)
        expected = oracle.predict_proba((shares - shares.mean(axis=0)) / spread)[:, 1]
        np.testing.assert_allclose(fit.probability(shares), expected, atol=1e-5)
    assert fit.direction == 0 and fit.auroc.value > 0.8


@pytest.mark.parametrize("columns", [1, 4])
def test_calibration_stays_finite_on_extremes(columns: int) -> None:
    labels = np.repeat([0, 1], 50)
    scores = np.tile(np.where(labels, 1e8, -1e8)[:, None], columns)
    fit = calibrate_score(scores, labels)
    assert np.isfinite([*fit.weights, fit.offset]).all()
    p = fit.probability(np.full((3, columns), [[0.0], [1e12], [-1e12]]))
    assert np.isfinite(p).all() and p[1] > 0.9 and p[2] < 0.1
    constant = calibrate_score(np.full((100, columns), 3.0), np.arange(100) < 25)
    np.testing.assert_allclose(constant.probability(np.full((2, columns), 3.0)), 0.25, atol=0.02)


def test_calibration_leaves_out_what_is_missing_and_pickles() -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(100) % 2
    scores = rng.normal(labels, 1.0)
    scores[:3] = [np.nan, np.inf, -np.inf]
    fit = calibrate_score(scores, labels)
    assert (fit.left_out, fit.humans + fit.machines) == (3, 97)
    again = pickle.loads(pickle.dumps(fit))
    assert again == fit
    np.testing.assert_array_equal(np.isnan(again.probability(scores)), np.arange(100) < 3)
    with pytest.raises(ValueError, match="needs both"):
        calibrate_score(scores[labels == 1], labels[labels == 1])
    with pytest.raises(ValueError, match="4 columns"):
        fit.probability(np.zeros((2, 4)))


@pytest.mark.shared_data
def test_published_scores_have_the_published_areas(shared_data: Path) -> None:
    """Pooled AUROC by generator of the scores that Fast-DetectGPT's authors published; entropy turns its sign."""
    path = shared_data / "llm-text-pairs" / "detector_scores.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    names = {row["detector"] for row in rows}
    published = {
        "likelihood": (0.724, 0.907),
        "logrank": (0.711, 0.906),
        "entropy": (0.431, 0.314),
        "sampling_discrepancy_analytic": (0.862, 0.949),
    }
    for kind, areas in published.items():
        (detector,) = [name for name in names if name.split(".")[-1] == kind]
        for generator, area in zip(("davinci", "gpt-3.5-turbo"), areas, strict=True):
            held = [r for r in rows if r["detector"] == detector and r["source_model"] == generator]
            scores, labels = np.array([float(r["score"]) for r in held]), np.array([int(r["label"]) for r in held])
            assert roc_auc(scores, labels).value == pytest.approx(area, abs=0.0006)
            fit = calibrate_score(scores, labels)
            assert fit.direction == (1 if area > 0.5 else -1)
            assert fit.auroc.value == pytest.approx(max(area, 1 - area), abs=0.0006)
