"""The Markdown card: verdict, findings, key numbers, limits and provenance, for a repository or a data set page.

No front matter. Text from data is escaped so that it stays text in every common renderer: no link, no HTML, no table cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from assaymark.record import RunRecord
from assaymark.report.sections import RunView, StepView, view_run
from assaymark.report.text import shorten, visible

__all__ = ["escape", "render_markdown"]

CARD_ESTIMATES = 40
TEXT_CHARACTERS = 1_000

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
_LINE_START = re.compile(r"^(\s*)([-+=:]|\d+[.)])")
_ADDRESS = re.compile(r"(://|www\.|@)", re.IGNORECASE)


def escape(text: str, *, limit: int = TEXT_CHARACTERS) -> str:
    """`text` on one line, with everything that Markdown, or HTML inside it, would read as markup made literal.

    Addresses are broken by an entity after their scheme, because several renderers link bare ones.
    """
    line = shorten(" ".join(visible(text).split()), limit)
    line = _LINE_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line)) if not line[:1].isdigit() else _escape_number(line)
    return _ADDRESS.sub(lambda match: "".join(f"&#{ord(c)};" for c in match.group()[:1]) + match.group()[1:], line)


def _escape_number(line: str) -> str:
    """A line that begins like a numbered list keeps its number and loses the list."""
    return re.sub(r"^(\d+)([.)])(?=\s)", r"\1\\\2", _SPECIAL.sub(r"\\\1", line))


def render_markdown(run: RunRecord) -> str:
    """The card of a run, as Markdown without front matter."""
    view = view_run(run, drawn=False)
    lines = [f"# {escape(view.title)}", "", f"**{view.verdict.headline}.** {escape(view.verdict.detail)}", ""]
    lines += [" · ".join(f"{escape(fact.name)} {escape(fact.value)}" for fact in view.facts), ""]
    lines += _gates(view) + _findings(view)
    for step in view.steps:
        lines += _step(step, view.several)
    lines += [
        "",
        "A number is followed by its interval and n. *Undefined* means that the data cannot give it; it is not zero.",
        "",
    ]
    return "\n".join(lines)


def _gates(view: RunView) -> list[str]:
    if not view.gates:
        return []
    rows = [(gate.state, gate.text, gate.measured, gate.why or "–") for gate in view.gates]
    return ["## Gates", "", *_table(("Verdict", "Required", "Measured", "Why"), rows), ""]


def _findings(view: RunView) -> list[str]:
    lines = ["## Findings", ""]
    for finding in view.findings:
        where = f" ({escape(finding.step)})" if finding.step else ""
        lines.append(f"- **{finding.severity.capitalize()}**{where}: {escape(finding.sentence)}")
        lines += [f"  - {escape(item.label)}: {escape(item.text)}" for item in finding.evidence]
        lines += [f"  - What to do: {escape(finding.advice)}"] if finding.advice else []
    return [*lines, *([] if view.findings else ["Nothing was found that needs a sentence of its own."]), ""]


def _step(step: StepView, several: bool) -> list[str]:
    lines = [f"## {escape(step.title)}", ""] if several or step.status != "done" else []
    mark = "###" if several else "##"
    if step.status != "done":
        lines += [f"This step did not finish ({step.status}): {escape(step.error)}", ""]
    rows = [
        (
            f"{group.title} · {row.label}" if group.title else row.label,
            row.number,
            row.interval,
            _n(row.dot, row.estimate.n),
            row.estimate.method,
        )
        for group in step.groups
        for row in group.rows
    ]
    if rows:
        lines += [
            f"{mark} Key numbers",
            "",
            *_table(("Estimate", "Value", "Interval", "n", "Method"), rows[:CARD_ESTIMATES]),
            "",
        ]
    if len(rows) > CARD_ESTIMATES:
        lines += [f"{len(rows) - CARD_ESTIMATES} more estimates are in the full report.", ""]
    if step.flows:
        flows = [
            (f.source, f"{f.total:,}", f"{f.used:,}", _reasons(f.skipped.items()), _reasons(f.failed.items()))
            for f in step.flows
        ]
        lines += [f"{mark} What went in", "", *_table(("Input", "In", "Used", "Skipped", "Failed"), flows), ""]
    if step.methods:
        lines += [f"{mark} How it was measured", "", escape(step.methods, limit=4_000), ""]
    limits = [f"- {escape(text)}" for text in (*step.notes, *step.doubts)]
    if limits:
        lines += [f"{mark} How far to trust it", "", *limits, ""]
    if step.provenance:
        facts = [(title, fact.name, fact.value) for title, facts in step.provenance for fact in facts]
        lines += [f"{mark} Where it comes from", "", *_table(("", "What", "Value"), facts), ""]
    return lines


def _n(dot: float | None, n: int) -> str:
    return "–" if dot is None and n == 0 else f"{n:,}"


def _reasons(items: Iterable[tuple[str, int]]) -> str:
    return "; ".join(f"{reason}: {count:,}" for reason, count in items) or "0"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return lines + ["| " + " | ".join(escape(cell, limit=300) for cell in row) + " |" for row in rows]
