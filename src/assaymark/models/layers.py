"""A place in a network whose output can be looked at, and who looks at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Layer", "Visit"]


class Layer(NamedTuple):
    """One place in a network whose output can be looked at.

    Attributes
    ----------
    name : str
        Dotted name of the module; its second call within a forward pass is `name#1`. Of a block with attention BLOCK:
        `BLOCK.attention` and `BLOCK.mlp`, with their residual sums, and `BLOCK.mlp.hidden`, behind the activation within.
    kind : str
        "convolution", "pooling", "residual", "attention", "mlp", "linear", "embedding" or "representation".
    block : int or None
        Number of the block that it belongs to, from 0; None outside of blocks.
    shape : tuple of int
        Output of one item: (channels, height, width), (tokens, width) or (width,).
    rectified : bool
        Outputs are never negative (ReLU).
    class_token : bool
        The first of the tokens stands for the whole.
    """

    name: str
    kind: str
    block: int | None
    shape: tuple[int, ...]
    rectified: bool
    class_token: bool = False

    @property
    def units(self) -> int:
        """Channels of a map, or width of tokens or of a vector."""
        return self.shape[0] if len(self.shape) == 3 else self.shape[-1]


Visit = Callable[[str, Any], None]
"""Called with the name of a layer and its output, a float tensor of shape (n, *shape) that is gone afterwards."""
