"""The audit that CONTRIBUTING.md builds step by step keeps the contract: who copies it starts from something that works."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import assaymark.audits

REPOSITORY = Path(__file__).resolve().parents[1]
FILES = ("method.py", "config.py", "probe.py", "data.py", "audit.py", "report.py", "__init__.py", "catalog line", "test.py")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folder of the room `short_captions`, written from the code of the guide and importable."""
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == len(FILES), "the guide has another number of code blocks than files"
    folder = tmp_path / "rooms" / "short_captions"
    folder.mkdir(parents=True)
    for name, code in zip(FILES, blocks, strict=True):
        if name.endswith(".py"):
            (folder / name).write_text(code, encoding="utf-8")
    monkeypatch.setattr(assaymark.audits, "__path__", [*assaymark.audits.__path__, str(folder.parent)])
    yield folder
    for name in [name for name in sys.modules if name.startswith("assaymark.audits.short_captions")]:
        monkeypatch.delitem(sys.modules, name)


def test_guide_builds_a_sound_audit(room: Path, tmp_path: Path) -> None:
    """Runs the very tests that the guide ends with."""
    assert import_module("assaymark.audits.short_captions").ShortCaptions.info.id == "short-captions"
    tests: dict[str, object] = {}
    exec(compile((room / "test.py").read_text(encoding="utf-8"), str(room / "test.py"), "exec"), tests)
    tests["test_short_is_a_plain_count"]()  # type: ignore[operator]
    tests["test_contract"](tmp_path)  # type: ignore[operator]
