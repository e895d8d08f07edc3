"""Runs: the steps of a plan one after the other, each kept on disk as soon as it is done, then gates and report.

A step that fails does not take the others with it: those that use its files are skipped, the rest go on. A run that was
killed, or had failures, is continued by `resume`, which recomputes nothing that is done.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assaymark.allowance import Allowance, query_count
from assaymark.audit import Progress, Task
from assaymark.errors import AssaymarkError, BudgetExceeded, PlanError, RunError, nearest
from assaymark.execution import execute, model_cache, version
from assaymark.gates import evaluate, parse_gate
from assaymark.plan import MEMORY, Plan, PlanInput, Reference, Step, dependencies, plan_from_json, resolve
from assaymark.plan_loading import load_plan
from assaymark.record import RunRecord, StepRecord
from assaymark.result import Result
from assaymark.store.runs import DiskFull, RunFolder, is_disk_full

__all__ = ["Live", "load_run", "prepare", "proceed", "resume", "run", "write_reports"]


@dataclass(frozen=True)
class Live:
    """Objects handed over in memory, by input name and model role; they do not outlive the process."""

    inputs: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)


class _Named(Progress):
    """Puts the step's id before each title, so that two steps of one audit can be told apart."""

    def __init__(self, inner: Progress, step: str) -> None:
        self._inner, self._step = inner, step

    def task(self, title: str, total: int | None = None, unit: str = "rows") -> AbstractContextManager[Task]:
        return self._inner.task(f"{self._step}: {title}", total, unit)

    def note(self, text: str) -> None:
        self._inner.note(f"{self._step}: {text}")

    def ask(self, question: str) -> bool | None:
        return self._inner.ask(f"{self._step}: {question}")


def run(
    plan: str | Path | Plan,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    budget: int | str | None = None,
) -> RunRecord:
    """Run a plan (a file, or one already loaded) and return its record; the folder is `out` or `runs/NAME-TIME`.

    `budget` is the number of queries that its models may compute, as 20000 or "20k", in the place of the plan's own.

    Raises
    ------
    AssaymarkError
        When the plan is wrong, the folder cannot be used, or the budget is too small. A failing step does not raise: see
        `RunRecord.exit_code`.
    """
    plan = plan if isinstance(plan, Plan) else load_plan(plan)
    plan = plan if budget is None else plan.model_copy(update={"budget": query_count(budget)})
    return proceed(prepare(plan, out), progress=progress)


def resume(folder: str | Path, *, progress: Progress | None = None, budget: int | str | None = None) -> RunRecord:
    """Continue the steps of a run that are not done; with nothing left, judge the gates and write the report again.

    What was computed before does not count against the budget: `budget`, else that of the run, is for what is left.
    """
    return proceed(RunFolder.open(folder), progress=progress, budget=None if budget is None else query_count(budget))


def load_run(folder: str | Path) -> RunRecord:
    """The record of a run with all its results and tables."""
    return RunFolder.open(folder).load()


def prepare(plan: Plan, out: str | Path | None = None) -> RunFolder:
    """The folder of a new run of a checked plan, or `out` when that holds an unfinished run of the very same plan."""
    if out is not None and (Path(out) / "run.json").is_file():
        folder = RunFolder.open(out)
        found = folder.load()
        if plan.is_work_of(found.plan) and any(step.status != "done" for step in found.steps):
            with folder.lock(), _naming_unwritable(folder.path):
                folder.save(replace(found, plan=plan.to_json()))
            return folder
    folder = RunFolder.create(plan.name, out)
    record = RunRecord(
        name=plan.name,
        version=version(),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        seed=plan.seed,
        steps=tuple(StepRecord(step.id, step.audit_id, step.kind) for step in plan.steps),
        plan=plan.to_json(),
        reveal=plan.reveal,
    )
    with _naming_unwritable(folder.path):
        folder.save(record)
    return folder


