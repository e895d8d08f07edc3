"""What the weights are and how far they can be read: limits, collinearity, share of the accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.measures.variants import LEAST_SQUARES, fitter_of
from assaymark.audits.scorer_mixture.method.attribution import LeftOut, Shapley, leave_one_network_out, shapley_accuracy
from assaymark.audits.scorer_mixture.method.collinearity import condition_number, effective_networks, vif
from assaymark.audits.scorer_mixture.method.inference import robust_inference, weight_estimates
from assaymark.audits.scorer_mixture.method.moments import Moments, balanced_weights, block_moments, merge_all
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import clipped_logit, percentile_estimate

__all__ = ["Weighing", "weigh"]

Floats = npt.NDArray[np.float64]
DRAWS = 100
BLOCKS = 100
MOST_ROWS = 200_000
"""Rows behind intervals that refit; the first in the order of a hash are a random part."""


class Weighing(NamedTuple):
    """Evidence about the weights.

    `weights` and `intercept` by the recommended interval (HC3 for least squares, bootstrap of rows for other fits), `resampled`
    by a bootstrap of rows; `p_values` are None where there is no test; `vif`, `shapley` one a scorer.
    """

    weights: tuple[Estimate, ...]
    intercept: Estimate
    resampled: tuple[Estimate, ...]
    p_values: tuple[float | None, ...]
    vif: tuple[Estimate, ...]
    condition: Estimate
    effective: Estimate
    shapley: Shapley | None
    left_out: LeftOut | None


def weigh(study: Study) -> Weighing:
    """All evidence; what refits does so on resamples of at most `MOST_ROWS` fitting rows with every score."""
    fitting, config = study.fitting, study.config
    variant = fitting.main
    rows = np.flatnonzero(fitting.whole_fit)[:MOST_ROWS]
    F, label = fitting.values[rows], fitting.label[rows].astype(float)
    fit = variant.fit
    if fit is None:
        none = undefined(f"the way {variant.name} fits no weights")
        weights: tuple[Estimate, ...] = (none,) * len(fitting.names)
        resampled, intercept = weights, none
        p_values: tuple[float | None, ...] = (None,) * len(fitting.names)
        effective = none
    else:
        draws = _weight_draws(study, variant.name, F if variant.name != "logistic" else _logits(study, rows), label)
        resampled = tuple(_percentile(b, d, len(rows), config.confidence) for b, d in zip(fit.weights, draws.T, strict=False))
        intercept = _percentile(fit.intercept, draws[:, -1], len(rows), config.confidence)
        weights, p_values = resampled, (None,) * len(fitting.names)
        if variant.name in LEAST_SQUARES:
            weights, intercept, p_values = _least_squares(study, intercept)
        sizes = np.array([effective_networks(draw[:-1]) for draw in draws])
        effective = percentile_estimate(effective_networks(fit.weights), sizes, n=len(rows), confidence=config.confidence)
    spread, condition = _collinearity(study, F, label)
    shapley, left_out = _attribution(study)
    return Weighing(weights, intercept, resampled, p_values, spread, condition, effective, shapley, left_out)


def _logits(study: Study, rows: npt.NDArray[np.int64]) -> Floats:
    return clipped_logit(study.fitting.scores[rows])


def _percentile(point: float, draws: Floats, n: int, confidence: float) -> Estimate:
    return percentile_estimate(float(point), draws, n=n, confidence=confidence)


def _least_squares(study: Study, intercept: Estimate) -> tuple[tuple[Estimate, ...], Estimate, tuple[float | None, ...]]:
    """HC3 intervals and p-values of a least-squares fit, from all fitting rows at hand."""
    variant, config, rows = study.fitting.main, study.config, study.fitting.whole_fit
    F, label = study.fitting.values[rows], study.fitting.label[rows].astype(float)
    assert variant.fit is not None
    constant = variant.name == "ols_intercept"
    weight = balanced_weights(label) if config.balanced else None
    found = robust_inference(
        F, label, variant.fit, cov=config.covariance, intercept=constant, sample_weight=weight, confidence=config.confidence
    )
    estimates = weight_estimates(found)
    k = F.shape[1]
    if not constant:
        intercept = undefined("the paper's form has no intercept")
    p_values = tuple(float(p) if np.isfinite(p) else None for p in found.p[:k])
    return estimates[:k], estimates[k] if constant else intercept, p_values


def _weight_draws(study: Study, name: str, F: Floats, label: Floats) -> Floats:
    """Weights and intercept on resamples of rows, shape (DRAWS, k + 1); a resample with one class only is drawn again."""
    rng, fitter = study.rng("bootstrap of the weights"), fitter_of(name, balanced=study.config.balanced)
    draws: list[Floats] = []
    while len(draws) < DRAWS:
        counts = np.bincount(rng.integers(0, len(F), len(F)), minlength=len(F)).astype(float)
        drawn = counts > 0
        if not 0 < label[drawn].mean() < 1:
            continue
        fit = fitter(F[drawn], label[drawn], counts[drawn])
        draws.append(np.append(fit.weights, fit.intercept))
    return np.array(draws)


def _collinearity(study: Study, F: Floats, label: Floats) -> tuple[tuple[Estimate, ...], Estimate]:
    """VIF of each scorer and the condition number, with intervals from resampled blocks of rows."""
    confidence, moments = study.config.confidence, study.fitting.moments
    blocks = block_moments(F, label, blocks=BLOCKS)
    rng = study.rng("collinearity")
    points, number = vif(moments), condition_number(moments)
    found, numbers = [], []
    for _ in range(DRAWS):
        drawn = _resampled(blocks, rng)
        found.append(vif(drawn))
        numbers.append(condition_number(drawn))
    n = moments.rows
    each = tuple(_maybe_infinite(float(p), d, n, confidence) for p, d in zip(points, np.array(found).T, strict=True))
    return each, _maybe_infinite(number, np.array(numbers), n, confidence)


def _resampled(blocks: Sequence[Moments], rng: np.random.Generator) -> Moments:
    return merge_all([blocks[i] for i in rng.integers(0, len(blocks), len(blocks))])


def _maybe_infinite(point: float, draws: Floats, n: int, confidence: float) -> Estimate:
    """An exact dependence is infinite in every resample, and has no other limits."""
    if np.isinf(point):
        return Estimate(point, point, point, n, "exact linear dependence")
    found = percentile_estimate(point, draws, n=n, confidence=confidence)
    return replace(found, method=f"{found.method} of blocks of rows") if found.defined else found


def _attribution(study: Study) -> tuple[Shapley | None, LeftOut | None]:
    """Shares of accuracy on the test rows with every score; None where there are too few."""
    fitting = study.fitting
    rows = np.flatnonzero(study.whole)[:MOST_ROWS]
    if len(rows) < 2:
        return None, None
    F, label = fitting.values[fitting.test][rows], study.label[rows]
    constant = fitting.main_name != "ols"
    shapley = shapley_accuracy(fitting.moments, F, label, intercept=constant, rng=study.rng("shapley"))
    return shapley, leave_one_network_out(fitting.moments, F, label, intercept=constant)
