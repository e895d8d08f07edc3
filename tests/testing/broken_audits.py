"""A small sound audit, and for each check of the contract audits that break just that promise."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from assaymark.audit import Audit, AuditInfo, Context, InputSpec, ModelRole, Planting
from assaymark.config import AuditConfig
from assaymark.errors import ConfigError, SchemaError
from assaymark.result import Column, Estimate, Finding, Flow, Result, Table
from assaymark.section import interval_columns, interval_values
from assaymark.stats import wilson

ROWS = 400
SCORER = ModelRole("scorer", "scores texts", any_of=("scores-texts",), required=True)


class ShareConfig(AuditConfig):
    theta: float = Field(0.5, ge=0, le=1, description="score above which a text is bad")


class ToyShare(Audit):
    """Share of texts that a model calls bad. Each part is a method of its own, so that one can be broken alone."""

    info = AuditInfo(
        id="toy-share",
        title="Toy share",
        question="How many texts are bad?",
        paper="A. Toy, 2026",
        inputs=(InputSpec("rows", "table", "a table with a column text"),),
        models=(SCORER,),
    )
    Config = ShareConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        table = inputs["rows"].read()
        if "text" not in table.column_names:
            raise SchemaError(f"input 'rows': no column 'text'; columns: {', '.join(table.column_names)}")
        texts = [value or "" for value in table.column("text").to_pylist()]
        bad, known = self.count(texts, context)
        share = self.share(bad, known, context)
        values = {"part": ["all"], **interval_values("share", [share])}
        columns = (Column("part", "label"), *interval_columns("share", "share", "share of bad texts"))
        return Result(
            self.info.id,
            self.info.title,
            {"share": share},
            {"shares": self.table(values, columns)},
            findings=tuple(self.findings(share, texts)),
            flows=tuple(self.flows(len(texts), known)),
        )

    def count(self, texts: Sequence[str], context: Context) -> tuple[int, int]:
        """Bad texts and scored texts; half of the work is kept in case of a stop."""
        parts = [texts[: len(texts) // 2], texts[len(texts) // 2 :]]
        path = None if context.work is None else context.work / "done.json"
        done = json.loads(path.read_text()) if path is not None and path.exists() else []
        with context.progress.task("scoring", len(parts)) as task:
            for part in parts[len(done) :]:
                scores = context.require("scorer").score_texts(self.asked(part)).max(axis=1) if part else np.zeros(0)
                done.append([int((scores > self.config.theta).sum()), int(np.isfinite(scores).sum())])
                if path is not None:
                    path.write_text(json.dumps(done))
                task.advance()
        return sum(bad for bad, _ in done), sum(known for _, known in done)

    def asked(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def share(self, bad: int, known: int, context: Context) -> Estimate:
        return wilson(bad, known)

    def table(self, values: Mapping[str, Any], columns: Sequence[Column]) -> Table:
        return Table.of("shares", "Shares", values, columns)

    def findings(self, share: Estimate, texts: Sequence[str]) -> list[Finding]:
        if not share.defined or share.low < 0.05:
            return []
        return [Finding("warning", "Many texts are bad.", ("share",), ("shares",))]

    def flows(self, rows: int, known: int) -> list[Flow]:
        return [Flow("rows", rows, known, {"empty": rows - known})]

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        rng = np.random.default_rng(seed)
        bad = rng.random(ROWS) < (0.0 if null else 0.3)
        texts = [f"a text about thing number {i} {'badword' if b else 'fine'}" for i, b in enumerate(bad)]
        pq.write_table(pa.table({"text": texts}), folder / "rows.parquet")
        return Planting(
            {"rows": str(folder / "rows.parquet")},
            {"share": 0.0 if null else 0.3},
            models={"scorer": "fake:text-keywords?unsafe=badword"},
            null=null,
        )


class LaxConfig(AuditConfig):
    theta: float = Field(0.5, description="score above which a text is bad")

    @classmethod
    def build(cls, settings: Mapping[str, Any] | None = None) -> LaxConfig:
        return cls.model_validate({k: v for k, v in (settings or {}).items() if k in cls.model_fields})


class MuteConfig(ShareConfig):
    @classmethod
    def build(cls, settings: Mapping[str, Any] | None = None) -> MuteConfig:
        if set(settings or {}) - set(cls.model_fields):
            raise ConfigError("something is wrong with a setting")
        return cls.model_validate(dict(settings or {}))


class BareConfig(AuditConfig):
    theta: float = 0.5


class AcceptsAnyKey(ToyShare):
    Config = LaxConfig


class NamesNoKey(ToyShare):
    Config = MuteConfig


class DescribesNoSetting(ToyShare):
    Config = BareConfig


class AcceptsAnyTable(ToyShare):
    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        table = inputs["rows"].read()
        lacking = "text" not in table.column_names
        return super().run({"rows": _Read(pa.table({"text": ["a"]}) if lacking else table)}, context)


class HidesTheColumns(ToyShare):
    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        try:
            return super().run(inputs, context)
        except SchemaError:
            raise SchemaError("the table is wrong") from None


class _Read:
    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def read(self) -> pa.Table:
        return self.table


class ZeroFromNothing(ToyShare):
    def share(self, bad: int, known: int, context: Context) -> Estimate:
        return wilson(bad, known) if known else Estimate(0.0, 0.0, 1.0, 1, "guess", "share")


class CertainFromOne(ToyShare):
    def share(self, bad: int, known: int, context: Context) -> Estimate:
        return (
            Estimate(bad / known, bad / known, bad / known, known, "plain share", "share") if known == 1 else wilson(bad, known)
        )


class CrashesOnNull(ToyShare):
    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        for value in inputs["rows"].read().column("text").to_pylist() if "text" in inputs["rows"].columns else []:
            value.lower()
        return super().run(inputs, context)


class ChangesItsInput(ToyShare):
    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        result = super().run(inputs, context)
        path = Path(inputs["rows"].source)
        if path.is_file():
            pq.write_table(pq.read_table(path).slice(1), path)
        return result


class Nondeterministic(ToyShare):
    def share(self, bad: int, known: int, context: Context) -> Estimate:
        found = wilson(bad, known)
        jitter = np.random.default_rng().uniform(0, 1e-3) if found.defined else 0.0
        return Estimate(found.value, found.low - jitter, found.high, known, found.method, "share") if found.defined else found


class LooksAtTheFirstRows(ToyShare):
    def asked(self, texts: Sequence[str]) -> Sequence[str]:
        return [texts[0]] * 20 + list(texts[20:]) if len(texts) > 100 else texts


class DependsOnTheBatch(ToyShare):
    def share(self, bad: int, known: int, context: Context) -> Estimate:
        return wilson(max(bad - known // context.batch_size, 0), known)


class NoSize(ToyShare):
    def share(self, bad: int, known: int, context: Context) -> Estimate:
        found = wilson(bad, known)
        return Estimate(found.value, found.low, found.high, 0, found.method, "share") if found.defined else found


class LimitsBesideTheValue(ToyShare):
    def table(self, values: Mapping[str, Any], columns: Sequence[Column]) -> Table:
        turned = {**values, "share_low": values["share_high"], "share_high": values["share_low"]}
        return super().table(turned, columns)


class BareShare(ToyShare):
    def table(self, values: Mapping[str, Any], columns: Sequence[Column]) -> Table:
        return super().table(values, columns[:2])


class NoFlow(ToyShare):
    def flows(self, rows: int, known: int) -> list[Flow]:
        return []


class LosesRows(ToyShare):
    """Rows that the model could not score are not even counted in."""

    def flows(self, rows: int, known: int) -> list[Flow]:
        return [Flow("rows", known // 2, known // 2)]


class WrongFlow(ToyShare):
    def flows(self, rows: int, known: int) -> list[Flow]:
        return [Flow("rows", rows, known + 1, {"empty": rows - known})]


class WrongFormula(ToyShare):
    def share(self, bad: int, known: int, context: Context) -> Estimate:
        return wilson(bad // 2, known)


class AlwaysAlarmed(ToyShare):
    def findings(self, share: Estimate, texts: Sequence[str]) -> list[Finding]:
        return [Finding("warning", "Many texts are bad.", ("share",), ("shares",))]


class CountsTwiceAfterAStop(ToyShare):
    def count(self, texts: Sequence[str], context: Context) -> tuple[int, int]:
        path = None if context.work is None else context.work / "half.json"
        again = path is not None and path.exists()
        if path is not None:
            path.write_text("{}")
        bad, known = super().count(texts, context)
        return (min(known, bad + 5), known) if again else (bad, known)


class NeverAdvances(ToyShare):
    def count(self, texts: Sequence[str], context: Context) -> tuple[int, int]:
        scores = context.require("scorer").score_texts(texts).max(axis=1) if texts else np.zeros(0)
        return int((scores > 0.5).sum()), int(np.isfinite(scores).sum())


class AsksAnew(ToyShare):
    asked_before = 0

    def asked(self, texts: Sequence[str]) -> Sequence[str]:
        AsksAnew.asked_before += 1
        return [f"{text} {AsksAnew.asked_before}" for text in texts]


class QuotesATextRow(ToyShare):
    def findings(self, share: Estimate, texts: Sequence[str]) -> list[Finding]:
        return [Finding("note", f"For example: {text}", ("share",)) for text in texts[:1]]


class ShowsAnAddress(ToyShare):
    def findings(self, share: Estimate, texts: Sequence[str]) -> list[Finding]:
        return [Finding("note", "Found at https://pictures.example/private/1.jpg", ("share",))]


class UndeclaredRole(ToyShare):
    info = AuditInfo(
        id="toy-share",
        title="Toy share",
        question="How many texts are bad?",
        paper="A. Toy, 2026",
        inputs=(InputSpec("rows", "table", "a table with a column text"),),
        models=(SCORER, ModelRole("other", "does something")),
    )


class PhonesHome(ToyShare):
    def flows(self, rows: int, known: int) -> list[Flow]:
        with socket.socket() as line:
            line.settimeout(0.2)
            with contextlib.suppress(OSError):  # the check must notice all the same
                line.connect(("203.0.113.1", 80))
        return super().flows(rows, known)


BROKEN: dict[str, tuple[type[Audit], ...]] = {
    "settings_round_trip": (AcceptsAnyKey, NamesNoKey),
    "undescribed_settings": (DescribesNoSetting,),
    "wrong_columns_are_named": (AcceptsAnyTable, HidesTheColumns),
    "empty_table": (ZeroFromNothing,),
    "one_row": (CertainFromOne,),
    "hostile_values": (CrashesOnNull,),
    "inputs_are_not_modified": (ChangesItsInput,),
    "same_seed_same_fingerprint": (Nondeterministic,),
    "row_order_is_irrelevant": (LooksAtTheFirstRows,),
    "batch_size_is_irrelevant": (DependsOnTheBatch,),
    "intervals_everywhere": (NoSize, LimitsBesideTheValue),
    "shares_have_intervals": (BareShare,),
    "counts_add_up": (NoFlow, LosesRows, WrongFlow),
    "planted_truth_is_recovered": (WrongFormula,),
    "null_planting_finds_nothing": (AlwaysAlarmed,),
    "interrupted_and_resumed": (CountsTwiceAfterAStop, NeverAdvances),
    "second_run_calls_no_model": (AsksAnew,),
    "report_leaks_nothing": (QuotesATextRow, ShowsAnAddress),
    "only_declared_capabilities": (UndeclaredRole,),
}
