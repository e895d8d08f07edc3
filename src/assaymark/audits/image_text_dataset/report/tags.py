"""What the data set's own safety tag is worth, as tables, figures and findings."""

from __future__ import annotations

import numpy as np

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.tags import residual_by_tag, tag_agreement
from assaymark.audits.image_text_dataset.probes.tag_audit import TagCounts
from assaymark.result import Column, Estimate, Figure, Finding, Severity, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import rogan_gladen, wilson
from assaymark.stats.prevalence import Rate

__all__ = ["tag_section"]


def tag_section(counts: TagCounts, config: ImageTextDatasetConfig, *, rng: np.random.Generator) -> Section:
    section = Section()
    if "image" in counts.totals:
        _image_rate(section, Rate(counts.totals["image"][1], counts.totals["image"][0]), config, rng)
    if counts.tags:
        _tagged(section, counts, config)
    if counts.below:
        _punsafe(section, counts, config)
    return section


def _image_rate(section: Section, observed: Rate, config: ImageTextDatasetConfig, rng: np.random.Generator) -> None:
    """Share of images above the threshold, as seen and corrected for the scorer's own error where that was measured."""
    raw = wilson(observed.successes, observed.trials, confidence=config.confidence)
    if config.image_sensitivity is None or config.image_specificity is None:
        corrected = undefined(
            "give image_sensitivity and image_specificity, counted on labelled images", n=int(observed.trials), unit="share"
        )
    else:
        error = Rate(*config.image_sensitivity), Rate(*config.image_specificity)
        corrected = rogan_gladen(observed, *error, method="bootstrap", rng=rng, confidence=config.confidence)
    section.estimates |= {"image_unsafe_rate": raw, "image_unsafe_rate.corrected": corrected}
    if raw.defined:
        known = f"corrected for the scorer's own error {format_interval(corrected)}" if corrected.defined else "not corrected"
        section.findings.append(
            Finding(
                "note",
                f"{format_interval(raw)} of the images score above {config.image_cut:.3g}, {known}.",
                ("image_unsafe_rate", "image_unsafe_rate.corrected"),
            )
        )


def _tagged(section: Section, counts: TagCounts, config: ImageTextDatasetConfig) -> None:
    summary: list[tuple[str, str, Estimate]] = []
    for flag, by_tag in counts.tags.items():
        tags = tuple(by_tag)
        rows, flagged = (np.array([by_tag[t][i] for t in tags]) for i in (0, 1))
        strict = tag_agreement(rows, flagged, tags=tags, confidence=config.confidence)
        lenient = tag_agreement(rows, flagged, tags=tags, positive=("NSFW", "UNSURE"), confidence=config.confidence)
        residual = residual_by_tag(rows, flagged, tags=tags, confidence=config.confidence)
        found = {
            "recall": strict.recall,
            "lenient_recall": lenient.recall,
            "precision": strict.precision,
            "harm_before": residual.harm_before,
            "residual": residual.harm_after,
            "survives": residual.survives,
        }
        # The weak label of the paper carries the plain names, so that a gate reads `tag_audit.recall`.
        prefix = "tag_audit" if flag == "unsafe tokens" else f"tag_audit.{flag.replace(' ', '_')}"
        for name, estimate in found.items():
            section.estimates[f"{prefix}.{name}"] = estimate
            summary.append((flag, name.replace("_", " "), estimate))
    section.tables += [_cross_table(counts, config), _summary_table(summary)]
    section.figures += [
        Figure(
            "tag_cross",
            "Share of flagged rows by tag",
            "heatmap",
            table="tag_audit",
            x="flag",
            y="rate",
            group="tag",
            caption="A tag that sees the harm has a high share in the row NSFW and a low one in the row UNLIKELY.",
        ),
        Figure(
            "tag_recall",
            "What the tag finds and what it leaves",
            "intervals",
            table="tag_summary",
            x="measure",
            y="share",
            low="share_low",
            high="share_high",
            group="flag",
            y_title="share",
        ),
    ]
    recall, survives = section.estimates["tag_audit.recall"], section.estimates["tag_audit.survives"]
    if recall.defined:
        severity: Severity = "critical" if (recall.high or 0) < 0.25 else "warning" if (recall.high or 0) < 0.6 else "note"
        section.findings.append(
            Finding(
                severity,
                f"The tag NSFW marks {format_interval(recall)} of the rows with an unsafe token; keeping only UNLIKELY rows "
                f"leaves {format_interval(survives)} of them in.",
                ("tag_audit.recall", "tag_audit.survives"),
                ("tag_audit", "tag_summary"),
                "Do not release on the strength of this tag alone.",
            )
        )
    hateful = section.estimates.get("tag_audit.text_toxicity.residual")
    if hateful is not None and hateful.defined and (hateful.low or 0) > 0:
        section.findings.append(
            Finding(
                "note",
                f"After keeping only UNLIKELY rows, {format_interval(hateful)} of the texts still count as hateful: an image "
                "filter does not read.",
                ("tag_audit.text_toxicity.residual", "tag_audit.text_toxicity.harm_before"),
                ("tag_audit",),
                "Filter texts with a text model as well.",
            )
        )
    section.methods.append(
        "Tag audit: each flag is cross-tabulated with the tag, rows normalised within a tag, Wilson intervals; recall is "
        "P(tag = NSFW | flag), lenient recall counts UNSURE too. Flags are weak labels unless they come from people."
    )


