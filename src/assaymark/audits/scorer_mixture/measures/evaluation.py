"""What decisions are worth on rows that nothing was fitted to: every metric with its interval, and paired comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.fitting import Fitting
from assaymark.audits.scorer_mixture.measures.variants import Variant
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats import (
    accuracy_difference,
    auroc_difference,
    average_precision,
    balanced_accuracy_from_counts,
    brier_score,
    expected_calibration_error,
    f1_score_from_counts,
    fpr_at_tpr,
    log_loss,
    mcnemar,
    roc_auc,
    tpr_at_fpr,
    wilson,
)
from assaymark.stats.prevalence import Rate

__all__ = [
    "BRIEF",
    "METRICS",
    "Judged",
    "Paired",
    "judge",
    "judge_all",
    "measure",
    "no_metrics",
    "paired",
    "units_of",
    "with_prefix",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BRIEF = ("accuracy", "balanced_accuracy", "precision", "recall", "fpr", "f1", "auroc")
METRICS = (
    *BRIEF,
    "average_precision",
    "brier",
    "log_loss",
    "ece",
    "recall_at_fpr_1",
    "recall_at_fpr_5",
    "fpr_at_recall_95",
    "fpr_at_recall_99",
)
_NUMBERS = frozenset({"auroc", "average_precision", "brier", "log_loss", "ece"})
MOST_DRAWN = 50_000
"""Rows behind a bootstrap. Rows are sorted by a hash, so the first are a random part; the interval is then wider."""


class Judged(NamedTuple):
    """Scores and decisions of one way of combining on test rows; NaN scores abstain and are not in `known`."""

    name: str
    scores: Floats
    probability: Floats
    called: Bools
    known: Bools
    threshold: float


class Paired(NamedTuple):
    """One way against another on the rows that both decide: `only_first` rows were right by the first alone."""

    accuracy: Estimate
    auroc: Estimate
    only_first: int
    only_second: int
    p_value: float | None


def units_of(metric: str) -> Unit:
    return "number" if metric in _NUMBERS else "share"


def no_metrics(prefix: str, reason: str, *, metrics: tuple[str, ...] = METRICS) -> dict[str, Estimate]:
    """All metrics of a way that could not be fitted."""
    return {f"{prefix}.{metric}": undefined(reason, unit=units_of(metric)) for metric in metrics}


def judge(variant: Variant, scores: Floats) -> Judged:
    """Decisions of a variant on rows of untransformed scores."""
    values = variant.score(scores)
    known = np.isfinite(values)
    called = np.where(known, values, -np.inf) >= variant.mixture.threshold
    return Judged(variant.name, values, variant.probability(values), called, known, variant.mixture.threshold)


def judge_all(fitting: Fitting) -> dict[str, Judged]:
    """Every way on the test rows, in the order of the settings."""
    scores = fitting.scores[fitting.test]
    judged = {name: judge(variant, scores) for name, variant in fitting.variants.items()}
    if fitting.boosted is not None:
        p = fitting.boosted.probability[fitting.test]
        judged["gbdt"] = Judged("gbdt", p, p, p >= fitting.boosted.threshold, np.isfinite(p), fitting.boosted.threshold)
    return judged


def measure(
    judged: Judged, label: Bools, config: ScorerMixtureConfig, *, rng: np.random.Generator, metrics: tuple[str, ...] = METRICS
) -> dict[str, Estimate]:
    """Metrics of decisions and scores, on the rows that were decided.

    Notes
    -----
    Counts have Wilson intervals, as AUROC on DeLong's variance; what depends on an order or on bins a bootstrap.
    """
    y, called, scores = label[judged.known], judged.called[judged.known], judged.scores[judged.known]
    tp, fp = int((called & y).sum()), int((called & ~y).sum())
    positives, negatives = int(y.sum()), int((~y).sum())
    level = config.confidence
    found = {
        "accuracy": wilson(tp + negatives - fp, len(y), confidence=level),
        "balanced_accuracy": balanced_accuracy_from_counts(
            Rate(tp, positives), Rate(negatives - fp, negatives), confidence=level
        ),
        "precision": wilson(tp, tp + fp, confidence=level),
        "recall": wilson(tp, positives, confidence=level),
        "fpr": wilson(fp, negatives, confidence=level),
        "f1": f1_score_from_counts(tp, fp, positives - tp, confidence=level),
        "auroc": roc_auc(scores, y, confidence=level),
    }
    if set(metrics) - set(found):
        found |= _resampled(scores, judged.probability[judged.known], y, config, rng)
    return {metric: found[metric] for metric in metrics}


def _resampled(
    scores: Floats, probability: Floats, y: Bools, config: ScorerMixtureConfig, rng: np.random.Generator
) -> dict[str, Estimate]:
    level, draws = config.confidence, config.resamples
    few, label = scores[:MOST_DRAWN], y[:MOST_DRAWN]

    def recall_at(limit: float) -> Estimate:
        return tpr_at_fpr(few, label, limit, rng=rng, resamples=draws, confidence=level)

    def fpr_at(recall: float) -> Estimate:
        return fpr_at_tpr(few, label, recall, rng=rng, resamples=draws, confidence=level)

    return {
        "average_precision": average_precision(few, label, rng=rng, resamples=draws, confidence=level),
        "brier": brier_score(probability, y, confidence=level),
        "log_loss": log_loss(probability, y, clip=1e-6, confidence=level),
        "ece": expected_calibration_error(probability[:MOST_DRAWN], label, rng=rng, resamples=draws, confidence=level),
        "recall_at_fpr_1": recall_at(0.01),
        "recall_at_fpr_5": recall_at(0.05),
        "fpr_at_recall_95": fpr_at(0.95),
        "fpr_at_recall_99": fpr_at(0.99),
    }


def paired(a: Judged, b: Judged, label: Bools, config: ScorerMixtureConfig, *, rng: np.random.Generator) -> Paired:
    """Way a against way b, on the same rows: bootstrap of the accuracy difference, DeLong for AUROC, exact McNemar."""
    both = a.known & b.known
    y = label[both]
    right_a, right_b = a.called[both] == y, b.called[both] == y
    accuracy = accuracy_difference(right_a, right_b, rng=rng, resamples=config.resamples, confidence=config.confidence)
    auroc = auroc_difference(a.scores[both], b.scores[both], y, confidence=config.confidence)
    first, second = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p_value = mcnemar(first, second).p_value if first + second else None
    return Paired(accuracy, auroc, first, second, p_value)


def with_prefix(prefix: str, estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Names of metrics below the name of what they are of."""
    return {f"{prefix}.{name}": estimate for name, estimate in estimates.items()}
