"""A part of a result: what one probe or one question contributes. An audit is the sum of its sections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from assaymark.result import Artifact, Column, ColumnKind, Estimate, Figure, Finding, Flow, Result, Table, undefined

__all__ = ["Section", "assemble", "exact_count", "interval_columns", "interval_values"]

T = TypeVar("T")
_ORDER = {"critical": 0, "warning": 1, "note": 2, "good": 3}


@dataclass
class Section:
    """Grows while a room writes it; `assemble` freezes all sections into a `Result`."""

    estimates: dict[str, Estimate] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)


def assemble(
    sections: Iterable[Section], *, audit: str, title: str, flows: Iterable[Flow], notes: Iterable[str] = ()
) -> Result:
    """One result from sections in reading order; findings are sorted, worst first.

    Raises
    ------
    ValueError
        When two sections use one name for an estimate, table or artifact: a silent overwrite would lose a number.
    """
    parts = list(sections)
    return Result(
        audit=audit,
        title=title,
        estimates=_merged("estimate", [part.estimates for part in parts]),
        tables=_merged("table", [{table.name: table for table in part.tables} for part in parts]),
        figures=tuple(figure for part in parts for figure in part.figures),
        findings=tuple(sorted((f for part in parts for f in part.findings), key=lambda f: _ORDER[f.severity])),
        flows=tuple(flows),
        notes=(*notes, *(note for part in parts for note in part.notes)),
        methods=" ".join(sentence for part in parts for sentence in part.methods),
        artifacts=_merged("artifact", [{artifact.name: artifact for artifact in part.artifacts} for part in parts]),
    )


def _merged(kind: str, mappings: list[dict[str, T]]) -> Mapping[str, T]:
    merged: dict[str, T] = {}
    for mapping in mappings:
        for name, value in mapping.items():
            if name in merged:
                raise ValueError(f"two sections hold a {kind} named {name!r}")
            merged[name] = value
    return merged


def interval_columns(name: str, kind: ColumnKind, title: str) -> tuple[Column, Column, Column]:
    """The three columns of an estimate in a table: the value and its two limits."""
    return Column(name, kind, title), Column(f"{name}_low", "low", of=name), Column(f"{name}_high", "high", of=name)


def interval_values(name: str, estimates: Iterable[Estimate]) -> dict[str, list[float | None]]:
    """Values for `interval_columns`, null where an estimate is undefined."""
    items = list(estimates)
    return {
        name: [item.value for item in items],
        f"{name}_low": [item.low for item in items],
        f"{name}_high": [item.high for item in items],
    }


def exact_count(count: int, *, of: int | None = None, method: str = "count of all rows") -> Estimate:
    """A count of everything there is: known without error, so its interval has no width.

    `of` is how many were looked at, when only some of them count: then none is an answer, 0.
    """
    looked_at = count if of is None else of
    return (
        Estimate(count, count, count, looked_at, method, "count")
        if looked_at
        else undefined("there are no rows", method=method, unit="count")
    )
