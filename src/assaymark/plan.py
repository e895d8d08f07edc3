"""Plans: which audits run on which inputs with which models, and the gates that make the run pass or fail.

A plan is YAML, read with the safe loader into frozen typed models. Everything that can be checked before the run is
(names, settings, roles, references, gates, local paths), so a typo costs seconds and not the hours before the step it is in.

References: `$pairs` is the plan's input `pairs`; `$step.artifact` (or `$step.table`) is a file that an earlier step leaves,
looked up when the step that uses it starts. `$$` writes a plain `$`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from assaymark.allowance import query_count
from assaymark.errors import ConfigError, PlanError

__all__ = ["Plan", "PlanInput", "Reference", "Step", "dependencies", "plan_from_json", "references", "resolve"]

_ID = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
_REFERENCE = re.compile(r"^\$([A-Za-z0-9][A-Za-z0-9_-]*)(?:\.(.+))?$")
MEMORY = "memory:"
"""Path of an input that was handed over as an object: such a run cannot be resumed from its folder."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _path_alone(value: Any) -> Any:
    return {"path": value} if isinstance(value, (str, list, tuple)) else value


class PlanInput(_Strict):
    """Where an input lies and how its columns are to be read (`auto`, or concept to column name)."""

    path: str | tuple[str, ...]
    columns: str | dict[str, str] = Field("auto", alias="schema")


def _query_count(value: Any) -> Any:
    try:
        return None if value is None else query_count(value)
    except ConfigError:
        raise ValueError("must be a number of queries, as 20000, 20k or 1.5M") from None


QueryCount = Annotated[int | None, BeforeValidator(_query_count)]
InputValue = Annotated[PlanInput, BeforeValidator(_path_alone)]


class Step(_Strict):
    """One audit or mitigation of a plan."""

    id: str = Field(pattern=_ID)
    audit: str | None = None
    mitigate: str | None = None
    inputs: dict[str, InputValue] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict, alias="set")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.audit is None) == (self.mitigate is None):
            raise ValueError("a step has either 'audit: ID' or 'mitigate: ID'")
        return self

    @property
    def kind(self) -> Literal["audit", "mitigation"]:
        return "audit" if self.audit is not None else "mitigation"

    @property
    def audit_id(self) -> str:
        return self.audit or self.mitigate or ""

    def load(self) -> type[Any]:
        """The class of the audit or mitigation."""
        from assaymark.catalog import load_audit, load_mitigation

        return load_audit(self.audit_id) if self.kind == "audit" else load_mitigation(self.audit_id)


class Plan(_Strict):
    """A whole plan; `load_plan` reads and checks one."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    engine: str = "local"
    seed: int = Field(0, ge=0)
    inputs: dict[str, InputValue] = Field(default_factory=dict)
    models: dict[str, str] = Field(default_factory=dict)
    steps: tuple[Step, ...] = Field(min_length=1)
    gates: tuple[str, ...] = ()
    reveal: bool = False
    budget: QueryCount = None
    folder: str = ""
    """Folder of the plan file, which relative paths start from; not a key of the file."""

    def to_json(self) -> dict[str, Any]:
        """What `run.json` keeps: enough to run the rest of the plan from anywhere."""
        return self.model_dump(mode="json", by_alias=True)

    def is_work_of(self, content: Mapping[str, Any]) -> bool:
        """Whether what a `run.json` keeps is this plan, whatever the budget."""
        return {**content, "budget": self.budget} == self.to_json()

    def step_models(self, step: Step) -> dict[str, str]:
        """The step's own models and the plan's for every role it has."""
        roles = step.load().info.models
        shared = {name: spec for name, spec in self.models.items() if any(role.takes(name) for role in roles)}
        return {**shared, **step.models}


class Reference(NamedTuple):
    """`$name` (an input of the plan) or `$name.part` (a file of an earlier step)."""

    name: str
    part: str | None
    text: str


def parse_reference(text: str) -> Reference | None:
    """The reference a string is, or None for a plain string."""
    if not text.startswith("$") or text.startswith("$$"):
        return None
    match = _REFERENCE.match(text)
    if match is None:
        raise PlanError(f"{text!r} is not a reference: write $input or $step.artifact, or $$ for a plain $")
    return Reference(match[1], match[2], text)


def references(value: Any) -> Iterator[Reference]:
    """All references in a value, however deep in lists and mappings."""
    if isinstance(value, str):
        reference = parse_reference(value)
        if reference is not None:
            yield reference
    elif isinstance(value, PlanInput):
        yield from references(value.path)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from references(item)


def step_references(step: Step) -> Iterator[Reference]:
    """All references of a step."""
    for part in (step.inputs, step.models, step.settings):
        yield from references(part)


def dependencies(step: Step) -> set[str]:
    """Ids of the earlier steps whose files a step uses."""
    return {reference.name for reference in step_references(step) if reference.part is not None}


def resolve(value: Any, lookup: Callable[[Reference], Any]) -> Any:
    """A copy of `value` with each reference replaced by `lookup(reference)` and `$$` by `$`."""
    if isinstance(value, str):
        reference = parse_reference(value)
        if reference is not None:
            return lookup(reference)
        return value[1:] if value.startswith("$$") else value
    if isinstance(value, Mapping):
        return {key: resolve(item, lookup) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, lookup) for item in value]
    return value


def plan_from_json(content: Mapping[str, Any], where: str | Path) -> Plan:
    """The plan that a run folder keeps."""
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise PlanError(f"{where}: the stored plan cannot be read: {first['loc']}: {first['msg']}") from None
