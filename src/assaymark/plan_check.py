"""Everything about a plan that can be known before it runs: names, settings, roles, references, gates and local paths."""

from __future__ import annotations

import contextlib
import glob
import os
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from assaymark.errors import AssaymarkError, InputError, PlanError, nearest
from assaymark.gates import bind, parse_gate
from assaymark.plan import MEMORY, Plan, PlanInput, Step, parse_reference, step_references
from assaymark.plan_file import Document
from assaymark.preconditions import check_engine, check_extras, check_inputs, check_roles

__all__ = ["check_plan", "with_absolute_paths"]


@contextlib.contextmanager
def _located(prefix: str) -> Iterator[None]:
    """Put the place in front of a user's mistake, keeping its class."""
    try:
        yield
    except AssaymarkError as error:
        error.args = (f"{prefix}: {error}",)
        raise


def check_plan(plan: Plan, *, where: str, document: Document | None = None) -> None:
    """Raise for the first thing that would fail later, with the file, the line and the step.

    `where` is empty for a plan made from one command, whose messages need no place.
    """
    document = document or Document(None, {})
    check_engine(plan.engine)
    seen: dict[str, int] = {}
    for index, step in enumerate(plan.steps):
        place = f"{where}{document.at('steps', index)}, step {step.id!r}"
        if step.id in seen:
            raise PlanError(f"{place}: the id is taken by step {seen[step.id] + 1}")
        with _located(place) if where else contextlib.nullcontext():
            _check_references(plan, step, list(seen))
            _check_step(plan, step)
        seen[step.id] = index
    _check_shared_models(plan, where, document)
    for index, text in enumerate(plan.gates):
        with _located(f"{where}{document.at('gates', index)}") if where else contextlib.nullcontext():
            bind(parse_gate(text), list(seen))


def _check_step(plan: Plan, step: Step) -> None:
    audit = step.load()
    check_extras(audit.info)
    audit.Config.build(step.settings)
    check_inputs(audit.info, step.inputs)
    check_roles(audit.info, plan.step_models(step), given=step.models)
    for name, value in step.inputs.items():
        _check_paths(plan, name, value)


def _check_references(plan: Plan, step: Step, earlier: Sequence[str]) -> None:
    ids = [other.id for other in plan.steps]
    for reference in step_references(step):
        if reference.part is None:
            if reference.name not in plan.inputs:
                if reference.name in ids:
                    raise PlanError(f"{reference.text!r}: which file of the step? write ${reference.name}.artifact")
                hint = nearest(reference.name, plan.inputs) or f"; inputs: {', '.join(plan.inputs) or 'none'}"
                raise PlanError(f"{reference.text!r}: the plan has no input {reference.name!r}{hint}")
        elif reference.name not in earlier:
            if reference.name in plan.inputs:
                raise PlanError(f"{reference.text!r}: {reference.name!r} is an input, write ${reference.name}")
            if reference.name in ids:
                raise PlanError(f"{reference.text!r}: step {reference.name!r} does not come before this one; move it up")
            hint = nearest(reference.name, earlier) or f"; earlier steps: {', '.join(earlier) or 'none'}"
            raise PlanError(f"{reference.text!r}: unknown step {reference.name!r}{hint}")


def _check_shared_models(plan: Plan, where: str, document: Document) -> None:
    roles = {role.shown: role for step in plan.steps for role in step.load().info.models}
    for name in plan.models:
        if not any(role.takes(name) for role in roles.values()):
            hint = nearest(name, roles) or f"; roles: {', '.join(sorted(roles)) or 'none'}"
            place = f"{where}{document.at('models', name)}: " if where else ""
            raise PlanError(f"{place}no step has a model role {name!r}{hint}")


def _check_paths(plan: Plan, name: str, value: PlanInput) -> None:
    paths = [value.path] if isinstance(value.path, str) else list(value.path)
    if not paths:
        raise InputError(f"input {name!r} is an empty list of paths")
    for path in paths:
        reference = parse_reference(path)
        if reference is not None and reference.part is None:
            _check_paths(plan, reference.name, plan.inputs[reference.name])
        elif not path:
            raise InputError(f"input {name!r}: the path is empty")
        elif reference is None and not _is_remote(path) and not _exists(path):
            from assaymark.data.locations import missing

            raise missing(path, name)


def _is_remote(path: str) -> bool:
    return "://" in path or path.startswith(MEMORY)


def _exists(path: str) -> bool:
    return Path(path).exists() or (glob.has_magic(path) and next(glob.iglob(path, recursive=True), None) is not None)


def with_absolute_paths(plan: Plan) -> Plan:
    """The plan with each relative local path made absolute from the plan's folder, so that it can be run from anywhere.

    Paths in settings are those of settings typed `Path`, and strings that look like a path and exist beside the plan.
    """
    base = Path(plan.folder)
    inputs = {name: _absolute_input(value, base) for name, value in plan.inputs.items()}
    steps = tuple(_absolute_step(step, base) for step in plan.steps)
    return plan.model_copy(update={"inputs": inputs, "steps": steps})


def _absolute_input(value: PlanInput, base: Path) -> PlanInput:
    path = _absolute(value.path, base) if isinstance(value.path, str) else tuple(_absolute(p, base) for p in value.path)
    return value.model_copy(update={"path": path})


def _absolute(path: str, base: Path) -> str:
    if not path or path.startswith("$") or _is_remote(path):
        return path
    return str(base / os.path.expanduser(path))


def _absolute_step(step: Step, base: Path) -> Step:
    inputs = {name: _absolute_input(value, base) for name, value in step.inputs.items()}
    settings = step.settings
    if settings:
        with contextlib.suppress(AssaymarkError):  # an unknown audit is named by check_plan, with its place
            fields = step.load().Config.model_fields
            settings = {
                key: _absolute_setting(value, fields[key].annotation, base) if key in fields else value
                for key, value in settings.items()
            }
    return step.model_copy(update={"inputs": inputs, "settings": settings})


def _absolute_setting(value: Any, annotation: Any, base: Path) -> Any:
    kinds = set(_leaf_types(annotation))
    if isinstance(value, str):
        if Path in kinds:
            return _absolute(value, base)
        looks_like_path = "/" in value or Path(value).suffix != ""
        return _absolute(value, base) if str in kinds and looks_like_path and _exists(str(base / value)) else value
    if isinstance(value, list):
        return [_absolute_setting(item, annotation, base) for item in value]
    if isinstance(value, dict):
        return {key: _absolute_setting(item, annotation, base) for key, item in value.items()}
    return value


def _leaf_types(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, types.UnionType, tuple, list, dict):
        for part in get_args(annotation):
            yield from _leaf_types(part)
    else:
        yield annotation
