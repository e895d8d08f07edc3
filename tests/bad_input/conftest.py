"""The command line in this process, on the real room, in a folder that holds one good file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from outcomes import Outcome, write_parquet


@pytest.fixture
def here(monkeypatch, tmp_path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ASSAYMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    write_parquet("good.parquet")
    return folder


@pytest.fixture
def command(here, monkeypatch, capfd) -> Callable[..., Outcome]:
    from assaymark import cli

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["assaymark", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capfd.readouterr()
        return Outcome(int(left.value.code or 0), captured.out, captured.err, None)

    return call


@pytest.fixture
def audit(command, here) -> Callable[..., Outcome]:
    """`assaymark audit image-text-dataset` with the cheapest probe alone; `probes=None` runs those that can run."""
    made = []

    def call(*arguments: object, probes: str | None = "[anatomy]") -> Outcome:
        folder = here / f"run{len(made)}"
        made.append(folder)
        only = ("--set", f"probes={probes}") if probes else ()
        done = command("audit", "image-text-dataset", *arguments, *only, "--quiet", "--out", folder)
        record = folder / "run.json"
        result = json.loads(record.read_text())["steps"][0]["result"] if record.exists() else None
        return done._replace(result=result)

    return call
