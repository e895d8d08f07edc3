"""The Python interface: `assaymark.audit` and `assaymark.mitigate`, and one command or call as a run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assaymark.allowance import query_count
from assaymark.audit import AuditInfo, Progress
from assaymark.catalog import load_audit, load_mitigation
from assaymark.errors import AssaymarkError, InputError, RunError
from assaymark.execution import execute, model_cache
from assaymark.plan import MEMORY, Plan, plan_from_json
from assaymark.plan_check import check_plan, with_absolute_paths
from assaymark.result import Result
from assaymark.runner import Live, prepare, proceed
from assaymark.store.runs import DiskFull, RunInUse

__all__ = ["audit", "mitigate", "named_inputs", "one_step_plan", "run_once"]


def audit(
    audit_id: str,
    inputs: Any,
    *,
    models: Mapping[str, Any] | None = None,
    seed: int = 0,
    engine: str = "local",
    reveal: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
    budget: int | str | None = None,
    **settings: Any,
) -> Result:
    """Ask one audit about some inputs.

    Parameters
    ----------
    audit_id : str
        As listed by `assaymark list`.
    inputs : path, table, or mapping of input name to path or table
        A single value is the audit's first required input.
    models : mapping of role to model spec, e.g. ``{"text_toxicity": "hf:unitary/toxic-bert"}``
    reveal : bool
        Keep raw texts, words and URLs in the result; off by default.
    out : path, optional
        Folder for the run (tables, figures, report). It must be new or empty.
    budget : int or str, optional
        Queries that the models may compute, as 20000 or "20k". An audit that would need more does not begin. Without one,
        remote models compute 1,000 at most, and others what they are asked.
    **settings
        The audit's own settings, see `assaymark describe ID`.

    Raises
    ------
    AssaymarkError
        For everything that can be mended by the caller.

    Examples
    --------
    >>> result = assaymark.audit("image-text-dataset", "part-*.parquet", seed=1)  # doctest: +SKIP
    >>> result["hate_content_rate.any"]  # doctest: +SKIP
    """
    return _ask("audit", audit_id, inputs, models, seed, engine, reveal, out, progress, budget, settings)


def mitigate(
    audit_id: str,
    inputs: Any,
    *,
    models: Mapping[str, Any] | None = None,
    seed: int = 0,
    engine: str = "local",
    reveal: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
    budget: int | str | None = None,
    **settings: Any,
) -> Result:
    """Apply the mitigation of an audit; parameters as for `audit`. Give `out` to keep the files it makes."""
    return _ask("mitigation", audit_id, inputs, models, seed, engine, reveal, out, progress, budget, settings)


def _ask(
    kind: str,
    audit_id: str,
    inputs: Any,
    models: Mapping[str, Any] | None,
    seed: int,
    engine: str,
    reveal: bool,
    out: str | Path | None,
    progress: Progress | None,
    budget: int | str | None,
    settings: Mapping[str, Any],
) -> Result:
    cls: Any = load_audit(audit_id) if kind == "audit" else load_mitigation(audit_id)
    named = named_inputs(cls.info, inputs)
    limit = None if budget is None else query_count(budget)
    if out is not None:
        return run_once(
            kind,
            audit_id,
            named,
            models or {},
            settings,
            seed=seed,
            engine=engine,
            reveal=reveal,
            out=out,
            progress=progress,
            budget=limit,
        )
    return execute(
        cls,
        inputs=named,
        models=models,
        settings=settings,
        seed=seed,
        engine=engine,
        reveal=reveal,
        base=Path.cwd(),
        cache=model_cache() if models else None,
        progress=progress,
        budget=limit,
    )


def named_inputs(info: AuditInfo, inputs: Any) -> dict[str, Any]:
    """`inputs` by name; a value that is no mapping of names is the first required input."""
    if isinstance(inputs, Mapping) and "path" not in inputs:
        return dict(inputs)
    first = next((spec.name for spec in info.inputs if spec.required), info.inputs[0].name if info.inputs else None)
    if first is None:
        raise InputError(f"audit {info.id} takes no input")
    return {first: inputs}


def one_step_plan(
    kind: str,
    audit_id: str,
    inputs: Mapping[str, Any],
    models: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    seed: int = 0,
    engine: str = "local",
    reveal: bool = False,
    gates: tuple[str, ...] = (),
    budget: int | None = None,
) -> tuple[Plan, Live]:
    """The checked plan of one command, and what was handed over in memory and cannot be written into it."""
    live = Live(
        {name: value for name, value in inputs.items() if not _is_path(value)},
        {role: model for role, model in models.items() if not isinstance(model, str)},
    )
    step = {
        "id": audit_id,
        "audit" if kind == "audit" else "mitigate": audit_id,
        "inputs": {name: f"{MEMORY}{name}" if name in live.inputs else _plain_path(value) for name, value in inputs.items()},
        "models": {role: f"{MEMORY}{role}" if role in live.models else _plain(spec) for role, spec in models.items()},
        "set": {key: _plain(value) for key, value in settings.items()},
    }
    head = {"name": audit_id, "seed": seed, "engine": engine, "reveal": reveal, "gates": gates, "folder": str(Path.cwd())}
    head["budget"] = budget
    plan = with_absolute_paths(plan_from_json({**head, "steps": (step,)}, "this command"))
    check_plan(plan, where="")
    return plan, live


def _is_path(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "path" in value and _is_path(value["path"])
    return isinstance(value, (str, Path)) or (
        isinstance(value, (list, tuple)) and all(isinstance(v, (str, Path)) for v in value)
    )


def _plain_path(value: Any) -> Any:
    """Paths of an input as a plan would write them: one that begins with `$` must not be read as a reference."""
    if isinstance(value, Mapping):
        return {key: _plain_path(item) if key == "path" else item for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_path(item) for item in value]
    return f"./{value}" if str(value).startswith("$") else str(value)


def _plain(value: Any) -> Any:
    """A value from a call as a plan would write it: paths as strings, a leading `$` doubled since it refers to nothing."""
    if isinstance(value, (str, Path)):
        text = str(value)
        return f"${text}" if text.startswith("$") else text
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def run_once(
    kind: str,
    audit_id: str,
    inputs: Mapping[str, Any],
    models: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    seed: int = 0,
    engine: str = "local",
    reveal: bool = False,
    out: str | Path | None = None,
    progress: Progress | None = None,
    budget: int | None = None,
) -> Result:
    """One audit or mitigation as a run of its own; its result."""
    plan, live = one_step_plan(kind, audit_id, inputs, models, settings, seed=seed, engine=engine, reveal=reveal, budget=budget)
    folder = prepare(plan, out)
    try:
        record = proceed(folder, progress=progress, live=live, stop_on_mistake=True)
    except (DiskFull, RunInUse):
        raise
    except AssaymarkError:
        folder.discard()
        raise
    step = record.steps[0]
    if step.result is None:
        raise RunError(f"{audit_id} failed: {step.error} ({folder.log_path})")
    return step.result
