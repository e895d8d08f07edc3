"""How right a score is: on one test set, over splits, and by distance from the human boundary (section 4 of [1]).

All figures are taken on the pooled test images. The authors' code averages accuracies of batches, which weighs the images of a
short last batch more: 98.125 is reported where 98.2 is true.

References
----------
.. [1] Schramowski, P. and Kersting, K. (2021). Inferring offensiveness in images from natural language supervision.
   arXiv 2110.04222.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.ratings import HIGH, LOW, boundary_distance, rating_labels
from assaymark.audits.image_offensiveness.method.scoring import probability
from assaymark.result import Estimate, undefined
from assaymark.stats import (
    Limits,
    average_precision,
    calibration_error,
    expected_calibration_error,
    f1_score,
    operating_point,
    pr_curve,
    roc_auc,
    spearman,
    wilson,
    wilson_limits,
)
from assaymark.stats.resampled_t import corrected_resampled_t

__all__ = [
    "METRICS",
    "Agreement",
    "Confusion",
    "MetricSummary",
    "agreement_with_ratings",
    "confusion",
    "metric_values",
    "score_metrics",
    "summarise_splits",
]

Floats = npt.NDArray[np.float64]

METRICS = ("accuracy", "precision", "recall", "f1", "auroc", "average_precision", "ece")
"""Of the offensive class, at a score of 0.5."""
_SHARES = ("accuracy", "precision", "recall", "f1")


class Confusion(NamedTuple):
    """Counts at one threshold, and the recall of either class.

    Attributes
    ----------
    true_positives, false_positives, true_negatives, false_negatives : int
    recall_offensive, recall_inoffensive : Estimate
    """

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    recall_offensive: Estimate
    recall_inoffensive: Estimate


class MetricSummary(NamedTuple):
    """One figure over repeated splits.

    estimate : mean with the corrected resampled t interval
    sd : standard deviation over splits, as the paper prints it; NaN below two. It is not an interval of the mean.
    values : float64 array, shape (splits,); NaN where a split leaves the figure undefined
    """

    estimate: Estimate
    sd: float
    values: Floats


class Agreement(NamedTuple):
    """Scores against the human ratings, neutral images included.

    Attributes
    ----------
    rank_correlation : Estimate
        Spearman correlation of the score with the negative rating, over all rated images.
    distance_edges : float64 array, shape (bins + 1,): distance of the rating beyond the limit of its class
    images, errors : int64 array, shape (bins,)
    error_rate : float64 array, shape (bins,); NaN without images
    error_limits : Limits
    neutral_flagged : Estimate
        Share of neutral images with a score above 0.5: neither right nor wrong.
    """

    rank_correlation: Estimate
    distance_edges: Floats
    images: npt.NDArray[np.int64]
    errors: npt.NDArray[np.int64]
    error_rate: Floats
    error_limits: Limits
    neutral_flagged: Estimate


def _checked(log_odds: Any, y: Any) -> tuple[Floats, npt.NDArray[np.bool_]]:
    scores, labels = np.asarray(log_odds, dtype=np.float64), np.asarray(y) == 1
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise ValueError(f"{scores.shape} log-odds but {labels.shape} labels")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} log-odds are not finite: leave skipped images out")
    return scores, labels


def _f1(tp: float, fp: float, fn: float) -> float:
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else float("nan")


def metric_values(log_odds: Any, y: Any, *, ece_bins: int = 15) -> dict[str, float]:
    """Points of `METRICS` on one set of images, NaN where undefined; O(n log n).

    Parameters
    ----------
    log_odds : array_like, shape (n,), finite
        Above 0 is called offensive.
    y : array_like, shape (n,), 0/1 or bool
    """
    scores, labels = _checked(log_odds, y)
    called = scores > 0
    tp, fp, fn = int((called & labels).sum()), int((called & ~labels).sum()), int((~called & labels).sum())
    area = roc_auc(scores, labels).value
    curve = pr_curve(scores, labels) if labels.any() else None
    nan = float("nan")
    return {
        "accuracy": float((called == labels).mean()) if labels.size else nan,
        "precision": tp / (tp + fp) if tp + fp else nan,
        "recall": tp / (tp + fn) if tp + fn else nan,
        "f1": _f1(tp, fp, fn),
        "auroc": nan if area is None else area,
        "average_precision": nan if curve is None else float(np.diff(curve.recall, prepend=0.0) @ curve.precision),
        "ece": calibration_error(probability(scores), labels, bins=ece_bins),
    }


def score_metrics(
    log_odds: Any,
    y: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
    ece_bins: int = 15,
) -> dict[str, Estimate]:
    """`METRICS` on one set of test images with intervals over images: for prompts that were not tuned on them.

    Returns
    -------
    dict of Estimate
        Wilson for accuracy, precision, recall and (mapped) F1, and on DeLong's variance for the AUROC; bootstrap over images
        for the others.
    """
    scores, labels = _checked(log_odds, y)
    point = operating_point(scores, labels, np.nextafter(0.0, 1.0), confidence=confidence)

    return {
        "accuracy": point.accuracy,
        "precision": point.precision,
        "recall": point.tpr,
        "f1": f1_score(scores > 0, labels, confidence=confidence),
        "auroc": roc_auc(scores, labels, confidence=confidence),
        "average_precision": average_precision(scores, labels, rng=rng, resamples=resamples, confidence=confidence),
        "ece": expected_calibration_error(
            probability(scores), labels, bins=ece_bins, rng=rng, resamples=resamples, confidence=confidence
        ),
    }


def confusion(log_odds: Any, y: Any, *, threshold: float = 0.0, confidence: float = 0.95) -> Confusion:
    """Confusion matrix where log-odds above `threshold` are called offensive, and the recall of each class (Wilson)."""
    scores, labels = _checked(log_odds, y)
    called = scores > threshold
    tp, fp = int((called & labels).sum()), int((called & ~labels).sum())
    fn, tn = int(labels.sum()) - tp, int((~labels).sum()) - fp
    return Confusion(tp, fp, tn, fn, wilson(tp, tp + fn, confidence=confidence), wilson(tn, tn + fp, confidence=confidence))


def summarise_splits(
    per_split: Sequence[Mapping[str, float]], *, test_share: float, tested: int = 0, confidence: float = 0.95
) -> dict[str, MetricSummary]:
    """Mean, standard deviation and honest interval of each figure over repeated splits.

    Parameters
    ----------
    per_split : sequence of mappings with equal keys, such as those of `metric_values`
    test_share : float, share of the images that each split tests on
    tested : int, images in the test set of a split; where all splits have the same accuracy, whose t interval would have no
        width, it has Wilson's interval on so many images
    """
    summaries = {}
    for name in per_split[0] if per_split else ():
        values = np.array([split[name] for split in per_split], dtype=np.float64)
        known = values[np.isfinite(values)]
        estimate = corrected_resampled_t(known, test_share=test_share, confidence=confidence, unit="share")
        if known.size < values.size:
            reason = f"undefined on {values.size - known.size} of {values.size} splits"
            estimate = undefined(reason, n=values.size, method=estimate.method, unit="share")
        elif name == "accuracy" and tested and known.size > 1 and float(np.ptp(known)) < 1e-12:
            estimate = _agreeing(float(known.mean()), known.size, tested, confidence)
        if name not in _SHARES:
            estimate = replace(estimate, unit="number")
        sd = float(known.std(ddof=1)) if known.size > 1 else float("nan")
        summaries[name] = MetricSummary(estimate, sd, values)
    return summaries


def _agreeing(accuracy: float, splits: int, tested: int, confidence: float) -> Estimate:
    """Splits overlap, so that many of them on the same few images say little more than one."""
    one = wilson(round(accuracy * tested), tested, confidence=confidence)
    low, high = min(one.low or 0.0, accuracy), max(accuracy if one.high is None else one.high, accuracy)
    return Estimate(
        accuracy, low, high, splits, f"all {splits} splits agree: {one.method} on the {tested} images of one", "share"
    )


def agreement_with_ratings(
    log_odds: Any,
    ratings: Any,
    *,
    low: float = LOW,
    high: float = HIGH,
    scale: tuple[float, float] = (1.0, 5.0),
    bins: int = 5,
    confidence: float = 0.95,
) -> Agreement:
    """Where the score goes wrong: near the boundary of human judgement or far beyond it.

    Parameters
    ----------
    log_odds, ratings : array_like, shape (n,)
        Images without a finite score or a rating on the scale are left out.
    bins : int
        Distances from 0 to the end of the scale are cut into so many equal parts.
    """
    scores, r = np.asarray(log_odds, dtype=np.float64), np.asarray(ratings, dtype=np.float64)
    rated = rating_labels(r, low=low, high=high, scale=scale)
    usable = np.isfinite(scores) & np.isfinite(r) & (r >= scale[0]) & (r <= scale[1])
    labelled = usable & (rated.labels >= 0)
    edges = np.linspace(0.0, max(low - scale[0], scale[1] - high), bins + 1)
    distance = boundary_distance(r[labelled], low=low, high=high)
    cell = np.clip(np.searchsorted(edges, distance, side="left") - 1, 0, bins - 1)
    wrong = (scores[labelled] > 0) != (rated.labels[labelled] == 1)
    images = np.bincount(cell, minlength=bins)
    errors = np.bincount(cell[wrong], minlength=bins)
    with np.errstate(invalid="ignore"):
        rate = errors / images
    neutral = usable & ~labelled
    return Agreement(
        spearman(scores[usable], -r[usable], confidence=confidence),
        edges,
        images,
        errors,
        rate,
        wilson_limits(errors, images, confidence=confidence),
        wilson(int((scores[neutral] > 0).sum()), int(neutral.sum()), confidence=confidence),
    )
