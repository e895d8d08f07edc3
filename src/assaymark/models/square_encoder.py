"""Encoders of pictures that are squashed to squares: what those in files share, and any torch module of the caller's own."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.models.convnet import network_pixels
from assaymark.models.image_pixels import Normalisation
from assaymark.models.image_recording import RecordsImageLayers

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ModuleEncoder", "SquareEncoder"]

Array = npt.NDArray[np.float32]


class SquareEncoder(RecordsImageLayers):
    """Capabilities embeds-images, trains-images and records-activations of a module; `logit_scale` is 1: there are no texts."""

    logit_scale = 1.0
    dimension: int
    input_size: int

    def embed_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, dimension), unit norm. Any PIL mode; transparency is dropped."""
        import torch

        from assaymark.models.activation_recorder import evaluating
        from assaymark.models.image_features import unit_rows

        module = self._recorded_module()
        blocks = [np.empty((0, self.dimension), dtype=np.float32)]
        with evaluating(module), torch.inference_mode():
            for start in range(0, len(images), self._batch_size()):
                pixels = self.prepare_images(images[start : start + self._batch_size()])
                blocks.append(unit_rows(module(pixels.to(next(module.parameters()).device))))
        return np.concatenate(blocks)

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        """Float32 tensor on the CPU, shape (n, 3, input_size, input_size), in [0, 1]."""
        import torch

        pixels = network_pixels(images, self.input_size).astype(np.float32) / 255.0
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """Normalised pixels, float32, shape (n, 3, input_size, input_size)."""
        return self._normalising()(self.raw_pixels(images))

    def feature_module(self) -> Any:
        """A copy of the network, with gradients, in evaluation mode."""
        return copy.deepcopy(self._recorded_module()).cpu().eval()

    @abstractmethod
    def _batch_size(self) -> int: ...


class ModuleEncoder(SquareEncoder):
    """A torch module of the caller's own as a model: what a notebook or a training script has in its hands.

    Parameters
    ----------
    module : torch module, on any device
        Normalised pixels (n, 3, input_size, input_size) to a representation (n, d); no projector or head. It is not changed. If
        any part of it is in training mode that is switched off for each measurement, put back afterwards, and said in `notes`.
    input_size : int
    mean, std : three floats
        Per channel, of pixels in [0, 1].
    name : str
        What it is called in reports.
    batch_size : int

    Notes
    -----
    Its fingerprint is a hash of all weights, as they are when it is made: make another one after further training. It pickles
    with its weights.
    """

    def __init__(
        self,
        module: Any,
        *,
        input_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        name: str = "module",
        batch_size: int = 64,
    ) -> None:
        from assaymark.models.activation_recorder import evaluating
        from assaymark.models.state_dicts import non_finite_note

        self.spec, self.input_size = name, input_size
        self._module, self._size = module, batch_size
        self._normalisation = Normalisation(tuple(map(float, mean)), tuple(map(float, std)))
        with evaluating(module) as notes:
            self.notes = (*notes, *non_finite_note(module.state_dict()))
        self.fingerprint = _fingerprint(module, repr((type(module).__qualname__, input_size, self._normalisation)))
        self.dimension = self.layers[-1].units

    def _batch_size(self) -> int:
        return self._size

    def _recorded_module(self) -> Any:
        return self._module

    def _normalising(self) -> Normalisation:
        return self._normalisation

    def _sketch(self) -> tuple[Any, Any]:
        import torch

        return copy.deepcopy(self._module).to("meta"), torch.empty(2, 3, self.input_size, self.input_size)


def _fingerprint(module: Any, about: str) -> str:
    """Hash of all weights and statistics of a module, 32 hex digits."""
    import torch

    state = blake2b(about.encode(), digest_size=16)
    for name, tensor in module.state_dict().items():
        state.update(f"\0{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return state.hexdigest()
