"""What people are asked to look at, and what their verdicts say about the whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from assaymark.audits.image_offensiveness.measures.pictures import Sheets
from assaymark.audits.image_offensiveness.measures.review import Queue
from assaymark.audits.image_offensiveness.measures.verdicts import Verdicts
from assaymark.audits.image_offensiveness.report.masking import Mask
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section

__all__ = ["queue_section", "sheet_section", "verdict_section"]

MOST_ROWS = 300


def queue_section(queue: Queue, verdicts: Verdicts | None, mask: Mask) -> Section:
    """The strata: how many images each holds, how many are to be looked at, and how many were."""
    width = len(queue.classes)
    asked = np.bincount(queue.stratum, minlength=queue.sizes.size)
    seen = np.zeros(queue.sizes.size, np.int64)
    positive = np.zeros(queue.sizes.size, np.int64)
    if verdicts is not None:
        seen = np.bincount(verdicts.stratum, minlength=queue.sizes.size)
        positive = np.bincount(verdicts.stratum[verdicts.offensive], minlength=queue.sizes.size)
    sizes = queue.sizes.ravel()
    rows = [int(i) for i in np.argsort(-np.arange(sizes.size) // width, kind="stable") if sizes[i]][:MOST_ROWS]
    values = {
        "score_bin": [queue.bins[i // width] for i in rows],
        "class": [mask.name(queue.classes[i % width]) for i in rows],
        "images": sizes[rows],
        "to_review": asked[rows],
        "reviewed": seen[rows],
        "offensive": positive[rows],
    }
    columns = (
        Column("score_bin", "label", "score"),
        Column("class", "label"),
        Column("images", "count"),
        Column("to_review", "count", "to look at"),
        Column("reviewed", "count", "looked at"),
        Column("offensive", "count", "found offensive"),
    )
    section = Section(tables=[Table.of("review_strata", "Strata of the review queue", values, columns)])
    section.methods.append(
        "Review queue: of each stratum (score bin x class; classes with few flags pooled) the images with the smallest content "
        "hashes, a random sample that does not depend on the order of rows. Equal images are looked at once."
    )
    return section


def verdict_section(found: Mapping[str, Estimate] | None, verdicts: Verdicts | None) -> Section:
    """Prevalence and precision by people's verdicts."""
    section = Section()
    if found is None or verdicts is None:
        reason = "nobody's verdicts were given: fill in the artifact review_queue and give it as the input verdicts"
        names = ("prevalence.reviewed", "flagged.precision", "precision_at_k")
        section.estimates |= {name: undefined(reason, unit="share") for name in names}
        return section
    section.estimates |= dict(found)
    if verdicts.blank:
        section.notes.append(f"{verdicts.blank:,} rows of the verdicts are empty and were left out")
    precision, prevalence = found["flagged.precision"], found["prevalence.reviewed"]
    if prevalence.defined:
        doubtful = precision.high is not None and precision.high < 0.5
        section.findings.append(
            Finding(
                "warning" if doubtful else "note",
                f"By the verdicts on {len(verdicts.stratum):,} images, {format_interval(prevalence)} of all images are "
                f"offensive; of those at or above the threshold, {format_interval(precision)}.",
                ("prevalence.reviewed", "flagged.precision"),
                ("review_strata",),
                "Most flags are wrong: raise the threshold, or give classes their own." if doubtful else "",
            )
        )
    section.methods.append(
        "Verdicts: the stratified estimator sum W_h p_h with variance sum W_h^2 p_h (1 - p_h) / (n_h - 1) (1 - n_h / N_h); "
        "strata without a verdict join the largest reviewed one of their score bin; equal images weigh as often as they occur."
    )
    return section


def sheet_section(sheets: Sheets, *, wanted: bool) -> Section:
    """Blurred contact sheets."""
    section = Section(artifacts=list(sheets.artifacts))
    for artifact, name in zip(sheets.artifacts, sheets.bins, strict=True):
        section.figures.append(
            Figure(
                f"sheet_{artifact.name.rpartition('_')[2]}",
                f"Images with a score of {name}, blurred",
                "picture",
                artifact=artifact.file,
                caption="Grey averages of 8 x 8 cells; the private artifact review_queue names the pictures.",
            )
        )
    if wanted and (sheets.minors or sheets.unreadable):
        section.notes.append(
            f"contact sheets: {sheets.minors:,} images whose text or class may name a minor were left out, and "
            f"{sheets.unreadable:,} that could not be read again"
        )
    return section
