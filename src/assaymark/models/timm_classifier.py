"""`timm:org/name`, `timm:./folder` - image classifiers of the timm library in its own layout.

The folder holds config.json (architecture, label_names, pretrained_cfg) and *.safetensors. It is found, fetched, checked and
fingerprinted like any other checkpoint; of timm itself only the architecture and the preprocessing are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import MissingExtra, ModelError
from assaymark.models.checkpoint import Checkpoint, prepare_environment
from assaymark.models.image_pixels import limit_aspect
from assaymark.models.label_reduction import reduce_labels
from assaymark.models.torch_adapter import TorchAdapter, load_part

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["TimmClassifier", "stated_architecture", "stated_preprocessing", "timm_library"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently
Array = npt.NDArray[np.float32]


class _Parts(NamedTuple):
    model: Any
    preprocess: Any
    device: str


class TimmClassifier(TorchAdapter):
    """Probabilities of a timm classifier (capability scores-images).

    Labels follow `label_names` of config.json by index; `?unsafe=a,b`, `?unsafe=none` and the reviewed table work as for
    `assaymark.models.image_classifier.ImageClassifier`, and `?multi_label=true` reads each output on its own.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        spec = checkpoint.spec
        spec.check_options(("multi_label", "task", "unsafe"))
        self._architecture = stated_architecture(checkpoint)
        labels = _labels(checkpoint)
        multi_label = len(labels) == 1 or spec.flag("multi_label", False)
        self._reduction = reduce_labels(spec, labels, multi_label)
        self.labels, self.multi_label, self.notes = (
            self._reduction.labels,
            self._reduction.multi_label,
            self._reduction.notes,
        )
        decided = f"multi_label={multi_label} unsafe={','.join(self._reduction.positive)}"
        self.fingerprint = checkpoint.fingerprint(f"timm-classifier {VERSION} {decided}")

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, n_labels), in [0, 1]. Any PIL mode; transparency is dropped."""
        import torch

        blocks = [np.empty((0, len(self.labels)), dtype=np.float32)]
        for batch in self._batches(images):
            model, preprocess, device = self._loaded()
            pixels = torch.stack([preprocess(limit_aspect(image).convert("RGB")) for image in batch]).to(device)
            with torch.inference_mode():
                logits = model(pixels).float()  # (batch, n_model_labels)
                independent = self._reduction.model_multi_label
                probabilities = torch.sigmoid(logits) if independent else torch.softmax(logits, dim=-1)
            blocks.append(self._reduction(np.asarray(probabilities.cpu().numpy(), dtype=np.float32)))
        return np.concatenate(blocks)

    def _load(self, folder: Path, device: str) -> _Parts:
        from safetensors.torch import load_file

        timm = timm_library(f"model {self.spec}")
        config = self._checkpoint.config
        settings = {"num_classes": len(self._reduction.model_labels), **dict(config.get("model_args") or {})}
        if config.get("global_pool"):
            settings["global_pool"] = config["global_pool"]

        def build() -> Any:
            model = timm.create_model(self._architecture, pretrained=False, **settings)
            # All shards at once: a weight that is missing would else keep its random start.
            model.load_state_dict(
                {name: t for path in sorted(folder.glob("*.safetensors")) for name, t in load_file(path).items()}
            )
            stated = timm.data.resolve_data_config({}, pretrained_cfg=stated_preprocessing(config), model=model)
            return model, timm.data.create_transform(**stated, is_training=False)

        model, preprocess = load_part(self.spec, "weights", build)
        return _Parts(model.to(device).eval(), preprocess, device)


def timm_library(purpose: str) -> Any:
    """The timm module, or the install line."""
    prepare_environment()
    try:
        import timm  # type: ignore[import-not-found,import-untyped,unused-ignore]
        import timm.data  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtra("openclip", purpose) from error
    return timm


def stated_architecture(checkpoint: Checkpoint) -> str:
    """The name that timm makes the network by."""
    architecture = str(checkpoint.config.get("architecture") or "")
    if not architecture:
        spec = checkpoint.spec
        raise ModelError(f"model {spec.text}: config.json names no timm architecture; for other layouts write hf:{spec.target}")
    return architecture


def stated_preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """Size, scale and crop: in `pretrained_cfg`, or, in older folders, beside the architecture."""
    return dict(config.get("pretrained_cfg") or config)


def _labels(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names by output index; without any, `output_0`, `output_1`, ..."""
    config = checkpoint.config
    nested = config.get("pretrained_cfg") or {}
    places = [place.get(key) for place in (config, nested) for key in ("label_names", "labels")]
    names = next((place for place in places if place), None)
    count = config.get("num_classes") or nested.get("num_classes")
    if isinstance(names, Mapping):
        by_index = {int(index): str(name) for index, name in names.items()}
        names = [by_index.get(index, "") for index in range(len(by_index))]
    labels = tuple(map(str, names)) if names else tuple(f"output_{index}" for index in range(int(count or 0)))
    if not labels or len(set(labels)) < len(labels) or not all(labels) or (count is not None and int(count) != len(labels)):
        raise ModelError(
            f"model {checkpoint.spec.text}: label_names in config.json must give each of its {count or 'unknown number of'} "
            "outputs a name of its own"
        )
    return labels
