from __future__ import annotations

import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def toys(monkeypatch, tmp_path):
    """The toy audits in the catalog, a private cache folder, and a working folder with `values.parquet`."""
    import toy_audits

    toy_audits.install(monkeypatch.setattr)
    source = Path(assaymark.__file__).parents[1]  # for subprocesses, which start in another folder
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(source), os.environ.get("PYTHONPATH", "")))))
    monkeypatch.setenv("ASSAYMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ASSAYMARK_SALT", raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    pq.write_table(pa.table({"x": [0.0, 0.25, 1.0, 2.0]}), folder / "values.parquet")
    return folder