def proceed(
    folder: RunFolder,
    *,
    progress: Progress | None = None,
    live: Live | None = None,
    stop_on_mistake: bool = False,
    budget: int | None = None,
) -> RunRecord:
    """Run what is left of a run, then its gates and report.

    With `stop_on_mistake` a user's mistake in a step is raised after it was recorded (a single audit has nothing else to do).
    `budget` takes the place of the plan's own.

    Raises
    ------
    BudgetExceeded
        A step would ask models more than the budget allows; the steps after it are left for `resume`.
    RunError
        When another process writes the run, it cannot be read, or the disk is full.
    """
    with folder.lock(), _naming_unwritable(folder.path):
        folder.clean()
        record = folder.load()
        plan = plan_from_json(record.plan, folder.path)
        if budget is not None:
            plan = plan.model_copy(update={"budget": budget})
            record = replace(record, plan=plan.to_json())
        allowance = Allowance(plan.budget)
        record = _renewed(folder, record)
        folder.log("run", version=version(), plan=plan.name, left=[s.id for s in record.steps if s.status != "done"])
        clock, before = time.monotonic(), record.seconds
        for index, step in enumerate(plan.steps):
            if record.steps[index].status == "done":
                continue
            outcome, mistake = _attempt(folder, plan, step, record, progress or Progress(), live or Live(), allowance)
            steps = (*record.steps[:index], outcome, *record.steps[index + 1 :])
            record = replace(record, steps=steps, seconds=round(before + time.monotonic() - clock, 3))
            folder.save(record)
            if outcome.status == "done":
                folder.finish_step(step.id)
            if mistake is not None and (stop_on_mistake or isinstance(mistake, BudgetExceeded)):
                raise mistake
        record = replace(record, gates=tuple(evaluate(parse_gate(text), record.steps) for text in plan.gates))
        folder.save(record)
        write_reports(folder, record)
        folder.log("end", seconds=record.seconds, exit_code=record.exit_code)
        return record


def _renewed(folder: RunFolder, record: RunRecord) -> RunRecord:
    """The record with unfinished steps set back to pending, and what a kill left behind of finished ones removed."""
    steps = tuple(s if s.status == "done" else replace(s, status="pending", result=None, error="") for s in record.steps)
    for step in steps:
        if step.status == "done":
            folder.finish_step(step.id)
        else:  # checkpoints in work/ are for the step to continue from; half-written files to hand on are not
            shutil.rmtree(folder.path / "artifacts" / step.id, ignore_errors=True)
    record = replace(record, steps=steps, gates=())
    folder.save(record)
    return record


def _attempt(
    folder: RunFolder, plan: Plan, step: Step, record: RunRecord, progress: Progress, live: Live, allowance: Allowance
) -> tuple[StepRecord, AssaymarkError | None]:
    """One step: its record, and the user's mistake that made it fail, if that is what it was."""
    blank = StepRecord(step.id, step.audit_id, step.kind)
    waiting = {other.id: other for other in record.steps if other.id in dependencies(step) and other.status != "done"}
    if waiting:
        blocked = next(iter(waiting.values()))
        folder.log("step skipped", step=step.id, because=sorted(waiting))
        return replace(blank, status="skipped", error=f"needs step {blocked.id}, which {blocked.status}"), None
    folder.log("step", step=step.id, audit=step.audit_id)
    try:
        result = _execute_step(folder, plan, step, record, progress, live, allowance)
        folder.save_tables(step.id, result)
        _save_figures(folder, step.id, result)
    except Exception as error:  # a defect in one audit must not lose the others; the traceback is kept
        if is_disk_full(error):
            raise
        folder.log("step failed", step=step.id, error=str(error), traceback=traceback.format_exc())
        mistake = error if isinstance(error, AssaymarkError) else None
        return replace(blank, status="failed", error=_sentence(error)), mistake
    folder.log("step done", step=step.id, seconds=result.provenance.seconds)
    return replace(blank, status="done", result=result), None


def _sentence(error: Exception) -> str:
    """One line for the record. A defect's own message may quote data, so it stays in the log; its place is shown."""
    if isinstance(error, AssaymarkError):
        return " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    rooms = [frame for frame in frames if "audits" in Path(frame.filename).parts] or frames
    place = f" at {Path(rooms[-1].filename).name}:{rooms[-1].lineno}" if rooms else ""
    return f"{type(error).__name__}{place}; the traceback is in log.jsonl"


def _execute_step(
    folder: RunFolder, plan: Plan, step: Step, record: RunRecord, progress: Progress, live: Live, allowance: Allowance
) -> Result:
    models: dict[str, Any] = resolve(plan.step_models(step), lambda ref: _as_path(_look_up(ref, folder, plan, record)))
    models = {role: _from_memory(spec, live.models) for role, spec in models.items()}
    result = execute(
        step.load(),
        inputs={name: _input(value, folder, plan, record, live) for name, value in step.inputs.items()},
        models=models,
        settings=resolve(step.settings, lambda ref: _as_path(_look_up(ref, folder, plan, record))),
        seed=plan.seed,
        engine=plan.engine,
        reveal=plan.reveal,
        folder=folder.path,
        step=step.id,
        base=Path(plan.folder) if plan.folder else None,
        cache=model_cache() if models else None,
        progress=progress if len(plan.steps) == 1 else _Named(progress, step.id),
        log=lambda event, **facts: folder.log(event, **{"step": step.id, **facts}),
        budget=allowance,
    )
    _check_unchanged(result, record)
    return result


