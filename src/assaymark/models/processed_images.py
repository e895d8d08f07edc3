"""What adapters of transformers' image networks share: pixels through their image processor, and a sketch of the network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from assaymark.models.image_pixels import (
    Normalisation,
    load_image_processor,
    pixel_tensor,
    processed_shape,
    processor_normalisation,
    raw_pixel_tensor,
)
from assaymark.models.image_recording import RecordsImageLayers
from assaymark.models.torch_adapter import TorchAdapter, import_transformers

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ProcessedImageAdapter"]


class ProcessedImageAdapter(RecordsImageLayers, TorchAdapter):
    """An adapter whose loaded parts hold an `image_processor`; `purpose` says what it is, for messages."""

    purpose: ClassVar[str]

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """Float32 tensor, shape (n, 3, height, width)."""
        return pixel_tensor(self._loaded().image_processor, images)

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        """Float32 tensor on the CPU, shape (n, 3, height, width), in [0, 1]."""
        return raw_pixel_tensor(self._loaded().image_processor, images)

    @abstractmethod
    def _untrained(self, transformers: Any) -> Any:
        """The recorded network as its configuration describes it, without the weights of the checkpoint."""
        ...

    def _normalising(self) -> Normalisation:
        return processor_normalisation(self._loaded().image_processor, self.spec)

    def _sketch(self) -> tuple[Any, Any]:
        import torch

        transformers = import_transformers("vision", f"{self.purpose} {self.spec}")
        shape = processed_shape(load_image_processor(transformers, self.spec, self._checkpoint.present()))
        return self._untrained(transformers), torch.empty(2, *shape)
