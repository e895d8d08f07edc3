"""Concept retrieval and caption swaps, as tables, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.measures.caption_swap import Swaps
from assaymark.audits.image_text_dataset.measures.pictures import Sheets
from assaymark.audits.image_text_dataset.measures.retrieval import Retrieval
from assaymark.result import Column, Figure, Finding, Severity, Table, format_interval
from assaymark.section import Section, exact_count, interval_columns, interval_values

__all__ = ["add_sheets", "retrieval_section", "swap_section"]


def retrieval_section(found: Retrieval, config: ImageTextDatasetConfig, *, names: Mapping[str, str] | None = None) -> Section:
    """`names` says how each query is shown, where that is not its text."""
    section = Section()
    shown = {answer.query.text: answer.query.text for answer in found.answers} | dict(names or {})
    for answer in found.answers:
        name = shown[answer.query.text]
        section.estimates[f"retrieval.{name}.unsafe_at_k"] = answer.unsafe.distinct
        section.estimates[f"retrieval.{name}.ratio"] = answer.ratio
        if answer.leak is not None:
            section.estimates[f"retrieval.{name}.leak"] = answer.leak.leaked
            section.estimates[f"retrieval.{name}.over_block"] = answer.leak.over_block
        if answer.verdict.verdict in ("in the data", "model misassociates"):
            severity: Severity = "critical" if (answer.ratio.low or 0) >= 5 else "warning"
            section.findings.append(
                Finding(
                    severity,
                    f"Searching for '{name}' brings up unsafe rows in {format_interval(answer.unsafe.distinct)} of the top "
                    f"{config.k}, {format_interval(answer.ratio)} times a random search. {answer.verdict.explanation}",
                    (f"retrieval.{name}.unsafe_at_k", f"retrieval.{name}.ratio"),
                    ("retrieval_test",),
                    "Look at the rows behind the concept before blaming or trusting the encoder.",
                )
            )
    section.tables.append(_query_table(found, shown))
    if found.pairs:
        section.tables.append(_pair_table(found, shown))
    section.figures.append(
        Figure(
            "unsafe_at_k",
            f"Unsafe among the top {config.k}",
            "intervals",
            table="retrieval_test",
            x="query",
            y="unsafe",
            low="unsafe_low",
            high="unsafe_high",
            group="axis",
            y_title="share of hits, repeats counted once",
        )
    )
    section.methods.append(
        f"Retrieval: exact top {config.k} of {found.searched:,} embeddings by cosine; hits joined by a cosine of "
        f"{config.duplicate_cosine:g} count once; labels from {found.label_source}; {found.unlabelled:,} hits without a label "
        f"count as safe; {config.baseline_queries} random pictures as baseline queries."
    )
    return section


def add_sheets(section: Section, found: Sheets, *, has_pictures: bool, has_folder: bool) -> None:
    """Blurred contact sheets as figures, and what was kept off them."""
    section.estimates["retrieval.not_shown"] = exact_count(
        found.minors, of=found.looked_at, method="count of distinct hits with a minor-related word"
    )
    for sheet in found.sheets:
        section.artifacts.append(sheet.artifact)
        section.figures.append(
            Figure(
                sheet.artifact.name,
                f"Top hits of '{sheet.query}', blurred",
                "picture",
                caption=f"{sheet.pictures} distinct hits, best first, as grey averages of 8 x 8 cells",
                artifact=sheet.artifact.file,
            )
        )
    reasons = [
        (not has_pictures, "the data set holds no pictures"),
        (not has_folder, "there is no run folder to leave them in (--out)"),
    ]
    section.notes += [f"contact sheets were left out: {reason}" for holds, reason in reasons if holds]
    if found.minors:
        section.notes.append(
            f"contact sheets: {found.minors:,} hits carry a minor-related word, or their copies or the query do, and are not "
            "shown. Suspected abuse material is to be reported to the competent authority, not looked at."
        )
    if found.silent:
        section.notes.append(f"contact sheets: {found.silent:,} hits without a text are not shown, as nothing is known of them")
    if found.unreadable:
        section.notes.append(f"contact sheets: {found.unreadable:,} pictures could not be decoded")


def _query_table(found: Retrieval, shown: Mapping[str, str]) -> Table:
    answers = found.answers
    values = {
        "query": [shown[a.query.text] for a in answers],
        "axis": [a.query.axis for a in answers],
        **interval_values("unsafe", [a.unsafe.distinct for a in answers]),
        **interval_values("unsafe_repeats", [a.unsafe.kept for a in answers]),
        **interval_values("ratio", [a.ratio for a in answers]),
        "text_rows": [a.text_rows for a in answers],
        "verdict": [a.verdict.verdict for a in answers],
    }
    columns = [
        Column("query", "label"),
        Column("axis", "label"),
        *interval_columns("unsafe", "share", "unsafe@k"),
        *interval_columns("unsafe_repeats", "share", "with repeats"),
        *interval_columns("ratio", "number", "ratio to random"),
        Column("text_rows", "count", "rows naming it"),
        Column("verdict", "text"),
    ]
    leaks = [a.leak for a in answers if a.leak is not None]
    if len(leaks) == len(answers) and leaks:
        for name, title in (
            ("leaked", "passes the filter"),
            ("over_block", "safe hits removed"),
            ("unsafe_after", "unsafe@k after"),
        ):
            values |= interval_values(name, [getattr(leak, name) for leak in leaks])
            columns += interval_columns(name, "share", title)
    return Table.of("retrieval_test", "Concept retrieval", values, columns)


def _pair_table(found: Retrieval, shown: Mapping[str, str]) -> Table:
    values = {
        "axis": [axis for axis, *_ in found.pairs],
        "query": [shown[a] for _, a, _, _ in found.pairs],
        "counterpart": [shown[b] for _, _, b, _ in found.pairs],
        **interval_values("difference", [d.difference for *_, d in found.pairs]),
        "p_value": [d.p_value for *_, d in found.pairs],
    }
    columns = (
        Column("axis", "label"),
        Column("query", "label"),
        Column("counterpart", "label"),
        *interval_columns("difference", "points", "difference of unsafe@k"),
        Column("p_value", "p_value", "permutation p"),
    )
    return Table.of("retrieval_pairs", "Paired queries", values, columns)


def swap_section(found: Swaps, config: ImageTextDatasetConfig) -> Section:
    section = Section()
    rows = []
    for axis, swap in found.axes.items():
        section.estimates[f"caption_swap.{axis}.delta"] = swap.delta
        section.estimates[f"caption_swap.{axis}.prefers_harm"] = swap.prefers_harm
        for flip in swap.flips:
            section.estimates[f"caption_swap.{axis}.flip.{flip.tau:g}"] = flip.harmful_only
            rows.append((axis, swap, flip))
        if swap.delta.low is not None and swap.delta.low > 0:
            worst = max(swap.flips, key=lambda flip: flip.harmful_only.value or 0.0)
            section.findings.append(
                Finding(
                    "warning",
                    f"On the axis '{axis}' the encoder gives the harmful caption a higher cosine, by "
                    f"{format_interval(swap.delta)}; at the cut-off {worst.tau:g} only the harmful caption is admitted for "
                    f"{format_interval(worst.harmful_only)} of the pairs.",
                    (f"caption_swap.{axis}.delta", f"caption_swap.{axis}.flip.{worst.tau:g}"),
                    ("caption_swap",),
                    "A similarity cut-off with this encoder would prefer the defamatory caption.",
                )
            )
    section.tables.append(_swap_table(rows))
    section.figures.append(
        Figure(
            "caption_swap",
            "Harmful minus benign caption",
            "intervals",
            table="caption_swap",
            x="axis",
            y="delta",
            low="delta_low",
            high="delta_high",
            y_title="difference of cosines",
            reference=((0.0, "no preference"),),
        )
    )
    section.methods.append(
        f"Caption swap: {found.total:,} pairs, {found.unreadable:,} without a readable picture; delta is the mean difference "
        "of cosines with a bootstrap over pictures; an admission flip lets in the harmful caption and not the benign one."
    )
    return section


def _swap_table(rows: list) -> Table:
    values = {
        "axis": [axis for axis, _, _ in rows],
        "pairs": [swap.pairs for _, swap, _ in rows],
        "images": [swap.images for _, swap, _ in rows],
        **interval_values("delta", [swap.delta for _, swap, _ in rows]),
        **interval_values("prefers_harm", [swap.prefers_harm for _, swap, _ in rows]),
        "sign_p": [swap.sign.p_value for _, swap, _ in rows],
        "tau": [flip.tau for _, _, flip in rows],
        **interval_values("flip", [flip.harmful_only for _, _, flip in rows]),
        **interval_values("flip_back", [flip.benign_only for _, _, flip in rows]),
    }
    columns = (
        Column("axis", "label"),
        Column("pairs", "count"),
        Column("images", "count"),
        *interval_columns("delta", "number", "delta"),
        *interval_columns("prefers_harm", "share", "prefers harm"),
        Column("sign_p", "p_value", "sign test p"),
        Column("tau", "number", "cut-off"),
        *interval_columns("flip", "share", "only the harmful gets in"),
        *interval_columns("flip_back", "share", "only the benign gets in"),
    )
    return Table.of("caption_swap", "Caption swap", values, columns)
