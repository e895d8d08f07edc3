"""Metrics of membership-inference attacks: thresholds from shadow trials, advantage, AUC, TPR at low FPR, comparisons.

`trials` says what goes in (scores by trial, missing answers, groups); `thresholds` are fitted on one set of trials, and
`advantages`, `curves`, `comparisons` and `worst` report on another. `shares` holds the interval that they have in common.

>>> from assaymark.stats import advantage, fit_threshold
>>> threshold = fit_threshold([3.0, 4.0, 2.5], [1.0, 2.0, 1.5])
>>> print(advantage([3.1, 2.9, 3.3, 1.9], [1.2, 2.4, 0.3, 1.0], threshold))
50.0 pp (-13.5 pp to 78.9 pp), n = 4
"""

from __future__ import annotations

from assaymark.stats.membership.advantages import DecisionRates, advantage, decision_rates, detectable_advantage
from assaymark.stats.membership.comparisons import AdvantageDifference, advantage_difference
from assaymark.stats.membership.curves import LogRoc, attack_auc, log_roc, tpr_at_fprs
from assaymark.stats.membership.thresholds import ClassThresholds, Criterion, Threshold, class_thresholds, fit_threshold
from assaymark.stats.membership.trials import AttackScores, TrialScores, Units, trial_scores
from assaymark.stats.membership.worst import WorstAdvantage, worst_advantage

__all__ = [
    "AdvantageDifference",
    "AttackScores",
    "ClassThresholds",
    "Criterion",
    "DecisionRates",
    "LogRoc",
    "Threshold",
    "TrialScores",
    "Units",
    "WorstAdvantage",
    "advantage",
    "advantage_difference",
    "attack_auc",
    "class_thresholds",
    "decision_rates",
    "detectable_advantage",
    "fit_threshold",
    "log_roc",
    "tpr_at_fprs",
    "trial_scores",
    "worst_advantage",
]
