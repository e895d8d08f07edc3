"""Summaries of a decision that weigh the two classes: balanced accuracy, F1, and precision at another prevalence.

All three follow in closed form from counts, which add up over shards.

References
----------
.. [1] Zou, G. Y. and Donner, A. (2008). Construction of confidence limits about effect measures: a general approach.
   Statistics in Medicine 27, 1693-1702.
.. [2] Mercaldo, N. D., Lau, K. F. and Zhou, X. H. (2007). Confidence intervals for predictive values with an emphasis to
   case-control studies. Statistics in Medicine 26, 2170-2183.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import counts_within, percent, two_classes
from assaymark.stats.intervals import wilson_limits
from assaymark.stats.prevalence import Rate
from assaymark.stats.ratios import ratio_limits

__all__ = [
    "balanced_accuracy",
    "balanced_accuracy_from_counts",
    "f1_score",
    "f1_score_from_counts",
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
