"""Runs: kept step by step, failures contained, and a resumed run equal to one that was never interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark
from assaymark.errors import EndpointError, InputError, PlanError, RunError
from assaymark.plan_loading import load_plan
from assaymark.record import RunRecord
from assaymark.runner import load_run, prepare, proceed, resume, run
from assaymark.store.runs import DiskFull, RunFolder

PLAN = """
name: two
seed: 5
inputs: {{values: values.parquet}}
steps:
  - {{id: first, audit: toy-mean, inputs: {{values: $values}}}}
  - {{id: second, audit: toy-mean, inputs: {{values: $values}}, set: {{{second}}}}}
  - {{id: third, audit: toy-mean, inputs: {{values: $second.kept}}}}
  - {{id: fourth, audit: toy-mean, inputs: {{values: $first.values}}}}
gates: [first.mean.value < 0.9, third.share.high.n >= 4]
"""


def write(folder: Path, second: str = "", name: str = "plan.yaml") -> Path:
    path = folder / name
    path.write_text(PLAN.format(second=second))
    return path


def events(folder: Path, event: str) -> list[str]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["event"] == event]


def same(a: RunRecord, b: RunRecord) -> None:
    """Everything equal but times, the kill setting, and the paths of the folders."""
    assert a.gates == b.gates
    assert [(s.id, s.audit, s.kind, s.status, s.error) for s in a.steps] == [
        (s.id, s.audit, s.kind, s.status, s.error) for s in b.steps
    ]
    for x, y in zip(a.steps, b.steps, strict=True):
        assert x.result.replace(provenance=y.result.provenance) == y.result
        assert x.result.fingerprint() == y.result.fingerprint()


def test_a_run_and_what_it_leaves(toys) -> None:
    record = run(write(toys), out="out")
    assert record.exit_code == 0
    assert [gate.holds for gate in record.gates] == [True, True]
    assert load_run("out") == record
    files = {str(path.relative_to("out")) for path in Path("out").rglob("*") if path.is_file()}
    steps = ("first", "second", "third", "fourth")
    expected = {"run.json", "report.html", "card.md", "log.jsonl", ".lock"}
    for step in steps:
        expected |= {f"tables/{step}.values.parquet", f"figures/{step}.bars.svg", f"artifacts/{step}/kept.parquet"}
    assert files == expected
    assert events(Path("out"), "step done") == list(steps)
    provenance = record.steps[0].result.provenance
    assert provenance.seed == 5
    assert provenance.inputs["values"]["rows"] == 4
    assert record.steps[0].result.artifacts["kept"].file == "artifacts/first/kept.parquet"
    draws = [step.result["noise"].value for step in record.steps]
    assert len(set(draws)) == 1  # each step's generator starts from the plan's seed


def test_default_folder_is_named_after_the_plan(toys) -> None:
    run(write(toys))
    (made,) = Path("runs").iterdir()
    assert made.name.startswith("two-2")


def test_killed_run_resumes_to_the_same_result(toys, monkeypatch) -> None:
    driver = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import toy_audits; toy_audits.install(setattr);"
        "from assaymark.runner import run; run('plan.yaml', out='killed')"
    )
    write(toys, "kill: true")
    done = subprocess.run([sys.executable, "-c", driver], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    half = load_run("killed")
    assert [step.status for step in half.steps] == ["done", "pending", "pending", "pending"]
    assert Path("killed", "work", "second", "half.json").exists()
    debris = Path("killed/.tmp-1-run.json")
    debris.write_text("{")

    monkeypatch.chdir("/")  # the stored plan holds no path that depends on where it is resumed
    record = resume(toys / "killed")
    assert [step.status for step in record.steps] == ["done"] * 4
    assert events(toys / "killed", "step") == ["first", "second", "second", "third", "fourth"]
    assert not (toys / "killed/work").exists()
    assert not (toys / debris).exists()
    log = (toys / "killed/log.jsonl").read_text()
    assert '"step": "second", "continued": true' in log
    same(record, run(write(toys), out=toys / "whole"))
    assert resume(toys / "killed") == load_run(toys / "killed")


def test_failed_step_is_contained_and_retried(toys) -> None:
    record = run(write(toys, "fail: defect, fail_unless: mended"), out="out")
    assert [step.status for step in record.steps] == ["done", "failed", "skipped", "done"]
    assert record.exit_code == 3
    assert "TypeError at toy_audits.py:" in record.steps[1].error
    assert "secret content" not in json.dumps(json.loads(Path("out/run.json").read_text()))
    assert "secret content" in Path("out/log.jsonl").read_text()
    assert record.steps[2].error == "needs step second, which failed"
    assert [gate.holds for gate in record.gates] == [True, False]
    assert "step third is skipped" in record.gates[1].reason
    assert Path("out/report.html").exists()

    Path("mended").touch()
    again = resume("out")
    assert again.exit_code == 0
    assert events(Path("out"), "step") == ["first", "second", "fourth", "second", "third"]
    same(again, run(write(toys), out="whole"))


def test_users_mistake_in_a_step_is_one_line(toys) -> None:
    record = run(write(toys, "fail: mistake"), out="out")
    assert record.steps[1].error == "server is down: start it"
    assert record.exit_code == 3


def test_full_disk_stops_the_run_and_keeps_what_is_done(toys) -> None:
    with pytest.raises(DiskFull, match="assaymark resume out"):
        run(write(toys, "fail: disk"), out="out")
    assert [step.status for step in load_run("out").steps] == ["done", "pending", "pending", "pending"]


def test_interrupted_run_resumes(toys) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(write(toys, "fail: interrupt"), out="out")
    assert load_run("out").steps[1].status == "pending"


def test_unknown_artifact_fails_its_step_with_the_nearest_name(toys) -> None:
    path = write(toys)
    path.write_text(path.read_text().replace("$second.kept", "$second.kpt"))
    record = run(path, out="out")
    assert "'kpt' - did you mean 'kept'" in record.steps[2].error
    assert record.steps[3].status == "done"


def test_same_plan_into_an_unfinished_folder_continues(toys) -> None:
    plan = load_plan(write(toys))
    folder = prepare(plan, "out")
    assert prepare(plan, "out").path == folder.path
    with pytest.raises(RunError, match="not empty"):
        prepare(load_plan(write(toys, "level: 0.1", "other.yaml")), "out")
    proceed(folder)
    with pytest.raises(RunError, match="not empty"):
        prepare(plan, "out")


def test_input_that_changed_between_steps_is_refused(toys) -> None:
    run(write(toys, "fail: defect, fail_unless: mended"), out="out")
    Path("mended").touch()
    pq.write_table(pa.table({"x": [9.0, 9.0]}), "values.parquet")
    record = resume("out")
    assert "has changed since step first read it" in record.steps[1].error


def test_figure_that_cannot_be_drawn_loses_only_itself(toys, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ValueError("no axis")

    monkeypatch.setattr("assaymark.report.figures.draw", broken)
    assert run(write(toys), out="out").exit_code == 0
    assert events(Path("out"), "figure failed") == ["first", "second", "third", "fourth"]


def test_report_that_fails_leaves_the_numbers(toys, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> Path:
        raise ValueError("template")

    monkeypatch.setattr("assaymark.report.write_report", broken)
    with pytest.raises(ValueError, match="template"):
        run(write(toys), out="out")
    assert load_run("out").exit_code == 0
    assert "report failed" in Path("out/log.jsonl").read_text()


# -- the Python interface --------------------------------------------------------------------------------------------------


def test_audit_as_a_function_and_as_a_module(toys) -> None:
    import assaymark.audit

    result = assaymark.audit("toy-mean", "values.parquet", level=0.9, seed=5)
    assert result["share.high"].value == 0.5
    assert isinstance(result, assaymark.Result)
    assert assaymark.audit.Audit is assaymark.Audit
    assert result.provenance.settings["level"] == 0.9
    assert not Path("runs").exists()


def test_audit_of_tables_in_memory(toys) -> None:
    table = pa.table({"x": [1.0, 3.0]})
    assert assaymark.audit("toy-mean", table)["mean"].value == 2.0
    kept = assaymark.audit("toy-mean", {"values": table}, out="out", models={"scorer": ModelObject()})
    assert kept["mean"].value == 2.0
    assert kept.provenance.models["scorer"]["fingerprint"] == "beef"
    content = json.loads(Path("out/run.json").read_text())
    content["steps"][0]["status"] = "pending"
    Path("out/run.json").write_text(json.dumps(content))
    assert "in memory" in resume("out").steps[0].error


class ModelObject:
    spec, fingerprint, calls = "object", "beef", 3


def test_python_call_equals_its_run(toys) -> None:
    assert (
        assaymark.audit("toy-mean", "values.parquet", out="out").fingerprint() == load_run("out").steps[0].result.fingerprint()
    )
    assert assaymark.mitigate("toy-mean", "values.parquet").title == "Toy filter"


def test_mistakes_of_a_single_audit_leave_no_folder(toys) -> None:
    with pytest.raises(InputError, match="does not exist"):
        assaymark.audit("toy-mean", "gone.parquet", out="out")
    with pytest.raises(EndpointError):
        assaymark.audit("toy-mean", "values.parquet", out="out", fail="mistake")
    assert not Path("out").exists()
    with pytest.raises(RunError, match=r"failed: TypeError.*log\.jsonl"):
        assaymark.audit("toy-mean", "values.parquet", out="out", fail="defect")
    assert Path("out/log.jsonl").exists()


def test_dollar_in_a_call_is_only_a_dollar(toys) -> None:
    result = assaymark.audit("toy-mean", "values.parquet", out="out", words=["$x", "$y.z"])
    assert "('words', ['$x', '$y.z'])" in str(tuple(result.provenance.settings.items()))


def test_stored_plan_of_another_make_is_refused(toys) -> None:
    folder = prepare(load_plan(write(toys)), "out")
    content = json.loads(Path("out/run.json").read_text())
    content["plan"]["unknown"] = 1
    Path("out/run.json").write_text(json.dumps(content))
    with pytest.raises(PlanError, match="unknown"):
        proceed(RunFolder(folder.path))
