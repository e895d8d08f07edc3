"""What must hold before an audit starts: known engine, installed extras, inputs and model roles that fit its declaration."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Mapping
from typing import Any

from assaymark.audit import AuditInfo
from assaymark.errors import EngineError, InputError, MissingExtra, ModelError, UnknownName, nearest

__all__ = ["check_engine", "check_extras", "check_inputs", "check_roles"]

EXTRA_MODULES: dict[str, tuple[str, ...]] = {
    "cluster": ("ray",),
    "language": ("tokenizers", "torch", "transformers"),
    "openclip": ("open_clip",),
    "vision": ("onnxruntime", "torch", "transformers"),
}
"""Import names behind each optional part, to name the missing install line before anything is opened."""


def check_engine(engine: str) -> None:
    """Raise `EngineError` for an unknown engine, `MissingExtra` for a cluster engine without its client."""
    if engine == "local":
        return
    if engine == "ray" or re.fullmatch(r"ray://[^\s/]+:\d+", engine):
        if importlib.util.find_spec("ray") is None:
            raise MissingExtra("cluster", f"engine {engine!r}")
        return
    hint = "" if engine.startswith("ray:") else nearest(engine, ("local", "ray"))
    raise EngineError(f"unknown engine {engine!r}{hint}; known: local, ray, ray://HOST:PORT")


def check_extras(info: AuditInfo) -> None:
    """Raise `MissingExtra` for the first optional part that the audit needs and that is not installed."""
    for extra in info.needs:
        if any(importlib.util.find_spec(module) is None for module in EXTRA_MODULES.get(extra, (extra,))):
            raise MissingExtra(extra, f"audit {info.id}")


def check_inputs(info: AuditInfo, given: Iterable[str]) -> None:
    """Raise when an input is unknown or a required one is missing; the message lists what the audit takes."""
    given = list(given)
    known = {spec.name: spec for spec in info.inputs}
    for name in given:
        if name not in known:
            raise UnknownName("input", name, known, mend=f"(audit {info.id})")
    missing = [spec for spec in info.inputs if spec.required and spec.name not in given]
    if missing:
        lines = "; ".join(f"{spec.name} ({spec.kind}): {spec.description}" for spec in missing)
        raise InputError(f"audit {info.id} needs the input{'s' if len(missing) > 1 else ''} {lines}")


def check_roles(info: AuditInfo, models: Mapping[str, Any], *, given: Iterable[str] = ()) -> None:
    """Raise when a role in `given` is unknown to the audit, or a required role has no model."""
    for name in (*given, *models):
        info.role(name)
    for role in info.models:
        if role.required and not any(role.takes(name) for name in models):
            raise ModelError(f"audit {info.id} needs a model in the role {role.shown!r} ({role.description}): give its spec")
