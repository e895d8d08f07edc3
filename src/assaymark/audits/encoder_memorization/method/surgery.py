"""Changes in place of a torch module, for uses U1 to U4 of [1] in `method`: freezing, pruning, replacing, tuning one unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

__all__ = ["following_norm", "freeze_except", "prune_units", "replace_layers", "tune_unit"]

_WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def following_norm(module: Any, name: str) -> str:
    """Name of the batch normalisation that belongs to a layer with weights: the next one before other weights; else empty.

    Modules are taken in the order in which they are registered, so that holds for networks that register them as they run.
    """
    seen = False
    for other, part in module.named_modules():
        if other == name:
            seen = True
        elif seen and isinstance(part, _WEIGHTED):
            return ""
        elif seen and isinstance(part, _NORMS):
            return str(other)
    return ""


def prune_units(module: Any, name: str, units: npt.ArrayLike) -> None:
    """Silence output units of a layer: their weight rows, biases, and what its batch normalisation would add.

    Without the last a pruned channel would put out the constant that its batch normalisation turns zeros into.

    Parameters
    ----------
    module : torch module, changed in place
    name : dotted name of a convolution or linear layer
    units : int array
    """
    layer, rows = module.get_submodule(name), torch.as_tensor(units, dtype=torch.long)
    norm = following_norm(module, name)
    parts = [layer, *([module.get_submodule(norm)] if norm else [])]
    with torch.no_grad():
        for part in parts:
            for parameter in (part.weight, part.bias):
                if parameter is not None:
                    parameter[rows.to(parameter.device)] = 0


def replace_layers(target: Any, source: Any, names: Iterable[str]) -> None:
    """Put layers of one encoder into another of the same architecture, with the statistics of their batch normalisation.

    Weights of one and running statistics of the other would belong to no network.
    """
    own, other = target.state_dict(), source.state_dict()
    for name in names:
        prefixes = tuple(f"{part}." for part in (name, following_norm(target, name)) if part)
        own |= {key: other[key].clone() for key in own if key.startswith(prefixes)}
    target.load_state_dict(own)


def freeze_except(module: Any, names: Sequence[str], *, statistics: bool = True) -> list[Any]:
    """Let only some layers learn, with the batch normalisation that belongs to them.

    Parameters
    ----------
    module : torch module, changed in place
    names : dotted names of modules that stay free
    statistics : bool
        Keep the running statistics of all other batch normalisations, and use them, also while the module trains.

    Returns
    -------
    list of hook handles, to be removed when training is over.
    """
    free = {part for name in names for part in (name, following_norm(module, name)) if part}
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    for name in free:
        module.get_submodule(name).requires_grad_(True)
    frozen = [part for name, part in module.named_modules() if isinstance(part, _NORMS) and name not in free]
    return [part.register_forward_pre_hook(_evaluating) for part in frozen] if statistics else []


def _evaluating(norm: Any, _: Any) -> None:
    norm.eval()


def tune_unit(
    module: Any, name: str, unit: int, objective: Callable[[Any], torch.Tensor], *, steps: int = 20, lr: float = 0.1
) -> None:
    """Fine-tune one output unit and nothing else (U4): gradients of all other weights are masked.

    Parameters
    ----------
    module : torch module, changed in place; best in evaluation mode, so that statistics stay
    objective : callable (module) -> scalar tensor, to be made small
    steps, lr : gradient descent on the weight row and bias of the unit
    """
    layer = module.get_submodule(name)
    parameters = [part for part in (layer.weight, layer.bias) if part is not None]
    for _ in range(steps):
        gradients = torch.autograd.grad(objective(module), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter[unit] -= lr * gradient[unit]
