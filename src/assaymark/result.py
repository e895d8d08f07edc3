"""What an audit answers: `Result`, made of estimates, tables, figures, findings and provenance.

Everything here is frozen, carries a schema version, and survives the way to JSON and Arrow and back unchanged. A bare float
is never a result: a number is an `Estimate` with an interval, its n and its method, or *undefined* with a reason.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from assaymark.estimate import Estimate, Unit, format_estimate, format_interval, format_number, undefined
from assaymark.late import load_object

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "SCHEMA_VERSION",
    "Artifact",
    "Column",
    "Estimate",
    "Figure",
    "Finding",
    "Flow",
    "Provenance",
    "Result",
    "Severity",
    "Table",
    "Unit",
    "format_estimate",
    "format_interval",
    "format_number",
    "undefined",
]

SCHEMA_VERSION = 1
REPORT_WRITER = "assaymark.report.document:write_report"

Severity = Literal["critical", "warning", "note", "good"]
ColumnKind = Literal[
    "label",  # a name that may be shown to anybody: a category, a domain, a tag value
    "term",  # a word of a lexicon: masked in reports (first letter, then asterisks)
    "content",  # text or caption of a data row: never shown, replaced by its salted hash
    "url",  # reduced to registered domain + salted hash
    "id",  # identifier of a row or a person: salted hash
    "count",
    "number",
    "share",  # in [0, 1], shown as a percentage
    "points",  # a difference of shares, in [-1, 1], shown in percentage points
    "p_value",
    "low",  # lower limit of the column named in `of`
    "high",
    "flag",
    "text",  # our own words: a method, a reason
]
FigureKind = Literal["bars", "lines", "intervals", "heatmap", "histogram", "points", "picture"]


@dataclass(frozen=True, slots=True)
class Column:
    """What a table column holds, so that reports can title, format and redact it."""

    name: str
    kind: ColumnKind
    title: str = ""
    of: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(ColumnKind):
            raise ValueError(f"column {self.name!r}: unknown kind {self.kind!r}")
        if (self.kind in ("low", "high")) != bool(self.of):
            raise ValueError(f"column {self.name!r}: a limit, and only a limit, names the column it belongs to")


@dataclass(frozen=True, eq=False)
class Table:
    """A named Arrow table with described columns. An interval is three columns: `x`, and the limits `x_low`, `x_high`."""

    name: str
    title: str
    data: pa.Table
    columns: tuple[Column, ...]
    description: str = ""

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if names != self.data.column_names:
            raise ValueError(f"table {self.name!r}: described columns {names} are not the data's {self.data.column_names}")
        for column in self.columns:
            if column.of and column.of not in names:
                raise ValueError(f"table {self.name!r}: {column.name!r} is a limit of {column.of!r}, which is not a column")

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        values: Mapping[str, Any],
        columns: Sequence[Column],
        *,
        description: str = "",
    ) -> Table:
        """Table from `{column: sequence}`; the order is that of `columns`."""
        import pyarrow as pa

        data = pa.table({column.name: values[column.name] for column in columns})
        return cls(name, title, data, tuple(columns), description)

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        same = (self.name, self.title, self.columns, self.description)
        return same == (other.name, other.title, other.columns, other.description) and self.data.equals(other.data)

    __hash__ = None  # type: ignore[assignment]

    def rows(self) -> list[dict[str, Any]]:
        return list(self.data.to_pylist())

    def to_pandas(self) -> pd.DataFrame:
        return self.data.to_pandas()


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture described by the table it draws, so that it can be drawn again, checked, and read as numbers.

    `kind` chooses the drawing; `x`, `y`, `low`, `high`, `group` name columns of `table`. `reference` draws labelled lines at
    given values of y (of x for a histogram). `events` are labelled lines across lines, points and bars at given values of x (a
    category, or a number as text): `("2022-11", "ChatGPT")`; one outside the drawn range is left out.
    `kind="picture"` shows the ready-made image in `artifact` (file name in the run).
    """

    name: str
    title: str
    kind: FigureKind
    table: str = ""
    x: str = ""
    y: str = ""
    low: str = ""
    high: str = ""
    group: str = ""
    x_title: str = ""
    y_title: str = ""
    log_x: bool = False
    log_y: bool = False
    reference: tuple[tuple[float, str], ...] = ()
    caption: str = ""
    artifact: str = ""
    events: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence for a person, with what it rests on."""

    severity: Severity
    sentence: str
    estimates: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    advice: str = ""

    def __post_init__(self) -> None:
        if self.severity not in get_args(Severity):
            raise ValueError(f"unknown severity {self.severity!r}")


@dataclass(frozen=True)
class Flow:
    """Where the items of one input went: `total = used + skipped + failed`, with reasons."""

    source: str
    total: int
    used: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    unit: str = "rows"

    def __post_init__(self) -> None:
        accounted = self.used + sum(self.skipped.values()) + sum(self.failed.values())
        if accounted != self.total:
            raise ValueError(f"{self.source}: {self.total} in, but {accounted} accounted for")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a step leaves for later steps or for the user, relative to the run folder."""

    name: str
    kind: Literal["model", "table", "data", "document", "picture"]
    file: str
    description: str = ""
    private: bool = False


