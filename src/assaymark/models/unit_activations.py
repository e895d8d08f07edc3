"""Activations of the units of layers, averaged over views: what UnitMem is measured on, for pictures and for texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.models.layer_reductions import read_tokens, reduced_output
from assaymark.models.protocols import Layer
from assaymark.stats.memorization.units import Rectify, UnitState, merge_units, rectified, unit_state

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["UnitAverages", "unit_activations"]

Floats = npt.NDArray[np.float64]


def unit_activations(output: Tensor, layer: Layer, *, rectify: Rectify, cls: bool = False, padded: bool = False) -> Tensor:
    """Activation of each unit: a channel averaged over its map, a neuron over the tokens or for the class token.

    Parameters
    ----------
    output : tensor, shape (n, *layer.shape)
    rectify : str
        What makes outputs of a layer without a ReLU >= 0, see `assaymark.stats.rectified`; those with one stay as they are.
    cls : bool
        The class token alone, where there is one.
    padded : bool
        Tokens that are zero throughout are behind the end of a text and do not count.

    Returns
    -------
    tensor, shape (n, layer.units)
    """
    read = read_tokens(output) if padded and output.ndim == 3 else None
    if not layer.rectified:
        output = rectified(output, how=rectify)
    return reduced_output(output, layer, cls=cls, read=read)


class UnitAverages:
    """Mean activations of the units of some layers for one batch of items after the other, and their states.

    Add outputs of all views of a batch, then `close` it: what is kept of it is one `UnitState` a layer, so that memory does
    not grow with items x units.

    Parameters
    ----------
    layers : sequence of Layer
    rectify, cls, padded
        See `unit_activations`.
    top : int
        Largest activations that are kept of each unit.
    """

    def __init__(
        self, layers: Sequence[Layer], *, rectify: Rectify = "relu", cls: bool = False, padded: bool = False, top: int = 1
    ) -> None:
        self.layers = {layer.name: layer for layer in layers}
        self.states: dict[str, UnitState] = {}
        self._rectify, self._cls, self._padded, self._top = rectify, cls, padded, top
        self._sums: dict[str, Any] = {}

    def add(self, name: str, output: Tensor, *, items: npt.NDArray[np.int64] | None = None, count: int = 0) -> None:
        """Outputs of a layer for one view of the items of the batch.

        Parameters
        ----------
        name : of the layer
        output : tensor, shape (n, *layer.shape)
        items : int array, shape (n,), optional
            Place in the batch of the item that each row is a view of, where there are not just one of each; `count` items.
        """
        found = unit_activations(output, self.layers[name], rectify=self._rectify, cls=self._cls, padded=self._padded).double()
        if items is not None:
            import torch

            rows = torch.as_tensor(items, device=found.device)
            found = found.new_zeros((count, found.shape[1])).index_add_(0, rows, found)
        self._sums[name] = self._sums[name] + found if name in self._sums else found

    def close(
        self, keys: npt.NDArray[np.int64], *, views: int | npt.NDArray[np.int64]
    ) -> Mapping[str, npt.NDArray[np.float64]]:
        """End a batch.

        Parameters
        ----------
        keys : int64 array, shape (n,)
            Who the items are.
        views : int, or int array of shape (n,)
            Views that were added of each.

        Returns
        -------
        mapping of layer to array, shape (n, units)
            The mean activations, for who needs all of them.
        """
        divisor = np.asarray(views, np.float64).reshape(-1, 1)
        averages = {name: total.cpu().numpy() / divisor for name, total in self._sums.items()}
        self._sums = {}
        for name, mu in averages.items():
            state = unit_state(mu, keys, top=self._top)
            self.states[name] = merge_units([self.states[name], state]) if name in self.states else state
        return averages
