"""From the words of a command to a checked plan: inputs, columns, models and settings by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.allowance import query_count
from assaymark.api import named_inputs, one_step_plan
from assaymark.catalog import load_audit, load_mitigation
from assaymark.config import parse_overrides
from assaymark.errors import InputError, UnknownName
from assaymark.plan import Plan
from assaymark.runner import Live

__all__ = ["checked_command"]


def checked_command(
    kind: str,
    audit_id: str,
    inputs: Sequence[str],
    models: Sequence[str] | None,
    settings: Sequence[str] | None,
    columns: Sequence[str] | None,
    gates: Sequence[str] | None,
    engine: str | None,
    seed: int,
    reveal: bool,
    budget: str | None,
) -> tuple[Plan, Live]:
    """The checked plan of `assaymark audit` or `assaymark mitigate`, and what was handed over in memory (nothing).

    Raises
    ------
    AssaymarkError
        For the first word that is wrong, naming it.
    """
    cls: Any = load_audit(audit_id) if kind == "audit" else load_mitigation(audit_id)
    named = _with_columns(cls.info, _named_inputs([spec.name for spec in cls.info.inputs], cls.info, inputs), columns or ())
    roles: dict[str, str] = {}
    for text in models or ():
        role, equals, spec = text.partition("=")
        if not equals or not spec:
            raise InputError(f"--model {text!r}: write it as ROLE=SPEC")
        name = cls.info.role(role.strip()).name
        if name in roles:
            raise InputError(f"--model {name} is given twice: {roles[name]} and {spec}; one model takes a role")
        roles[name] = spec
    return one_step_plan(
        kind,
        audit_id,
        named,
        roles,
        parse_overrides(settings or ()),
        seed=seed,
        engine=engine or "local",
        reveal=reveal,
        gates=tuple(gates or ()),
        budget=None if budget is None else query_count(budget),
    )


def _named_inputs(known: Sequence[str], info: Any, given: Sequence[str]) -> dict[str, Any]:
    """`NAME=PATH` by name; paths alone (a shell may have expanded a pattern) are the first required input together."""
    named: dict[str, list[str]] = {}
    alone: list[str] = []
    for text in given:
        name, equals, path = text.partition("=")
        if equals and name in known:
            named.setdefault(name, []).append(path)
        elif equals and name.isidentifier() and not Path(text).exists():
            raise UnknownName("input", name, known, mend=f"(audit {info.id})")
        else:
            alone.append(text)
    if alone:
        (first,) = named_inputs(info, "")
        if first in named:
            raise InputError(f"input {first!r} is given by name and also without one: {alone[0]}")
        named[first] = alone
    return {name: paths[0] if len(paths) == 1 else paths for name, paths in named.items()}


def _with_columns(info: Any, named: Mapping[str, Any], given: Sequence[str]) -> dict[str, Any]:
    """Inputs with the columns that the user named for them; without the name of an input, for the first required one."""
    (first,) = named_inputs(info, "")
    schemas: dict[str, dict[str, str]] = {}
    for text in given:
        target, equals, column = text.partition("=")
        name, dot, concept = target.strip().partition(".")
        name, concept = (name, concept) if dot else (first, name)
        if not equals or not column or not concept:
            raise InputError(f"--column {text!r}: write it as CONCEPT=COLUMN or INPUT.CONCEPT=COLUMN")
        if name not in named:
            raise UnknownName("input", name, named, mend=f"(--column {text})")
        if schemas.setdefault(name, {}).setdefault(concept, column) != column:
            raise InputError(f"--column {target.strip()} is given twice: {schemas[name][concept]} and {column}")
    return {name: {"path": path, "schema": schemas[name]} if name in schemas else path for name, path in named.items()}