@dataclass(frozen=True)
class Provenance:
    """What a reader needs to repeat the measurement. `started` and `seconds` do not enter the fingerprint.

    `queries` compares what the audit said it would ask of models with what they computed; empty where it said nothing.
    """

    audit: str
    version: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    engine: str = "local"
    started: str = ""
    seconds: float = 0.0
    queries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Result:
    """The answer of one audit."""

    audit: str
    title: str
    estimates: Mapping[str, Estimate]
    tables: Mapping[str, Table] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    findings: tuple[Finding, ...] = ()
    flows: tuple[Flow, ...] = ()
    notes: tuple[str, ...] = ()
    methods: str = ""
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=lambda: Provenance("", "", 0))
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for name in ("estimates", "tables", "artifacts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        for key, table in self.tables.items():
            if key != table.name:
                raise ValueError(f"table {table.name!r} is filed under {key!r}")
        for figure in self.figures:
            if figure.table and figure.table not in self.tables:
                raise ValueError(f"figure {figure.name!r} draws {figure.table!r}, which is not a table of the result")
        for finding in self.findings:
            lost = [n for n in finding.estimates if n not in self.estimates]
            lost += [n for n in finding.tables if n not in self.tables]
            if lost:
                raise ValueError(f"a finding rests on {lost}, which the result does not hold")

    def __getitem__(self, name: str) -> Estimate:
        from assaymark.errors import UnknownName

        if name not in self.estimates:
            raise UnknownName("estimate", name, self.estimates)
        return self.estimates[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def replace(self, **changes: Any) -> Result:
        return replace(self, **changes)

    def report(self, path: str | Path, *, reveal: bool = False) -> Path:
        """Write the one-file HTML report (`.md` and `.json` by suffix) and return its path.

        What the audit redacted stays redacted; `reveal` keeps what it left in clear.
        """
        written: Path = load_object(REPORT_WRITER)(self, path, reveal=reveal)
        return written

    def fingerprint(self) -> str:
        """SHA-256 of everything that the same seed and input must give again: numbers, tables and findings.

        Times, paths, library versions and salted hashes (columns of kind id, content, url) stay out.
        """
        digest = hashlib.sha256()
        digest.update(json.dumps({k: asdict(v) for k, v in sorted(self.estimates.items())}, sort_keys=True).encode())
        for name, table in sorted(self.tables.items()):
            kept = [c.name for c in table.columns if c.kind not in ("id", "content", "url")]
            digest.update(name.encode())
            digest.update(json.dumps(table.data.select(kept).to_pylist(), sort_keys=True, default=str).encode())
        digest.update(json.dumps([asdict(f) for f in self.findings], sort_keys=True).encode())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """JSON-ready dictionary of everything but the tables' data, which stays in Arrow (see `store`)."""
        return {
            "schema_version": self.schema_version,
            "audit": self.audit,
            "title": self.title,
            "estimates": [{"name": name, **_plain(asdict(e))} for name, e in self.estimates.items()],
            "tables": [
                {
                    "name": t.name,
                    "title": t.title,
                    "description": t.description,
                    "rows": len(t),
                    "columns": [asdict(c) for c in t.columns],
                }
                for t in self.tables.values()
            ],
            "figures": [asdict(f) for f in self.figures],
            "findings": [asdict(f) for f in self.findings],
            "flows": [
                {
                    "source": f.source,
                    "unit": f.unit,
                    "total": f.total,
                    "used": f.used,
                    "skipped": dict(f.skipped),
                    "failed": dict(f.failed),
                }
                for f in self.flows
            ],
            "notes": list(self.notes),
            "methods": self.methods,
            "artifacts": [asdict(a) for a in self.artifacts.values()],
            "provenance": {f.name: _plain(getattr(self.provenance, f.name)) for f in fields(self.provenance)},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> Result:
        """Inverse of `to_json`, given the Arrow data of each table.

        Raises
        ------
        RunError
            When the record was written by another schema version.
        """
        from assaymark.errors import RunError

        if record.get("schema_version") != SCHEMA_VERSION:
            raise RunError(
                f"result has schema version {record.get('schema_version')!r}, this assaymark reads {SCHEMA_VERSION}: "
                "read it with the version named in its provenance, or run the audit again"
            )
        return cls(
            audit=record["audit"],
            title=record["title"],
            estimates={e["name"]: Estimate(**{k: v for k, v in e.items() if k != "name"}) for e in record["estimates"]},
            tables={
                t["name"]: Table(
                    t["name"], t["title"], tables[t["name"]], tuple(Column(**c) for c in t["columns"]), t["description"]
                )
                for t in record["tables"]
            },
            figures=tuple(_figure(f) for f in record["figures"]),
            findings=tuple(
                Finding(f["severity"], f["sentence"], tuple(f["estimates"]), tuple(f["tables"]), f["advice"])
                for f in record["findings"]
            ),
            flows=tuple(Flow(**f) for f in record["flows"]),
            notes=tuple(record["notes"]),
            methods=record["methods"],
            artifacts={a["name"]: Artifact(**a) for a in record["artifacts"]},
            provenance=Provenance(**record["provenance"]),
            schema_version=record["schema_version"],
        )


def _figure(record: Mapping[str, Any]) -> Figure:
    reference = tuple((float(value), str(label)) for value, label in record["reference"])
    events = tuple((str(at), str(label)) for at, label in record.get("events", ()))  # older records have none
    return Figure(**{**record, "reference": reference, "events": events})


def _plain(value: Any) -> Any:
    """JSON-ready copy; an infinite number becomes the string that `float` reads back, as strict JSON has none."""
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
