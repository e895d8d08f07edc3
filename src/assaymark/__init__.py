"""Assaymark audits machine learning where it can hurt people: data sets, models, what they generate, and detectors.

    import assaymark as am

    result = am.audit("image-text-dataset", "part-*.parquet", seed=0)
    result.report("report.html")

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assaymark.api import audit, mitigate
    from assaymark.audit import Audit, Mitigation, Progress
    from assaymark.errors import AssaymarkError
    from assaymark.plan import Plan
    from assaymark.plan_loading import load_plan
    from assaymark.record import RunRecord
    from assaymark.result import Estimate, Figure, Finding, Result, Table
    from assaymark.runner import load_run, resume, run
    from assaymark.store.views import compare, connect

__all__ = [
    "AssaymarkError",
    "Audit",
    "Estimate",
    "Figure",
    "Finding",
    "Mitigation",
    "Plan",
    "Progress",
    "Result",
    "RunRecord",
    "Table",
    "audit",
    "compare",
    "connect",
    "load_plan",
    "load_run",
    "mitigate",
    "resume",
    "run",
]

_HOME = {
    "AssaymarkError": "errors",
    "Audit": "audit",
    "Estimate": "result",
    "Figure": "result",
    "Finding": "result",
    "Mitigation": "audit",
    "Plan": "plan",
    "Progress": "audit",
    "Result": "result",
    "RunRecord": "record",
    "Table": "result",
    "compare": "store.views",
    "connect": "store.views",
    "load_plan": "plan_loading",
    "load_run": "runner",
    "mitigate": "api",
    "resume": "runner",
    "run": "runner",
}


class _CallableModule(ModuleType):
    """`assaymark.audit` is a module and a verb: called, it runs an audit (`assaymark.api.audit`)."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from assaymark.api import audit

        return audit(*args, **kwargs)


class _Package(ModuleType):
    """The import system binds the submodule `audit` over anything of that name; it is made callable when it does."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "audit" and type(value) is ModuleType:
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from assaymark.execution import version

        return version()
    if name == "audit":
        return importlib.import_module("assaymark.audit")
    if name not in _HOME:
        raise AttributeError(f"module 'assaymark' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"assaymark.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
