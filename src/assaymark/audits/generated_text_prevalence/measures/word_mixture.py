"""The share that makes the words of the stream most likely, as the papers on distributional quantification have it."""

from __future__ import annotations

import numpy as np

from assaymark.audits.generated_text_prevalence.detectors import WORDS
from assaymark.audits.generated_text_prevalence.measures.series import ALL
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate
from assaymark.stats.prevalence import bin_centres, mixture_mle

__all__ = ["word_mixtures"]


def word_mixtures(study: Study) -> dict[str, Estimate]:
    """Mixture estimate of each platform, and of all; none unless the detector of words is the one that counts.

    The log-ratio of a bin of probabilities is that of its middle, since the calibration is a line on the log-odds. It is taken
    at its word here: words that occur together count as independent evidence, which `mle` on the calibrated bins corrects.
    """
    counter = study.counter
    if counter is None or counter.detector.name != WORDS or counter.calibration is None:
        return {}
    (slope,), offset = counter.calibration.weights, counter.calibration.offset
    if slope <= 0:
        return {}
    middle = bin_centres(study.config.bins)
    ratio = (np.log(middle / (1.0 - middle)) - offset) / slope
    periods = study.stream.periods
    counts = {name: periods.counts[row].sum(axis=0) for row, name in enumerate(periods.platforms)}
    if len(counts) > 1:
        counts[ALL] = periods.counts.sum(axis=(0, 1))
    confidence = study.config.confidence
    return {
        name: mixture_mle(np.zeros_like(ratio), ratio, weights=found, confidence=confidence) for name, found in counts.items()
    }
