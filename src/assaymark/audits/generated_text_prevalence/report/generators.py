"""What if the stream was written by other models than the labelled texts? The share for every generator's own hit rate."""

from __future__ import annotations

import numpy as np

from assaymark.audits.generated_text_prevalence.measures.fitting import Fitting
from assaymark.audits.generated_text_prevalence.measures.series import PlatformSeries, Series, name_of
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, format_number, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson
from assaymark.stats.prevalence import Rate, SensitivityBand, sensitivity_band

__all__ = ["generators_section"]


def generators_section(study: Study, fitting: Fitting, series: Series) -> Section:
    section = Section()
    rates = _hit_rates(study, fitting)
    specificity = study.specificity
    if not rates or specificity is None or not specificity.trials:
        section.notes.append(
            "the labelled texts do not say which model wrote them (column generator): how the share depends on it is not known"
        )
        return section
    last: list[tuple[PlatformSeries, str, SensitivityBand]] = []
    for platform in series.platforms:
        seen = np.flatnonzero(platform.posts)
        if not seen.size:
            continue
        at = int(seen[-1])
        if study.reason:
            lost = undefined(study.reason, n=int(platform.posts[at]), unit="share")
            section.estimates[f"prevalence.{name_of(platform.name)}.last.any_generator"] = lost
            continue
        observed = Rate(int(platform.called[at]), int(platform.posts[at]))
        here = study.rates_of(platform.name)
        band = sensitivity_band(observed, rates, here[1] if here else specificity, confidence=study.config.confidence)
        last.append((platform, study.labels[at], band))
        section.estimates[f"prevalence.{name_of(platform.name)}.last.any_generator"] = band.band
    section.tables += [_rates_table(study, rates), _band_table(last)]
    section.figures.append(
        Figure(
            "generators", "Share in the last period, by the generator that is taken for the writer", "intervals",
            table="generator_band", x="generator", y="share", low="share_low", high="share_high", group="platform",
        )
    )  # fmt: skip
    _finding(section, rates, last, study)
    section.methods.append(
        "The sensitivity band corrects the last period by the hit rate of each generator in turn; its limits are the outermost "
        "of all. A detector finds less of newer models than of those that it was made with, so a flat curve may hide growth."
    )
    return section


def _hit_rates(study: Study, fitting: Fitting) -> dict[str, Rate]:
    """Test texts of each generator that are called machine-written."""
    rows = fitting.labelled.rows
    generator = rows.generator[fitting.test]
    probability = fitting.scores[fitting.chosen].probability
    known = np.isfinite(probability) & (fitting.label == 1)
    found: dict[str, Rate] = {}
    for code, name in sorted(rows.generators.items(), key=lambda item: item[1]):
        mine = known & (generator == code)
        if mine.sum() >= 2:
            found[name] = Rate(int((probability[mine] >= study.config.threshold).sum()), int(mine.sum()))
    return found


def _rates_table(study: Study, rates: dict[str, Rate]) -> Table:
    values = {
        "generator": list(rates),
        "texts": [int(rate.trials) for rate in rates.values()],
        **interval_values(
            "tpr", [wilson(rate.successes, rate.trials, confidence=study.config.confidence) for rate in rates.values()]
        ),
    }
    columns = (
        Column("generator", "label"),
        Column("texts", "count", "test texts"),
        *interval_columns("tpr", "share", "called machine-written (TPR)"),
    )
    return Table.of("generators", "What the detector finds of each generator", values, columns)


def _band_table(last: list[tuple[PlatformSeries, str, SensitivityBand]]) -> Table:
    rows: list[tuple[str, str, str, Estimate]] = []
    for platform, period, band in last:
        rows += [(platform.name, period, name, share) for name, share in band.by_generator.items()]
        rows.append((platform.name, period, "any of them", band.band))
    values = {
        "platform": [row[0] for row in rows],
        "period": [row[1] for row in rows],
        "generator": [row[2] for row in rows],
        **interval_values("share", [row[3] for row in rows]),
        "reason": [row[3].reason for row in rows],
    }
    columns = (
        Column("platform", "label"),
        Column("period", "label"),
        Column("generator", "label", "if written by"),
        *interval_columns("share", "share", "corrected share"),
        Column("reason", "text", "why undefined"),
    )
    return Table.of("generator_band", "Share in the last period, by generator", values, columns)


def _finding(
    section: Section, rates: dict[str, Rate], last: list[tuple[PlatformSeries, str, SensitivityBand]], study: Study
) -> None:
    missed = sorted({name for _, _, band in last for name in band.missed})
    if missed:
        section.findings.append(
            Finding(
                "warning",
                f"The detector hardly sees what {', '.join(missed)} wrote: no upper limit of the share holds if it wrote the "
                "posts.",
                (), ("generators",),
                "Add texts of the models in question to the labelled texts and train or choose a detector that finds them.",
            )
        )  # fmt: skip
    if len(rates) < 2 or not last:
        return
    low, high = min(rates, key=lambda name: rates[name].share), max(rates, key=lambda name: rates[name].share)
    fewest, most = (format_number(rates[name].share, "share") for name in (low, high))
    platform, period, band = last[0]
    if not band.band.defined:
        return
    section.findings.append(
        Finding(
            "note",
            f"The detector finds {fewest} of {low} and {most} of {high}: whichever wrote the posts of "
            f"{platform.name} in {period}, the share is {format_interval(band.band)}.",
            (f"prevalence.{name_of(platform.name)}.last.any_generator",),
            ("generators", "generator_band"),
        )
    )
