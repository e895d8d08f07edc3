"""A small audit that asks its models about every row, states that before, and can be told to state too little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from assaymark import catalog
from assaymark.audit import Audit, AuditInfo, InputSpec, ModelRole, Planting
from assaymark.budget import QueryPlan
from assaymark.config import AuditConfig
from assaymark.estimate import Estimate
from assaymark.models.fake_generator import FakeGenerator
from assaymark.models.spec import parse_spec
from assaymark.result import Result

ASKING = {"max_tokens": 5, "seed": 3}


class Remote(FakeGenerator):
    """A generator that says it is remote."""

    remote = True

    def __init__(self) -> None:
        super().__init__(parse_spec("fake:generator"))


class AskingConfig(AuditConfig):
    repeats: int = Field(1, ge=1, description="prompts for each row")
    understated: float = Field(1.0, gt=0, le=1, description="share of the queries that the plan owns up to")
    timed: bool = Field(False, description="measure the pace before the plan")
    silent: bool = Field(False, description="state no plan")
    inside: bool = Field(False, description="state the plan while a task is shown")


class Asking(Audit):
    info = AuditInfo(
        id="toy-asking",
        title="Toy asking",
        question="How long are the answers?",
        paper="A. Toy, 2026",
        inputs=(InputSpec("rows", "table", "a table with a column text"),),
        models=(ModelRole("generator", "answers", any_of=("generates-text",), required=True),),
    )
    Config = AskingConfig

    def run(self, inputs: Any, context: Any) -> Result:
        texts = inputs["rows"].read().column("text").to_pylist()
        prompts = [f"{text} {repeat}" for repeat in range(self.config.repeats) for text in texts]
        model = context.require("generator")
        if self.config.inside:
            with context.progress.task("asking", len(prompts)):
                self._plan(model, prompts, context)
        elif not self.config.silent:
            self._plan(model, prompts, context)
        said = model.generate_text(prompts, **ASKING)
        words = sum(len(answer.split()) for answers in said for answer in answers)
        mean = Estimate(words / len(prompts), 0.0, 5.0, len(prompts), "range 95 %")
        return Result("toy-asking", "Toy asking", {"words": mean})

    def _plan(self, model: Any, prompts: list[str], context: Any) -> None:
        def ask(some: Any) -> Any:
            return model.generate_text(some, **ASKING)

        pace = context.budget.time_first(model, ask, prompts) if self.config.timed else None
        queries = round(len(prompts) * self.config.understated)
        cached = model.known("generates-text", prompts[:queries], **ASKING)
        plan = QueryPlan(queries, 20 * queries, 5 * queries, cached, "answers", at_most=True, seconds_each=pace)
        context.budget.plan(plan)

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return Planting({"rows": write_rows(folder, 10)}, {"words": 5.0}, models={"generator": "fake:generator"}, null=null)


def write_rows(folder: Path, rows: int) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"text": [f"row {row}" for row in range(rows)]}), path)
    return path


def install(set_attribute: Any) -> None:
    set_attribute(catalog, "AUDITS", {"toy-asking": "asking_audit:Asking"})
    set_attribute(catalog, "MITIGATIONS", {"toy-asking": "asking_audit:Asking"})
