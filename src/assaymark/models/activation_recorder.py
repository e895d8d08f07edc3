"""What the layers of any torch module put out during a forward pass, seen one at a time.

Forward hooks, so that the order is that of execution and functional code between modules does not matter. Imports torch: to be
imported where a model is loaded, not before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from assaymark.errors import ModelError, UnknownName
from assaymark.models.protocols import Layer, Visit

__all__ = ["REPRESENTATION", "Place", "Recording", "UnknownLayer", "evaluating", "first_tensor", "recording"]

REPRESENTATION = "representation"
"""Name of the last layer: the output of the module as a whole."""


class UnknownLayer(UnknownName, ModelError):
    """A layer that a network does not have; the message offers the nearest."""


class Place(NamedTuple):
    """Where the output of a layer is to be seen.

    Attributes
    ----------
    layer : Layer
    module : str
        Dotted name of a module within the network; "" is the network.
    call : int
        Which of its calls within a forward pass, from 0.
    given : bool
        The first tensor that goes into the module is meant, not what comes out: sums that no module makes are seen there.
    weighted : str
        The convolution or linear layer whose output units these are, behind what normalises and activates them; empty where
        units have no weights of their own (sums, pools).
    """

    layer: Layer
    module: str
    call: int = 0
    given: bool = False
    weighted: str = ""


@dataclass
class Recording:
    """What a recording has to say of itself.

    Attributes
    ----------
    notes : tuple of str
        Modules that were in training mode, and so had to be switched.
    seen : Counter of str
        How often each layer was visited.
    passes : int
        Forward passes that were finished.
    """

    notes: tuple[str, ...] = ()
    seen: Counter[str] = field(default_factory=Counter)
    passes: int = 0


class _Watch(NamedTuple):
    """A place, and the name under which its output is handed on."""

    name: str
    call: int
    given: bool


def first_tensor(values: Any) -> Tensor | None:
    """The first tensor of an output, or of arguments: of a tensor itself, a tuple, a mapping or a `ModelOutput`."""
    if isinstance(values, Tensor):
        return values
    inner = values.values() if isinstance(values, Mapping) else values if isinstance(values, (tuple, list)) else ()
    return next((found for value in inner if (found := first_tensor(value)) is not None), None)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[tuple[str, ...]]:
    """Evaluation mode within the block, and each submodule as it was afterwards; yields a note if any was in training mode.

    In training mode batch normalisation would measure with the statistics of the batch, and change its own by what it measures.
    """
    trained = [part for part in module.modules() if part.training]
    normalising = sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in trained)
    also = f", {normalising} of them batch normalisations" if normalising else ""
    note = f"{len(trained)} modules were in training mode{also}: switched to evaluation for the measurement, and put back"
    for part in trained:
        part.training = False
    try:
        yield (note,) if trained else ()
    finally:
        for part in trained:
            part.training = True


@contextmanager
def recording(module: nn.Module, names: Sequence[str], visit: Visit, *, places: Sequence[Place] = ()) -> Iterator[Recording]:
    """Within the block, every forward pass of the module calls `visit(name, output)` for each named layer, in evaluation mode.

    Parameters
    ----------
    module : torch module, on any device
    names : sequence of str
        Names of `places`; or else dotted names of submodules, `name#1` being the second call of a module within a pass, and
        "representation" the output of the module as a whole.
    visit : callable
        Gets the output as soon as it is there, shape (n, ...), in float32 where it was in half precision; of a tuple or
        `ModelOutput` the first tensor. It must keep what it wants of it: the tensor may be overwritten afterwards.
    places : sequence of Place, optional
        What `layer_discovery.discover_places` found.

    Yields
    ------
    Recording

    Raises
    ------
    ModelError
        A name that the module does not have, or, at the end, a layer that none of the passes ran through.

    Notes
    -----
    Hooks go when the block is left, by an error too. Nothing is collected: memory is that of the pass itself. Gradients are
    off (inference mode).
    """
    watched = _watched(module, names, places)
    with evaluating(module) as notes, torch.inference_mode():
        record = Recording(notes)
        calls: Counter[str] = Counter()
        handles = [module.register_forward_pre_hook(lambda *_: calls.clear())]
        try:
            for name, watches in watched.items():
                handles += _hooks(module.get_submodule(name), name, watches, visit, calls, record)
            handles.append(module.register_forward_hook(lambda *_: _finish(record)))
            yield record
        finally:
            for handle in handles:
                handle.remove()
    unseen = [name for name in names if not record.seen[name]]
    if record.passes and unseen:
        raise ModelError(f"a forward pass does not run through {', '.join(unseen[:3])}: there is nothing to record of them")


def _finish(record: Recording) -> None:
    record.passes += 1


def _watched(module: nn.Module, names: Sequence[str], places: Sequence[Place]) -> dict[str, list[_Watch]]:
    """Module name to what is to be seen there."""
    by_name = {place.layer.name: place for place in places}
    submodules = dict(module.named_modules())
    watched: dict[str, list[_Watch]] = {}
    for name in dict.fromkeys(names):
        place = by_name.get(name) or _by_module(name, submodules)
        if place is None:
            known = by_name or dict.fromkeys([*filter(None, submodules), REPRESENTATION])
            raise UnknownLayer("layer", name, known)
        watched.setdefault(place.module, []).append(_Watch(name, place.call, place.given))
    return watched


def _by_module(name: str, submodules: Mapping[str, nn.Module]) -> Place | None:
    """`name#1` as a place, where there is such a module."""
    dotted, _, number = name.partition("#")
    dotted = "" if dotted == REPRESENTATION else dotted
    if dotted not in submodules or not (number or "0").isdecimal():
        return None
    return Place(Layer(name, "module", None, (), False), dotted, int(number or 0))


def _hooks(
    part: nn.Module, dotted: str, watches: Sequence[_Watch], visit: Visit, calls: Counter[str], record: Recording
) -> list[Any]:
    """Hooks of one module; a call is counted when it begins, since that is when its input is seen."""
    open_calls: list[int] = []  # a module may be called from within itself

    def show(given: bool, call: int, values: Any) -> None:
        for watch in watches:
            if watch.given == given and watch.call == call:
                tensor = first_tensor(values)
                if tensor is None:
                    raise ModelError(f"layer {watch.name}: its output holds no tensor to record")
                record.seen[watch.name] += 1
                visit(watch.name, tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor)

    def before(_: nn.Module, args: Any, kwargs: Any) -> None:
        open_calls.append(calls[dotted])
        calls[dotted] += 1
        show(True, open_calls[-1], (*args, *kwargs.values()))

    def after(_: nn.Module, args: Any, output: Any) -> None:
        show(False, open_calls.pop(), output)

    return [part.register_forward_pre_hook(before, with_kwargs=True), part.register_forward_hook(after)]
