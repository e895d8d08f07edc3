"""What a scan has done so far, on disk: merged states and the list of finished shards, replaced atomically after each group."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assaymark.data.state import decode_state, encode_state
from assaymark.errors import InputError

__all__ = ["Progressed", "load_checkpoint", "save_checkpoint"]

FILE = "scan.state"


@dataclass
class Progressed:
    """Merged states by probe, and the bookkeeping of a scan.

    `rows` counts rows that probes saw; `malformed`, `decoded`, `not_numbers` count rows with those defects.
    """

    states: dict[str, Any] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"rows": 0, "malformed": 0, "decoded": 0, "not_numbers": 0})


def save_checkpoint(folder: Path, key: str, progressed: Progressed) -> None:
    """Write to a temporary name, flush to the disk, rename: a kill leaves the old or the new one, never half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    content = encode_state(
        {
            "key": key,
            "states": {name: encode_state(state) for name, state in progressed.states.items()},
            "done": sorted(progressed.done),
            "failed": progressed.failed,
            "counts": progressed.counts,
        }
    )
    temporary = folder / f"{FILE}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / FILE)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_checkpoint(folder: Path, key: str) -> tuple[Progressed, str]:
    """The stored progress if it belongs to this scan, else a fresh one and the reason why the stored one is not used."""
    file = folder / FILE
    if not file.is_file():
        return Progressed(), ""
    try:
        stored = decode_state(file.read_bytes())
        if stored["key"] != key:
            return Progressed(), "it belongs to other data, probes or seed"
        states = {name: decode_state(state) for name, state in stored["states"].items()}
        return Progressed(states, set(stored["done"]), stored["failed"], stored["counts"]), ""
    except (InputError, KeyError) as error:
        return Progressed(), f"it is damaged ({error})"
