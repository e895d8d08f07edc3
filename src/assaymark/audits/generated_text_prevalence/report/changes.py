"""Since when: onset, best step, trend and regression of every platform."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from assaymark.audits.generated_text_prevalence.measures.changes import Change
from assaymark.audits.generated_text_prevalence.measures.series import ALL, name_of
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Figure, Finding, Table, format_interval
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["changes_section"]

SURE = 0.01
"""p value of an onset, adjusted over platforms, below which it is a finding."""


def changes_section(study: Study, changes: Sequence[Change]) -> Section:
    section = Section()
    for change in changes:
        key = f"change.{name_of(change.platform.name)}"
        section.estimates[f"{key}.slope"] = change.slope
        section.estimates[f"{key}.difference"] = change.onset.difference
    section.tables += [_table(study, changes), _fitted(study, changes)]
    section.figures.append(
        Figure(
            "regression", "Share called machine-written: binomial regression with overdispersion", "lines",
            table="regression", x="period", y="fitted", low="fitted_low", high="fitted_high", group="platform",
            x_title=study.config.unit, y_title="share called machine-written",
        )
    )  # fmt: skip
    section.findings += _findings(study, changes)
    section.methods.append(
        "The onset is that of the flat-rise-flat course of the share called machine-written with the largest binomial "
        f"likelihood, at least {study.config.least_periods} periods from either end; its p value is by permutation of the "
        "periods and adjusted over platforms (Holm). The best single step is shown beside it: of a gradual rise it finds the "
        "middle. The slope is Theil and Sen's, of the corrected share, over the joint bootstrap draws; the trend test is Mann "
        "and Kendall's."
    )
    return section


def _period(study: Study, index: int | None) -> str | None:
    return None if index is None else study.labels[index]


def _table(study: Study, changes: Sequence[Change]) -> Table:
    def span(change: Change) -> str:
        support = change.onset.support
        return "" if not len(support) else f"{study.labels[int(support[0])]} to {study.labels[int(support[-1])]}"

    values = {
        "platform": [change.platform.name for change in changes],
        "onset": [_period(study, change.onset.index) for change in changes],
        "onset_span": [span(change) for change in changes],
        "p_value": [change.onset_p if np.isfinite(change.onset_p) else None for change in changes],
        "duration": [change.onset.duration if change.onset.index is not None else None for change in changes],
        **interval_values("before", [change.onset.before for change in changes]),
        **interval_values("after", [change.onset.after for change in changes]),
        "step": [_period(study, change.step.index) for change in changes],
        **interval_values("slope", [change.slope for change in changes]),
        "trend_p": [change.trend.p_value if np.isfinite(change.trend.p_value) else None for change in changes],
        "dispersion": [
            change.regression.dispersion if np.isfinite(change.regression.dispersion) else None for change in changes
        ],
        "reason": [change.onset.reason for change in changes],
    }
    columns = (
        Column("platform", "label"),
        Column("onset", "label"),
        Column("onset_span", "text", "it may lie in"),
        Column("p_value", "p_value", "p (no onset)"),
        Column("duration", "count", "periods of the rise"),
        *interval_columns("before", "share", "called before"),
        *interval_columns("after", "share", "called after"),
        Column("step", "label", "best single step"),
        *interval_columns("slope", "number", "slope per period"),
        Column("trend_p", "p_value", "p (no trend)"),
        Column("dispersion", "number", "overdispersion"),
        Column("reason", "text", "why undefined"),
    )
    return Table.of("changes", "Onset and trend by platform", values, columns)


def _fitted(study: Study, changes: Sequence[Change]) -> Table:
    rows = [
        (change, i)
        for change in changes
        if len(change.regression.fitted)
        for i in range(len(study.labels))
        if change.platform.posts[i] and np.isfinite(change.regression.fitted[i])
    ]
    values = {
        "platform": [change.platform.name for change, _ in rows],
        "period": [study.labels[i] for _, i in rows],
        "called": [float(change.platform.called[i] / change.platform.posts[i]) for change, i in rows],
        "fitted": [float(change.regression.fitted[i]) for change, i in rows],
        "fitted_low": [float(change.regression.low[i]) for change, i in rows],
        "fitted_high": [float(change.regression.high[i]) for change, i in rows],
    }
    columns = (
        Column("platform", "label"),
        Column("period", "label"),
        Column("called", "number", "called machine-written"),
        *interval_columns("fitted", "share", "fitted"),
    )
    return Table.of("regression", "Binomial regression of the share called machine-written", values, columns)


def _findings(study: Study, changes: Sequence[Change]) -> Iterator[Finding]:
    for change in changes:
        onset, name = change.onset, change.platform.name
        if name == ALL or onset.index is None or not change.onset_p < SURE or (onset.difference.value or 0.0) <= 0:
            continue
        support = [study.labels[int(i)] for i in (onset.support[0], onset.support[-1])]
        span = f" ({support[0]} to {support[1]})" if support[0] != support[1] else ""
        yield Finding(
            "warning",
            f"{name}: the share called machine-written begins to rise in {study.labels[onset.index]}{span}, by "
            f"{format_interval(onset.difference)} in all; p = {change.onset_p:.3g}.",
            (f"change.{name_of(name)}.difference",),
            ("changes", "prevalence"),
            "Ask what else changed then: moderation, the crawl, the mix of authors or topics.",
        )
