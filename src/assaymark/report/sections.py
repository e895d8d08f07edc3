"""The report's sections as plain values: what the page and the card say, in their order, before any markup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from assaymark.record import GateRecord, RunRecord, StepRecord
from assaymark.report.cells import TableView, view_table
from assaymark.report.provenance import Fact, describe_plan, format_seconds, view_provenance
from assaymark.report.strips import EstimateGroup, group_estimates
from assaymark.report.text import humanise
from assaymark.result import Estimate, Finding, Flow, Result, Severity, format_estimate

__all__ = ["FigureView", "FindingView", "GateView", "RunView", "StepView", "TablePlace", "Verdict", "view_run"]

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "note", "good")
CALIBRATION = "calibration"
STEP_STATE = {"done": "done", "failed": "failed", "skipped": "was skipped", "pending": "has not run"}


class Verdict(NamedTuple):
    state: Literal["passes", "fails", "incomplete", "open"]
    headline: str
    detail: str


class GateView(NamedTuple):
    """One gate; `state` is "holds", "does not hold" or "undefined", and `why` says what it was measured at."""

    text: str
    step: str
    measured: str
    state: str
    why: str


class Evidence(NamedTuple):
    name: str
    label: str
    text: str


class FindingView(NamedTuple):
    severity: Severity
    sentence: str
    advice: str
    step: str
    anchor: str
    evidence: list[Evidence]
    tables: list[tuple[str, str]]


class FigureView(NamedTuple):
    title: str
    caption: str
    svg: Any
    table: str
    table_anchor: str


class TablePlace(NamedTuple):
    """A table, the anchor that findings and figures point to, and where the whole of it is found."""

    view: TableView
    anchor: str
    whole: str


@dataclass(frozen=True, slots=True)
class StepView:
    anchor: str
    id: str
    title: str
    audit: str
    kind: str
    status: str
    error: str
    groups: list[EstimateGroup]
    figures: list[FigureView]
    tables: list[TablePlace]
    flows: list[Flow]
    notes: list[str]
    methods: str
    doubts: list[str]
    calibration: TablePlace | None
    provenance: list[tuple[str, list[Fact]]]


@dataclass(frozen=True, slots=True)
class RunView:
    title: str
    facts: list[Fact]
    verdict: Verdict
    gates: list[GateView]
    findings: list[FindingView]
    steps: list[StepView]
    plan: str
    reveal: bool

    @property
    def several(self) -> bool:
        return len(self.steps) > 1


def view_run(run: RunRecord, *, pictures: Path | None = None, drawn: bool = True) -> RunView:
    """All sections of a run; figures are drawn unless `drawn` is false."""
    places = [_tables(step, index, alone=not run.plan and not run.gates) for index, step in enumerate(run.steps, 1)]
    return RunView(
        title=run.name or "Report",
        facts=_facts(run),
        verdict=_verdict(run),
        gates=[_gate(gate) for gate in run.gates],
        findings=_findings(run, places),
        steps=[
            _step(step, index, tables, pictures=pictures, drawn=drawn)
            for index, (step, tables) in enumerate(zip(run.steps, places, strict=True), 1)
        ],
        plan=describe_plan(run.plan),
        reveal=run.reveal,
    )


def _facts(run: RunRecord) -> list[Fact]:
    steps = f"{len(run.steps)} step" + ("s" if len(run.steps) != 1 else "")
    facts = [Fact("measured", run.started), Fact("took", format_seconds(run.seconds)), Fact("of", steps)]
    return [fact for fact in [*facts, Fact("seed", str(run.seed)), Fact("assaymark", run.version)] if fact.value]


def _verdict(run: RunRecord) -> Verdict:
    broken = [step for step in run.steps if step.status != "done"]
    missed = [gate for gate in run.gates if not gate.holds]
    gates = f"{len(run.gates)} gate{'s' if len(run.gates) != 1 else ''}"
    if broken:
        words = "; ".join(f"step {step.id} {STEP_STATE[step.status]}" for step in broken)
        return Verdict("incomplete", "Incomplete", f"{words}. What is below covers only the steps that ran.")
    if not run.gates:
        return Verdict(
            "open", "No gates", "Nothing was required of this run, so it neither passes nor fails; read the findings."
        )
    if missed:
        verb = "does" if len(missed) == 1 else "do"
        return Verdict("fails", "Does not pass", f"{len(missed)} of {gates} {verb} not hold.")
    return Verdict("passes", "Passes", f"{'The gate holds' if len(run.gates) == 1 else f'All {gates} hold'}.")


def _gate(gate: GateRecord) -> GateView:
    if gate.estimate is None or not gate.estimate.defined:
        measured = "undefined" if gate.estimate is None else format_estimate(gate.estimate)
        why = gate.reason or "there is no number to compare"
        return GateView(
            gate.text, gate.step, measured, "undefined", f"{why}. An undefined number never holds.".replace("..", ".")
        )
    state = "holds" if gate.holds else "does not hold"
    return GateView(gate.text, gate.step, format_estimate(gate.estimate), state, gate.reason)


def _tables(step: StepRecord, index: int, *, alone: bool) -> dict[str, TablePlace]:
    if step.result is None:
        return {}
    return {
        name: TablePlace(
            view_table(table),
            f"step-{index}-table-{number}",
            f'result.tables["{name}"]' if alone else f"tables/{step.id}.{name}.parquet",
        )
        for number, (name, table) in enumerate(step.result.tables.items(), 1)
    }


def _findings(run: RunRecord, places: list[dict[str, TablePlace]]) -> list[FindingView]:
    """Findings of all steps, worst first; within a severity in the order of the steps."""
    found = [
        _finding(finding, step.result, step.id if len(run.steps) > 1 else "", index, tables)
        for index, (step, tables) in enumerate(zip(run.steps, places, strict=True), 1)
        if step.result is not None
        for finding in step.result.findings
    ]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _finding(finding: Finding, result: Result, step: str, index: int, tables: Mapping[str, TablePlace]) -> FindingView:
    return FindingView(
        finding.severity,
        finding.sentence,
        finding.advice,
        step,
        f"step-{index}",
        [Evidence(name, humanise(name), format_estimate(result.estimates[name])) for name in finding.estimates],
        [(tables[name].view.title, tables[name].anchor) for name in finding.tables],
    )


def _step(step: StepRecord, index: int, tables: Mapping[str, TablePlace], *, pictures: Path | None, drawn: bool) -> StepView:
    result = step.result
    empty = result is None
    return StepView(
        anchor=f"step-{index}",
        id=step.id,
        title=step.audit if result is None else result.title or step.audit,
        audit=step.audit,
        kind=step.kind,
        status=step.status,
        error=step.error,
        groups=[] if result is None else group_estimates(result.estimates),
        figures=_figures(result, tables, pictures) if result is not None and drawn else [],
        tables=[place for name, place in tables.items() if name != CALIBRATION],
        flows=[] if result is None else list(result.flows),
        notes=[] if result is None else list(result.notes),
        methods="" if result is None else result.methods,
        doubts=[] if result is None else _doubts(result),
        calibration=None if empty else tables.get(CALIBRATION),
        provenance=[] if result is None else view_provenance(result.provenance),
    )


def _figures(result: Result, tables: Mapping[str, TablePlace], pictures: Path | None) -> list[FigureView]:
    from markupsafe import Markup

    from assaymark.report.figures import caption, draw, inline

    views = []
    for figure in result.figures:
        svg = Markup(inline(draw(figure, result.tables, pictures=pictures)))
        place = tables.get(figure.table)
        title, anchor = (place.view.title, place.anchor) if place else ("", "")
        views.append(FigureView(figure.title, caption(figure, result.tables), svg, title, anchor))
    return views


def _doubts(result: Result) -> list[str]:
    """What limits the numbers, as far as the result itself tells: lost items, undefined estimates, missing calibration."""
    doubts = []
    for flow in result.flows:
        lost = flow.total - flow.used
        if lost and flow.total:
            part = f"{lost:,} of {flow.total:,} {flow.unit} ({100 * lost / flow.total:.2g} %)"
            doubts.append(f"{flow.source}: {part} do not enter the numbers.")
    unknown = [(name, e) for name, e in result.estimates.items() if not e.defined]
    if unknown:
        doubts.append(f"{len(unknown)} of {len(result.estimates)} estimates are undefined: {_listed(unknown)}.")
    if CALIBRATION not in result.tables:
        doubts.append("This report holds no calibration: how the audit does on data with a known truth is not part of it.")
    return doubts


def _listed(unknown: list[tuple[str, Estimate]], most: int = 5) -> str:
    words = [f"{humanise(name)} ({estimate.reason})" for name, estimate in unknown[:most]]
    return "; ".join(words) + (f"; and {len(unknown) - most} more" if len(unknown) > most else "")
