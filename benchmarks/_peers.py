"""The environment that holds the peers, apart from ours: `python -m benchmarks` makes it once (needs a package index).

By itself, `python benchmarks/_peers.py` makes it and prints its interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / ".venv-peers"
PINS = Path(__file__).with_name("peers.txt")
HELP = "the peers could not be installed (is there a package index?): their columns stay empty"
_INSTALLED = FOLDER / "installed.txt"


def peers_python() -> Path | None:
    """Interpreter of the peers' environment, or None where it has not been made or its pins have changed since."""
    if not _INSTALLED.is_file() or _INSTALLED.read_text() != PINS.read_text():
        return None
    return FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def create() -> Path:
    """Make or mend the environment. The copy of the pins is written last, so that a broken installation does not count.

    Raises
    ------
    subprocess.CalledProcessError
        A peer could not be installed; pip has said why.
    """
    venv.create(FOLDER, with_pip=True)
    (FOLDER / ".gitignore").write_text("*\n")
    python = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [python, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check", "-r", PINS]
    subprocess.run(command, check=True, stdout=sys.stderr)
    _INSTALLED.write_text(PINS.read_text())
    return python


def ensure() -> Path | None:
    """The environment, made where it is missing; where that fails a line says so and the benchmarks run without their peers."""
    if found := peers_python():
        return found
    sys.stderr.write("installing the peers into .venv-peers (a minute, once)\n")
    try:
        return create()
    except (subprocess.CalledProcessError, OSError) as error:
        sys.stderr.write(f"{HELP}; {error}\n")
        return None


def versions() -> str:
    """The pinned peers, for the line under the table."""
    return ", ".join(line.strip().replace("==", " ") for line in PINS.read_text().splitlines() if "==" in line)


def ask(script: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Any:
    """Answer (the last line, JSON) of a script of this folder run in the peers' environment; None without one."""
    python = peers_python()
    if python is None:
        return None
    command: list[str | Path] = [python, Path(__file__).with_name(script), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **(environment or {})})
    return json.loads(found.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.stdout.write(f"{peers_python() or create()}\n")
