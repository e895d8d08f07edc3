"""Answers under the headings of "Datasheets for Datasets" (Gebru et al., 2021), as a Markdown document to publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assaymark.report.markdown import escape
from assaymark.result import Artifact, Estimate, Finding, format_estimate

__all__ = ["write_datasheet"]

SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Composition",
        "How many instances are there, and what is missing?",
        ("anatomy.rows", "anatomy.missing_text", "anatomy.redundant.url_and_text", "anatomy.redundant.text"),
    ),
    (
        "Composition",
        "Where do the instances come from?",
        ("anatomy.domains", "anatomy.top_10_domains", "anatomy.domain_gini", "anatomy.stock_and_shop_share"),
    ),
    (
        "Composition",
        "Does the data set contain data that might be offensive, insulting, threatening or cause anxiety?",
        ("lexicons.any.word", "slice_test.base_rate", "hate_content_rate.any", "hate_content_rate.any.corrected"),
    ),
    ("Composition", "Does the data set identify subpopulations, and how are they described?", ("slice_test.",)),
    (
        "Preprocessing",
        "Was the data filtered, and what does the filter leave?",
        ("tag_audit.recall", "tag_audit.residual", "tag_audit.survives", "admission."),
    ),
    ("Uses", "What might a model trained on it inherit?", ("retrieval.", "caption_swap.", "downstream.")),
    ("Maintenance", "Can people have their data removed?", ("find_me.rows",)),
)


def write_datasheet(
    folder: Path, estimates: Mapping[str, Estimate], findings: Sequence[Finding], methods: Sequence[str], notes: Sequence[str]
) -> Artifact:
    """Write `datasheet.md`; a heading whose measurement was not made says so instead of being left out."""
    lines = ["# Datasheet", ""]
    heading = ""
    for title, question, names in SECTIONS:
        if title != heading:
            lines += [f"## {title}", ""]
            heading = title
        lines += [f"**{question}**", ""]
        found = [(k, e) for k, e in estimates.items() if any(k == n or (n.endswith(".") and k.startswith(n)) for n in names)]
        lines += [f"- `{escape(k)}`: {escape(format_estimate(e))}" for k, e in found[:30]] or ["- Not measured."]
        lines.append("")
    lines += ["## Findings", "", *([f"- {f.severity}: {escape(f.sentence)}" for f in findings] or ["- None."]), ""]
    lines += ["## How it was measured", "", " ".join(escape(m) for m in methods), ""]
    lines += ["## Limits", "", "- Lexicon, token and model flags are weak labels, not judgements of people."]
    lines += [f"- {escape(note)}" for note in notes]
    (folder / "datasheet.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Artifact("datasheet", "document", "datasheet.md", "answers under the headings of Datasheets for Datasets")
