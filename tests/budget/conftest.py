from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import assaymark

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def asking(monkeypatch, tmp_path):
    """A folder that holds `rows.parquet` with 20 rows, with the audit that asks about them in the catalog, and an own cache."""
    import asking_audit

    asking_audit.install(monkeypatch.setattr)
    source = Path(assaymark.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(source), str(HERE))))
    monkeypatch.setenv("ASSAYMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    asking_audit.write_rows(folder, 20)
    return folder


@pytest.fixture
def command(asking, monkeypatch, capfd) -> Callable[..., Outcome]:
    """Call the command line in this process."""
    from assaymark import cli

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["assaymark", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        return Outcome(code, *capfd.readouterr())

    return call
