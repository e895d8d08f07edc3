"""The state of a training on disk: one safetensors file, replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from assaymark.errors import RunError

__all__ = ["FILE", "SavedState", "read_state", "write_state"]

FILE = "training.safetensors"
_FORMAT = "assaymark-training 1"


class SavedState(NamedTuple):
    """Tensors by name (`module.…`, `best.…`, `optimiser.<parameter>.<name>`, `losses`) and what else a training has to know."""

    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors under a prefix, without it."""
        return {name[len(prefix) + 1 :]: tensor for name, tensor in self.tensors.items() if name.startswith(f"{prefix}.")}


def write_state(folder: Path, state: SavedState) -> None:
    """Write to a temporary name, bring to disk, rename: a kill leaves the earlier state whole."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path, temporary = folder / FILE, folder / f"{FILE}.part"
    # Copies: safetensors refuses tensors that share memory (tied weights), and rightly so.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.tensors.items()}
    save_file(tensors, temporary, metadata={"format": _FORMAT, "facts": json.dumps(state.facts)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_state(folder: Path, *, identity: Mapping[str, Any]) -> SavedState | None:
    """The saved state, or None where there is none.

    Raises
    ------
    RunError
        The file is damaged, or of a training with other settings: continuing it would end in neither of the two results.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        facts = json.loads(metadata["facts"]) if metadata.get("format") == _FORMAT else None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RunError(f"checkpoint {path} cannot be read ({error}); delete it to train from the start") from error
    if facts is None:
        raise RunError(f"checkpoint {path} is of another version; delete it to train from the start")
    saved = facts["identity"]
    differing = [name for name in identity if saved.get(name) != identity[name]]
    if differing:
        name = differing[0]
        raise RunError(
            f"checkpoint {path} belongs to another training ({name}: {saved.get(name)!r} there, {identity[name]!r} here); "
            "delete it or name another folder"
        )
    return SavedState(tensors, facts)
