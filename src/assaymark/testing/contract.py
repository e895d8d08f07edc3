"""The contract that every audit keeps, as named checks on its planted inputs.

Each check takes a `Case` and raises `AssertionError` with one sentence when the audit breaks its promise. `check_audit` runs
all of them; a test suite can parametrise over `CHECKS` to see them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audit import Audit, Planting, Progress
from assaymark.catalog import load_audit
from assaymark.errors import AssaymarkError, ConfigError, SchemaError
from assaymark.execution import execute
from assaymark.report.redaction import leaks
from assaymark.result import Result, Table
from assaymark.store.cache import ModelCache
from assaymark.testing.network import no_network

__all__ = ["CHECKS", "Case", "check_audit", "run_checks"]


@dataclass
class Case:
    """One audit with its planted inputs in a scratch folder; results that several checks look at are computed once."""

    audit: type[Audit]
    folder: Path
    seed: int = 0
    _memo: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def planting(self) -> Planting:
        planting = self.audit.planted(self.seed, self._sub("planted"))
        self.remember(planting)
        return planting

    def remember(self, planting: Planting) -> None:
        """Before anything runs: a later first look would take an already modified file for the original."""
        self._memo["digests"] = {name: _digest(value) for name, value in planting.inputs.items()}

    @property
    def digests(self) -> dict[str, Any]:
        """What the planted inputs looked like when they were made."""
        return dict(self._memo["digests"]) if self.planting else {}

    @cached_property
    def null_planting(self) -> Planting:
        return self.audit.planted(self.seed, self._sub("null"), null=True)

    @cached_property
    def cache(self) -> ModelCache:
        return ModelCache(self.folder / "cache.sqlite")

    @cached_property
    def result(self) -> Result:
        return self.run(self.planting)

    def run(self, planting: Planting, **changes: Any) -> Result:
        given = {name: dict(getattr(planting, name)) for name in ("inputs", "models", "settings")}
        return execute(self.audit, **{**given, "seed": self.seed, "cache": self.cache, **changes})

    def _sub(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def first_table(self) -> tuple[str, pa.Table]:
        """The first required input as one Arrow table."""
        spec = next((spec for spec in self.audit.info.inputs if spec.required), self.audit.info.inputs[0])
        return spec.name, as_table(self.planting.inputs[spec.name])

    def with_table(self, table: pa.Table, **changes: Any) -> Result:
        """Run on another table in the place of the first required input, alone."""
        name, _ = self.first_table()
        return self.run(self.planting, inputs={name: table}, **changes)


def as_table(value: Any) -> pa.Table:
    """An input as Arrow: a table as it is, a Parquet file or folder read whole."""
    if isinstance(value, pa.Table):
        return value
    path = Path(str(value))
    files = sorted(path.glob("*.parquet")) if path.is_dir() else sorted(path.parent.glob(path.name))
    return pa.concat_tables([pq.read_table(file) for file in files], promote_options="default")


def settings_round_trip(case: Case) -> None:
    """Settings survive JSON, refuse an unknown key, and name the nearest known one."""
    config = case.audit.Config.build(case.planting.settings)
    assert case.audit.Config.build(config.model_dump(mode="json")) == config, "settings change on their way through JSON"
    known = next(iter(case.audit.Config.model_fields))
    try:
        case.audit.Config.build({known + "x": 1})
    except ConfigError as error:
        assert known in str(error), f"the error for {known + 'x'!r} does not offer {known!r}"
    else:
        raise AssertionError("an unknown setting was accepted")


def undescribed_settings(case: Case) -> None:
    """Every setting has a description that `describe` can show."""
    bare = [name for name, info in case.audit.Config.model_fields.items() if not info.description]
    assert not bare, f"settings without a description: {bare}"


def wrong_columns_are_named(case: Case) -> None:
    """A table without any expected column is a SchemaError that shows the columns there are."""
    try:
        case.with_table(pa.table({"zz_unrelated": pa.array([1, 2, 3])}))
    except SchemaError as error:
        assert "zz_unrelated" in str(error), f"the error does not show the columns of the table: {error}"
    else:
        raise AssertionError("a table without any known column was accepted")


def missing_input_is_named(case: Case) -> None:
    """Leaving out a required input is an error that names it."""
    name, _ = case.first_table()
    try:
        case.run(case.planting, inputs={})
    except AssaymarkError as error:
        assert name in str(error), f"the error does not name the input {name!r}: {error}"
    else:
        raise AssertionError("a missing required input was accepted")


def empty_table(case: Case) -> None:
    """Zero rows: every rate is undefined with a reason, none is 0."""
    result = case.with_table(case.first_table()[1].slice(0, 0))
    rates = {name: e for name, e in result.estimates.items() if e.unit in ("share", "ratio", "percentage points")}
    wrong = [name for name, e in rates.items() if e.defined]
    assert not wrong, f"defined from zero rows: {wrong}"


def one_row(case: Case) -> None:
    """One row is enough to run; what it cannot tell is undefined or has a wide interval."""
    result = case.with_table(case.first_table()[1].slice(0, 1))
    narrow = [name for name, e in result.estimates.items() if e.unit == "share" and e.defined and e.high - e.low < 0.2]  # type: ignore[operator]
    assert not narrow, f"certain after one row: {narrow}"


def hostile_values(case: Case) -> None:
    """NaN, nulls, duplicate rows and non-ASCII text are measured or counted as skipped, and never crash the run."""
    _, table = case.first_table()
    table = pa.concat_tables([table.slice(0, 50), table.slice(0, 50)])
    for i, column in enumerate(table.schema):
        values: list[Any] = table.column(i).to_pylist()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            values[:5] = [None, "", "\u202eمرحبا\x00", "=cmd()|<script>alert(1)</script>", "ｚ０\u200b 😀 ß İ"]
        elif pa.types.is_floating(column.type):
            values[:2] = [float("nan"), None]
        table = table.set_column(i, column, pa.array(values, column.type))
    case.with_table(table)


def inputs_are_not_modified(case: Case) -> None:
    """The user's files and tables are the same before and after."""
    _ = case.result
    changed = [name for name, value in case.planting.inputs.items() if _digest(value) != case.digests[name]]
    assert not changed, f"inputs changed: {changed}"


