"""Whom the mixture misses and whom it flags: recall and false positive rate by declared attribute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import newcombe, wilson

__all__ = ["slices_section"]

Bools = npt.NDArray[np.bool_]
GAP = 0.05
"""Smallest gap that is called wide, once chance is excluded over all comparisons."""


class _Slice(NamedTuple):
    attribute: str
    value: str
    rows: int
    recall: Estimate
    fpr: Estimate
    recall_gap: Estimate
    fpr_gap: Estimate


def slices_section(study: Study) -> Section:
    section = Section()
    if not study.config.slices:
        section.notes.append(
            "no attribute was declared (slices=[...]), so nothing is known of whom the mixture misses or flags wrongly"
        )
        return section
    crowded = study.rows.sample.crowded
    section.notes += [f"column {name!r} has too many distinct values to be a slice" for name in crowded]
    found = list(_slices(study))
    if not found:
        return section
    section.tables.append(_table(found))
    for measure, title in (("recall", "Recall by slice"), ("fpr", "False positive rate by slice")):
        section.figures.append(
            Figure(
                f"slices_{measure}", title, "intervals", table="slices", x="value", y=measure, low=f"{measure}_low",
                high=f"{measure}_high", group="attribute", y_title=title.lower(),
            )
        )  # fmt: skip
    _findings(section, found)
    section.methods.append(
        "A slice is compared with all other test rows (Newcombe's interval at the level of Bonferroni over all slices and "
        "rates)."
    )
    return section


def _slices(study: Study) -> Iterator[_Slice]:
    sample, known = study.rows.sample, study.main.known
    label, called = study.label[known], study.main.called[known]
    cells = [
        (name, value, sample.slices[name][study.fitting.test][known] == code)
        for name in study.config.slices
        if name not in sample.crowded
        for code, value in sorted(sample.values[name].items(), key=lambda item: item[1])
    ]
    level = 1.0 - (1.0 - study.config.confidence) / max(1, 2 * len(cells))
    for name, value, inside in cells:
        if not inside.any():
            continue
        positive, negative = inside & label, inside & ~label
        yield _Slice(
            name,
            value,
            int(inside.sum()),
            wilson(int((positive & called).sum()), int(positive.sum()), confidence=study.config.confidence),
            wilson(int((negative & called).sum()), int(negative.sum()), confidence=study.config.confidence),
            _gap(called, label, inside, level),
            _gap(called, ~label, inside, level),
        )


def _gap(called: Bools, of: Bools, inside: Bools, level: float) -> Estimate:
    """Share called among the rows `of` inside the slice minus that outside it."""
    here, there = of & inside, of & ~inside
    counts = (int((called & here).sum()), int(here.sum()), int((called & there).sum()), int(there.sum()))
    return newcombe(*counts, confidence=level)


def _table(found: list[_Slice]) -> Table:
    values = {
        "attribute": [item.attribute for item in found],
        "value": [item.value for item in found],
        "rows": [item.rows for item in found],
        **interval_values("recall", [item.recall for item in found]),
        **interval_values("fpr", [item.fpr for item in found]),
        **interval_values("recall_gap", [item.recall_gap for item in found]),
        **interval_values("fpr_gap", [item.fpr_gap for item in found]),
    }
    columns = (
        Column("attribute", "label"),
        Column("value", "label"),
        Column("rows", "count", "test images"),
        *interval_columns("recall", "share", "unsafe images found"),
        *interval_columns("fpr", "share", "safe images flagged"),
        *interval_columns("recall_gap", "points", "recall minus that of the others"),
        *interval_columns("fpr_gap", "number", "FPR minus that of the others"),
    )
    return Table.of("slices", "Errors by declared attribute", values, columns)


def _findings(section: Section, found: list[_Slice]) -> None:
    for item in found:
        name = f"{item.attribute} = {item.value}"
        for measure, estimate, gap, worse in (
            ("fpr", item.fpr, item.fpr_gap, (item.fpr_gap.low or 0.0) > 0),
            ("recall", item.recall, item.recall_gap, (item.recall_gap.high or 0.0) < 0),
        ):
            key = f"slices.{item.attribute}.{item.value}.{measure}".replace(" ", "_")
            section.estimates[key] = estimate
            if gap.value is None or not worse or abs(gap.value) < GAP:
                continue
            what = "safe images are flagged" if measure == "fpr" else "unsafe images are found"
            section.findings.append(
                Finding(
                    "warning",
                    f"Of {name}, {format_interval(estimate)} of the {what}, {format_interval(gap)} against the others.",
                    (key,),
                    ("slices",),
                    "Collect fitting rows of this slice, or choose its threshold with people who know it.",
                )
            )
