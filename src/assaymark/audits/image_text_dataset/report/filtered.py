"""What a row filter bought and what it cost, as tables, figures and findings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.config import FilterRowsConfig
from assaymark.audits.image_text_dataset.filtering import Filter, Tally
from assaymark.audits.image_text_dataset.method.slices import SliceTest, slice_test
from assaymark.audits.image_text_dataset.method.subset import subset_difference
from assaymark.audits.image_text_dataset.report.names import harmful_words, shown_terms
from assaymark.result import Column, Estimate, Figure, Finding, Severity, Table, format_estimate
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["filter_section", "representation_section"]

PARTS = ("before", "after", "difference")
MEASURED = {
    "unsafe": "unsafe tokens in URL or text",
    "lexicon": "words of the lexicons",
    "hate_content": "text score over theta",
}
RULES = {
    "manifest": "listed in the removal manifest",
    "tag": "safety tag not among those to keep",
    "unsafe": "unsafe token in URL or text",
    "lexicon": "word of the lexicons",
    "score": "text score over theta",
    "duplicate": "repeats an earlier kept row",
}


class _Measured(NamedTuple):
    measure: str
    before: Estimate
    after: Estimate
    difference: Estimate


def filter_section(tally: Tally, chosen: Filter, config: FilterRowsConfig) -> Section:
    """Rows kept and dropped, and each measured rate before and after."""
    section = Section()
    kept = wilson(tally.kept, tally.rows, confidence=config.confidence)
    section.estimates["filter.kept"] = kept
    for rule in chosen.rules:
        count = tally.rules.get(rule, 0)
        section.estimates[f"filter.dropped.{rule}"] = wilson(count, tally.rows, confidence=config.confidence)
    section.tables.append(_rule_table(tally, chosen, section.estimates))
    rows = [_before_after(tally, measure, config) for measure in chosen.measures]
    for row in rows:
        section.estimates |= {f"filter.{row.measure}.{part}": getattr(row, part) for part in PARTS}
    section.tables.append(_measure_table(rows))
    section.findings += [_bought(row, chosen) for row in rows if row.before.value and row.difference.defined]
    section.findings.append(_rows_left(tally, kept))
    section.methods.append(
        f"Filter: rows named by {', '.join(chosen.rules)} are dropped; a row that several rules name counts for the first. "
        "Rates before and after share the kept rows, so the interval of their difference is Newcombe's for kept against "
        f"dropped rows, times the share dropped. Unsafe tokens: {chosen.words.unsafe_name}, matched as {config.unsafe_mode}."
    )
    return section


def _before_after(tally: Tally, measure: str, config: FilterRowsConfig) -> _Measured:
    k, k_kept = (int(count) for count in tally.flags.get(measure, np.zeros(2, np.int64)))
    before = wilson(k, tally.rows, confidence=config.confidence)
    after = wilson(k_kept, tally.kept, confidence=config.confidence)
    difference = subset_difference(tally.rows, k, tally.kept, k_kept, confidence=config.confidence)
    return _Measured(measure, before, after, difference)


def _rows_left(tally: Tally, kept: Estimate) -> Finding:
    if not tally.kept:
        return Finding("critical", "The filter drops every row.", ("filter.kept",), ("filter_rules",), "Loosen the rules.")
    return Finding("note", f"{tally.kept:,} of {tally.rows:,} rows are kept: {format_estimate(kept)}.", ("filter.kept",))


def _bought(row: _Measured, chosen: Filter) -> Finding:
    measure, before, after, difference = row
    assert difference.low is not None and difference.high is not None
    severity: Severity = "good" if difference.high < 0 else "warning" if difference.low > 0 else "note"
    sentence = f"Rows with {MEASURED[measure]}: {format_estimate(before)} before, {format_estimate(after)} after."
    names = tuple(f"filter.{measure}.{part}" for part in PARTS)
    direct = {"unsafe": "unsafe", "lexicon": "lexicon", "hate_content": "score"}[measure] in chosen.rules
    advice = "The rule drops what this number counts: it says nothing of the harm that the rule misses." if direct else ""
    return Finding(severity, sentence, names, ("filter_measures",), advice)


def _rule_table(tally: Tally, chosen: Filter, estimates: dict[str, Estimate]) -> Table:
    shares = [estimates[f"filter.dropped.{rule}"] for rule in chosen.rules]
    values = {
        "rule": [RULES[rule] for rule in chosen.rules],
        "named": [tally.rules.get(rule, 0) for rule in chosen.rules],
        "booked": [tally.first_rule.get(rule, 0) for rule in chosen.rules],
        **interval_values("share", shares),
    }
    columns = (
        Column("rule", "text"),
        Column("named", "count", "rows named"),
        Column("booked", "count", "rows dropped by it first"),
        *interval_columns("share", "share", "share of all rows named"),
    )
    return Table.of("filter_rules", "Rules and the rows they name", values, columns)


def _measure_table(rows: list[_Measured]) -> Table:
    values: dict[str, Any] = {"measure": [MEASURED[row.measure] for row in rows]}
    columns = [Column("measure", "text")]
    for part in PARTS:
        values |= interval_values(part, [getattr(row, part) for row in rows])
        columns += interval_columns(part, "share", part)
    return Table.of("filter_measures", "The same rates before and after", values, columns)


def representation_section(tally: Tally, chosen: Filter, config: FilterRowsConfig) -> Section:
    """Whom the filter thins out: kept and dropped rows that name each identity term, against all other rows."""
    section = Section()
    terms = shown_terms(chosen.words.slices, harmful_words(chosen.words.lexicon_terms), reveal=False)
    names = [*chosen.axes, *terms]
    if not terms or not tally.rows:
        return section
    groups = np.concatenate([tally.axes, tally.terms], axis=1)
    kept = slice_test(groups[0], groups[1], n_total=tally.rows, k_total=tally.kept, confidence=config.confidence)
    lost_rows, lost_all = groups[0] - groups[1], tally.rows - tally.kept
    lost = slice_test(groups[0], lost_rows, n_total=tally.rows, k_total=lost_all, confidence=config.confidence)
    for i, name in enumerate(names):
        kind = "axis" if i < len(chosen.axes) else "term"
        section.estimates[f"filter.representation.{kind}.{name}"] = kept.rate_of(i, confidence=config.confidence)
    axis_of = ["all terms of the axis"] * len(chosen.axes) + terms
    axes = [*chosen.axes, *(term.category or "terms" for term in chosen.words.slices)]
    section.tables.append(_representation_table(tally, groups, kept, lost, axis_of, axes, config.confidence))
    section.figures.append(_representation_figure(tally))
    section.findings += _thinned(tally, kept, lost, names, len(chosen.axes), config)
    section.methods.append(
        f"Representation: rows that name each of {len(terms)} terms (matched as {config.term_mode}) are compared with all "
        "other rows by Fisher's exact test on kept and dropped, Benjamini-Hochberg adjusted over axes and terms. A warning "
        f"needs an adjusted p below {config.false_discovery_rate:g} and a kept share below {config.kept_ratio:g} times that of "
        f"the others; a note, a dropped share above {config.lost_ratio:g} times theirs."
    )
    return section


def _thinned(
    tally: Tally, kept: SliceTest, lost: SliceTest, names: list[str], n_axes: int, config: FilterRowsConfig
) -> list[Finding]:
    """The groups that the filter hits hardest; one finding for each of the first five, and one for the rest."""
    sure = np.nan_to_num(lost.p_adjusted, nan=1.0) < config.false_discovery_rate
    thin = sure & (np.nan_to_num(kept.risk_ratio, nan=1.0) < config.kept_ratio)
    more = sure & ~thin & (np.nan_to_num(lost.risk_ratio, nan=0.0) > config.lost_ratio)
    found = []
    order = [i for i in np.lexsort((np.nan_to_num(kept.risk_ratio, nan=1.0), ~thin)) if thin[i] or more[i]]
    for i in order[:5]:
        kind = "axis" if i < n_axes else "term"
        of = f"a term of the axis {names[i]}" if kind == "axis" else f"'{names[i]}'"
        base = (tally.rows - tally.kept - (lost.k[i])) / lost.base_n[i]
        sentence = (
            f"The filter drops {lost.k[i]:,} of {lost.n[i]:,} rows that name {of} ({100 * lost.rate[i]:.1f} %), and "
            f"{100 * base:.2g} % of the others: {lost.risk_ratio[i]:.1f} times as often "
            f"({lost.risk_limits.low[i]:.1f} to {lost.risk_limits.high[i]:.1f})."
        )
        advice = "Identity terms are not harm. Look at the rows it drops, and mend the rule rather than lose the group."
        name = f"filter.representation.{kind}.{names[i]}"
        found.append(Finding("warning" if thin[i] else "note", sentence, (name,), ("representation",), advice))
    if len(order) > 5:
        found.append(
            Finding("note", f"{len(order) - 5} more groups lose rows more often than others.", (), ("representation",))
        )
    if not order and tally.kept < tally.rows:
        sentence = f"No group among {len(names)} axes and terms loses rows much more often than the others."
        found.append(Finding("good", sentence, (), ("representation",)))
    return found


def _representation_table(
    tally: Tally,
    groups: npt.NDArray[np.int64],
    kept: SliceTest,
    lost: SliceTest,
    terms: list[str],
    axes: list[str],
    confidence: float,
) -> Table:
    present = np.flatnonzero(groups[0] > 0)
    # Half a row is added to an empty cell, which makes a loss out of none: groups that lose no row have no ratio.
    hit = np.where(lost.k > 0, kept.risk_ratio, np.nan)
    order = present[np.lexsort((present, -groups[0][present], np.nan_to_num(hit[present], nan=2.0)))]

    def shown(numbers: npt.NDArray[np.float64]) -> list[float | None]:
        return [None if np.isnan(numbers[i]) else float(numbers[i]) for i in order]

    def ratio(numbers: npt.NDArray[np.float64]) -> list[float | None]:
        return shown(np.where(lost.k > 0, numbers, np.nan))

    values = {
        "axis": [axes[i] for i in order],
        "term": [terms[i] for i in order],
        "rows": groups[0][order],
        **interval_values("before", [wilson(int(n), tally.rows, confidence=confidence) for n in groups[0][order]]),
        **interval_values("after", [wilson(int(n), tally.kept, confidence=confidence) for n in groups[1][order]]),
        "kept": shown(kept.rate),
        "kept_low": shown(kept.rate_limits.low),
        "kept_high": shown(kept.rate_limits.high),
        "ratio": ratio(kept.risk_ratio),
        "ratio_low": ratio(kept.risk_limits.low),
        "ratio_high": ratio(kept.risk_limits.high),
        "lost_ratio": ratio(lost.risk_ratio),
        "lost_ratio_low": ratio(lost.risk_limits.low),
        "lost_ratio_high": ratio(lost.risk_limits.high),
        "p_adjusted": shown(lost.p_adjusted),
    }
    columns = (
        Column("axis", "label"),
        Column("term", "label"),
        Column("rows", "count", "rows before"),
        *interval_columns("before", "share", "of all rows before"),
        *interval_columns("after", "share", "of all rows after"),
        *interval_columns("kept", "share", "kept"),
        *interval_columns("ratio", "number", "kept share over the others'"),
        *interval_columns("lost_ratio", "number", "dropped share over the others'"),
        Column("p_adjusted", "p_value", "adjusted p"),
    )
    return Table.of(
        "representation",
        "Representation: who is still there",
        values,
        columns,
        description="Hardest hit first. Terms without a row are left out; a group that loses no row has no ratio.",
    )


def _representation_figure(tally: Tally) -> Figure:
    return Figure(
        "representation",
        "Kept rows among those that name a term",
        "intervals",
        table="representation",
        x="term",
        y="kept",
        low="kept_low",
        high="kept_high",
        group="axis",
        y_title="share of rows kept",
        reference=((tally.kept / tally.rows, "all rows"),),
        caption="Identity terms are not harm: a term far left of the line loses rows that others keep.",
    )
