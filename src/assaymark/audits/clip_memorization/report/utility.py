"""What the audited model is good for, and the reference beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assaymark.audits.clip_memorization.measures.utility import Utility
from assaymark.result import Column, Estimate, Table
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["utility_estimates", "utility_section"]

MODELS = {"f": "model", "g": "reference"}


def utility_estimates(found: Utility) -> dict[str, Estimate]:
    """Zero-shot accuracy, recall by direction and depth, accuracy of the probe."""
    recalls = {f"retrieval.{one.direction.replace(' ', '_')}.r{one.k}": one.recall for one in found.retrieval}
    return {"zero_shot": found.zero_shot, **recalls, "linear_probe": found.probe.accuracy}


def utility_section(by_model: Mapping[str, Utility]) -> Section:
    """Estimates of the audited model and a table of both."""
    section = Section(estimates={f"utility.{name}": e for name, e in utility_estimates(by_model["f"]).items()})
    rows: list[tuple[str, str, Estimate, float | None]] = []
    for model, found in by_model.items():
        rows.append((MODELS[model], "zero-shot accuracy", found.zero_shot, 1 / found.classes if found.classes else None))
        rows += [(MODELS[model], f"{one.direction}, R@{one.k}", one.recall, _number(one.chance)) for one in found.retrieval]
        rows.append((MODELS[model], "linear probe", found.probe.accuracy, None))
    values: dict[str, Any] = {
        "model": [row[0] for row in rows],
        "measure": [row[1] for row in rows],
        **interval_values("share", (row[2] for row in rows)),
        "chance": [row[3] for row in rows],
        "reason": [row[2].reason for row in rows],
    }
    columns = (
        Column("model", "label"), Column("measure", "label"), *interval_columns("share", "share", "right"),
        Column("chance", "number", "by chance"), Column("reason", "text"),
    )  # fmt: skip
    section.tables.append(Table.of("utility", "What the models are good for, on held-out pairs", values, columns))
    return section


def _number(value: float) -> float | None:
    return value if value == value else None
