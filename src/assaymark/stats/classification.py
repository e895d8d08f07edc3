"""Summaries of a decision that weigh the two classes: balanced accuracy, F1 of one or both, precision at another prevalence.

All follow in closed form from counts, which add up over shards.

References
----------
.. [1] Zou, G. Y. and Donner, A. (2008). Construction of confidence limits about effect measures: a general approach.
   Statistics in Medicine 27, 1693-1702.
.. [2] Mercaldo, N. D., Lau, K. F. and Zhou, X. H. (2007). Confidence intervals for predictive values with an emphasis to
   case-control studies. Statistics in Medicine 26, 2170-2183.
.. [3] Takahashi, K., Yamamoto, K., Kuchiba, A. and Koyama, T. (2022). Confidence interval for micro-averaged F1 and
   macro-averaged F1 scores. Applied Intelligence 52, 4961-4972.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import counts_within, normal_quantile, percent, two_classes
from assaymark.stats.intervals import wilson, wilson_limits
from assaymark.stats.prevalence import Rate
from assaymark.stats.ratios import ratio_limits

__all__ = [
    "balanced_accuracy",
    "balanced_accuracy_from_counts",
    "f1_score",
    "f1_score_from_counts",
    "mean_f1_from_counts",
    "predictive_value",
]


def balanced_accuracy(predicted: Any, labels: Any, *, confidence: float = 0.95) -> Estimate:
    """Mean of sensitivity and specificity; see `balanced_accuracy_from_counts`.

    Parameters
    ----------
    predicted, labels : array_like, shape (n,), 0/1 or bool
    """
    called, label = _decisions(predicted, labels)
    sensitivity = Rate(int(np.sum(called & label)), int(label.sum()))
    specificity = Rate(int(np.sum(~called & ~label)), int(np.sum(~label)))
    return balanced_accuracy_from_counts(sensitivity, specificity, confidence=confidence)


def balanced_accuracy_from_counts(sensitivity: Rate, specificity: Rate, *, confidence: float = 0.95) -> Estimate:
    """Mean of sensitivity and specificity, its limits recovered from Wilson's of both ([1], eq. 3).

    Returns
    -------
    Estimate
        Unit "share"; n is the number of items of both classes. Undefined when a class is absent.
    """
    method = f"square and add of two Wilson {percent(confidence)}"
    n = int(sensitivity.trials + specificity.trials)
    if not (sensitivity.trials and specificity.trials):
        absent = "positives" if not sensitivity.trials else "negatives"
        return undefined(f"there are no {absent}", n=n, method=method, unit="share")
    share = np.array([sensitivity.share, specificity.share])
    low, high = wilson_limits(
        [sensitivity.successes, specificity.successes], [sensitivity.trials, specificity.trials], confidence=confidence
    )
    point = float(share.mean())
    below, above = (float(np.linalg.norm(side)) / 2.0 for side in (share - low, high - share))
    return Estimate(point, max(point - below, 0.0), min(point + above, 1.0), n, method, "share")


def f1_score(predicted: Any, labels: Any, *, confidence: float = 0.95) -> Estimate:
    """Harmonic mean of precision and recall of class 1; see `f1_score_from_counts`.

    Parameters
    ----------
    predicted, labels : array_like, shape (n,), 0/1 or bool
    """
    called, label = _decisions(predicted, labels)
    hits = int(np.sum(called & label))
    return f1_score_from_counts(hits, int(called.sum()) - hits, int(label.sum()) - hits, confidence=confidence)


def f1_score_from_counts(
    true_positives: float, false_positives: float, false_negatives: float, *, confidence: float = 0.95
) -> Estimate:
    """F1 = 2 TP / (2 TP + FP + FN), with Wilson's interval of TP / (TP + FP + FN) mapped to it.

    Returns
    -------
    Estimate
        Unit "share"; n = TP + FP + FN. Undefined when that is 0: nothing was there and nothing was called.

    Notes
    -----
    With J = TP / (TP + FP + FN), F1 = 2 J / (1 + J) is monotone in J. Given how many items are not true negatives, TP is
    binomial with probability J, so the limits of J, exact in their meaning, give those of F1 without a bootstrap.
    """
    n = int(true_positives + false_positives + false_negatives)
    method = f"Wilson {percent(confidence)} of TP / (TP + FP + FN), mapped to F1"
    counts_within(true_positives, n, name="true positives")
    counts_within([false_positives, false_negatives], n, name="errors")
    if n == 0:
        return undefined("nothing is positive and nothing was called positive", method=method, unit="share")
    low, high = wilson_limits(true_positives, n, confidence=confidence)
    point, below, above = (float(2 * j / (1 + j)) for j in (true_positives / n, low, high))
    return Estimate(point, min(below, point), max(above, point), n, method, "share")


def mean_f1_from_counts(
    true_positives: float,
    false_positives: float,
    false_negatives: float,
    true_negatives: float,
    *,
    weighting: Literal["macro", "weighted"] = "macro",
    confidence: float = 0.95,
) -> Estimate:
    """Mean of the F1 of both classes, plain ("macro") or weighted by the size of the class ("weighted").

    Returns
    -------
    Estimate
        Unit "share"; n is the number of items. Undefined when a class is absent.

    Notes
    -----
    Delta method on the four multinomial counts ([3], for macro F1), limits on the logit scale so that they stay in [0, 1]. The
    score does not change when all counts are scaled, so that its variance is sum g_i^2 count_i with gradient g. Where every
    item is called right, or every one wrong, the limits are Wilson's for n trials.

    Examples
    --------
    >>> print(mean_f1_from_counts(90, 20, 10, 80))
    85.0 % (79.3 % to 89.3 %), n = 200
    """
    counts = np.array([true_positives, false_positives, false_negatives, true_negatives], dtype=np.float64)
    tp, fp, fn, tn = (float(c) for c in counts)
    n, positives, negatives = counts.sum(), tp + fn, tn + fp
    counts_within(counts, n, name="counts")
    method = f"{weighting} F1, delta {percent(confidence)} on the logit scale"
    if not (positives and negatives):
        absent = "positives" if not positives else "negatives"
        return undefined(f"there are no {absent}", n=int(n), method=method, unit="share")
    (one, one_slope), (zero, zero_slope) = _f1_slopes(tp, fp, fn), _f1_slopes(tn, fp, fn)
    slopes = np.array([*one_slope, 0.0]), np.array([0.0, *zero_slope[1:], zero_slope[0]])
    if weighting == "macro":
        point, gradient = (one + zero) / 2, (slopes[0] + slopes[1]) / 2
    else:
        point = (positives * one + negatives * zero) / n
        of_class = np.array([one, zero, one, zero])  # the class that each cell belongs to
        gradient = (of_class + positives * slopes[0] + negatives * slopes[1] - point) / n
    if point in (0.0, 1.0):
        extreme = wilson(point * n, n, confidence=confidence)
        return Estimate(point, extreme.low, extreme.high, int(n), f"{weighting} F1, Wilson {percent(confidence)}", "share")
    half = normal_quantile(confidence) * math.sqrt(float(gradient**2 @ counts)) / (point * (1.0 - point))
    low, high = (1.0 / (1.0 + math.exp(-(math.log(point / (1.0 - point)) + side))) for side in (-half, half))
    return Estimate(point, min(low, point), max(high, point), int(n), method, "share")


def _f1_slopes(hits: float, false_alarms: float, misses: float) -> tuple[float, tuple[float, float, float]]:
    """F1 of a class and its slopes by hits, false alarms and misses."""
    total = 2.0 * hits + false_alarms + misses
    by_error = -2.0 * hits / total**2
    return 2.0 * hits / total, (2.0 * (false_alarms + misses) / total**2, by_error, by_error)


def _decisions(predicted: Any, labels: Any) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    _, called = two_classes(np.zeros(np.shape(predicted)), predicted)
    _, label = two_classes(np.zeros(np.shape(called)), labels)
    return called, label


def predictive_value(sensitivity: Rate, specificity: Rate, *, prevalence: float, confidence: float = 0.95) -> Estimate:
    """Share of the called that are positive, were a share `prevalence` of all items positive.

    Parameters
    ----------
    sensitivity : Rate
        True positives of all labelled positives.
    specificity : Rate
        True negatives of all labelled negatives.
    prevalence : float in [0, 1]
        Share of positives where the detector will be used; test sets hold far more of them.

    Returns
    -------
    Estimate
        PPV = Se pi / (Se pi + (1 - Sp)(1 - pi)), unit "share"; n is the number of labelled items. Undefined when a class is
        absent or nothing was called positive.

    Notes
    -----
    The odds of the PPV are the prior odds times Se / (1 - Sp), the ratio of two independent shares, so that its log-normal
    limits are mapped: the logit interval of [2]. A zero cell is corrected in the limits only, which then contain the point.

    Examples
    --------
    >>> print(predictive_value(Rate(960, 1000), Rate(960, 1000), prevalence=0.01))
    19.5 % (15.2 % to 24.7 %), n = 2,000
    """
    if not 0.0 <= prevalence <= 1.0:
        raise ConfigError(f"prevalence {prevalence!r} is not between 0 and 1: write 0.01 for 1 %")
    method = f"PPV at prevalence {prevalence:g}, logit {percent(confidence)}"
    n = int(sensitivity.trials + specificity.trials)
    false = Rate(specificity.trials - specificity.successes, specificity.trials)
    if not (sensitivity.trials and specificity.trials):
        absent = "positives" if not sensitivity.trials else "negatives"
        return undefined(f"there are no labelled {absent}", n=n, method=method, unit="share")
    if sensitivity.successes + false.successes == 0:
        return undefined("nothing was called positive", n=n, method=method, unit="share")
    limits = ratio_limits(sensitivity.successes, sensitivity.trials, false.successes, false.trials, confidence=confidence)
    ratio = sensitivity.share / false.share if false.successes else math.inf
    point, low, high = (_posterior(float(r), prevalence) for r in (ratio, limits.low, limits.high))
    return Estimate(point, min(low, point), max(high, point), n, method, "share")


def _posterior(ratio: float, prior: float) -> float:
    """Probability after evidence of a likelihood ratio."""
    if math.isinf(ratio):
        return 1.0 if prior > 0 else 0.0
    return ratio * prior / (ratio * prior + 1.0 - prior) if prior < 1.0 or ratio > 0 else 1.0
