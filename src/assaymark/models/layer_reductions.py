"""From the output of a layer to one number a unit. Pure functions of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assaymark.models.protocols import Layer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["mean_over_places", "read_tokens", "reduced_output"]


def read_tokens(output: Tensor) -> Tensor:
    """How many tokens of each text a model read: those behind its end are zero throughout.

    To be asked of the output as it came: what makes outputs >= 0 turns a token whose units are all negative into one of zeros.

    Parameters
    ----------
    output : tensor, shape (n, tokens, width)

    Returns
    -------
    tensor, shape (n, 1)
    """
    return (output != 0).any(dim=2).sum(dim=1, keepdim=True)


def mean_over_places(output: Tensor, *, read: Tensor | None = None) -> Tensor:
    """Mean of each unit over space or tokens.

    Parameters
    ----------
    output : tensor, shape (n, channels, height, width), (n, tokens, width) or (n, width)
        One number a unit is left as it is.
    read : tensor, shape (n, 1), optional
        Tokens of each text, see `read_tokens`; the others are zero, and a row without any is zero.

    Returns
    -------
    tensor, shape (n, units)
    """
    if output.ndim == 2:
        return output
    if output.ndim != 3:
        return output.flatten(2).mean(dim=2)
    return output.mean(dim=1) if read is None else output.sum(dim=1) / read.clamp_min(1)


def reduced_output(output: Tensor, layer: Layer, *, cls: bool = False, read: Tensor | None = None) -> Tensor:
    """One number a unit: the class token where `cls` asks for it and there is one, else the mean over space or tokens.

    Parameters
    ----------
    output : tensor, shape (n, *layer.shape)

    Returns
    -------
    tensor, shape (n, layer.units)
    """
    return output[:, 0] if cls and layer.class_token else mean_over_places(output, read=read)
