"""The demonstration, whole: what it plants is what the audit finds, through the path that real data takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from assaymark.demo import run_demo
from assaymark.errors import RunError
from assaymark.runner import load_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "made up"


def test_everything_planted_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)  # named relative to where one stands, as the command does
    outcome = run_demo(folder.name, quiet=True)
    assert outcome.planted == outcome.found == 39
    assert outcome.report == Path(folder.name) / "run" / "report.html"
    html = outcome.report.read_text(encoding="utf-8")
    assert "zorvian" in html
    assert "grobnak" not in html  # a lexicon word is masked
    assert "photos.example.edu" not in html  # a person's address is not printed
    record = load_run(folder / "run")
    assert [gate.holds for gate in record.gates] == [True, True, True, True, True, False]
    assert [step.status for step in record.steps] == ["done"] * 10
    manifest = record.steps[0].result.artifacts["removal_manifest"]  # type: ignore[union-attr]
    assert manifest.private
    assert (folder / "run" / manifest.file).is_file()


def test_a_folder_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        run_demo(tmp_path, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
