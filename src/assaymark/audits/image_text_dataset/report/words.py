"""Lexicon hits and the slice test, as tables, figures and findings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.slices import SliceTest
from assaymark.audits.image_text_dataset.probes.lexicons import LexiconCounts
from assaymark.audits.image_text_dataset.probes.slice_test import SliceCounts
from assaymark.audits.image_text_dataset.probes.vocabulary import Vocabulary
from assaymark.audits.image_text_dataset.report.names import harmful_words, shown_terms
from assaymark.result import Column, Estimate, Figure, Finding, Severity, Table, format_interval
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["example_section", "lexicon_section", "slice_section"]

MODES = ("word", "substring")


def lexicon_section(counts: LexiconCounts, words: Vocabulary, config: ImageTextDatasetConfig) -> Section:
    section = Section()
    rate = {
        (mode, category): wilson(int(k), counts.rows, confidence=config.confidence)
        for axis, mode in enumerate(MODES)
        for category, k in [("any", counts.any[axis]), *zip(words.categories, counts.categories[axis], strict=True)]
    }
    for (mode, category), estimate in rate.items():
        section.estimates[f"lexicons.{category}.{mode}"] = estimate
    section.tables += [_category_table(counts, words, rate), _language_table(counts, words, config)]
    section.tables.append(_term_table(counts, words, config))
    section.figures.append(
        Figure(
            "lexicon_categories",
            "Rows with a word of the lexicons",
            "intervals",
            table="lexicon_hits",
            x="category",
            y="rate",
            low="rate_low",
            high="rate_high",
            group="matching",
            y_title="share of rows",
            log_y=False,
            caption="Matching bare substrings flags innocent words too; the honest number is the one with word boundaries.",
        )
    )
    if len(words.languages) > 1:
        section.figures.append(_language_figure())
    any_word, any_substring = rate["word", "any"], rate["substring", "any"]
    if any_word.defined:
        times = counts.any[1] / counts.any[0] if counts.any[0] else float("inf")
        more = f", {times:.1f} times as many" if np.isfinite(times) else ""
        section.findings.append(
            Finding(
                "note",
                f"A word of the lexicons stands in {format_interval(any_word)} of the texts; as a bare substring it would be "
                f"{format_interval(any_substring)}{more}.",
                ("lexicons.any.word", "lexicons.any.substring"),
                ("lexicon_hits", "lexicon_terms"),
                "A hit is a weak label: read a sample of the flagged rows before deciding on them.",
            )
        )
    names = ", ".join(f"{lexicon.name} ({len(lexicon.terms)} terms, version {lexicon.version})" for lexicon in words.lexicons)
    section.methods.append(
        f"Texts were matched against {names}, once with word boundaries and once as substrings, after normalisation "
        f"(case folding, NFKC {'on' if config.nfkc else 'off'}, zero-width removal {'on' if config.zero_width else 'off'}, "
        f"leetspeak {'on' if config.leetspeak else 'off'}); terms in scripts without word separators match without boundaries."
    )
    return section


def _category_table(counts: LexiconCounts, words: Vocabulary, rate: dict[tuple[str, str], Estimate]) -> Table:
    shown = ("any", *words.categories) if len(words.categories) > 1 else words.categories
    keys = [(mode, category) for category in shown for mode in MODES]
    rows = {("any", m): int(counts.any[i]) for i, m in enumerate(MODES)}
    rows |= {(c, m): int(counts.categories[i, j]) for i, m in enumerate(MODES) for j, c in enumerate(words.categories)}
    values = {
        "category": [category for _, category in keys],
        "matching": [mode for mode, _ in keys],
        "rows": [rows[category, mode] for mode, category in keys],
        **interval_values("rate", [rate[key] for key in keys]),
    }
    columns = (
        Column("category", "label"),
        Column("matching", "label"),
        Column("rows", "count", "rows hit"),
        *interval_columns("rate", "share", "share of rows"),
    )
    return Table.of("lexicon_hits", "Lexicon hits by category", values, columns)


def _language_table(counts: LexiconCounts, words: Vocabulary, config: ImageTextDatasetConfig) -> Table:
    order = np.lexsort((np.arange(len(words.languages)), -counts.languages[1], -counts.languages[0]))
    shares = [wilson(int(counts.languages[0, i]), counts.rows, confidence=config.confidence) for i in order]
    listed = np.bincount(words.language_of, minlength=len(words.languages))
    values = {
        "language": [words.languages[i] for i in order],
        "terms": listed[order],
        "rows": counts.languages[0, order],
        "rows_substring": counts.languages[1, order],
        **interval_values("rate", shares),
    }
    columns = (
        Column("language", "label"),
        Column("terms", "count", "terms listed"),
        Column("rows", "count", "rows (word)"),
        Column("rows_substring", "count", "rows (substring)"),
        *interval_columns("rate", "share", "share of rows (word)"),
    )
    about = "A list meets texts of every language: in a language that it is not for, its words are mostly other words."
    return Table.of("lexicon_languages", "Lexicon hits by language of the list", values, columns, description=about)


def _language_figure() -> Figure:
    return Figure(
        "lexicon_languages",
        "Rows with a word of the lexicons, by language of the list",
        "intervals",
        table="lexicon_languages",
        x="language",
        y="rate",
        low="rate_low",
        high="rate_high",
        y_title="share of rows (word)",
    )


def _term_table(counts: LexiconCounts, words: Vocabulary, config: ImageTextDatasetConfig, *, most: int = 100) -> Table:
    ranked = np.lexsort((np.arange(counts.terms.shape[1]), -counts.terms[1], -counts.terms[0]))
    order = [int(i) for i in ranked[:most] if counts.terms[:, i].any()]
    estimates = [wilson(int(counts.terms[0, i]), counts.rows, confidence=config.confidence) for i in order]
    values = {
        "term": [words.lexicon_terms[i].term for i in order],
        "category": [words.lexicon_terms[i].category or "uncategorised" for i in order],
        "language": [words.lexicon_terms[i].language for i in order],
        "rows": [int(counts.terms[0, i]) for i in order],
        "rows_substring": [int(counts.terms[1, i]) for i in order],
        **interval_values("rate", estimates),
    }
    columns = (
        Column("term", "term"),
        Column("category", "label"),
        Column("language", "label"),
        Column("rows", "count", "rows (word)"),
        Column("rows_substring", "count", "rows (substring)"),
        *interval_columns("rate", "share", "share of rows (word)"),
    )
    return Table.of(
        "lexicon_terms", "Most frequent lexicon terms", values, columns, description=f"At most {most} terms, masked."
    )


def example_section(rows: pa.Table) -> Section:
    """Example rows of the lexicon hits: where they stand, and their text as a salted hash unless the user asked for more."""
    values = {"shard": rows.column("shard"), "row": rows.column("row"), "text": rows.column("text")}
    columns = (Column("shard", "count"), Column("row", "count"), Column("text", "content", "text (hashed)"))
    return Section(tables=[Table.of("lexicon_examples", "Example rows with a lexicon word", values, columns)])


def slice_section(
    counts: SliceCounts, test: SliceTest, words: Vocabulary, config: ImageTextDatasetConfig, *, reveal: bool
) -> Section:
    section = Section()
    terms = shown_terms(words.slices, harmful_words(words.lexicon_terms), reveal=reveal)
    section.estimates["slice_test.base_rate"] = wilson(counts.unsafe, counts.rows, confidence=config.confidence)
    section.estimates["slice_test.url_only"] = wilson(
        counts.unsafe - counts.unsafe_in_text, counts.unsafe, confidence=config.confidence
    )
    for i in np.argsort(-test.n, kind="stable"):
        if test.n[i] or words.slices[i].category == "terms":  # a word the user wrote out is answered, if only by "no rows"
            section.estimates[f"slice_test.{terms[i]}"] = test.rate_of(i, confidence=config.confidence)
    section.tables.append(_slice_table(test, words, terms))
    own = words.unsafe_slices()
    raised = [
        i
        for i in np.argsort(-np.nan_to_num(test.risk_ratio))
        if test.p_adjusted[i] < config.false_discovery_rate and test.risk_ratio[i] > 1 and not own[i]
    ]
    named = [terms[i] for i in np.flatnonzero(own & (test.n > 0))]
    if named:
        what = "is itself an unsafe token" if len(named) == 1 else "are themselves unsafe tokens"
        section.notes.append(f"slice_test: {', '.join(named)} {what}: every such row is flagged, and no finding is made of it")
    section.figures.append(
        Figure(
            "slice_test",
            "Unsafe rows among the rows that name a term",
            "intervals",
            table="slice_test",
            x="term",
            y="rate",
            low="rate_low",
            high="rate_high",
            y_title="share of rows with an unsafe token",
            reference=((counts.unsafe / counts.rows, "all rows"),) if counts.rows else (),
            caption="Rates are properties of this data set, not of the people named.",
        )
    )
    for i in raised[:5]:
        severity: Severity = (
            "critical" if test.risk_limits.low[i] >= 5 else "warning" if test.risk_limits.low[i] >= 2 else "note"
        )
        section.findings.append(
            Finding(
                severity,
                f"Rows that name '{terms[i]}' hold an unsafe token in {format_interval(test.rate_of(i))}, "
                f"{test.risk_ratio[i]:.1f} times ({test.risk_limits.low[i]:.1f} to {test.risk_limits.high[i]:.1f}) "
                "the rate of the other rows.",
                (f"slice_test.{terms[i]}", "slice_test.base_rate"),
                ("slice_test",),
                "Repair the filter that let these rows in; deleting every row that names the group would erase it.",
            )
        )
    if len(raised) > 5:
        section.findings.append(
            Finding(
                "note", f"{len(raised) - 5} more terms stand out after correction for {len(terms)} tests.", (), ("slice_test",)
            )
        )
    section.methods.append(
        f"Slice test: {len(terms)} terms, matched as {config.term_mode}; the weak unsafe label is a token of "
        f"{words.unsafe_name} in URL or text, matched as {config.unsafe_mode}. Each slice is compared with all other rows by "
        "Fisher's exact test, Benjamini-Hochberg adjusted over all terms with rows; rates have Wilson intervals. The label is "
        "weak: it counts words, not harm."
    )
    return section


def _slice_table(test: SliceTest, words: Vocabulary, terms: list[str]) -> Table:
    order = np.lexsort((np.arange(len(terms)), -test.n, np.nan_to_num(test.p_adjusted, nan=2.0)))
    order = order[test.n[order] > 0]

    def blank(numbers: npt.NDArray[np.float64]) -> list[float | None]:
        return [None if np.isnan(numbers[i]) else float(numbers[i]) for i in order]

    def ratio(numbers: npt.NDArray[np.float64]) -> list[float | None]:
        # Half a row is added to an empty cell: of no unsafe row it makes a ratio above 1, which reads as an excess.
        return blank(np.where(test.k > 0, numbers, np.nan))

    values = {
        "term": [terms[i] for i in order],
        "axis": [words.slices[i].category or "terms" for i in order],
        "rows": test.n[order],
        "unsafe": test.k[order],
        "rate": blank(test.rate),
        "rate_low": blank(np.where(test.n > 0, test.rate_limits.low, np.nan)),
        "rate_high": blank(np.where(test.n > 0, test.rate_limits.high, np.nan)),
        "risk_ratio": ratio(test.risk_ratio),
        "risk_ratio_low": ratio(test.risk_limits.low),
        "risk_ratio_high": ratio(test.risk_limits.high),
        "p_value": blank(test.p_value),
        "p_adjusted": blank(test.p_adjusted),
        "odds_ratio": ratio(test.odds_ratio),
        "odds_ratio_low": ratio(test.odds_limits.low),
        "odds_ratio_high": ratio(test.odds_limits.high),
    }
    columns = (
        Column("term", "label"),
        Column("axis", "label"),
        Column("rows", "count", "rows of the slice"),
        Column("unsafe", "count", "unsafe"),
        *interval_columns("rate", "share", "unsafe rate"),
        *interval_columns("risk_ratio", "number", "risk ratio to other rows"),
        Column("p_value", "p_value", "Fisher p"),
        Column("p_adjusted", "p_value", "adjusted p"),
        *interval_columns("odds_ratio", "number", "odds ratio"),
    )
    return Table.of(
        "slice_test",
        "Slice test: unsafe rows by term",
        values,
        columns,
        description=f"Most significant first; {len(terms) - len(order):,} of {len(terms):,} terms stand in no row: not tested. "
        "No ratio is given where no row of the slice is unsafe.",
    )
