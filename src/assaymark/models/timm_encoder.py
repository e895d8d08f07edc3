"""`timm:...` - encoders of the timm library, without a head (DINO, MAE), or of a classifier with `?task=encoder`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError
from assaymark.models.checkpoint import Checkpoint, find_checkpoint
from assaymark.models.image_pixels import Normalisation, limit_aspect
from assaymark.models.image_recording import RecordsImageLayers
from assaymark.models.spec import ModelSpec, UnknownOption
from assaymark.models.timm_classifier import TimmClassifier, stated_architecture, stated_preprocessing, timm_library
from assaymark.models.torch_adapter import TorchAdapter, load_part

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["TimmEncoder", "open_timm", "without_normalisation"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently
_TASKS = ("classifier", "encoder")
Array = npt.NDArray[np.float32]


class _Parts(NamedTuple):
    model: Any
    preprocess: Any
    device: str


def open_timm(spec: ModelSpec, loading: Loading) -> Any:
    """An encoder where config.json states no classes, or `?task=encoder` asks for one; else a classifier."""
    task = spec.options.get("task")
    if task is not None and task not in _TASKS:
        raise UnknownOption("task", task, _TASKS, mend=f"(model {spec.text})")
    timm_library(f"model {spec.text}")
    checkpoint = find_checkpoint(spec)
    if task == "encoder" or (task is None and checkpoint.config.get("num_classes") == 0):
        return TimmEncoder(checkpoint, loading)
    return TimmClassifier(checkpoint, loading)


class TimmEncoder(RecordsImageLayers, TorchAdapter):
    """Unit-norm features of a timm network (capabilities embeds-images, trains-images, records-activations).

    What the network gives without its head: the class token, or the pooled map. `logit_scale` is 1.
    """

    logit_scale = 1.0

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("task",))
        self._architecture = stated_architecture(checkpoint)
        self.dimension = self.layers[-1].units
        self.fingerprint = checkpoint.fingerprint(f"timm-encoder {VERSION}")

    def embed_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, dimension), unit norm. Any PIL mode; transparency is dropped."""
        import torch

        from assaymark.models.image_features import unit_rows

        blocks = [np.empty((0, self.dimension), dtype=np.float32)]
        for batch in self._batches(images):
            parts = self._loaded()
            with torch.inference_mode():
                blocks.append(unit_rows(parts.model(self.prepare_images(batch).to(parts.device))))
        return np.concatenate(blocks)

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """Float32 tensor, shape (n, 3, height, width)."""
        return _stacked(self._loaded().preprocess, images)

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        """Float32 tensor on the CPU, shape (n, 3, height, width), in [0, 1]."""
        return _stacked(without_normalisation(self._loaded().preprocess, self.spec).preprocess, images)

    def feature_module(self) -> Any:
        """A copy of the network, with gradients."""
        return copy.deepcopy(self._loaded().model).cpu()

    def _recorded_module(self) -> Any:
        return self._loaded().model

    def _normalising(self) -> Normalisation:
        return without_normalisation(self._loaded().preprocess, self.spec).normalisation

    def _sketch(self) -> tuple[Any, Any]:
        import torch

        timm = timm_library(f"model {self.spec}")
        model = self._network(timm)
        size = self._preprocessing(timm, model)["input_size"]
        return model, torch.empty(2, *map(int, size))

    def _network(self, timm: Any) -> Any:
        config = self._checkpoint.config
        settings = {**dict(config.get("model_args") or {}), "num_classes": 0}
        if config.get("global_pool"):
            settings["global_pool"] = config["global_pool"]
        return timm.create_model(self._architecture, pretrained=False, **settings)

    def _preprocessing(self, timm: Any, model: Any) -> dict[str, Any]:
        stated = stated_preprocessing(self._checkpoint.config)
        return dict(timm.data.resolve_data_config({}, pretrained_cfg=stated, model=model))

    def _load(self, folder: Path, device: str) -> _Parts:
        from assaymark.models.state_dicts import fit_weights, non_finite_note, read_weights

        timm = timm_library(f"model {self.spec}")
        model = load_part(self.spec, "architecture", lambda: self._network(timm))
        weights: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):  # all shards at once: each lacks what the others hold
            weights |= read_weights(path, self.spec)
        self.notes = fit_weights(model, weights, self.spec) + non_finite_note(model.state_dict())
        stated = self._preprocessing(timm, model)
        preprocess = load_part(self.spec, "preprocessing", lambda: timm.data.create_transform(**stated, is_training=False))
        return _Parts(model.to(device).eval(), preprocess, device)


def _stacked(preprocess: Any, images: Sequence[Image]) -> Any:
    import torch

    return torch.stack([preprocess(limit_aspect(image).convert("RGB")) for image in images])


class _Raw(NamedTuple):
    """The steps of a preprocessing before its normalisation, one after the other, and that normalisation."""

    preprocess: Any
    normalisation: Normalisation


def without_normalisation(preprocess: Any, spec: str) -> _Raw:
    """Take the last step off a chain of torchvision transforms, which has to be a normalisation.

    Raises
    ------
    ModelError
        It is none: then the network cannot be given views that were changed after resizing.
    """
    steps = list(getattr(preprocess, "transforms", ()))
    if not steps or type(steps[-1]).__name__ != "Normalize":
        raise ModelError(f"model {spec}: its preprocessing does not end in a normalisation, so its layers cannot be recorded")
    last = steps[-1]
    mean, std = ([float(value) for value in getattr(last, name)] for name in ("mean", "std"))

    def raw(image: Any) -> Any:
        for step in steps[:-1]:
            image = step(image)
        return image

    return _Raw(raw, Normalisation(tuple(mean), tuple(std)))
