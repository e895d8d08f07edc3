"""Tiny audits with known answers, and stand-ins for the parts that open inputs and models, redact and draw.

`install(set_attribute)` puts them in place; a test hands in `monkeypatch.setattr`, a subprocess plain `setattr`.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from assaymark import catalog
from assaymark.audit import Audit, AuditInfo, InputSpec, Mitigation, ModelRole, Planting
from assaymark.config import AuditConfig
from assaymark.errors import EndpointError
from assaymark.result import Artifact, Column, Estimate, Figure, Finding, Result, Table, undefined


class MeanConfig(AuditConfig):
    level: float = Field(0.5, ge=0, le=1, description="what counts as high")
    words: tuple[str, ...] = Field((), description="words or files of words")
    files: tuple[Path, ...] = Field((), description="files")
    kill: bool = Field(False, description="die once, half-way")
    fail: str = Field("", description="defect, mistake, disk or interrupt")
    fail_unless: str = Field("", description="file whose presence mends the failure")


class ToyMean(Audit):
    info = AuditInfo(
        id="toy-mean",
        title="Toy mean",
        question="How large are the values?",
        paper="A. Toy, 2026",
        inputs=(
            InputSpec("values", "table", "a table with a column x"),
            InputSpec("labels", "table", "a second table", required=False),
        ),
        models=(
            ModelRole("scorer", "scores texts", any_of=("scores-texts",)),
            ModelRole("head", "scores embeddings", any_of=("scores-embeddings",)),
        ),
        cost="seconds",
        limits="a toy",
    )
    Config = MeanConfig

    def run(self, inputs: Any, context: Any) -> Result:
        values = inputs["values"].table.column("x").to_pylist()
        total = 0.0
        with context.progress.task("adding", len(values)) as task:
            start = self._checkpoint(context)
            for index, value in enumerate(values):
                total += value
                task.advance()
                if start is None and index == len(values) // 2 and context.work is not None:
                    (context.work / "half.json").write_text(json.dumps({"at": index}))
                    self._fail(context)
        context.log("added", continued=start is not None)
        draw = float(context.rng("noise").normal())
        high = sum(value > self.config.level for value in values)
        estimates = {
            "mean": Estimate(total / len(values), min(values), max(values), len(values), "range 95 %"),
            "share.high": Estimate(high / len(values), 0.0, 1.0, len(values), "Wilson 95 %", "share"),
            "noise": Estimate(draw, draw - 1, draw + 1, 1, "normal 95 %"),
            "ratio": Estimate(1.0, 0.5, float("inf"), 3, "log 95 %", "ratio"),
            "none": undefined("nothing was asked", unit="share"),
        }
        columns = (Column("name", "label"), Column("x", "number"))
        table = Table.of("values", "Values", {"name": ["a"] * len(values), "x": values}, columns)
        artifacts = {}
        if context.artifacts is not None:
            pq.write_table(inputs["values"].table, context.artifacts / "kept.parquet")
            artifacts = {"kept": Artifact("kept", "table", "kept.parquet")}
        return Result(
            "toy-mean",
            "Toy mean",
            estimates,
            {"values": table},
            (Figure("bars", "Values", "bars", table="values", x="name", y="x"),),
            (Finding("warning", "The mean is [bold]large[/bold].\x1b[31m", ("mean",), ("values",), "Look at it."),),
            notes=tuple(
                f"{key}={value}" for key, value in sorted(self.config.model_dump(mode="json").items()) if key == "words"
            ),
            artifacts=artifacts,
        )

    def _checkpoint(self, context: Any) -> dict[str, int] | None:
        path = context.work / "half.json" if context.work is not None else None
        return json.loads(path.read_text()) if path is not None and path.exists() else None

    def _fail(self, context: Any) -> None:
        if self.config.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.config.fail_unless and Path(self.config.fail_unless).exists():
            return
        failures: dict[str, BaseException] = {
            "defect": TypeError("secret content of a row"),
            "mistake": EndpointError("server is down:\nstart it"),
            "disk": OSError(28, "No space left on device"),
            "interrupt": KeyboardInterrupt(),
        }
        if self.config.fail:
            (context.work / "half.json").unlink()
            raise failures[self.config.fail]

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        pq.write_table(pa.table({"x": [1.0, 2.0, 3.0]}), folder / "values.parquet")
        return Planting({"values": folder / "values.parquet"}, {"mean": 2.0})


class ToyFilter(Mitigation):
    info = ToyMean.info
    Config = MeanConfig

    def run(self, inputs: Any, context: Any) -> Result:
        return ToyMean(self.config).run(inputs, context).replace(title="Toy filter")


def named_toy(audit_id: str, inputs: tuple[str, ...], roles: tuple[str, ...] = (), artifact: str = "") -> type[Audit]:
    """An audit that only checks what it is given, under the names of the plan in the design."""

    class Config(AuditConfig):
        lexicons: tuple[str, ...] = Field((), description="files")
        terms: tuple[str, ...] = Field((), description="files")

    class Named(ToyMean):
        info: ClassVar[AuditInfo] = AuditInfo(
            id=audit_id,
            title=audit_id,
            question="?",
            paper="-",
            inputs=tuple(InputSpec(name, "table", name) for name in inputs),
            models=tuple(ModelRole(role, role) for role in roles),
        )

        def run(self, inputs: Any, context: Any) -> Result:
            artifacts = {}
            if artifact:
                (context.artifacts / "model.json").write_text("{}")
                artifacts = {artifact: Artifact(artifact, "model", "model.json")}
            given = {role: model.spec for role, model in context.models.items()}
            facts = {"models": given, "settings": self.config.model_dump(mode="json")}
            facts["inputs"] = {name: value.source for name, value in inputs.items()}
            return Result(audit_id, audit_id, {}, notes=(json.dumps(facts),), artifacts=artifacts)

    Named.Config = Config  # type: ignore[misc]
    return Named


ImageOffensiveness = named_toy("image-offensiveness", ("ratings",))
ScorerMixture = named_toy("scorer-mixture", ("scores",), artifact="mixture")
ImageTextToy = named_toy("image-text-dataset", ("pairs",), ("image_unsafe", "text_toxicity", "dual_encoder"))


class OpenedTable:
    format = "parquet"

    def __init__(self, path: Any, schema: Any) -> None:
        self.source, self.schema = str(path), schema
        if isinstance(path, pa.Table):
            self.source, self.table = "in memory", path
        elif "://" not in str(path) and Path(str(path)).suffix == ".parquet":
            self.table = pq.read_table(path)
        else:
            self.table = pa.table({"x": [0.0]})
        self.rows = self.table.num_rows
        self.fingerprint = str(self.table.to_pydict())


class OpenedModel:
    fingerprint, calls = "f00d", 0

    def __init__(self, spec: str) -> None:
        self.spec = spec


def _draw(figure: Any, tables: Any, **_: Any) -> str:
    return f"<svg><title>{figure.title}</title></svg>"


def _write_report(result: Any, path: Any, **_: Any) -> Path:
    Path(path).write_text(f"report of {getattr(result, 'name', result)}")
    return Path(path)


def _module(name: str) -> types.ModuleType:
    """The real module where it exists already, else an empty one in its place."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module = sys.modules[name] = types.ModuleType(name)
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, module)
        return module


def install(set_attribute: Any) -> None:
    toys = {"toy-mean": "ToyMean"}
    design = {
        "image-offensiveness": "ImageOffensiveness",
        "scorer-mixture": "ScorerMixture",
        "image-text-dataset": "ImageTextToy",
    }
    set_attribute(catalog, "AUDITS", {id_: f"toy_audits:{name}" for id_, name in {**toys, **design}.items()})
    set_attribute(
        catalog,
        "MITIGATIONS",
        {"toy-mean": "toy_audits:ToyFilter", "image-offensiveness": "toy_audits:ImageOffensiveness"},
    )

    def patch(module: str, name: str, value: Any) -> None:
        set_attribute(_module(module), name, value, *(() if set_attribute is setattr else (False,)))

    patch("assaymark.data", "open_input", lambda kind, value, *, name, schema="auto": OpenedTable(value, schema))
    patch("assaymark.models", "open_role", lambda role, spec, **_: spec if not isinstance(spec, str) else OpenedModel(spec))
    patch("assaymark.store.cache", "ModelCache", lambda path: None)
    patch("assaymark.report.redaction", "redact", lambda result, *, salt, reveal: result)
    patch("assaymark.report.figures", "draw", _draw)
    patch("assaymark.report", "write_report", _write_report)
