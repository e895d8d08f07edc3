"""How the language of machine-written posts differs: readability, diversity, parts of speech, sentiment, style words."""

from __future__ import annotations

from assaymark.audits.generated_text_prevalence.measures.language import Language, measure_language
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Estimate, Figure, Table
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["language_section"]

LEAST_TEXTS = 10
"""Texts of each kind below which their language is not measured."""


def language_section(study: Study, prevalence: Estimate) -> Section:
    section = Section()
    sample = study.stream.texts
    if sample is None:
        if study.counter is not None and study.config.texts:
            section.notes.append("language is not compared: the posts have no text")
        return section
    if min(sample.of) < LEAST_TEXTS:
        section.notes.append(f"language is not compared: fewer than {LEAST_TEXTS} posts of one kind")
        return section
    found = measure_language(study, sample, prevalence)
    for style in found.styles:
        section.estimates[f"style.{style.found.measure}"] = style.found.standardised
    section.tables.append(_table(found))
    section.figures.append(
        Figure(
            "style", "Style of posts called machine-written against the others", "intervals", table="style", x="measure",
            y="standardised", low="standardised_low", high="standardised_high", reference=((0.0, "no difference"),),
            y_title="difference in standard deviations",
        )
    )  # fmt: skip
    others = {name: count for name, count in found.languages.items() if name != "en"}
    if others:
        said = ", ".join(f"{name} {count:,}" for name, count in sorted(others.items(), key=lambda item: -item[1])[:5])
        section.notes.append(f"measures of style are for English; sampled texts in other languages have none: {said}")
    section.methods.append(
        "Style is measured on samples of both kinds (readability by hyphenation, diversity by MTLD and a moving-average "
        "type-token ratio, parts of speech, polarity and subjectivity by TextBlob). 'corrected' divides a difference by "
        "PPV + NPV - 1 of the detector's calls, which holds if a call does not depend on the measure within each kind."
    )
    return section


def _table(found: Language) -> Table:
    styles = found.styles
    values = {
        "measure": [style.title for style in styles],
        **interval_values("machine", [style.found.machine for style in styles]),
        **interval_values("human", [style.found.human for style in styles]),
        **interval_values("difference", [style.found.difference for style in styles]),
        **interval_values("standardised", [style.found.standardised for style in styles]),
        **interval_values("corrected", [style.corrected for style in styles]),
        "posts": [style.found.posts for style in styles],
    }
    columns = (
        Column("measure", "label"),
        *interval_columns("machine", "number", "called machine-written"),
        *interval_columns("human", "number", "the others"),
        *interval_columns("difference", "number", "difference"),
        *interval_columns("standardised", "number", "in standard deviations"),
        *interval_columns("corrected", "number", "difference, corrected"),
        Column("posts", "count", "posts measured"),
    )
    return Table.of("style", "Style of posts called machine-written and the others", values, columns)
