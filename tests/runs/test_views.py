"""SQL over runs and the comparison of two; the interval of a difference is checked against published numbers."""

from __future__ import annotations

import re

import pytest

from assaymark.errors import RunError
from assaymark.record import RunRecord, StepRecord
from assaymark.result import Estimate, Result, undefined
from assaymark.runner import run
from assaymark.store import views
from assaymark.store.views import compare, connect

PLAN = """
name: p
steps:
  - {id: one, audit: toy-mean, inputs: {values: values.parquet}}
  - {id: two, audit: toy-mean, inputs: {values: values.parquet}, set: {fail: "FAIL"}}
gates: [one.mean < 0.9, one.ratio.high < 3, two.mean < 1]
"""


@pytest.fixture
def runs(toys):
    folder = toys / "o'runs"
    for name, fail in (("r1", ""), ("deep/r2", "defect")):
        (toys / "plan.yaml").write_text(PLAN.replace("FAIL", fail))
        run("plan.yaml", out=folder / name)
    return folder


def test_views_over_runs(runs) -> None:
    db = connect(runs)
    rows = db.sql("SELECT run, name, steps, steps_not_done, gates, gates_not_held, exit_code FROM runs ORDER BY run").fetchall()
    assert rows == [("r1", "p", 2, 0, 3, 1, 1), ("r2", "p", 2, 1, 3, 2, 3)]
    rows = db.sql(
        "SELECT value, low, high, n, unit FROM estimates WHERE run = 'r1' AND step = 'one' AND name = 'ratio'"
    ).fetchall()
    assert rows == [(1.0, 0.5, float("inf"), 3, "ratio")]
    assert db.sql("SELECT count(*) FROM estimates WHERE value IS NULL AND reason <> ''").fetchall() == [(3,)]
    assert db.sql("SELECT count(*) FROM estimates").fetchall() == [(15,)]
    assert db.sql("SELECT severity FROM findings WHERE run = 'r2'").fetchall() == [("warning",)]
    rows = db.sql("SELECT text, holds, value FROM gates WHERE run = 'r2' ORDER BY text").fetchall()
    assert rows == [("one.mean < 0.9", True, 0.8125), ("one.ratio.high < 3", False, 1.0), ("two.mean < 1", False, None)]
    assert db.sql("SELECT step, status FROM steps WHERE run = 'r2' ORDER BY step").fetchall() == [
        ("one", "done"),
        ("two", "failed"),
    ]


def test_views_over_tables(runs) -> None:
    db = connect(runs)
    assert db.sql("SELECT run, step, count(*), sum(x) FROM tables.values GROUP BY ALL ORDER BY ALL").fetchall() == [
        ("r1", "one", 4, 3.25),
        ("r1", "two", 4, 3.25),
        ("r2", "one", 4, 3.25),
    ]
    assert db.sql("SELECT DISTINCT name FROM table_files").fetchall() == [("values",)]


def test_the_example_of_the_documentation_runs(runs) -> None:
    query = re.search(r"SELECT runs\.started.*?ORDER BY runs\.started", views.__doc__ or "", re.DOTALL)
    assert query is not None
    rows = connect(runs).sql(query[0].replace("positive", "high")).fetchall()
    assert len(rows) == 3
    assert all(row[1:] == (0.5, 0.0, 1.0) for row in rows)


def test_no_runs_give_empty_views(tmp_path) -> None:
    db = connect(tmp_path)
    for view in ("runs", "estimates", "gates", "findings", "steps", "table_files"):
        assert db.sql(f"SELECT * FROM {view}").fetchall() == []
    with pytest.raises(RunError, match="not a folder"):
        connect(tmp_path / "none")


def record(step: str = "s", **estimates: Estimate) -> RunRecord:
    result = Result("toy", "Toy", {name.replace("__", "."): e for name, e in estimates.items()})
    return RunRecord("r", "1", "", 0.0, 0, (StepRecord(step, "toy", "audit", "done", result),))


def share(successes: int, trials: int) -> Estimate:
    """Wilson's interval, written out."""
    z, p = 1.959963984540054, successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (p * (1 - p) / trials + z * z / (4 * trials * trials)) ** 0.5
    return Estimate(p, min(p, centre - half), max(p, centre + half), trials, "Wilson 95 %", "share")


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, Table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_difference_of_shares_is_newcombes(first, second, low, high) -> None:
    (row,) = compare(record(x=share(*second)), record(x=share(*first)))
    assert row.difference.low == pytest.approx(low, abs=6e-5)
    assert row.difference.high == pytest.approx(high, abs=6e-5)
    assert row.difference.unit == "percentage points"
    assert "Newcombe" in row.difference.method
    assert row.verdict == "differs"
    (back,) = compare(record(x=share(*first)), record(x=share(*second)))
    assert (back.difference.low, back.difference.high) == pytest.approx((-row.difference.high, -row.difference.low))


def test_verdicts_and_their_reasons() -> None:
    a = record(same=share(5, 100), gone=share(1, 2), none=share(1, 2), unit=share(1, 2), level=share(1, 2), inf=share(1, 2))
    ratio = Estimate(1.0, 0.5, 2.0, 3, "log 95 %", "ratio")
    b = record(
        same=share(6, 100),
        none=undefined("no rows", unit="share"),
        unit=ratio,
        level=Estimate(0.5, 0.1, 0.9, 2, "Wilson 90 %", "share"),
        inf=Estimate(float("inf"), 1.0, float("inf"), 2, "Wilson 95 %", "share"),
        new=ratio,
    )
    rows = {row.name: row for row in compare(a, b)}
    assert list(rows) == ["s.same", "s.gone", "s.none", "s.unit", "s.level", "s.inf", "s.new"]
    assert rows["s.same"].verdict == "no difference shown"
    assert {row.verdict for name, row in rows.items() if name != "s.same"} == {"undefined"}
    assert all(row.reason for name, row in rows.items() if name != "s.same")
    assert "no rows" in rows["s.none"].reason
    assert "only in the second run" in rows["s.new"].reason


def test_two_single_audits_compare_whatever_their_steps_are_called() -> None:
    (row,) = compare(record("a", x=share(1, 10)), record("b", x=share(2, 10)))
    assert row.name == "a.x"
    assert row.difference is not None


def test_exact_numbers_differ_when_they_differ() -> None:
    def count(n: int) -> Estimate:
        return Estimate(n, n, n, n, "counted", "count")

    rows = compare(record(x=count(3), y=count(3)), record(x=count(4), y=count(3)))
    assert [row.verdict for row in rows] == ["differs", "no difference shown"]


def test_compare_reads_folders(runs) -> None:
    rows = compare(runs / "r1", runs / "deep" / "r2")
    assert [row.verdict for row in rows if row.name == "one.mean"] == ["no difference shown"]
    assert {row.reason for row in rows if row.name.startswith("two.")} == {"only in the first run"}
