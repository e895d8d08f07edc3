"""Which parts a report has, in reading order."""

from __future__ import annotations

from collections.abc import Iterator

from assaymark.audits.generated_text_prevalence.measures.benchmark import benchmark
from assaymark.audits.generated_text_prevalence.measures.changes import measure_changes
from assaymark.audits.generated_text_prevalence.measures.series import measure_series
from assaymark.audits.generated_text_prevalence.report.annotated import annotated_section
from assaymark.audits.generated_text_prevalence.report.changes import changes_section
from assaymark.audits.generated_text_prevalence.report.detectors import detector_section, undefined_detector
from assaymark.audits.generated_text_prevalence.report.engagement import engagement_section
from assaymark.audits.generated_text_prevalence.report.generators import generators_section
from assaymark.audits.generated_text_prevalence.report.language import language_section
from assaymark.audits.generated_text_prevalence.report.preparing import preparing_section
from assaymark.audits.generated_text_prevalence.report.prevalence import dropped_section, prevalence_section
from assaymark.audits.generated_text_prevalence.report.strata import authors_section, followers_section, topics_section
from assaymark.audits.generated_text_prevalence.report.words import words_section
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.calibrated import packaged_calibration
from assaymark.result import undefined
from assaymark.section import Section

__all__ = ["sections"]


def sections(study: Study) -> Iterator[Section]:
    """All parts; those without data say what is missing."""
    series = measure_series(study)
    yield prevalence_section(study, series)
    yield changes_section(study, measure_changes(study, series))
    if study.fitting is not None:
        yield detector_section(study, study.fitting, benchmark(study, study.fitting))
        yield generators_section(study, study.fitting, series)
    else:
        yield undefined_detector(study.reason, counts=study.counter is not None)
    if study.annotated is not None:
        yield annotated_section(study, study.annotated, series)
    yield topics_section(study)
    yield followers_section(study)
    yield authors_section(study)
    share = series.platforms[-1].overall[study.config.method] if series.platforms else undefined("no posts")
    yield engagement_section(study, share)
    yield language_section(study, share)
    yield words_section(study)
    yield preparing_section(study)
    yield dropped_section(study)
    calibration = packaged_calibration(__package__)
    if calibration is not None:
        yield Section(tables=[calibration])
