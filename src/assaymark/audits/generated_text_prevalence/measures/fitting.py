"""Detectors on labelled texts: half of the sources fit each score's calibration, the other half measures its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.detectors import Detector, Family
from assaymark.audits.generated_text_prevalence.labelled import Labelled
from assaymark.audits.generated_text_prevalence.method.score_calibration import ScoreCalibration, calibrate_score
from assaymark.audits.generated_text_prevalence.method.source_split import split_by_source
from assaymark.audits.generated_text_prevalence.method.token_detectors import FAST_DETECTGPT_NORMALS, fast_detectgpt_probability
from assaymark.errors import ConfigError
from assaymark.stats.prevalence import LabelledBins, bin_counts

__all__ = ["Counter", "Fitting", "TestScores", "fit_detectors", "published_counter"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Counter:
    """A detector that gives probabilities: what the pass over the posts carries. Picklable.

    Attributes
    ----------
    calibration : ScoreCalibration or None
        From the score to a probability; None where the score is one.
    parameters : str, optional
        Published conversion of Fast-DetectGPT, instead of a calibration.
    """

    detector: Detector
    calibration: ScoreCalibration | None = None
    parameters: str | None = None

    def __call__(self, columns: Mapping[str, Floats]) -> Floats:
        """Probability that each text is machine-written, shape (n,); NaN where there is no score."""
        raw = self.detector.raw(columns)
        if self.parameters:
            return fast_detectgpt_probability(raw, *FAST_DETECTGPT_NORMALS[self.parameters])
        if self.calibration is not None:
            return self.calibration.probability(raw)
        return np.where((raw >= 0) & (raw <= 1), raw, np.nan)


class TestScores(NamedTuple):
    """A detector on the test texts: `probability` (m,) and `raw` (m,) or (m, k), NaN where it has none."""

    counter: Counter
    fit_auroc: float
    direction: int
    probability: Floats
    raw: Floats


@dataclass(frozen=True)
class Fitting:
    """All detectors, calibrated on some sources and measured on the others.

    Attributes
    ----------
    test : bool array, shape (n,)
        Labelled texts that measure errors.
    scores : dict of detector name to TestScores
    chosen : str
        Detector that counts the posts.
    failed : dict of detector name to why it could not be calibrated
    """

    labelled: Labelled
    test: Bools
    scores: dict[str, TestScores]
    chosen: str
    failed: dict[str, str]

    @property
    def label(self) -> npt.NDArray[np.int8]:
        """Of the test texts."""
        return self.labelled.label[self.test]

    def bins(self, name: str, bins: int, *, where: Bools | None = None) -> LabelledBins:
        """Counts of the test probabilities of a detector by class."""
        probability = self.scores[name].probability
        known = np.isfinite(probability) & (True if where is None else where)
        positive = self.label == 1
        return LabelledBins(bin_counts(probability[known & ~positive], bins), bin_counts(probability[known & positive], bins))


def fit_detectors(
    labelled: Labelled, family: Family, config: GeneratedTextPrevalenceConfig, *, seed: int, training: Bools | None = None
) -> Fitting | str:
    """Calibrate every detector, and choose the one that counts.

    Parameters
    ----------
    training : bool array, shape (n,), optional
        Texts that a detector was trained on, which calibrate none.

    Returns
    -------
    Fitting, or the reason why none can be made.
    """
    label = labelled.label
    reason = _lack(label)
    if reason:
        return reason
    test = split_by_source(labelled.unit, share=config.test_share, seed=seed)
    fit = ~test if training is None else ~test & ~training
    reason = _lack(label[test], "test ") or _lack(label[fit], "fitting ")
    if reason:
        return reason
    scores: dict[str, TestScores] = {}
    failed: dict[str, str] = {}
    for detector in family.detectors:
        raw = detector.raw(labelled.columns)
        found = _fit(detector, raw, label, fit, test)
        if isinstance(found, str):
            failed[detector.name] = found
        else:
            scores[detector.name] = found
    if not scores:
        name, why = next(iter(failed.items()))
        return f"no detector can be calibrated; {name}: {why}"
    if config.detector and config.detector not in scores:
        raise ConfigError(f"setting 'detector': {config.detector} cannot be calibrated: {failed[config.detector]}")
    return Fitting(labelled, test, scores, config.detector or _best(scores), failed)


def _lack(label: npt.NDArray[np.int8], which: str = "labelled ") -> str:
    for value, name in ((1, "machine-written"), (0, "human")):
        if not (label == value).any():
            return f"there are no {which}texts that are {name}"
    return ""


def _best(scores: Mapping[str, TestScores]) -> str:
    """Largest AUROC on the fitting texts; the first of equals. The test texts have no say, or they would look too good."""
    return max(scores, key=lambda name: scores[name].fit_auroc)


def _fit(detector: Detector, raw: Floats, label: npt.NDArray[np.int8], fit: Bools, test: Bools) -> TestScores | str:
    finite = np.isfinite(raw) if raw.ndim == 1 else np.isfinite(raw).all(axis=1)
    if not finite.any():
        return "it has no score for any labelled text"
    for value, name in ((1, "machine-written"), (0, "human")):
        if (finite & fit & (label == value)).sum() < 2 or (finite & test & (label == value)).sum() < 1:
            return f"it has scores for too few {name} texts"
    is_probability = detector.rule is None and bool(((raw[finite] >= 0) & (raw[finite] <= 1)).all())
    calibration = calibrate_score(raw[fit], label[fit])
    counter = Counter(detector, None if is_probability and calibration.direction > 0 else calibration)
    probability = counter.calibration.probability(raw[test]) if counter.calibration is not None else raw[test]
    return TestScores(
        counter, calibration.auroc.value or 0.5, calibration.direction, np.asarray(probability, np.float64), raw[test]
    )


def published_counter(family: Family, config: GeneratedTextPrevalenceConfig) -> Counter | str:
    """A detector that counts without labelled texts: a classifier, a column of probabilities, or a published conversion."""
    by_name = {detector.name: detector for detector in family.detectors}
    if not by_name:
        return "no detector was given (--model detector.NAME=SPEC)"
    asked = [by_name[config.detector]] if config.detector else list(by_name.values())
    for detector in asked:
        if detector.rule is None:
            return Counter(detector)
        if config.parameters and detector.rule.name == "fast-detectgpt":
            return Counter(detector, parameters=config.parameters)
    return "the detector's scores are no probabilities, and no labelled texts were given to calibrate them (labelled=FILE)"