def _digest(value: Any) -> Any:
    import hashlib

    if isinstance(value, pa.Table):
        return hashlib.sha256(str(value.to_pydict()).encode()).hexdigest()
    path = Path(str(value))
    files = sorted(path.rglob("*")) if path.is_dir() else sorted(path.parent.glob(path.name))
    return [(str(f), hashlib.sha256(f.read_bytes()).hexdigest()) for f in files if f.is_file()]


def same_seed_same_fingerprint(case: Case) -> None:
    assert case.run(case.planting).fingerprint() == case.result.fingerprint(), "two runs with one seed differ"


def row_order_is_irrelevant(case: Case) -> None:
    """Shuffling the rows of the first input changes no estimate."""
    name, table = case.first_table()
    shuffled = table.take(np.random.default_rng(5).permutation(table.num_rows))
    _same_estimates(
        case.run(case.planting, inputs={name: table}), case.run(case.planting, inputs={name: shuffled}), "row order"
    )


def batch_size_is_irrelevant(case: Case) -> None:
    small = case.run(case.planting, batch_size=7, cache=None)
    _same_estimates(case.result, small, "batch size")


def _same_estimates(a: Result, b: Result, what: str) -> None:
    differing = [
        name
        for name in {*a.estimates, *b.estimates}
        if name not in a.estimates
        or name not in b.estimates
        or not _close(a.estimates[name].value, b.estimates[name].value)
        or not _close(a.estimates[name].high, b.estimates[name].high)
    ]
    assert not differing, f"{what} changes {sorted(differing)[:5]}"


def _close(a: float | None, b: float | None) -> bool:
    return a is b or (a is not None and b is not None and (a == b or abs(a - b) <= 1e-5 * max(1.0, abs(a))))


def intervals_everywhere(case: Case) -> None:
    """Every estimate has n and method; in tables, low <= value <= high row by row."""
    for name, estimate in case.result.estimates.items():
        assert estimate.method, f"{name} has no method"
        assert not estimate.defined or estimate.n > 0, f"{name} is defined with n = 0"
    for table in case.result.tables.values():
        for column in table.columns:
            if column.kind in ("low", "high"):
                _limit_holds(table, column.name, column.of, column.kind)


def _limit_holds(table: Table, limit: str, of: str, kind: str) -> None:
    for row in table.rows():
        a, b = row[limit], row[of]
        if a is not None and b is not None:
            assert a <= b + 1e-12 if kind == "low" else a >= b - 1e-12, f"{table.name}: {limit} = {a} beside {of} = {b}"


def shares_have_intervals(case: Case) -> None:
    """A share in a table stands beside its limits."""
    for table in case.result.tables.values():
        limited = {column.of for column in table.columns if column.of}
        bare = [column.name for column in table.columns if column.kind in ("share", "points") and column.name not in limited]
        assert not bare, f"table {table.name}: shares without interval: {bare}"


def counts_add_up(case: Case) -> None:
    """Some flow starts from all rows of the first input; that in = used + skipped + failed is checked where flows are made."""
    assert case.result.flows, "the result does not say how many items went in and where they went"
    rows, totals = case.first_table()[1].num_rows, [flow.total for flow in case.result.flows]
    assert rows in totals, f"no flow starts from the {rows} rows of the first input: {totals}"


def planted_truth_is_recovered(case: Case) -> None:
    """Each planted number lies in a widened interval: one seed proves no coverage, but a wrong formula shows."""
    assert case.planting.truth, "nothing is planted"
    lost = {}
    for name, truth in case.planting.truth.items():
        estimate = case.result[name]
        if not estimate.defined:
            lost[name] = f"undefined: {estimate.reason}"
            continue
        low, value, high = float(estimate.low or 0), float(estimate.value or 0), float(estimate.high or 0)
        slack = 1e-9 + 1e-6 * abs(truth)
        if not value - 2.5 * (value - low) - slack <= truth <= value + 2.5 * (high - value) + slack:
            lost[name] = f"planted {truth:g}, found {value:g} ({low:g} to {high:g})"
    assert not lost, f"planted truth not recovered: {lost}"


