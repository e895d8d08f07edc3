"""Style of the sampled texts, by the detector's call or by probability, and how far its errors shrink the differences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.measures.dictionary import dictionary_hits, read_dictionary
from assaymark.audits.generated_text_prevalence.measures.linguistic import STYLE_MEASURES, languages_of, style_measures
from assaymark.audits.generated_text_prevalence.measures.style_comparison import (
    StyleDifference,
    compare_styles,
    corrected_difference,
)
from assaymark.audits.generated_text_prevalence.probes.texts import SampledTexts
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import predictive_value

__all__ = ["Language", "Style", "measure_language"]

Floats = npt.NDArray[np.float64]
_BLOCK = 200


class Style(NamedTuple):
    """One measure: its `title`, what was found, and the difference with the detector's errors taken out."""

    title: str
    found: StyleDifference
    corrected: Estimate


class Language(NamedTuple):
    """`languages` counts the sampled texts by guessed language; `missing` are dictionary words found in no text."""

    styles: tuple[Style, ...]
    languages: dict[str, int]
    dictionary: str


def measure_language(study: Study, sample: SampledTexts, prevalence: Estimate) -> Language:
    """Measures of the sampled texts and their comparison.

    Parameters
    ----------
    prevalence : Estimate
        Share of machine-written posts in the stream, for the predictive values of a call.
    """
    language = languages_of(sample.texts)
    measured: list[dict[str, Floats]] = []
    with study.context.progress.task("measuring language", total=len(sample.texts), unit="texts") as task:
        for start in range(0, len(sample.texts), _BLOCK):
            block = sample.texts[start : start + _BLOCK]
            measured.append(style_measures(block, english=language[start : start + _BLOCK] == "en"))
            task.advance(len(block))
    measures = (
        {item.name: np.concatenate([part[item.name] for part in measured]) for item in STYLE_MEASURES} if measured else {}
    )
    titles = {item.name: item.title for item in STYLE_MEASURES}
    units = {item.name: item.unit for item in STYLE_MEASURES}
    name = ""
    if study.config.dictionary:
        words = read_dictionary(study.config.dictionary)
        name = words.name
        measures["dictionary"] = dictionary_hits(sample.texts, words).per_thousand
        titles["dictionary"] = f"Words of the list {name!r} per 1,000"
        units["dictionary"] = "number"
    found = compare_styles(
        measures,
        sample.probability,
        labelling="soft" if study.config.weights == "posterior" else "hard",
        threshold=study.config.threshold,
        weights=_weights(sample, study.config.threshold),
        units=units,
        rng=study.rng("style"),
        resamples=study.config.resamples,
        confidence=study.config.confidence,
    )
    ppv, npv = _predictive_values(study, prevalence)
    corrected = [_corrected(item.difference, ppv, npv, study) for item in found]
    styles = tuple(Style(titles[item.measure], item, right) for item, right in zip(found, corrected, strict=True))
    names, counts = np.unique(language, return_counts=True)
    return Language(styles, {str(n) or "unknown": int(c) for n, c in zip(names, counts, strict=True)}, name)


def _weights(sample: SampledTexts, threshold: float) -> Floats:
    """Posts that each sampled text stands for."""
    above = sample.probability >= threshold
    sizes = np.array([max(1, int((~above).sum())), max(1, int(above.sum()))])
    weights: Floats = np.where(above, sample.of[1] / sizes[1], sample.of[0] / sizes[0])
    return weights


def _predictive_values(study: Study, prevalence: Estimate) -> tuple[Estimate, Estimate]:
    """Share of called posts that are machine-written, and of the others that are not."""
    sensitivity, specificity = study.sensitivity, study.specificity
    if sensitivity is None or specificity is None or prevalence.value is None or not 0.0 < prevalence.value < 1.0:
        why = study.reason or "the share of machine-written posts in the stream is not known, or none"
        return undefined(why, unit="share"), undefined(why, unit="share")
    share, confidence = prevalence.value, study.config.confidence
    return (
        predictive_value(sensitivity, specificity, prevalence=share, confidence=confidence),
        predictive_value(specificity, sensitivity, prevalence=1.0 - share, confidence=confidence),
    )


def _corrected(difference: Estimate, ppv: Estimate, npv: Estimate, study: Study) -> Estimate:
    if study.config.weights == "posterior":
        return undefined("weighted by probability, which shrinks differences by an unknown factor", n=difference.n)
    if not ppv.defined:
        return undefined(ppv.reason, n=difference.n)
    return corrected_difference(difference, ppv, npv)
