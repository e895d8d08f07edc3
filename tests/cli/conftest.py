from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark

TOYS = Path(__file__).parents[1] / "runs"
sys.path.insert(0, str(TOYS))


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def command(monkeypatch, tmp_path, capfd):
    """Call the command line in this process, with the toy audits, in a folder that holds `values.parquet`."""
    import toy_audits

    from assaymark import cli

    toy_audits.install(monkeypatch.setattr)
    source = Path(assaymark.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(source), str(TOYS))))
    monkeypatch.setenv("ASSAYMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    pq.write_table(pa.table({"x": [0.0, 0.25, 1.0, 2.0]}), folder / "values.parquet")

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["assaymark", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
