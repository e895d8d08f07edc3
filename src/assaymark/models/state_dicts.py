"""Weights that somebody else saved: read without running anything, freed of wrappers, fitted by name into a network.

Published encoders come inside what trained them: a dictionary with the weights under "teacher", "model" or "state_dict", whose
names begin with "module.", "backbone." or "encoder.". Imports torch: to be imported where a model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import torch

from assaymark.errors import ModelError, UnsafeFile

__all__ = ["fit_weights", "non_finite_note", "read_weights", "without_wrappers"]

SUFFIXES = (".safetensors", ".pt", ".pth", ".tar", ".ckpt", ".bin")
_HOLDERS = ("teacher", "model", "state_dict")
_PREFIXES = ("module.", "backbone.", "encoder.")
_NAMED = 3  # names that a message lists


def read_weights(path: Path, spec: str, *, key: str = "") -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, or of a pickled one that holds tensors and plain containers only.

    Parameters
    ----------
    path : Path
    spec : str
        For messages.
    key : str
        Entry of a pickled dictionary that holds the weights; without it the first of "teacher", "model", "state_dict" that is
        there, else the dictionary itself.

    Raises
    ------
    UnsafeFile
        The file would run code.
    ModelError
        Neither kind of file, or no tensors in it.
    """
    if path.suffix == ".safetensors":
        return _safetensors(path, spec)
    if path.suffix not in SUFFIXES:
        raise ModelError(f"model {spec}: weights are read from {', '.join(SUFFIXES)}, not from {path.name}")
    held = _held(_unpickled(path, spec), spec, key)
    tensors = {str(name): value for name, value in held.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        seen = ", ".join(sorted(map(str, held))[:8])
        raise ModelError(f"model {spec}: {path.name} holds no weights where they are looked for (of {seen}); say ?key=NAME")
    return tensors


def _safetensors(path: Path, spec: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ModelError(f"model {spec}: {path.name} is not a safetensors file, or is damaged ({error})") from error


def _unpickled(path: Path, spec: str) -> Any:
    from pickle import UnpicklingError

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise UnsafeFile(
            f"model {spec}: {path.name} holds more than tensors and would run code when loaded. If you trust it, convert it "
            'once: safetensors.torch.save_file(torch.load(FILE, weights_only=False)[ENTRY], "weights.safetensors"); ENTRY is '
            'that of the weights, as "model", "state_dict" or "teacher"'
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        line = (str(error).strip().splitlines() or [""])[0][:160]
        raise ModelError(f"model {spec}: {path.name} cannot be read as weights ({type(error).__name__}: {line})") from error


def _held(loaded: Any, spec: str, key: str) -> Mapping[Any, Any]:
    """The dictionary with the weights inside of what was loaded."""
    if isinstance(loaded, Mapping) and key:
        if key not in loaded:
            raise ModelError(f"model {spec}: no entry {key!r}; there are {', '.join(sorted(map(str, loaded))[:8])}")
        loaded = loaded[key]
    elif isinstance(loaded, Mapping):
        for holder in _HOLDERS:
            if isinstance(loaded.get(holder), Mapping):
                loaded = loaded[holder]
                break
    if not isinstance(loaded, Mapping):
        raise ModelError(f"model {spec}: its file holds a {type(loaded).__name__}, no dictionary of weights")
    return loaded


def without_wrappers(
    weights: Mapping[str, torch.Tensor], wanted: AbstractSet[str], *, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Weights under the names that a network has.

    `prefix` picks the weights whose names begin with it. Without one, the wrappers "module.", "backbone." and "encoder." are
    taken off, one after the other, for as long as no name is a wanted one; what stands beside a wrapper (a projector, a queue)
    is left out.
    """
    found = dict(weights)
    if prefix:
        return _inside(found, prefix)
    while not wanted & found.keys():
        wrapper = next((start for start in _PREFIXES if any(name.startswith(start) for name in found)), None)
        if wrapper is None:
            break
        found = _inside(found, wrapper)
    return found


def _inside(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def fit_weights(network: Any, weights: Mapping[str, torch.Tensor], spec: str, *, prefix: str = "") -> tuple[str, ...]:
    """Load weights into a network; what the file holds beyond them (heads, projectors, decoders) is a note.

    Returns
    -------
    tuple of str
        Notes for the reader of a report.

    Raises
    ------
    ModelError
        Weights of the network that the file lacks, or that have another shape there; both by name.
    """
    wanted = network.state_dict()
    found = without_wrappers(weights, wanted.keys(), prefix=prefix)
    # A count of batches, which some trainers leave out; it does not touch what a network answers.
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    surplus = [name for name in found if name not in wanted]
    if missing:
        beside = f"; it holds {_some(surplus)} instead" if surplus else ""
        raise ModelError(f"model {spec}: its weights lack {_some(missing)}{beside}. Check ?architecture= and ?prefix=")
    unlike = [name for name in wanted if name in found and found[name].shape != wanted[name].shape]
    if unlike:
        name = unlike[0]
        shapes = f"{tuple(found[name].shape)} in the file, {tuple(wanted[name].shape)} in the architecture"
        raise ModelError(f"model {spec}: {_some(unlike)} have another shape ({name}: {shapes}); check the options")
    network.load_state_dict({name: found[name] for name in wanted if name in found}, strict=False)
    return (f"{_some(surplus)} of the file are no part of the encoder and are not used",) if surplus else ()


def non_finite_note(weights: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """A note that counts weights which are no finite numbers; empty where all are."""
    counts = {name: int((~torch.isfinite(value)).sum()) for name, value in weights.items() if value.is_floating_point()}
    broken = {name: count for name, count in counts.items() if count}
    if not broken:
        return ()
    total = sum(value.numel() for value in weights.values())
    return (f"{sum(broken.values())} of {total} weights are not finite, in {_some(list(broken))}: its outputs are undefined",)


def _some(names: list[str]) -> str:
    """A few names and how many there are beyond them."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
