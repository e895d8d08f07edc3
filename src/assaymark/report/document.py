"""`write_report`: one result, or a whole run, as a file for people (`.html`, `.md`) or for programs (`.json`)."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assaymark.errors import InputError
from assaymark.record import RunRecord, StepRecord
from assaymark.report.provenance import withheld
from assaymark.report.redaction import redact
from assaymark.result import Result

__all__ = ["as_run", "render_json", "write_report"]

JSON_ROWS = 1_000


def write_report(result: Result | RunRecord, path: str | Path, *, pictures: Path | None = None, reveal: bool = False) -> Path:
    """Write the report of a run, or of one result, and return its path. The file appears whole or not at all.

    Parameters
    ----------
    result : Result or RunRecord
        A result alone is reported as a run of one step. Whatever is not redacted yet is redacted here, unless the run says
        `reveal` or the parameter does.
    path : str or Path
        `.html`: one file that needs nothing else; `.md`: a card for a repository; `.json`: the same for programs.
    pictures : Path, optional
        Run folder in which pictures are found.

    Raises
    ------
    InputError
        When the suffix is none of these, or the folder cannot be written.
    """
    target = Path(path)
    run = _redacted(as_run(result), reveal=reveal)
    text = _render(run, target, pictures)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, text)
    except OSError as error:
        raise InputError(f"report {str(target)!r} cannot be written: {error.strerror or error}") from None
    return target


def _render(run: RunRecord, target: Path, pictures: Path | None) -> str:
    suffix = target.suffix.casefold()
    if suffix in (".html", ".htm"):
        from assaymark.report.html import render_html

        return render_html(run, pictures=pictures)
    if suffix in (".md", ".markdown"):
        from assaymark.report.markdown import render_markdown

        return render_markdown(run)
    if suffix == ".json":
        return render_json(run)
    raise InputError(f"report {str(target)!r}: the name ends in .html, .md or .json, which says what is written")


def _replace(target: Path, text: str) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def as_run(result: Result | RunRecord) -> RunRecord:
    """A result alone as a run of one step without gates."""
    if isinstance(result, RunRecord):
        return result
    made = result.provenance
    step = StepRecord(id=result.audit or "result", audit=result.audit, status="done", result=result)
    return RunRecord(result.title or result.audit, made.version, made.started, made.seconds, made.seed, (step,))


@cache
def _passing_salt() -> bytes:
    """Salt of what reaches a report unredacted: of this process, so that hashes agree between reports and with nothing else."""
    return secrets.token_bytes(32)


def _redacted(run: RunRecord, *, reveal: bool) -> RunRecord:
    if run.reveal or reveal:
        return run
    steps = (
        step if step.result is None else replace(step, result=redact(step.result, salt=_passing_salt(), reveal=False))
        for step in run.steps
    )
    return replace(run, plan=_recorded_plan(run), steps=tuple(steps))


def _recorded_plan(run: RunRecord) -> Mapping[str, Any]:
    """The plan with each step's settings as its result recorded them, which is without what is private in them."""
    if not run.plan:
        return run.plan
    recorded = {step.id: step.result.provenance.settings for step in run.steps if step.result is not None}

    def shown(step: Mapping[str, Any]) -> dict[str, Any]:
        known = recorded.get(str(step.get("id")), {})
        given = step.get("set")
        if not isinstance(given, Mapping):
            return dict(step)
        return {**step, "set": {key: known.get(key, "(not shown: the step has no result)") for key in given}}

    return {**run.plan, "steps": [shown(step) for step in run.plan.get("steps", ())]}


def render_json(run: RunRecord) -> str:
    """The run as strict JSON: no NaN, infinities as the strings `Infinity` and `-Infinity`, the first rows of each table."""
    record = {
        "name": run.name,
        "version": run.version,
        "started": run.started,
        "seconds": run.seconds,
        "seed": run.seed,
        "exit_code": run.exit_code,
        "plan": withheld(run.plan),
        "gates": [asdict(gate) for gate in run.gates],
        "steps": [
            {
                "id": step.id,
                "audit": step.audit,
                "kind": step.kind,
                "status": step.status,
                "error": step.error,
                "result": None if step.result is None else _result_json(step.result),
            }
            for step in run.steps
        ],
    }
    return json.dumps(_strict(record), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _result_json(result: Result) -> dict[str, Any]:
    """`Result.to_json` without secrets, and the first rows of its tables under `first_rows`."""
    record = result.to_json()
    record["provenance"] = withheld(record["provenance"])
    for table in record["tables"]:
        table["first_rows"] = result.tables[table["name"]].data.slice(0, JSON_ROWS).to_pylist()
    return record


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_strict(item) for item in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        # A lone surrogate (from a file name, say) is no text that UTF-8 can hold.
        return value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, (bool, int)):
        return value
    return _strict(value.item()) if isinstance(value, np.generic) else str(value)
