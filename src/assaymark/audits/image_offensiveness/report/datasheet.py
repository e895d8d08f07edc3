"""The answer to question 16 of "Datasheets for Datasets" (Gebru et al., 2021), as Markdown, HTML and JSON to publish."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from assaymark.report.markdown import escape
from assaymark.result import Artifact, Estimate, Finding, Table, format_estimate

__all__ = ["Answer", "write_datasheet"]

QUESTION = (
    "Does the dataset contain data that, if viewed directly, might be offensive, insulting, threatening, or might otherwise "
    "cause anxiety? If so, please describe why."
)
ESTIMATES = {
    "prevalence.reviewed": "Offensive, of all images, by the people who looked at a sample",
    "flagged.precision": "Offensive, of the images at or above the threshold, by the same people",
    "precision_at_k": "Offensive, of the images at the head of the shortlist, by the same people",
    "flagged.share": "Flagged, of all images",
    "flagged.share.corrected": "Flagged, corrected for the error on rated images",
    "accuracy": "Rated images on which the prompts are right",
    "auroc": "AUROC on rated images",
    "overlap.found_by_prompts": "Flagged, of the images that the other detector calls positive",
}
"""What is published, people's judgement first, in words."""
CAVEATS = (
    "A flag means: ask a person. Deleting what is flagged can erase minorities, and medical, historical or news content.",
    "Offensiveness is subjective: the scores follow the ratings of particular people at a particular time.",
    "The prompts find threat, violence and disgust, and hardly any sexual content; a detector for that belongs beside them.",
    "Flags are not judgements of the people in the pictures.",
)
LISTED = 10
SEVERITIES = ("critical", "warning", "note", "good")


class Answer(NamedTuple):
    """What is published; class names and terms are masked already."""

    source: str
    images: int
    flagged: int
    threshold: float
    rated_by: str
    estimates: Mapping[str, Estimate]
    classes: Sequence[str]
    terms: Sequence[str]
    findings: Sequence[Finding]


def answer_of(
    source: str, *, images: int, flagged: int, threshold: float, rated_by: str, estimates: Mapping[str, Estimate],
    tables: Mapping[str, Table], findings: Sequence[Finding], false_discovery_rate: float,
) -> Answer:  # fmt: skip
    """The answer, its lists read off the tables of the result."""
    named = tables.get("class_table")
    words = next((table for name, table in tables.items() if name.startswith("terms_") and not name.endswith("_paper")), None)
    flags = [] if named is None else [row for row in named.rows() if row["flagged"]]
    return Answer(
        source,
        images,
        flagged,
        threshold,
        rated_by,
        {name: estimates[name] for name in ESTIMATES if name in estimates},
        [f"{row['class']} ({row['flagged']:,} of {row['images']:,}, lift {row['lift']:.2g})" for row in flags[:LISTED]],
        [] if words is None else [row["term"] for row in words.rows() if row["p_adjusted"] <= false_discovery_rate][:LISTED],
        sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
    )


def write_datasheet(folder: Path, answer: Answer) -> list[Artifact]:
    """`datasheet_q16.md`, `.html` and `.json`."""
    blocks = _blocks(answer)
    lines = ["# Question 16", "", f"*{QUESTION}*", ""]
    for title, items in blocks:
        lines += [f"## {title}", "", *[f"- {escape(item)}" for item in items], ""]
    (folder / "datasheet_q16.md").write_text("\n".join(lines), encoding="utf-8")
    (folder / "datasheet_q16.html").write_text(_page(blocks), encoding="utf-8")
    record = {
        "question": QUESTION,
        "images": answer.images,
        "flagged": answer.flagged,
        "threshold": answer.threshold,
        "rated_by": answer.rated_by,
        "estimates": {name: asdict(estimate) for name, estimate in answer.estimates.items()},
        "classes": list(answer.classes),
        "terms": list(answer.terms),
        "findings": [{"severity": finding.severity, "sentence": finding.sentence} for finding in answer.findings],
        "caveats": list(CAVEATS),
    }
    (folder / "datasheet_q16.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    kinds = {"": "md", "_html": "html", "_json": "json"}
    return [
        Artifact(f"datasheet_q16{suffix}", "document", f"datasheet_q16.{kind}", f"the answer to question 16, as {kind}")
        for suffix, kind in kinds.items()
    ]


def _answer(answer: Answer) -> list[str]:
    """What people found, where they looked; then what the prompts flag, which is the way to it."""
    lines = []
    seen, share = answer.estimates.get("prevalence.reviewed"), answer.estimates.get("flagged.share")
    if seen is not None and seen.defined:
        lines.append(f"By people who looked at a sample, {format_estimate(seen)} of the images are offensive.")
    if share is None or not share.defined:
        lines.append("No image could be scored.")
    else:
        lines.append(f"{answer.flagged:,} of {answer.images:,} images are flagged: {format_estimate(share)}.")
    if seen is None or not seen.defined:
        lines.append("Nobody has looked at a sample of them yet: how many are offensive in the eyes of people is not known.")
    return [*lines, *([answer.rated_by] if answer.rated_by else [])]


def _blocks(answer: Answer) -> list[tuple[str, list[str]]]:
    return [
        ("Answer", _answer(answer)),
        ("Figures", [f"{ESTIMATES[name]}: {format_estimate(found)}" for name, found in answer.estimates.items()] or ["None."]),
        ("Classes with the most flags for their size", list(answer.classes) or ["The data set has no class labels."]),
        ("Words that set flagged texts apart", list(answer.terms) or ["None, or no texts."]),
        ("Findings", [f"{finding.severity}: {finding.sentence}" for finding in answer.findings] or ["None."]),
        ("How to read this", list(CAVEATS)),
    ]


def _page(blocks: Sequence[tuple[str, list[str]]]) -> str:
    """A page without styles or scripts; everything that comes from data is escaped."""
    body = "".join(
        f"<h2>{html.escape(title)}</h2><ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>"
        for title, items in blocks
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Question 16</title></head><body>'
        f"<h1>Question 16</h1><p><em>{html.escape(QUESTION)}</em></p>{body}</body></html>\n"
    )
