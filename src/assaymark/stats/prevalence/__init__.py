"""Prevalence of a class in a stream that a detector scored, with the detector's own error in the interval.

`rates` corrects one rate; `quantification` serves many cells and methods from binned scores; `prediction_powered` is for
streams of which a sample was labelled; `sensitivity` says how far the answer hangs on the detector.
"""

from __future__ import annotations

from assaymark.stats.prevalence.binned import BINS, LabelledBins, bin_centres, bin_counts, labelled_bins, regrouped, score_bins
from assaymark.stats.prevalence.calibration import CalibrationMethod, calibrate_bins
from assaymark.stats.prevalence.mixtures import mixture_mle
from assaymark.stats.prevalence.prediction_powered import Predictions, ppi_mean, predictions_of, predictions_of_bins
from assaymark.stats.prevalence.quantification import (
    LEAST_LABELLED,
    BootstrapSources,
    Quantification,
    mixed_cells,
    quantify,
)
from assaymark.stats.prevalence.quantifiers import acc, adjusted, cc, dys, emq, emq_iterations, hdy, mle, pacc, pcc
from assaymark.stats.prevalence.rates import LEAST_YOUDEN, Rate, rogan_gladen
from assaymark.stats.prevalence.sensitivity import FloorAdjusted, SensitivityBand, floor_adjusted, sensitivity_band
from assaymark.stats.prevalence.stratified import stratified_prevalence

__all__ = [
    "BINS",
    "LEAST_LABELLED",
    "LEAST_YOUDEN",
    "BootstrapSources",
    "CalibrationMethod",
    "FloorAdjusted",
    "LabelledBins",
    "Predictions",
    "Quantification",
    "Rate",
    "SensitivityBand",
    "acc",
    "adjusted",
    "bin_centres",
    "bin_counts",
    "calibrate_bins",
    "cc",
    "dys",
    "emq",
    "emq_iterations",
    "floor_adjusted",
    "hdy",
    "labelled_bins",
    "mixed_cells",
    "mixture_mle",
    "mle",
    "pacc",
    "pcc",
    "ppi_mean",
    "predictions_of",
    "predictions_of_bins",
    "quantify",
    "regrouped",
    "rogan_gladen",
    "score_bins",
    "sensitivity_band",
    "stratified_prevalence",
]
