"""What adapters with an image network share, so that an audit can look into it (capability records-activations)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from assaymark.errors import ModelError
from assaymark.models.image_pixels import Normalisation
from assaymark.models.protocols import Layer, Visit

if TYPE_CHECKING:
    from assaymark.models.activation_recorder import Place

__all__ = ["NotRecordable", "RecordsImageLayers", "found_places"]


class NotRecordable(ModelError, AttributeError):
    """The layers of a network cannot be found. An `AttributeError`, so that the adapter is taken to lack the capability."""


class RecordsImageLayers:
    """Layers of an image network and what they put out; the adapter says which network, and what a sketch of it is.

    The layers are found on a sketch without weights, the first time that somebody asks, so that neither opening a model nor
    asking what it can do loads it.
    """

    spec: str

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In the order in which a forward pass finishes them; the last is the representation."""
        return tuple(place.layer for place in self._places)

    @property
    def weighted_layers(self) -> dict[str, str]:
        """Name of a layer to that of the convolution or linear layer which makes its units, in the module that trains.

        Layers whose units have no weights of their own are left out. For freezing, pruning and replacing.
        """
        return {place.layer.name: place.weighted for place in self._places if place.weighted}

    def record(self, pixels: Any, layers: Sequence[str], visit: Visit) -> None:
        """One forward pass over raw pixels, shape (n, 3, height, width), in [0, 1], on any device."""
        from assaymark.models.activation_recorder import recording

        module = self._recorded_module()
        given = self._normalisation_found(pixels.to(next(module.parameters()).device))
        with recording(module, layers, visit, places=self._places):
            module(given)

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        return found_places(self.spec, self._sketch)

    @cached_property
    def _normalisation_found(self) -> Normalisation:
        return self._normalising()

    @abstractmethod
    def _recorded_module(self) -> Any:
        """The network with its weights, from normalised pixels to its representation; loads them now if they are not there."""
        ...

    @abstractmethod
    def _normalising(self) -> Normalisation:
        """What the network takes for normalised."""
        ...

    @abstractmethod
    def _sketch(self) -> tuple[Any, Any]:
        """The same network without weights and two pictures for it, both on the meta device, which is the default there."""
        ...


def found_places(spec: str, sketch: Callable[[], tuple[Any, Any]]) -> tuple[Place, ...]:
    """Places of the layers of a network that is sketched on the meta device.

    Raises
    ------
    NotRecordable
    """
    import torch

    from assaymark.models.layer_discovery import discover_places
    from assaymark.models.torch_adapter import load_part

    def found() -> tuple[Place, ...]:
        with torch.device("meta"), torch.no_grad():
            module, example = sketch()
            return discover_places(module, example)

    try:
        return load_part(spec, "layers", found)
    except ModelError as error:
        raise NotRecordable(str(error)) from error
