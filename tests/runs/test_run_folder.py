"""Run folders: whole files or none, exact tables, one writer at a time, other versions refused."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from assaymark.errors import RunError
from assaymark.record import GateRecord, RunRecord, StepRecord
from assaymark.result import Column, Estimate, Figure, Finding, Flow, Provenance, Result, Table, undefined
from assaymark.store.runs import DiskFull, RunFolder, is_disk_full, write_atomic


def table() -> Table:
    data = pa.table(
        {
            "i": pa.array([1, None, 3], pa.int8()),
            "f": pa.array([0.1, None, -0.0], pa.float32()),
            "s": pa.array(["é", None, "\x00"], pa.large_string()),
            "d": pa.array(["a", "b", "a"]).dictionary_encode(),
            "t": pa.array([0, 1, None], pa.timestamp("us", "Europe/Paris")),
            "l": pa.array([[1], [], None], pa.list_(pa.int16())),
            "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "n": pa.nulls(3),
            "h": pa.array(np.array([1, 2, 3], np.float16)),
        }
    )
    return Table("all.types", "All types", data, tuple(Column(name, "text") for name in data.column_names))


def result() -> Result:
    estimates = {
        "a.b": Estimate(0.1 + 0.2, 1e-300, 1, 7, "Wilson 95 %", "share"),
        "inf": Estimate(2.0, float("-inf"), float("inf"), 1, "log 95 %", "ratio"),
        "none": undefined("too few"),
    }
    return Result(
        "toy",
        "Toy",
        estimates,
        {"all.types": table()},
        (Figure("fig", "Fig", "bars", table="all.types", reference=((0.5, "half"),)),),
        (Finding("note", "A <b>sentence</b> \ud800.", ("a.b",), ("all.types",)),),
        (Flow("in", 3, 1, {"empty": 1}, {"bad": 1}),),
        provenance=Provenance("toy", "1", 3, settings={"x": [1, None]}),
    )


def record(step_result: Result | None) -> RunRecord:
    steps = (
        StepRecord("s", "toy", "audit", "done", step_result),
        StepRecord("t", "toy", "mitigation", "failed", None, "broke"),
    )
    gates = (GateRecord("s.inf < 3", "s", "inf", result()["inf"], True), GateRecord("t.x < 3", "t", "x", None, False, "failed"))
    return RunRecord("name", "1", "2026-01-01T00:00:00+00:00", 1.5, 3, steps, gates, {"name": "name", "steps": []})


def test_round_trip_is_exact(tmp_path) -> None:
    folder = RunFolder.create("x", tmp_path / "k=v" / "run")
    plain = result().replace(findings=(Finding("note", "A sentence.", ("a.b",), ("all.types",)),))
    folder.save_tables("s", plain)
    folder.save(record(plain))
    loaded = RunFolder.open(folder.path / "run.json").load()
    assert loaded == record(plain)
    back = loaded.steps[0].result.tables["all.types"].data
    assert back.equals(table().data, check_metadata=False)
    assert back.schema.equals(table().data.schema)
    assert loaded.steps[0].result.fingerprint() == plain.fingerprint()
    folder.save_figure("s", "fig", "<svg/>")
    assert (folder.path / "figures" / "s.fig.svg").read_text() == "<svg/>"
    assert sorted(p.name for p in folder.path.rglob(".tmp*")) == []


def test_a_lone_surrogate_does_not_lose_the_run(tmp_path) -> None:
    folder = RunFolder.create("x", tmp_path / "run")
    folder.save_tables("s", result())
    folder.save(record(result()))
    assert folder.load().steps[0].result["a.b"] == result()["a.b"]


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_failure_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch, failing) -> None:
    path = write_atomic(tmp_path / "file.json", b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write = fail if failing == "write" else b"new"
    if failing != "write":
        monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError):
        write_atomic(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_between_writing_and_renaming_leaves_the_old_file(tmp_path) -> None:
    script = """
import os, sys
from pathlib import Path
from assaymark.store import runs
path = Path(sys.argv[1])
runs.write_atomic(path, b"old")
os.replace = lambda *a: os._exit(9)
runs.write_atomic(path, b"new")
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "run.json")], env=os.environ, check=False)
    assert done.returncode == 9
    assert (tmp_path / "run.json").read_bytes() == b"old"
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]
    assert len(left) == 1
    RunFolder(tmp_path).clean()
    assert not left[0].exists()


def test_folder_that_holds_something_is_refused(tmp_path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(RunError, match="not empty: give another"):
        RunFolder.create("x", tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="assaymark resume"):
        RunFolder.create("x", tmp_path)
    with pytest.raises(RunError, match="cannot make"):
        RunFolder.create("x", tmp_path / "x")
    with pytest.raises(RunError, match=r"no run\.json"):
        RunFolder.open(tmp_path / "nowhere")


def test_two_runs_of_one_second_get_folders_of_their_own(tmp_path) -> None:
    made = {RunFolder.create("x", root=tmp_path).path for _ in range(3)}
    assert len(made) == 3
    assert all(path.name.startswith("x-2") for path in made)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema_version": 99}', '{"schema_version": 1}'])
def test_damaged_or_foreign_records_are_refused(tmp_path, content) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError):
        RunFolder.open(tmp_path).load()


def test_missing_table_of_a_finished_step_is_named(tmp_path) -> None:
    folder = RunFolder.create("x", tmp_path / "run")
    folder.save_tables("s", result())
    folder.save(record(result()))
    (folder.path / "tables" / "s.all.types.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RunError, match=r"s\.all\.types\.parquet"):
        folder.load()


def test_one_writer_at_a_time(tmp_path) -> None:
    folder = RunFolder.create("x", tmp_path / "run")
    script = f"""
from assaymark.store.runs import RunFolder
from pathlib import Path
with RunFolder(Path({str(folder.path)!r})).lock():
    pass
"""
    with folder.lock():
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False)
        assert f"written by process {os.getpid()}" in other.stderr
    again = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert again.returncode == 0


def test_log_is_one_object_a_line(tmp_path) -> None:
    folder = RunFolder(tmp_path)
    folder.log("first", rows=3, path=tmp_path)
    folder.log("second", text="two\nlines \ud800")
    lines = [json.loads(line) for line in folder.log_path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["first", "second"]
    assert set(lines[0]) == {"time", "event", "rows", "path"}


def test_full_disk_is_seen_through_a_chain_of_errors(tmp_path) -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise ValueError("writer failed") from error
    except ValueError as outer:
        assert is_disk_full(outer)
    assert not is_disk_full(OSError(errno.EACCES, "no"))
    assert str(DiskFull(tmp_path, "writing")).count(f"assaymark resume {tmp_path}") == 1


def test_discard_keeps_what_is_worth_keeping(tmp_path) -> None:
    folder = RunFolder.create("x", tmp_path / "run")
    folder.log("event")
    folder.work("s").mkdir(parents=True)
    (folder.work("s") / "checkpoint").write_text("hours of work")
    assert not folder.discard()
    (folder.work("s") / "checkpoint").unlink()
    assert folder.discard()
    assert not folder.path.exists()
