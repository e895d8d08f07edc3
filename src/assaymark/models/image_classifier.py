"""Image classifiers in the transformers layout (`...ForImageClassification`), among them detectors of unsafe pictures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import MissingExtra
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.image_pixels import (
    load_image_processor,
    pixel_tensor,
)
from assaymark.models.label_reduction import reduce_labels
from assaymark.models.processed_images import ProcessedImageAdapter
from assaymark.models.torch_adapter import import_transformers, indexed_labels, load_config, load_weights

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["ImageClassifier"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently
Array = npt.NDArray[np.float32]


class _Parts(NamedTuple):
    image_processor: Any
    features: Any


class ImageClassifier(ProcessedImageAdapter):
    """Probabilities of an image classifier, and the features before its head.

    Capabilities scores-images, embeds-images (unit norm), trains-images and records-activations (both without the head). The
    labels follow `id2label` by index, whatever the order in the file. Outputs go through a sigmoid when `problem_type` is
    multi_label_classification or there is one output, else through a softmax; `?multi_label=true` corrects a config.json that
    does not state it.

    Detectors whose labels are in `assaymark.models.label_maps` answer with the single label "unsafe", and a note says which
    classes it is made of. `?unsafe=a,b` names the classes instead, `?unsafe=none` gives all labels.
    """

    purpose = "image classifier"
    logit_scale = 1.0

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("multi_label", "unsafe"))
        transformers = import_transformers("vision", f"image classifier {self.spec}")
        _check_timm(checkpoint)
        config = load_config(transformers, checkpoint)
        labels = indexed_labels(self.spec, config)
        stated = config.problem_type == "multi_label_classification"
        multi_label = len(labels) == 1 or checkpoint.spec.flag("multi_label", stated)
        self._reduction = reduce_labels(checkpoint.spec, labels, multi_label)
        self.labels, self.multi_label, self.notes = (
            self._reduction.labels,
            self._reduction.multi_label,
            self._reduction.notes,
        )
        self.dimension = self._measure(transformers, config)
        decided = f"multi_label={multi_label} unsafe={','.join(self._reduction.positive)}"
        self.fingerprint = checkpoint.fingerprint(f"image-classifier {VERSION} {decided}")

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, n_labels), in [0, 1]. Any PIL mode; transparency is dropped."""
        blocks = [self._probabilities(batch) for batch in self._batches(images)]
        return np.concatenate([np.empty((0, len(self.labels)), dtype=np.float32), *blocks])

    def embed_images(self, images: Sequence[Image]) -> Array:
        """Features before the head, shape (n, dimension), unit norm."""
        from assaymark.models.image_features import unit_rows

        blocks = [unit_rows(self._features(batch)) for batch in self._batches(images)]
        return np.concatenate([np.empty((0, self.dimension), dtype=np.float32), *blocks])

    def feature_module(self) -> Any:
        """A copy of the network before the head, with gradients."""
        module = copy.deepcopy(self._loaded().features).cpu()
        del module.head  # no gradient would reach it
        return module

    def _features(self, images: Sequence[Image]) -> Any:
        import torch

        image_processor, features = self._loaded()
        pixels = pixel_tensor(image_processor, images).to(features.head.weight.device)
        with torch.inference_mode():
            return features(pixels)

    def _probabilities(self, images: Sequence[Image]) -> Array:
        import torch

        with torch.inference_mode():
            logits = self._loaded().features.head(self._features(images)).float()  # (batch, n_model_labels)
            independent = self._reduction.model_multi_label
            probabilities = torch.sigmoid(logits) if independent else torch.softmax(logits, dim=-1)
        return self._reduction(np.asarray(probabilities.cpu().numpy(), dtype=np.float32))

    def _measure(self, transformers: Any, config: Any) -> int:
        from assaymark.models.image_features import WithoutHead, feature_dimension

        automatic = transformers.AutoModelForImageClassification
        return feature_dimension(self.spec, config, lambda: WithoutHead(automatic.from_config(config), self.spec))

    def _recorded_module(self) -> Any:
        return self._loaded().features

    def _untrained(self, transformers: Any) -> Any:
        from assaymark.models.image_features import WithoutHead

        model = transformers.AutoModelForImageClassification.from_config(load_config(transformers, self._checkpoint))
        return WithoutHead(model, self.spec)

    def _load(self, folder: Path, device: str) -> _Parts:
        from assaymark.models.image_features import WithoutHead

        transformers = import_transformers("vision", f"image classifier {self.spec}")
        image_processor = load_image_processor(transformers, self.spec, folder)
        model = load_weights(transformers.AutoModelForImageClassification, self._checkpoint, folder, device)
        return _Parts(image_processor, WithoutHead(model, self.spec).eval())


def _check_timm(checkpoint: Checkpoint) -> None:
    """Checkpoints that wrap a timm network need that library, which comes with the extra of open_clip."""
    if checkpoint.config.get("model_type") != "timm_wrapper":
        return
    try:
        import timm  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401
    except ImportError as error:
        raise MissingExtra("openclip", f"model {checkpoint.spec.text}, a timm network,") from error
