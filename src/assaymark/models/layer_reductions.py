"""From the output of a layer to one vector an item. Pure functions of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from assaymark.errors import ConfigError, UnknownName
from assaymark.models.protocols import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["REDUCTIONS", "class_token", "flat", "mean_over_places", "reduce_output", "unit_reduction"]


class _UnknownReduction(UnknownName, ConfigError):
    pass


def flat(output: Tensor) -> Tensor:
    """All numbers of an item: (n, ...) -> (n, d)."""
    return output.flatten(1)


def mean_over_places(output: Tensor, *, padded: bool = False) -> Tensor:
    """Mean of each unit over space or tokens.

    Parameters
    ----------
    output : tensor, shape (n, channels, height, width), (n, tokens, width) or (n, width)
        One number a unit is left as it is.
    padded : bool
        Tokens that are zero throughout are behind the end of a text and do not count; a row without any other is zero.

    Returns
    -------
    tensor, shape (n, units)
    """
    if output.ndim == 2:
        return output
    if output.ndim != 3:
        return output.flatten(2).mean(dim=2)
    if not padded:
        return output.mean(dim=1)
    read = (output != 0).any(dim=2).sum(dim=1, keepdim=True)  # (n, 1)
    return output.sum(dim=1) / read.clamp_min(1)


def class_token(output: Tensor) -> Tensor:
    """The first token: (n, tokens, width) -> (n, width)."""
    if output.ndim != 3:
        raise ConfigError(f"an output of shape {tuple(output.shape[1:])} has no class token; take a mean instead")
    return output[:, 0]


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": flat,
    "spatial_mean": mean_over_places,
    "token_mean": mean_over_places,
    "cls": class_token,
}


def reduce_output(output: Tensor, how: str, *, padded: bool = False) -> Tensor:
    """One vector an item: "flatten", "spatial_mean" or "token_mean" (one number a unit), or "cls".

    Parameters
    ----------
    output : tensor, shape (n, ...)
    how : str
        Key of `REDUCTIONS`. The two means are one function, since the shape says what is averaged.
    padded : bool
        For means over tokens of texts, see `mean_over_places`.

    Returns
    -------
    tensor, shape (n, d)

    Raises
    ------
    ConfigError
        An unknown reduction, or "cls" of an output without tokens.
    """
    if how not in REDUCTIONS:
        raise _UnknownReduction("reduction", how, REDUCTIONS)
    reduce = REDUCTIONS[how]
    return mean_over_places(output, padded=padded) if reduce is mean_over_places else reduce(output)


def unit_reduction(layer: Layer, *, cls: bool = False) -> str:
    """The reduction by which a layer gives one number a unit; `cls` takes the class token where there is one."""
    if cls and layer.class_token:
        return "cls"
    return "token_mean" if len(layer.shape) == 2 else "spatial_mean"
