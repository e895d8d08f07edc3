"""accelerate for the length of one training: device, processes and precision, with the process left as it was found."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from assaymark.errors import ConfigError, MissingExtra, ModelError

__all__ = ["PRECISIONS", "accelerated", "seed_step"]

PRECISIONS = ("no", "bf16", "fp16")
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def accelerated(device: str, precision: str) -> Iterator[Any]:
    """An `accelerate.Accelerator`; torch's global generators are put back at the end.

    accelerate keeps device and precision once for the whole process and refuses others later; each training gets a fresh
    state here, and whoever used accelerate before gets theirs back. Trainings in threads of one process wait for each other.

    Raises
    ------
    ModelError
        The device is not there.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
    if device not in ("cpu", "cuda", "auto"):
        raise ConfigError(f"device is {device!r}; it must be one of cpu, cuda, auto")
    cuda = torch.cuda.is_available() and device != "cpu"
    if device == "cuda" and not cuda:
        raise ModelError("device is cuda, but torch sees no CUDA device here; use --device cpu or auto")
    if precision == "fp16" and not cuda:
        raise ConfigError("precision fp16 needs a GPU; on a CPU use bf16 or no")
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState, PartialState
    except ImportError as error:
        raise MissingExtra("vision", "training a network") from error
    states = [state._shared_state for state in (AcceleratorState, PartialState, GradientState)]
    with _ONE_AT_A_TIME:
        before = [dict(state) for state in states]
        threads = torch.get_num_threads()
        for state in states:
            state.clear()
        try:
            accelerator = Accelerator(cpu=not cuda, mixed_precision=precision)
            with torch.random.fork_rng([torch.cuda.current_device()] if cuda else []):
                yield accelerator
        finally:
            for state, content in zip(states, before, strict=True):
                state.clear()
                state.update(content)
            torch.set_num_threads(threads)


def seed_step(seed: int, device: torch.device) -> None:
    """Seed the generators that layers such as dropout draw from on this device."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
