"""Statistics of the audits: arrays in, `Estimate` out, every public function under `assaymark.stats`.

Names are loaded on first use, so importing this package loads neither numpy code of ours nor scipy.

>>> from assaymark.stats import wilson
>>> print(wilson(11_782, 34_516))
34.1 % (33.6 % to 34.6 %), n = 34,516
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assaymark.stats.agreement import cohen_kappa, cohen_kappa_from_table
    from assaymark.stats.bootstrap_weights import resample_weights, resampled_sums
    from assaymark.stats.change_points import ChangePoint, change_point
    from assaymark.stats.checks import Limits
    from assaymark.stats.classification import (
        balanced_accuracy,
        balanced_accuracy_from_counts,
        f1_score,
        f1_score_from_counts,
        mean_f1_from_counts,
        predictive_value,
    )
    from assaymark.stats.combination import RULES, Rule, Transform, apply_transform, clipped_logit, combine_scores
    from assaymark.stats.concentration import gini, top_share
    from assaymark.stats.correlation import pearson, spearman
    from assaymark.stats.count_regression import MEMBERSHIP, CountRegression, log_linear, negative_binomial
    from assaymark.stats.dominance import cliff_delta, median_estimate, weighted_cliff_delta
    from assaymark.stats.fisher import EXACT_TOTAL, Alternative, chi_square_yates, fisher_exact
    from assaymark.stats.intervals import mean, mean_from_summary, newcombe, newcombe_limits, wilson, wilson_limits
    from assaymark.stats.membership import (
        AdvantageDifference,
        AttackScores,
        ClassThresholds,
        Criterion,
        DecisionRates,
        LogRoc,
        Threshold,
        TrialScores,
        Units,
        WorstAdvantage,
        advantage,
        advantage_difference,
        attack_auc,
        class_thresholds,
        decision_rates,
        detectable_advantage,
        fit_threshold,
        log_roc,
        tpr_at_fprs,
        trial_scores,
        worst_advantage,
    )
    from assaymark.stats.memorization import calibrated_scores, four_set_tests, normalised_scores, subsampled_scores
    from assaymark.stats.misclassification import LEAST_PREDICTIVE, corrected_ratios, misclassified_ratio
    from assaymark.stats.multiplicity import benjamini_hochberg, holm
    from assaymark.stats.onset import OnsetPoint, onset_point
    from assaymark.stats.paired import accuracy_difference, auroc_difference, delong_test, paired_difference
    from assaymark.stats.platt_scaling import Platt, platt
    from assaymark.stats.prevalence import (
        BINS,
        LEAST_LABELLED,
        LEAST_YOUDEN,
        BootstrapSources,
        CalibrationMethod,
        FloorAdjusted,
        LabelledBins,
        Predictions,
        Quantification,
        Rate,
        SensitivityBand,
        acc,
        adjusted,
        bin_centres,
        bin_counts,
        calibrate_bins,
        cc,
        dys,
        emq,
        emq_iterations,
        floor_adjusted,
        hdy,
        labelled_bins,
        mixed_cells,
        mixture_mle,
        mle,
        pacc,
        pcc,
        ppi_mean,
        predictions_of,
        predictions_of_bins,
        quantify,
        regrouped,
        rogan_gladen,
        score_bins,
        sensitivity_band,
        stratified_prevalence,
    )
    from assaymark.stats.privacy_accounting import (
        Accountant,
        gaussian_epsilon,
        gaussian_noise_multiplier,
        pure_epsilon,
        pure_step_epsilon,
    )
    from assaymark.stats.probabilities import (
        ReliabilityCurve,
        brier_score,
        calibration_error,
        expected_calibration_error,
        log_loss,
        reliability_curve,
    )
    from assaymark.stats.probing import PROBE_STRENGTHS, probe_hits, probe_strength
    from assaymark.stats.ranking import (
        OperatingPoint,
        PrecisionRecallCurve,
        RocCurve,
        area_limits,
        average_precision,
        fpr_at_tpr,
        operating_point,
        pr_curve,
        roc_auc,
        roc_curve,
        tpr_at_fpr,
    )
    from assaymark.stats.ratios import RatioKind, lift, lift_limits, odds_ratio, ratio_limits, ratio_points, risk_ratio
    from assaymark.stats.regression_columns import Dummies, dummies
    from assaymark.stats.resampled_t import corrected_resampled_t
    from assaymark.stats.resampling import (
        bootstrap_difference,
        bootstrap_mean,
        bootstrap_ratio,
        bootstrap_statistic,
        percentile_estimate,
    )
    from assaymark.stats.share_trend import BinomialTrend, binomial_trend, natural_spline
    from assaymark.stats.significance import (
        RankOutcome,
        TestOutcome,
        cohen_d,
        cohen_d_from_summary,
        mann_whitney,
        mcnemar,
        permutation_test,
        sign_test,
        welch,
        welch_from_summary,
    )
    from assaymark.stats.trend import mann_kendall, theil_sen
    from assaymark.stats.word_contrasts import WordContrast, word_contrast

_HOMES: dict[str, str] = {
    "agreement": "cohen_kappa cohen_kappa_from_table",
    "bootstrap_weights": "resample_weights resampled_sums",
    "change_points": "ChangePoint change_point",
    "checks": "Limits",
    "classification": (
        "balanced_accuracy balanced_accuracy_from_counts f1_score f1_score_from_counts mean_f1_from_counts predictive_value"
    ),
    "combination": "RULES Rule Transform apply_transform clipped_logit combine_scores",
    "concentration": "gini top_share",
    "correlation": "pearson spearman",
    "count_regression": "MEMBERSHIP CountRegression log_linear negative_binomial",
    "dominance": "cliff_delta median_estimate weighted_cliff_delta",
    "fisher": "EXACT_TOTAL Alternative chi_square_yates fisher_exact",
    "intervals": "mean mean_from_summary newcombe newcombe_limits wilson wilson_limits",
    "membership": (
        "AdvantageDifference AttackScores ClassThresholds Criterion DecisionRates LogRoc Threshold TrialScores Units "
        "WorstAdvantage advantage advantage_difference attack_auc class_thresholds decision_rates detectable_advantage "
        "fit_threshold log_roc tpr_at_fprs trial_scores worst_advantage"
    ),
    "memorization": "calibrated_scores four_set_tests normalised_scores subsampled_scores",
    "misclassification": "LEAST_PREDICTIVE corrected_ratios misclassified_ratio",
    "multiplicity": "benjamini_hochberg holm",
    "onset": "OnsetPoint onset_point",
    "paired": "accuracy_difference auroc_difference delong_test paired_difference",
    "platt_scaling": "Platt platt",
    "prevalence": (
        "BINS LEAST_LABELLED LEAST_YOUDEN BootstrapSources CalibrationMethod FloorAdjusted LabelledBins Predictions "
        "Quantification Rate SensitivityBand acc adjusted bin_centres bin_counts calibrate_bins cc dys emq emq_iterations "
        "floor_adjusted hdy labelled_bins mixed_cells mixture_mle mle pacc pcc ppi_mean predictions_of predictions_of_bins "
        "quantify regrouped rogan_gladen score_bins sensitivity_band stratified_prevalence"
    ),
    "privacy_accounting": "Accountant gaussian_epsilon gaussian_noise_multiplier pure_epsilon pure_step_epsilon",
    "probabilities": "ReliabilityCurve brier_score calibration_error expected_calibration_error log_loss reliability_curve",
    "probing": "PROBE_STRENGTHS probe_hits probe_strength",
    "ranking": (
        "OperatingPoint PrecisionRecallCurve RocCurve area_limits average_precision fpr_at_tpr operating_point pr_curve "
        "roc_auc roc_curve tpr_at_fpr"
    ),
    "ratios": "RatioKind lift lift_limits odds_ratio ratio_limits ratio_points risk_ratio",
    "regression_columns": "Dummies dummies",
    "resampled_t": "corrected_resampled_t",
    "resampling": "bootstrap_difference bootstrap_mean bootstrap_ratio bootstrap_statistic percentile_estimate",
    "share_trend": "BinomialTrend binomial_trend natural_spline",
    "significance": (
        "RankOutcome TestOutcome cohen_d cohen_d_from_summary mann_whitney mcnemar permutation_test sign_test welch "
        "welch_from_summary"
    ),
    "trend": "mann_kendall theil_sen",
    "word_contrasts": "WordContrast word_contrast",
}
"""Module to its public names."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "BINS",
    "EXACT_TOTAL",
    "LEAST_LABELLED",
    "LEAST_PREDICTIVE",
    "LEAST_YOUDEN",
    "MEMBERSHIP",
    "PROBE_STRENGTHS",
    "RULES",
    "Accountant",
    "AdvantageDifference",
    "Alternative",
    "AttackScores",
    "BinomialTrend",
    "BootstrapSources",
    "CalibrationMethod",
    "ChangePoint",
    "ClassThresholds",
    "CountRegression",
    "Criterion",
    "DecisionRates",
    "Dummies",
    "FloorAdjusted",
    "LabelledBins",
    "Limits",
    "LogRoc",
    "OnsetPoint",
    "OperatingPoint",
    "Platt",
    "PrecisionRecallCurve",
    "Predictions",
    "Quantification",
    "RankOutcome",
    "Rate",
    "RatioKind",
    "ReliabilityCurve",
    "RocCurve",
    "Rule",
    "SensitivityBand",
    "TestOutcome",
    "Threshold",
    "Transform",
    "TrialScores",
    "Units",
    "WordContrast",
    "WorstAdvantage",
    "acc",
    "accuracy_difference",
    "adjusted",
    "advantage",
    "advantage_difference",
    "apply_transform",
    "area_limits",
    "attack_auc",
    "auroc_difference",
    "average_precision",
    "balanced_accuracy",
    "balanced_accuracy_from_counts",
    "benjamini_hochberg",
    "bin_centres",
    "bin_counts",
    "binomial_trend",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_statistic",
    "brier_score",
    "calibrate_bins",
    "calibrated_scores",
    "calibration_error",
    "cc",
    "change_point",
    "chi_square_yates",
    "class_thresholds",
    "cliff_delta",
    "clipped_logit",
    "cohen_d",
    "cohen_d_from_summary",
    "cohen_kappa",
    "cohen_kappa_from_table",
    "combine_scores",
    "corrected_ratios",
    "corrected_resampled_t",
    "decision_rates",
    "delong_test",
    "detectable_advantage",
    "dummies",
    "dys",
    "emq",
    "emq_iterations",
    "expected_calibration_error",
    "f1_score",
    "f1_score_from_counts",
    "fisher_exact",
    "fit_threshold",
    "floor_adjusted",
    "four_set_tests",
    "fpr_at_tpr",
    "gaussian_epsilon",
    "gaussian_noise_multiplier",
    "gini",
    "hdy",
    "holm",
    "labelled_bins",
    "lift",
    "lift_limits",
    "log_linear",
    "log_loss",
    "log_roc",
    "mann_kendall",
    "mann_whitney",
    "mcnemar",
    "mean",
    "mean_f1_from_counts",
    "mean_from_summary",
    "median_estimate",
    "misclassified_ratio",
    "mixed_cells",
    "mixture_mle",
    "mle",
    "natural_spline",
    "negative_binomial",
    "newcombe",
    "newcombe_limits",
    "normalised_scores",
    "odds_ratio",
    "onset_point",
    "operating_point",
    "pacc",
    "paired_difference",
    "pcc",
    "pearson",
    "percentile_estimate",
    "permutation_test",
    "platt",
    "ppi_mean",
    "pr_curve",
    "predictions_of",
    "predictions_of_bins",
    "predictive_value",
    "probe_hits",
    "probe_strength",
    "pure_epsilon",
    "pure_step_epsilon",
    "quantify",
    "ratio_limits",
    "ratio_points",
    "regrouped",
    "reliability_curve",
    "resample_weights",
    "resampled_sums",
    "risk_ratio",
    "roc_auc",
    "roc_curve",
    "rogan_gladen",
    "score_bins",
    "sensitivity_band",
    "sign_test",
    "spearman",
    "stratified_prevalence",
    "subsampled_scores",
    "theil_sen",
    "top_share",
    "tpr_at_fpr",
    "tpr_at_fprs",
    "trial_scores",
    "weighted_cliff_delta",
    "welch",
    "welch_from_summary",
    "wilson",
    "wilson_limits",
    "word_contrast",
    "worst_advantage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
