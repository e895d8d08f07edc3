"""Vision models without a head in the transformers layout (`ViTModel`, `ResNetModel`, `Dinov2Model`, ...)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.models.checkpoint import Checkpoint
from assaymark.models.image_pixels import (
    load_image_processor,
    pixel_tensor,
)
from assaymark.models.processed_images import ProcessedImageAdapter
from assaymark.models.torch_adapter import import_transformers, load_config, load_weights

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["ImageEncoder"]

VERSION = 2  # part of the fingerprint: grows when the same checkpoint would answer differently
Array = npt.NDArray[np.float32]


class _Parts(NamedTuple):
    image_processor: Any
    features: Any
    device: str


class ImageEncoder(ProcessedImageAdapter):
    """Unit-norm features of images: the class token or the pooled map.

    Capabilities embeds-images, trains-images and records-activations. `logit_scale` is 1: there are no texts to compare with.
    """

    purpose = "image encoder"
    logit_scale = 1.0

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        from assaymark.models.image_features import PooledBackbone, feature_dimension

        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(())
        transformers = import_transformers("vision", f"image encoder {self.spec}")
        config = load_config(transformers, checkpoint)
        self.dimension = feature_dimension(
            self.spec, config, lambda: PooledBackbone(transformers.AutoModel.from_config(config))
        )
        self.fingerprint = checkpoint.fingerprint(f"image-encoder {VERSION}")

    def embed_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, dimension), unit norm. Any PIL mode; transparency is dropped."""
        import torch

        from assaymark.models.image_features import unit_rows

        blocks = [np.empty((0, self.dimension), dtype=np.float32)]
        for batch in self._batches(images):
            image_processor, features, device = self._loaded()
            with torch.inference_mode():
                blocks.append(unit_rows(features(pixel_tensor(image_processor, batch).to(device))))
        return np.concatenate(blocks)

    def feature_module(self) -> Any:
        """A copy of the network, with gradients."""
        return copy.deepcopy(self._loaded().features).cpu()

    def _recorded_module(self) -> Any:
        return self._loaded().features

    def _untrained(self, transformers: Any) -> Any:
        from assaymark.models.image_features import PooledBackbone

        return PooledBackbone(transformers.AutoModel.from_config(load_config(transformers, self._checkpoint)))

    def _load(self, folder: Path, device: str) -> _Parts:
        from assaymark.models.image_features import PooledBackbone
        from assaymark.models.state_dicts import non_finite_note

        transformers = import_transformers("vision", f"image encoder {self.spec}")
        image_processor = load_image_processor(transformers, self.spec, folder)
        model = load_weights(transformers.AutoModel, self._checkpoint, folder, device, optional=("pooler.dense.",))
        self.notes = non_finite_note(model.state_dict())
        return _Parts(image_processor, PooledBackbone(model).eval(), device)
