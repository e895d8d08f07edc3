"""Likes, comments and shares of machine-written posts against the others."""

from __future__ import annotations

from assaymark.audits.generated_text_prevalence.measures.engagement import Engagement, measure_engagement
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Estimate, Finding, Table, format_interval
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["engagement_section"]


def engagement_section(study: Study, share: Estimate) -> Section:
    section = Section()
    rows = study.stream.rows
    if rows is None:
        if study.counter is not None:
            section.notes.append(
                "engagement is not compared: the posts have no column for likes, comments or shares (--column likes=COLUMN)"
            )
        return section
    found = measure_engagement(study, rows, share)
    for item in found:
        key = f"engagement.{item.name}"
        section.estimates |= {
            f"{key}.ratio": item.ratio,
            f"{key}.called_ratio": item.called_ratio,
            f"{key}.geometric_ratio": item.geometric_ratio,
            f"{key}.delta": item.delta,
        }
        left = [f"{n:,} have {word}" for n, word in ((item.missing, "none"), (item.negative, "fewer than 0")) if n]
        if left:
            section.notes.append(f"{item.name} are compared without some posts of the sample: {' and '.join(left)}")
    section.tables.append(_table(found))
    for item in found:
        ratio = item.ratio
        # Errors of the detector draw the ratio by call towards 1 and no further: where that one is not told from 1, the
        # corrected one rests on the shape of the counts, not on the detector.
        side = _side(ratio)
        if not side or side != _side(item.called_ratio):
            continue
        fewer = "fewer" if side < 0 else "more"
        section.findings.append(
            Finding(
                "note",
                f"Machine-written posts get {fewer} {item.name}: {format_interval(ratio)} times those of people's posts of the "
                "same platform, period, topic and followers.",
                (f"engagement.{item.name}.ratio",),
                ("engagement",),
            )
        )
    section.methods.append(
        f"Engagement is compared in a sample of {max((item.posts for item in found), default=0):,} posts. Ratios of means are "
        "negative binomial regressions with platform, period, topic and log followers as controls and errors robust to "
        "repeated authors; 'machine-written' takes each post by its probability, given score and controls, so that the "
        "detector's errors do not draw the ratio towards 1; redraws of the labelled texts bring their error into its interval."
    )
    return section


def _side(ratio: Estimate) -> int:
    """-1 below 1, +1 above it, 0 where it is not told from 1 or not known."""
    if ratio.low is None or ratio.high is None:
        return 0
    return 1 if ratio.low > 1.0 else -1 if ratio.high < 1.0 else 0


def _table(found: list[Engagement]) -> Table:
    values = {
        "count": [item.name for item in found],
        "posts": [item.posts for item in found],
        **interval_values("machine", [item.machine for item in found]),
        **interval_values("human", [item.human for item in found]),
        **interval_values("delta", [item.delta for item in found]),
        "p_value": [item.p_value if item.p_value == item.p_value else None for item in found],
        **interval_values("called_ratio", [item.called_ratio for item in found]),
        **interval_values("geometric_ratio", [item.geometric_ratio for item in found]),
        **interval_values("ratio", [item.ratio for item in found]),
        "reason": [item.ratio.reason for item in found],
    }
    columns = (
        Column("count", "label"),
        Column("posts", "count", "posts"),
        *interval_columns("machine", "number", "median, called machine-written"),
        *interval_columns("human", "number", "median, the others"),
        *interval_columns("delta", "number", "Cliff's delta"),
        Column("p_value", "p_value", "p (Mann-Whitney)"),
        *interval_columns("called_ratio", "number", "ratio of means by call, with controls"),
        *interval_columns("geometric_ratio", "number", "the same of log(1 + count)"),
        *interval_columns("ratio", "number", "ratio, machine-written over human"),
        Column("reason", "text", "why undefined"),
    )
    return Table.of("engagement", "Engagement of machine-written posts and the others", values, columns)
