"""The benchmark runner: finds its modules and prints one table that says what it was measured on."""

from __future__ import annotations

import importlib

import pytest

from benchmarks import Row, best_seconds
from benchmarks.__main__ import machine, main, names, table


def test_modules_can_be_run() -> None:
    for name in names():
        assert callable(importlib.import_module(f"benchmarks.{name}").run), name


def test_table_has_the_ratio() -> None:
    lines = table([Row("scan", 0.5, 2.0, "s", "peer: a|b"), Row("alone", 1234.5, None, "rows/s")]).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["scan", "0.5", "2", "0.25", "s", "peer: a/b"]
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == ["alone", "1,234", "-", "-", "rows/s", ""]
    assert len({len(line) for line in lines}) == 1


def test_machine_line_names_the_libraries() -> None:
    assert "cores" in machine()
    assert "numpy" in machine()


def test_best_of_several_runs() -> None:
    calls: list[int] = []
    assert best_seconds(lambda: calls.append(1), repeats=4) >= 0
    assert len(calls) == 4


def test_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["no_such_benchmark"])
    assert "no_such_benchmark" in capsys.readouterr().err
