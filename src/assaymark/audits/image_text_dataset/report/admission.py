"""The similarity filter as a curation rule, as tables, figures and findings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.admission import ShareCurve, equal_kept_share, four_fifths, threshold_curve
from assaymark.audits.image_text_dataset.probes.admission import AdmissionCounts
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.audits.image_text_dataset.report.names import harmful_words, shown_terms
from assaymark.result import Column, Figure, Finding, Severity, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["admission_section"]

LEAST_GROUP = 200
"""Rows a group needs before its admission is compared: below this the ratio says nothing."""


def admission_section(
    counts: AdmissionCounts, words: Vocabulary, config: ImageTextDatasetConfig, *, reveal: bool = False
) -> Section:
    section = Section()
    total = int(counts.all.sum())
    if not total:
        section.estimates["admission.kept"] = undefined("no row has a similarity", unit="share")
        section.notes.append("admission: the similarity column is empty, so no threshold curve")
        return section
    grid = np.array(sorted({*config.tau_grid, *config.tau}))
    large = counts.groups.sum(axis=1) >= LEAST_GROUP
    shown = shown_terms(words.slices, harmful_words(words.lexicon_terms), reveal=reveal)
    names = [name for name, is_large in zip(shown, large, strict=True) if is_large]
    curve = threshold_curve(counts.all, counts.unsafe, counts.groups[large], counts.edges, grid, confidence=config.confidence)
    section.tables.append(_curve_table(curve.kept, curve.unsafe_kept, curve.unsafe_dropped, grid, config))
    section.figures.append(
        Figure(
            "threshold_curve",
            "What a cut-off on similarity keeps",
            "lines",
            table="threshold_curve_long",
            x="tau",
            y="share",
            low="share_low",
            high="share_high",
            group="what",
            x_title="cut-off on cosine similarity",
            y_title="share of rows",
            caption="A filter that cleans has a lower unsafe share among the kept than among the dropped rows.",
        )
    )
    section.tables.append(_long_table(curve.kept, curve.unsafe_kept, curve.unsafe_dropped, grid, config))
    for tau in config.tau:
        i = int(np.argmin(np.abs(grid - tau)))
        section.estimates[f"admission.kept.{tau:g}"] = curve.kept.at(i, confidence=config.confidence)
        section.estimates[f"admission.unsafe_kept.{tau:g}"] = curve.unsafe_kept.at(i, confidence=config.confidence)
        section.estimates[f"admission.unsafe_dropped.{tau:g}"] = curve.unsafe_dropped.at(i, confidence=config.confidence)
    _safety_finding(section, config)
    if names:
        _groups(section, curve.admission, names, grid, config)
    if counts.encoders:
        _transfer(section, counts, config)
    section.methods.append(
        f"Threshold curve: shares among rows with similarity at least tau, from histograms 0.001 wide; {counts.missing:,} rows "
        f"had no similarity. Groups are slices of at least {LEAST_GROUP} rows; the admission ratio compares a group with the "
        "best admitted one and is called low only when its whole interval is below four fifths."
    )
    return section


def _transfer(section: Section, counts: AdmissionCounts, config: ImageTextDatasetConfig) -> None:
    """Cut-offs do not transfer between encoders: what the same number keeps there, and the number that keeps as much."""
    rows = []
    for column, histogram in counts.encoders.items():
        there = threshold_curve(histogram, np.zeros_like(histogram), np.zeros((0, len(histogram))), counts.edges, config.tau)
        for i, tau in enumerate(config.tau):
            here = section.estimates[f"admission.kept.{tau:g}"]
            equal = (
                equal_kept_share(histogram, counts.edges, share=here.value, confidence=config.confidence)
                if here.value is not None and 0 < here.value < 1
                else undefined("the cut-off keeps all rows or none", n=int(histogram.sum()))
            )
            section.estimates[f"admission.equal_share.{column}.{tau:g}"] = equal
            rows.append((column, tau, here, there.kept.at(i, confidence=config.confidence), equal))
    values = {
        "encoder": [row[0] for row in rows],
        "tau": [row[1] for row in rows],
        **interval_values("kept", [row[2] for row in rows]),
        **interval_values("kept_there", [row[3] for row in rows]),
        **interval_values("equal", [row[4] for row in rows]),
    }
    columns = (
        Column("encoder", "label"),
        Column("tau", "number", "cut-off"),
        *interval_columns("kept", "share", "kept by the audited similarity"),
        *interval_columns("kept_there", "share", "kept by this encoder at the same cut-off"),
        *interval_columns("equal", "number", "cut-off here that keeps as much"),
    )
    section.tables.append(Table.of("encoder_cutoffs", "Cut-offs of further encoders", values, columns))


def _safety_finding(section: Section, config: ImageTextDatasetConfig) -> None:
    tau = config.tau[-1]
    kept, dropped = (section.estimates[f"admission.unsafe_{side}.{tau:g}"] for side in ("kept", "dropped"))
    if kept.low is None or dropped.high is None or kept.high is None or dropped.low is None:
        return
    severity: Severity
    if kept.low > dropped.high:
        severity, verdict = "warning", "more often than it drops them: it prefers unsafe rows"
    elif kept.high < dropped.low:
        severity, verdict = "good", "less often than it drops them"
    else:
        severity, verdict = "note", "about as often as it drops them: it is no safety filter"
    section.findings.append(
        Finding(
            severity,
            f"A similarity cut-off of {tau:g} keeps rows with an unsafe token {verdict} "
            f"({format_interval(kept)} of the kept, {format_interval(dropped)} of the dropped).",
            (f"admission.unsafe_kept.{tau:g}", f"admission.unsafe_dropped.{tau:g}"),
            ("threshold_curve",),
        )
    )


def _curve_table(
    kept: ShareCurve, inside: ShareCurve, outside: ShareCurve, grid: npt.NDArray[np.float64], config: ImageTextDatasetConfig
) -> Table:
    def triple(name: str, curve: ShareCurve) -> dict[str, list[float | None]]:
        return interval_values(name, [curve.at(i, confidence=config.confidence) for i in range(len(grid))])

    values = {
        "tau": grid,
        "rows": kept.successes,
        **triple("kept", kept),
        **triple("unsafe_kept", inside),
        **triple("unsafe_dropped", outside),
    }
    columns = (
        Column("tau", "number", "cut-off"),
        Column("rows", "count", "rows kept"),
        *interval_columns("kept", "share", "kept"),
        *interval_columns("unsafe_kept", "share", "unsafe among kept"),
        *interval_columns("unsafe_dropped", "share", "unsafe among dropped"),
    )
    return Table.of("threshold_curve", "Similarity cut-off", values, columns)


def _long_table(
    kept: ShareCurve, inside: ShareCurve, outside: ShareCurve, grid: npt.NDArray[np.float64], config: ImageTextDatasetConfig
) -> Table:
    curves = {"unsafe among kept": inside, "unsafe among dropped": outside}
    cells = [(what, float(t), c.at(i, confidence=config.confidence)) for what, c in curves.items() for i, t in enumerate(grid)]
    values = {
        "what": [cell[0] for cell in cells],
        "tau": [cell[1] for cell in cells],
        **interval_values("share", [cell[2] for cell in cells]),
    }
    columns = (Column("what", "label"), Column("tau", "number", "cut-off"), *interval_columns("share", "share", "share"))
    return Table.of("threshold_curve_long", "Unsafe rows on both sides of the cut-off", values, columns)


def _groups(
    section: Section, admission: ShareCurve, names: list[str], grid: npt.NDArray[np.float64], config: ImageTextDatasetConfig
) -> None:
    fifths = four_fifths(admission, confidence=config.confidence)
    chosen = [int(np.argmin(np.abs(grid - tau))) for tau in config.tau]
    cells = [(g, i) for g in range(len(names)) for i in chosen]

    def numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
        return [None if np.isnan(values[cell]) else float(values[cell]) for cell in cells]

    values = {
        "term": [names[g] for g, _ in cells],
        "tau": [float(grid[i]) for _, i in cells],
        "rows": [int(admission.trials[cell]) for cell in cells],
        **interval_values("admitted", [admission.at(cell, confidence=config.confidence) for cell in cells]),
        "ratio": numbers(fifths.ratio),
        "ratio_low": numbers(fifths.limits.low),
        "ratio_high": numbers(fifths.limits.high),
        "below_four_fifths": [bool(fifths.below[cell]) for cell in cells],
    }
    columns = (
        Column("term", "label"),
        Column("tau", "number", "cut-off"),
        Column("rows", "count", "rows of the slice"),
        *interval_columns("admitted", "share", "admitted"),
        *interval_columns("ratio", "number", "ratio to the best admitted"),
        Column("below_four_fifths", "flag", "below 4/5"),
    )
    section.tables.append(Table.of("group_admission", "Whom the cut-off lets in", values, columns))
    low = sorted({names[g] for g, i in cells if fifths.below[g, i]})
    if low:
        section.findings.append(
            Finding(
                "warning",
                f"The similarity cut-off admits rows that name {', '.join(repr(n) for n in low[:6])} at less than four fifths "
                "of the rate of the best admitted slice.",
                (),
                ("group_admission",),
                "Show representation before and after the filter, and repair the filter rather than the groups.",
            )
        )
