"""A kill amid a pass over pictures, and amid the training of networks: resumed, the run ends like an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_rooms import DULL, ENCODER, SHARP, labelled_pictures, prompt_file, settings, write
from safetensors import safe_open

import assaymark
from assaymark.training import loop

KILLED = """
import os, signal, sys
from assaymark.data import scan
from assaymark.training import loop
scan.GROUP_ROWS, scan._cores = 40, lambda run: 1  # two files at a time, on any machine
calls, most = [], int(sys.argv.pop(1))
def killing(kept):
    def save(*arguments):
        kept(*arguments)
        calls.append(1)
        if len(calls) == most:
            os.kill(os.getpid(), signal.SIGKILL)
    return save
if sys.argv.pop(1) == "pass":
    scan.save_checkpoint = killing(scan.save_checkpoint)
else:
    loop.write_state = killing(loop.write_state)
from assaymark.cli import main
main()
"""


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch) -> None:
    """Drawing takes most of the time of small runs; that figures of odd results can be drawn is tested with the pictures."""
    monkeypatch.setattr("assaymark.report.figures.draw", lambda *_, **__: "<svg></svg>")


@pytest.fixture
def shards(here, monkeypatch) -> Path:
    """Six files of twenty pictures, of which one cannot be read."""
    monkeypatch.setattr("assaymark.data.scan.GROUP_ROWS", 40)
    monkeypatch.setattr("assaymark.data.scan._cores", lambda run: 1)
    Path("shards").mkdir()
    for i in range(6):
        columns = labelled_pictures(20, first=20 * i)
        if i == 2:
            columns["image"] = pa.array([b"no picture", *columns["image"].to_pylist()[1:]], pa.binary())
        write(f"shards/{i}.parquet", **columns)
    return here


def told(folder: str) -> dict[str, Any]:
    """All that a run says of the data; when and how fast it was, and what came from the cache may differ."""
    result = json.loads(Path(folder, "run.json").read_text())["steps"][0]["result"]
    for key in ("started", "seconds", "libraries"):
        del result["provenance"][key]
    for model in result["provenance"]["models"].values():
        del model["calls"]
    return result


def files(folder: str) -> dict[str, Any]:
    """Tables by their rows, and files that were handed on by their bytes."""
    tables = {path.name: pq.read_table(path) for path in sorted(Path(folder, "tables").iterdir())}
    kept = [path for path in sorted(Path(folder, "artifacts").rglob("*")) if path.is_file() and path.suffix != ".html"]
    return {**tables, **{str(path.relative_to(folder)): content_of(path) for path in kept}}


def content_of(path: Path) -> Any:
    """Bytes; of a network its weights and what is said of them, whose order in the file is arbitrary."""
    if path.suffix != ".safetensors":
        return path.read_bytes()
    with safe_open(path, framework="np") as file:
        return file.metadata(), {name: file.get_tensor(name).tobytes() for name in sorted(file.keys())}


def interrupted(command: Any, at: int, where: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    """The audit once undisturbed, and once killed and resumed, with an empty cache each; the log of the latter."""
    environment = {**os.environ, "PYTHONPATH": str(Path(assaymark.__file__).parents[1]), "ASSAYMARK_CACHE": "other cache"}
    words = ["audit", *arguments, "--quiet", "--out", "killed"]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(at), where, *words], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert json.loads(Path("killed/run.json").read_text())["steps"][0]["status"] == "pending"
    done = command("resume", "killed", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert command("audit", *arguments, "--quiet", "--out", "whole").code == 0
    assert told("killed") == told("whole")
    assert files("killed") == files("whole")
    assert not Path("killed/work").exists()
    lines = [json.loads(line) for line in Path("killed/log.jsonl").read_text().splitlines()]
    return {line["event"]: line for line in lines}


@pytest.mark.parametrize(
    ("room", "arguments"),
    [("image-offensiveness", (*ENCODER, "--set", "contact_sheet=false")), ("scorer-mixture", (*SHARP, *DULL))],
)
def test_killed_in_the_middle_of_a_pass_over_pictures(
    shards, command, monkeypatch, room: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ASSAYMARK_SALT", "0123456789abcdef")
    prompts = prompt_file() if room == "image-offensiveness" else ()
    log = interrupted(command, 2, "pass", (room, "shards", *arguments, *prompts, *settings(room)))
    assert log["scan resumed"]["shards_done"] == 4
    flow = told("killed")["flows"][0]
    assert (flow["total"], flow["used"]) == (120, 119), "the row of the damaged picture is counted once"


def test_killed_in_the_middle_of_the_training_of_networks(shards, command, monkeypatch) -> None:
    monkeypatch.setenv("ASSAYMARK_SALT", "0123456789abcdef")
    zoo = ("zoo=1", "zoo_folds=2", "zoo_epochs=2", "zoo_size=32", "skin=false")
    epochs: list[Path] = []
    kept = loop.write_state
    monkeypatch.setattr(loop, "write_state", lambda folder, state: (epochs.append(folder), kept(folder, state)))
    given = tuple(word for setting in zoo for word in ("--set", setting))
    interrupted(command, 3, "training", ("scorer-mixture", "shards", *SHARP, *given, *settings("scorer-mixture")))
    resumed = sum("killed" in folder.parts for folder in epochs)
    assert (resumed, len(epochs) - resumed) == (3, 6), "three networks of two epochs each, of which three epochs were done"
    assert list(Path("killed/artifacts").rglob("members/*.safetensors")), "the network is handed on"
