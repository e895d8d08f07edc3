"""The environment that holds the peers, apart from ours: `python benchmarks/_peers.py` makes it once (needs a package index).

Prints its interpreter; with `--find` nothing is made and an empty line says that there is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / ".venv-peers"
PINS = Path(__file__).with_name("peers.txt")
_INSTALLED = FOLDER / "installed.txt"


def peers_python() -> Path | None:
    """Interpreter of the peers' environment, or None where it has not been made or its pins have changed since."""
    if not _INSTALLED.is_file() or _INSTALLED.read_text() != PINS.read_text():
        return None
    return FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def create() -> Path:
    """Make or mend the environment. The copy of the pins is written last, so that a broken installation does not count."""
    venv.create(FOLDER, with_pip=True)
    (FOLDER / ".gitignore").write_text("*\n")
    python = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", PINS], check=True)
    _INSTALLED.write_text(PINS.read_text())
    return python


if __name__ == "__main__":
    found = peers_python() if "--find" in sys.argv else peers_python() or create()
    sys.stdout.write(f"{found or ''}\n")
