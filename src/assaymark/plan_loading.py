"""From a plan file to a checked plan."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from assaymark.errors import PlanError
from assaymark.plan import Plan
from assaymark.plan_check import check_plan, with_absolute_paths
from assaymark.plan_file import explain, read_yaml

__all__ = ["load_plan"]


def load_plan(path: str | Path, *, engine: str | None = None, seed: int | None = None, budget: int | None = None) -> Plan:
    """Read and check a plan file; what is given here stands in the place of what the file says.

    Raises
    ------
    PlanError, ConfigError, UnknownName, EngineError, MissingExtra, InputError
        Naming the key and, where it is known, the line.
    """
    path = Path(path)
    document = read_yaml(path)
    if not isinstance(document.content, dict):
        raise PlanError(f"{path}: a plan is a mapping with at least 'name' and 'steps'")
    if "folder" in document.content:
        raise PlanError(f"{path}: unknown key 'folder'")
    changes = {"engine": engine, "seed": seed, "budget": budget}
    content = {**document.content, **{key: value for key, value in changes.items() if value is not None}}
    try:
        plan = Plan.model_validate({**content, "folder": str(path.resolve().parent)})
    except ValidationError as error:
        raise PlanError(f"{path}{explain(error, document)}") from None
    plan = with_absolute_paths(plan)
    check_plan(plan, where=str(path), document=document)
    return plan