def null_planting_finds_nothing(case: Case) -> None:
    result = case.run(case.null_planting)
    loud = [finding.sentence for finding in result.findings if finding.severity in ("critical", "warning")]
    assert not loud, f"found in data where nothing is planted: {loud}"


class _Interrupting(Progress):
    """Raises in the middle: at the second advance of any task."""

    def __init__(self) -> None:
        self.advances = 0

    @contextmanager
    def task(self, title: str, total: int | None = None, unit: str = "rows") -> Iterator[Any]:
        yield self

    def expect(self, total: int) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        self.advances += 1
        if self.advances == 2:
            raise KeyboardInterrupt


def interrupted_and_resumed(case: Case) -> None:
    """Stopped in the middle and started again in the same folder, the answer is that of an undisturbed run."""
    folder = case._sub("interrupted")
    try:
        case.run(case.planting, folder=folder, progress=_Interrupting())
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the audit reports no advance in between, so a long run could not be shown or stopped")
    assert case.run(case.planting, folder=folder).fingerprint() == case.result.fingerprint(), "resumed run differs"


def second_run_calls_no_model(case: Case) -> None:
    _ = case.result
    calls = {role: facts.get("calls", 0) for role, facts in case.run(case.planting).provenance.models.items()}
    assert not any(calls.values()), f"models were called again although their answers are cached: {calls}"


def report_leaks_nothing(case: Case) -> None:
    """One file, no outside reference, no raw text or URL of the input."""
    path = case.result.report(case.folder / "report.html")
    html = path.read_text(encoding="utf-8")
    outside = [mark for mark in ('src="http', "src='http", 'href="http', "url(http", "@import", "<link") if mark in html]
    assert not outside, f"the report refers to the outside: {outside}"
    urls = leaks(html)
    assert not urls, f"{len(urls)} full URLs stand in the report"
    plain, (_, table) = unescape(html), case.first_table()
    for column in table.schema:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            values = {v for v in table.column(column.name).slice(0, 2000).to_pylist() if v and len(v) >= 16}
            leaked = [value for value in values if value in plain]
            assert not leaked, f"{len(leaked)} values of column {column.name!r} stand in the report in clear"


def only_declared_capabilities(case: Case) -> None:
    """Models are handed over restricted to what the audit declares; using more fails here."""
    roles = case.audit.info.models
    unknown = [name for name in case.planting.models if not any(role.takes(name) for role in roles)]
    assert not unknown, f"the planting uses undeclared roles {unknown}"
    for role in case.audit.info.models:
        assert role.any_of or role.all_of, f"role {role.name!r} declares no capability"


def no_socket_is_opened(case: Case) -> None:
    with no_network():
        case.run(case.planting)


CHECKS: Mapping[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in (
        settings_round_trip,
        undescribed_settings,
        wrong_columns_are_named,
        missing_input_is_named,
        empty_table,
        one_row,
        hostile_values,
        inputs_are_not_modified,
        same_seed_same_fingerprint,
        row_order_is_irrelevant,
        batch_size_is_irrelevant,
        intervals_everywhere,
        shares_have_intervals,
        counts_add_up,
        planted_truth_is_recovered,
        null_planting_finds_nothing,
        interrupted_and_resumed,
        second_run_calls_no_model,
        report_leaks_nothing,
        only_declared_capabilities,
        no_socket_is_opened,
    )
}


def check_audit(audit: str | type[Audit], folder: str | Path, *, seed: int = 0) -> dict[str, str]:
    """Run the whole contract on an audit, by id or class.

    Parameters
    ----------
    audit : catalog id, or any `Audit` subclass.
    folder : scratch folder for planted inputs and runs.

    Returns
    -------
    dict of check name to "passed".

    Raises
    ------
    AssertionError
        Listing every promise that is broken.
    """
    return run_checks(Case(load_audit(audit) if isinstance(audit, str) else audit, Path(folder), seed), CHECKS)


def run_checks(case: Case, checks: Mapping[str, Callable[[Case], None]]) -> dict[str, str]:
    """`{name: "passed"}` for all checks, or an `AssertionError` with a line for each that failed."""
    broken: dict[str, str] = {}
    for name, check in checks.items():
        try:
            check(case)
        except (AssertionError, AssaymarkError) as error:
            broken[name] = str(error)
        except Exception as error:  # a crash is a broken promise too, and the other checks still have something to say
            broken[name] = f"{type(error).__name__}: {error}"
    if broken:
        raise AssertionError("\n".join(f"{name}: {reason}" for name, reason in broken.items()))
    return dict.fromkeys(checks, "passed")
