"""Kills, full disks, locks and silent servers: what was done is kept, and a resumed run ends like an undisturbed one."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import refused, survived, write_parquet

import assaymark

WORDS = ["red", "blue", "woman", "man", "badword", "photo", "of", "nice", "car"]
AUDIT = (
    "audit", "image-text-dataset", "shards", "--set", "lexicons=words.txt", "--set", "sample_rows=40",
    "--model", "text_toxicity=fake:text-keywords?unsafe=badword", "--quiet", "--out",
)  # fmt: skip

KILLED = """
import os, signal, sys
from assaymark.data import scan
scan.GROUP_ROWS, scan._cores = 400, lambda run: 1  # two files at a time, on any machine
saved, kept = [], scan.save_checkpoint
def save(*arguments):
    kept(*arguments)
    saved.append(1)
    if len(saved) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
scan.save_checkpoint = save
from assaymark.cli import main
main()
"""


@pytest.fixture
def shards(here, monkeypatch) -> Path:
    """Twelve small files, read two at a time."""
    monkeypatch.setattr("assaymark.data.scan.GROUP_ROWS", 400)
    monkeypatch.setattr("assaymark.data.scan._cores", lambda run: 1)
    rng = np.random.default_rng(0)
    for i in range(12):
        texts = [" ".join(rng.choice(WORDS, 5)) for _ in range(200)]
        columns = {"similarity": rng.normal(0.3, 0.05, 200), "punsafe": rng.random(200)}
        write_parquet(f"shards/{i:02}.parquet", text=texts, NSFW=rng.choice(["UNSURE", "NSFW", "UNLIKELY"], 200), **columns)
    Path("words.txt").write_text("badword\n")
    return here


def told(folder: str) -> dict[str, Any]:
    """All that a run says of the data; where it lies, when and how fast it was, and what came from the cache may differ."""
    text = Path(folder, "run.json").read_text().replace(str(Path.cwd()), "")
    result = json.loads(text)["steps"][0]["result"]
    for key in ("started", "seconds", "libraries"):
        del result["provenance"][key]
    for model in result["provenance"]["models"].values():
        del model["calls"]
    return result


def tables(folder: str) -> dict[str, pa.Table]:
    return {path.name: pq.read_table(path) for path in sorted(Path(folder, "tables").iterdir())}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """What the run says when nothing happens to it; filled by the first test that asks."""
    return {}


def ends_as(undisturbed: dict[str, Any], command: Any, folder: str) -> None:
    if not undisturbed:
        assert command(*AUDIT, "whole").code == 0
        undisturbed.update(told=told("whole"), tables=tables("whole"))
    assert told(folder) == undisturbed["told"]
    assert tables(folder) == undisturbed["tables"]
    assert len(undisturbed["tables"]) > 5


def test_killed_in_the_middle_and_resumed(shards, command, undisturbed) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(assaymark.__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", KILLED, *AUDIT, "killed"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert Path("killed", "work", "image-text-dataset", "pairs", "scan.state").exists()
    assert json.loads(Path("killed/run.json").read_text())["steps"][0]["status"] == "pending"
    done = command("resume", "killed", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    (resumed,) = (line for line in Path("killed/log.jsonl").read_text().splitlines() if "scan resumed" in line)
    assert json.loads(resumed)["shards_done"] == 6
    ends_as(undisturbed, command, "killed")
    assert not Path("killed/work").exists()


@pytest.mark.parametrize("writes", [0, 2, 9])
def test_no_space_left(shards, command, monkeypatch, undisturbed, writes: int) -> None:
    """The disk fills up after some files of the run, whichever they are."""
    from assaymark.store import runs

    left, synced = [writes], runs._sync

    def full(path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        synced(path)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_sync", full)
        refused(command(*AUDIT, "full"), "no space left on the device", "assaymark resume full")
    if writes == 0:  # not even the plan could be written
        shutil.rmtree("full")
        return
    assert command("resume", "full", "--quiet").code == 0
    ends_as(undisturbed, command, "full")


def test_no_space_left_for_a_checkpoint(shards, command, monkeypatch, undisturbed) -> None:
    from assaymark.data import scan

    kept, saved = scan.save_checkpoint, []

    def save(*arguments: Any) -> None:
        saved.append(1)
        if len(saved) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        kept(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scan, "save_checkpoint", save)
        refused(command(*AUDIT, "full"), "no space left on the device", "assaymark resume full")
    assert command("resume", "full", "--quiet").code == 0
    assert '"shards_done": 4' in Path("full/log.jsonl").read_text()
    ends_as(undisturbed, command, "full")


def test_a_cache_that_cannot_be_written_costs_time_only(shards, command, monkeypatch, tmp_path) -> None:
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("ASSAYMARK_CACHE", str(tmp_path / "no folder"))
    monkeypatch.setenv("ASSAYMARK_SALT", "0123456789abcdef")
    done = command(*AUDIT, "r")
    if done.code == 0:
        assert done.err == ""
        assert told("r")["estimates"]
    else:
        refused(done, "no folder")


def test_two_processes_on_one_run(shards, command) -> None:
    from assaymark.api import one_step_plan
    from assaymark.runner import prepare

    plan, _ = one_step_plan("audit", "image-text-dataset", {"pairs": "good.parquet"}, {}, {"probes": ["anatomy"]})
    folder = prepare(plan, "r")
    same = ("audit", "image-text-dataset", "good.parquet", "--set", "probes=[anatomy]", "--quiet", "--out", "r")
    with folder.lock():
        refused(command(*same), "r is being written by process", str(os.getpid()))
        refused(command("resume", "r"), "r is being written by process")
        assert Path("r/run.json").exists()  # the other's, however little it holds
    assert command(*same).code == 0


def test_a_run_folder_that_may_not_be_written(command, monkeypatch) -> None:
    run = ("audit", "image-text-dataset", "good.parquet", "--set", "probes=[anatomy]", "--quiet", "--out", "r")
    assert command(*run).code == 0

    def forbidden(path: Path, *_: object) -> Path:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr("assaymark.store.runs.write_atomic", forbidden)
    refused(command(*run[:-1], "other"), "other cannot be written: Read-only file system")
    refused(command("resume", "r"), "r cannot be written: Read-only file system")


def test_an_input_that_vanishes_between_the_steps(command) -> None:
    step = "  - {{id: {0}, audit: image-text-dataset, inputs: {{pairs: {0}.parquet}}, set: {{probes: [anatomy]}}}}\n"
    Path("plan.yaml").write_text("name: x\nsteps:\n" + step.format("a") + step.format("b"))
    for name in "ab":
        shutil.copy("good.parquet", f"{name}.parquet")
    from assaymark.plan_loading import load_plan
    from assaymark.runner import prepare

    prepare(load_plan("plan.yaml"), "r")
    os.unlink("b.parquet")
    done = command("resume", "r", "--quiet")
    assert done.code == 3
    assert "step b failed: input 'pairs'" in done.err and "b.parquet does not exist" in done.err
    assert [step["status"] for step in json.loads(Path("r/run.json").read_text())["steps"]] == ["done", "failed"]


# -- servers that do not answer ---------------------------------------------------------------------------------------------


@pytest.fixture
def silent_port() -> Any:
    """A server that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("answering", [True, False])