def _save_figures(folder: RunFolder, step: str, result: Result) -> None:
    """Draw the figures of a step. One that cannot be drawn is logged: the numbers stand without it."""
    from assaymark.report.figures import draw

    for figure in result.figures:
        if figure.kind == "picture":
            continue
        try:
            svg = draw(figure, result.tables)
        except Exception:
            folder.log("figure failed", step=step, figure=figure.name, traceback=traceback.format_exc())
            continue
        folder.save_figure(step, figure.name, svg)


def _check_unchanged(result: Result, record: RunRecord) -> None:
    """Raise when an input is not what an earlier step of the same run read: the two results would not belong together."""
    for step in record.steps:
        for facts in step.result.provenance.inputs.values() if step.result is not None else ():
            for other in result.provenance.inputs.values():
                same = facts.get("source") == other.get("source") and "fingerprint" in facts and "fingerprint" in other
                if same and facts["fingerprint"] != other["fingerprint"]:
                    raise RunError(f"{facts['source']} has changed since step {step.id} read it: run the whole plan again")


def _input(value: PlanInput, folder: RunFolder, plan: Plan, record: RunRecord, live: Live) -> Any:
    """What `execute` opens: `{"path": ..., "schema": ...}`, or the object handed over in memory."""
    found = resolve(value.path, lambda ref: _look_up(ref, folder, plan, record))
    schema: Any = value.columns
    if isinstance(found, PlanInput):
        schema = found.columns if schema == "auto" else schema
        found = found.path
    if isinstance(found, (list, tuple)):
        found = [path for item in found for path in _paths(item)]
    found = _from_memory(found, live.inputs)
    return {"path": found, "schema": schema}


def _paths(item: Any) -> list[str]:
    item = _as_path(item)
    return list(item) if isinstance(item, (list, tuple)) else [item]


def _as_path(found: Any) -> Any:
    return found.path if isinstance(found, PlanInput) else found


def _from_memory(value: Any, objects: Mapping[str, Any]) -> Any:
    if not (isinstance(value, str) and value.startswith(MEMORY)):
        return value
    name = value.removeprefix(MEMORY)
    if name not in objects:
        raise RunError(f"{name!r} was handed over in memory and is gone: make the call again instead of resuming")
    return objects[name]


def _look_up(reference: Reference, folder: RunFolder, plan: Plan, record: RunRecord) -> PlanInput | str:
    """The plan input, or the path of the earlier step's artifact or table, that a reference names."""
    if reference.part is None:
        return plan.inputs[reference.name]
    step = next(step for step in record.steps if step.id == reference.name)
    assert step.result is not None, "a step whose dependency is not done is skipped"
    if reference.part in step.result.artifacts:
        return str(folder.path.resolve() / step.result.artifacts[reference.part].file)
    if reference.part in step.result.tables:
        return str(folder.path.resolve() / "tables" / f"{step.id}.{reference.part}.parquet")
    known = [*step.result.artifacts, *step.result.tables]
    hint = nearest(reference.part, known) or f"; it left {', '.join(known) or 'nothing'}"
    raise PlanError(f"{reference.text!r}: step {reference.name} left no {reference.part!r}{hint}")


def write_reports(folder: RunFolder, record: RunRecord) -> None:
    """`report.html` and `card.md` of a run; the numbers are already on disk when this fails."""
    from assaymark.report import write_report

    with _naming_unwritable(folder.path):
        for name in ("report.html", "card.md"):
            try:
                write_report(record, folder.path / name, pictures=folder.path)
            except Exception as error:
                if not is_disk_full(error):
                    folder.log("report failed", file=name, traceback=traceback.format_exc())
                raise


@contextlib.contextmanager
def _naming_unwritable(path: Path) -> Iterator[None]:
    """Turn a full disk, and a run folder that may not be written, into what the user can do about it."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(path, "writing the run") from error
        refused = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        if refused and str(error.filename).startswith(str(path)):
            raise RunError(
                f"{path} cannot be written: {error.strerror}; copy it elsewhere, or give another with --out"
            ) from None
        raise
    except Exception as error:
        if is_disk_full(error) and not isinstance(error, DiskFull):
            raise DiskFull(path, "writing the run") from error
        raise