def _cross_table(counts: TagCounts, config: ImageTextDatasetConfig) -> Table:
    cells = [(flag, tag, n, k) for flag, by_tag in counts.tags.items() for tag, (n, k) in by_tag.items()]
    values = {
        "tag": [tag for _, tag, _, _ in cells],
        "flag": [flag for flag, _, _, _ in cells],
        "rows": [n for _, _, n, _ in cells],
        "flagged": [k for _, _, _, k in cells],
        **interval_values("rate", [wilson(k, n, confidence=config.confidence) for _, _, n, k in cells]),
    }
    columns = (
        Column("tag", "label"),
        Column("flag", "label"),
        Column("rows", "count", "rows with the tag"),
        Column("flagged", "count"),
        *interval_columns("rate", "share", "flagged among them"),
    )
    return Table.of("tag_audit", "Safety tag against every flag", values, columns)


def _summary_table(summary: list[tuple[str, str, Estimate]]) -> Table:
    values = {
        "flag": [flag for flag, _, _ in summary],
        "measure": [name for _, name, _ in summary],
        **interval_values("share", [estimate for _, _, estimate in summary]),
        "n": [estimate.n for _, _, estimate in summary],
        "reason": [estimate.reason for _, _, estimate in summary],
    }
    columns = (
        Column("flag", "label"),
        Column("measure", "label"),
        *interval_columns("share", "share", "share"),
        Column("n", "count"),
        Column("reason", "text", "undefined because"),
    )
    return Table.of("tag_summary", "The tag as a detector", values, columns)


def _punsafe(section: Section, counts: TagCounts, config: ImageTextDatasetConfig) -> None:
    cells = [
        (flag, float(cutoff), wilson(int(below[0, i]), counts.rows), wilson(int(below[1, i]), int(below[0, i])))
        for flag, below in counts.below.items()
        for i, cutoff in enumerate(counts.cutoffs)
    ]
    values = {
        "flag": [cell[0] for cell in cells],
        "cutoff": [cell[1] for cell in cells],
        **interval_values("kept", [cell[2] for cell in cells]),
        **interval_values("residual", [cell[3] for cell in cells]),
    }
    columns = (
        Column("flag", "label"),
        Column("cutoff", "number", "punsafe at most"),
        *interval_columns("kept", "share", "rows kept"),
        *interval_columns("residual", "share", "flagged among the kept"),
    )
    section.tables.append(Table.of("punsafe_residual", "Harm left after a cut on punsafe", values, columns))
    section.figures.append(
        Figure(
            "punsafe_residual",
            "Harm left after a cut on punsafe",
            "lines",
            table="punsafe_residual",
            x="cutoff",
            y="residual",
            low="residual_low",
            high="residual_high",
            group="flag",
            x_title="rows kept with punsafe at most",
            y_title="flagged among the kept",
        )
    )
    for flag, cutoff, _, left in cells:
        section.estimates[f"punsafe_residual.{flag.replace(' ', '_')}.{cutoff:g}"] = left