def test_object_store_that_cannot_be_reached(audit, monkeypatch, silent_port: int, answering: bool) -> None:
    monkeypatch.setattr("assaymark.data.readers.base.CONNECT_SECONDS", 1.0)
    monkeypatch.setattr("assaymark.data.readers.base.SILENT_SECONDS", 1.0)
    monkeypatch.setattr("assaymark.data.readers.base.ATTEMPTS", 1)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent_port if answering else 9}", "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    refused(audit(f"s3://bucket-{answering}/part.parquet".lower()), "input 'pairs': s3://bucket-", "cannot be reached")
    assert time.monotonic() - started < 30


def test_hub_that_cannot_be_reached(here) -> None:
    """In a process of its own: the hub's library reads the environment once."""
    offered = {
        **os.environ, "PYTHONPATH": str(Path(assaymark.__file__).parents[1]), "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HOME": str(here / "hub"),
    }  # fmt: skip
    command = [sys.executable, "-m", "assaymark", "audit", "image-text-dataset"]
    for words in (["hf://datasets/a/b/x.parquet"], ["good.parquet", "--model", "text_toxicity=hf:a/b"]):
        done = subprocess.run([*command, *words], env=offered, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 2, done
        (line,) = done.stderr.splitlines()
        assert "refused" in line
        assert not list(here.glob("runs/*"))


def test_places_that_are_none(audit) -> None:
    refused(audit("http://127.0.0.1:9/x.parquet"), "use a path, s3://, gs:// or hf://")
    refused(audit("foo://x/y.parquet"), "foo://x: cannot open such a location")
    refused(audit("file:///nowhere/x.parquet"), "input 'pairs': file:///nowhere/x.parquet")
    refused(audit("hf://datasets/a/b/x.parquet"), "cannot be reached", "offline")
    survived(audit(f"file://{Path('good.parquet').resolve()}"))
