"""The command line from outside: exit codes, one-line errors, JSON that is nothing but JSON, and how fast `list` is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assaymark.result import Estimate
from assaymark.runner import load_run


def plan(text: str = "") -> str:
    path = Path("plan.yaml")
    path.write_text(f"name: p\nsteps:\n  - {{id: a, audit: toy-mean, inputs: {{values: values.parquet}}{text}}}\n")
    return str(path)


# -- exit codes -------------------------------------------------------------------------------------------------------------


def test_all_gates_hold(command) -> None:
    done = command("audit", "toy-mean", "values.parquet", "--gate", "mean < 0.9", "--gate", "share.high.n >= 4", "--out", "r")
    assert done.code == 0, done
    assert "PASS" in done.out
    assert "0.8125" in done.out
    assert "r/report.html" in done.out
    assert done.err == ""


def test_a_gate_that_does_not_hold(command) -> None:
    done = command("audit", "toy-mean", "values.parquet", "--gate", "mean < 0.1", "--out", "r")
    assert done.code == 1
    assert "FAIL" in done.out
    assert "does not hold" in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("audit", "toy-man", "x"), "did you mean 'toy-mean'"),
        (("audit", "toy-mean", "gone.parquet"), "does not exist"),
        (("audit", "toy-mean", "valus=values.parquet"), "did you mean 'values'"),
        (("audit", "toy-mean", "labels=values.parquet"), "needs the input values"),
        (("audit", "toy-mean", "values=values.parquet", "values.parquet"), "also without one"),
        (("audit", "toy-mean", "values.parquet", "--set", "levle=1"), "did you mean 'level'"),
        (("audit", "toy-mean", "values.parquet", "--set", "level"), "key=value"),
        (("audit", "toy-mean", "values.parquet", "--model", "scorer"), "ROLE=SPEC"),
        (("audit", "toy-mean", "values.parquet", "--model", "scorr=hf:x"), "did you mean 'scorer'"),
        (("audit", "toy-mean", "values.parquet", "--engine", "locl"), "did you mean 'local'"),
        (("audit", "toy-mean", "values.parquet", "--gate", "mean"), "no comparison"),
        (("audit", "toy-mean", "values.parquet", "--seed", "-1"), "--seed"),
        (("audit", "toy-mean", "values.parquet", "--set", "fail=mistake"), "server is down"),
        (("audit", "toy-mean"), "INPUT"),
        (("mitigate", "scorer-mixture", "x"), "has no mitigation"),
        (("describe", "toy-man"), "did you mean 'toy-mean'"),
        (("run", "none.yaml"), "cannot be read"),
        (("resume", "nowhere"), "no run.json"),
        (("report", "nowhere"), "no run.json"),
        (("compare", "nowhere", "nowhere"), "no run.json"),
        (("nonsense",), "nonsense"),
    ],
)
def test_mistakes_leave_with_2_and_one_message(command, arguments, says) -> None:
    done = command(*arguments)
    assert done.code == 2, done
    assert says in done.err
    assert "Traceback" not in done.err + done.out
    assert done.out == ""
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_defect_in_an_audit_leaves_with_3(command) -> None:
    done = command("audit", "toy-mean", "values.parquet", "--set", "fail=defect", "--out", "r")
    assert done.code == 3
    assert len(done.err.splitlines()) == 1
    assert "r/log.jsonl" in done.err
    assert "Traceback" not in done.err + done.out
    assert "TypeError: secret" in Path("r/log.jsonl").read_text()


def test_failed_step_of_a_plan_leaves_with_3(command) -> None:
    done = command("run", plan(", set: {fail: mistake}"), "--out", "r")
    assert done.code == 3
    assert "server is down: start it" in done.err
    assert load_run("r").steps[0].status == "failed"


@pytest.mark.parametrize(("arguments", "code"), [(("run", "plan.yaml"), 3), (("audit", "toy-mean", "values.parquet"), 2)])
def test_full_disk(command, arguments, code) -> None:
    plan(", set: {fail: disk}")
    if arguments[0] == "audit":
        arguments = (*arguments, "--set", "fail=disk")
    done = command(*arguments, "--out", "r")
    assert done.code == code
    assert "no space left" in done.err
    assert "assaymark resume" in done.err
    assert len(done.err.splitlines()) == 1


def test_interrupt_says_how_to_resume(command) -> None:
    done = command("run", plan(", set: {fail: interrupt, fail_unless: mended}"), "--out", "r")
    assert done.code == 130
    assert "assaymark resume r" in done.err
    Path("mended").touch()
    assert command("resume", "r").code == 0


def test_defect_outside_an_audit_is_one_line_and_a_log(command, monkeypatch) -> None:
    monkeypatch.setattr("assaymark.describe.describe_text", lambda audit_id: 1 / 0)
    done = command("describe", "toy-mean")
    assert done.code == 3
    (line,) = done.err.splitlines()
    log = Path(line.rpartition(" ")[2])
    assert "ZeroDivisionError: division by zero" in log.read_text()


# -- what commands print ----------------------------------------------------------------------------------------------------


def test_json_is_one_document(command) -> None:
    done = command("audit", "toy-mean", "values.parquet", "--json", "--gate", "mean > 9", "--out", "r", "--seed", "4")
    assert done.code == 1
    assert done.err == ""
    assert done.json["folder"] == "r"
    assert done.json["seed"] == 4
    assert done.json["exit_code"] == 1
    assert done.json["gates"][0]["holds"] is False
    assert done.json["steps"][0]["result"]["estimates"][0]["name"] == "mean"


def test_inputs_models_and_settings_arrive(command) -> None:
    Path("k=v.parquet").write_bytes(Path("values.parquet").read_bytes())
    done = command(
        "audit", "toy-mean", "values=values.parquet", "labels=values.parquet", "--model", "scorer=hf:a=b", "--set", "level=0.9",
        "--set", "words=[a, $b]", "--json", "--out", "r",
    )  # fmt: skip
    assert done.code == 0, done
    provenance = done.json["steps"][0]["result"]["provenance"]
    assert provenance["settings"]["level"] == 0.9
    assert provenance["settings"]["words"] == ["a", "$b"]
    assert provenance["models"]["scorer"]["spec"] == "hf:a=b"
    assert set(provenance["inputs"]) == {"values", "labels"}
    assert command("audit", "toy-mean", "k=v.parquet", "--out", "s").code == 0


def test_mitigation(command) -> None:
    done = command("mitigate", "toy-mean", "values.parquet", "--json", "--out", "r")
    assert done.json["steps"][0]["kind"] == "mitigation"
    assert done.json["steps"][0]["result"]["title"] == "Toy filter"


def test_describe(command) -> None:
    text = command("describe", "toy-mean").out
    for part in ("How large are the values?", "A. Toy, 2026", "values (table, required)", "scorer (optional)", "scores-texts"):
        assert part in text
    for part in ("level = 0.5  what counts as high", "cost", "limits", "assaymark mitigate toy-mean"):
        assert part in text
    facts = command("describe", "toy-mean", "--json").json
    assert facts["settings"][0] == {"name": "level", "type": "float", "default": 0.5, "description": "what counts as high"}


def test_report_and_compare(command, monkeypatch) -> None:
    assert command("audit", "toy-mean", "values.parquet", "--out", "a", "--quiet").code == 0
    pq.write_table(pa.table({"x": [5.0, 6.0]}), "other.parquet")
    assert command("audit", "toy-mean", "other.parquet", "--out", "b", "--quiet").code == 0
    Path("a/report.html").unlink()
    assert command("report", "a").out == "a/report.html\n"
    assert Path("a/report.html").exists()
    assert command("report", "a", "--to", "x.md").out == "x.md\n"
    assert Path("x.md").exists()
    monkeypatch.setenv("COLUMNS", "200")
    done = command("compare", "a", "b")
    assert done.code == 0
    assert done.out.splitlines()[0].split() == ["estimate", "first", "second", "difference", "verdict"]
    assert "differs" in done.out.splitlines()[1]
    rows = command("compare", "a", "b", "--json").json
    assert rows[0]["name"] == "toy-mean.mean"
    assert rows[0]["verdict"] == "differs"
    assert rows[0]["difference"]["value"] == pytest.approx(5.5 - 0.8125)


def test_calibrate_and_demo(command, monkeypatch) -> None:
    from typing import NamedTuple

    class Row(NamedTuple):
        name: str
        expect: str
        truth: float
        mean: float | None
        undefined: int
        agreed: Estimate

    class Found(NamedTuple):
        audit: str
        seeds: int
        rows: tuple[Row, ...]
        null_seeds: int
        null_alarms: tuple[str, ...]

    module = ModuleType("assaymark.testing.calibration")
    module.calibrate = lambda audit_id, *, seeds, full, progress, budget: Found(
        audit_id, seeds, (Row("rate", "cover the truth", 0.25, 0.26, 0, Estimate(0.9, 0.8, 1.0, seeds, "Wilson 95 %")),), 1, ()
    )
    monkeypatch.setitem(sys.modules, "assaymark.testing.calibration", module)
    done = command("calibrate", "toy-mean", "--seeds", "10")
    assert done.code == 0
    assert "0.25   0.26" in done.out
    assert "90 % of 10" in done.out
    demo = ModuleType("assaymark.demo")
    demo.run_demo = lambda out, progress, quiet: SimpleNamespace(report=out, planted=2, found=len(str(out)))
    monkeypatch.setitem(sys.modules, "assaymark.demo", demo)
    assert command("demo", "--out", "dd").out == "report  dd\n"
    assert command("demo", "--out", "d").code == 3  # one of two planted numbers was not found


def test_hostile_text_does_not_reach_the_terminal(command) -> None:
    out = command("audit", "toy-mean", "values.parquet", "--out", "r").out
    assert "\x1b" not in out
    assert "[bold]large[/bold]" in out


# -- as processes -----------------------------------------------------------------------------------------------------------


def shell(*arguments: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "import toy_audits; toy_audits.install(setattr); from assaymark.cli import main; main()",
        *arguments,
    ]


def test_list_is_quick_and_light(command, monkeypatch) -> None:
    heavy = ("torch", "transformers", "daft", "scipy", "matplotlib", "duckdb", "rich", "pandas", "sklearn")
    script = (
        "import sys\nfrom assaymark.cli import main\n"
        "try:\n    main()\nfinally:\n"
        f"    print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, "list"], capture_output=True, text=True, env=os.environ, check=False)
    print(f"assaymark list: {time.perf_counter() - started:.2f} s")
    assert done.returncode == 0, done.stderr
    assert "image-text-dataset" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


def test_list_as_json(command) -> None:
    rows = command("list", "--json").json
    assert {row["id"] for row in rows} >= {"toy-mean", "scorer-mixture"}
    assert next(row["mitigation"] for row in rows if row["id"] == "toy-mean") is True


def test_killed_and_resumed_from_the_shell(command) -> None:
    done = subprocess.run(shell("run", plan(", set: {kill: true}"), "--out", "r"), env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    done = subprocess.run(shell("resume", "r", "--json"), env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"][0]["status"] == "done"


def test_no_colour_and_no_bars_in_a_pipe(command) -> None:
    done = subprocess.run(
        shell("audit", "toy-mean", "values.parquet", "--gate", "mean < 1"),
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert list(Path("runs").glob("toy-mean-*/run.json"))
