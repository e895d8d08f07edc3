"""The safety checker of Stable Diffusion (`CompVis/stable-diffusion-safety-checker`): CLIP image embeddings near concepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.image_pixels import load_image_processor, pixel_tensor
from assaymark.models.onnx_graph import choice
from assaymark.models.torch_adapter import TorchAdapter, import_transformers, load_config, load_part

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["Concepts", "SafetyChecker", "SafetyHead", "open_safety_checker", "safety_margins", "unsafe_scores"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently
_SPECIAL_CARE = 0.01  # by which thresholds of all concepts fall once a special-care concept is near
_DECIMALS = 3
_HEAD = ("concept_embeds", "concept_embeds_weights", "special_care_embeds", "special_care_embeds_weights")
_NOTE = (
    "its score is 0.5 + margin / 2, the margin being the largest excess of a cosine over its concept's threshold; it is over "
    "0.5 exactly where the checker flags, and no probability"
)
Array = npt.NDArray[np.float32]


class Concepts(NamedTuple):
    """Unit-norm directions, shapes (k, d) and (s, d), and the cosine from which on each counts, (k,) and (s,)."""

    directions: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    special: npt.NDArray[np.float64]
    special_thresholds: npt.NDArray[np.float64]

    @classmethod
    def of(cls, tensors: dict[str, Any]) -> Concepts:
        directions, thresholds, special, special_thresholds = (tensors[name].double().numpy() for name in _HEAD)
        return cls(_unit(directions), thresholds, _unit(special), special_thresholds)


def safety_margins(embeddings: npt.ArrayLike, concepts: Concepts) -> npt.NDArray[np.float64]:
    """The largest adjusted excess over a concept's threshold, as the released checker computes it.

    Parameters
    ----------
    embeddings : array, shape (n, d)
        Projected CLIP image embeddings; their length does not matter.
    concepts : Concepts

    Returns
    -------
    array, shape (n,)
        max_k round(cos_k - threshold_k + adjustment, 3); the adjustment is 0.01 where round(cos_s - threshold_s, 3) > 0 for
        any special-care concept s, else 0. The checker flags where it is over 0.
    """
    vectors = _unit(np.asarray(embeddings, dtype=np.float64))
    special = np.round(vectors @ concepts.special.T - concepts.special_thresholds, _DECIMALS)  # (n, s)
    adjustment = np.where((special > 0).any(axis=1), _SPECIAL_CARE, 0.0)
    excess = vectors @ concepts.directions.T - concepts.thresholds + adjustment[:, None]  # (n, k)
    margins: npt.NDArray[np.float64] = np.round(excess, _DECIMALS).max(axis=1)
    return margins


def unsafe_scores(margins: npt.NDArray[np.float64]) -> Array:
    """0.5 + margin / 2, clipped to [0, 1]; a margin of 0, which is not flagged, comes just below 0.5.

    So both `> 0.5` and `>= 0.5` decide as the checker does. Shape (n, 1).
    """
    scores = np.clip(0.5 + margins / 2, 0.0, 1.0).astype(np.float32)
    below = np.nextafter(np.float32(0.5), np.float32(0))
    return np.where(margins > 0, scores, np.minimum(scores, below)).astype(np.float32)[:, None]


def open_safety_checker(checkpoint: Checkpoint, loading: Loading) -> SafetyChecker | SafetyHead:
    """The whole checker, or with `?input=embeddings` its head for stored embeddings of CLIP ViT-L/14."""
    checkpoint.spec.check_options(("input",))
    takes = choice(checkpoint.spec, "input", ("images", "embeddings"))
    return SafetyChecker(checkpoint, loading) if takes == "images" else SafetyHead(checkpoint, loading)


class _Parts(NamedTuple):
    image_processor: Any
    vision_model: Any
    projection: Any
    concepts: Concepts


class _Checker(TorchAdapter):
    labels = ("unsafe",)
    multi_label = True

    def __init__(self, checkpoint: Checkpoint, loading: Loading, kind: str) -> None:
        super().__init__(checkpoint, loading)
        self._config = load_config(import_transformers("vision", f"safety checker {self.spec}"), checkpoint)
        self.dimension = int(self._config.projection_dim)
        self.notes = (f"{self.spec}: {_NOTE}",)
        self.fingerprint = checkpoint.fingerprint(f"{kind} {VERSION}")

    def _tensors(self, folder: Path, *, head_only: bool) -> dict[str, Any]:
        from safetensors import safe_open

        found: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as stored:
                wanted = [name for name in stored.keys() if name in _HEAD or not head_only]  # noqa: SIM118 - not a mapping
                found |= {name: stored.get_tensor(name).float() for name in wanted}
        absent = [name for name in _HEAD if name not in found]
        if absent:
            raise ModelError(f"model {self.spec}: its weights lack {', '.join(absent)}; it is no safety checker")
        return found


class SafetyHead(_Checker):
    """Scores of stored embeddings (capability scores-embeddings); reads the concepts alone."""

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading, "safety-head")

    def score_embeddings(self, embeddings: Array) -> Array:
        """Shape (n, 1), for embeddings of shape (n, dimension) by the checker's own encoder, CLIP ViT-L/14."""
        rows = np.asarray(embeddings)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ModelError(f"model {self.spec} takes embeddings of width {self.dimension}; their shape is {rows.shape}")
        return unsafe_scores(safety_margins(rows, self._loaded()))

    def _load(self, folder: Path, device: str) -> Concepts:
        return Concepts.of(self._tensors(folder, head_only=True))


class SafetyChecker(_Checker):
    """Scores of images (capability scores-images)."""

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading, "safety-checker")

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, 1), in [0, 1], over 0.5 where the checker flags. Any PIL mode; transparency is dropped."""
        import torch

        blocks = [np.empty((0, 1), dtype=np.float32)]
        for batch in self._batches(images):
            image_processor, vision_model, projection, concepts = self._loaded()
            pixels = pixel_tensor(image_processor, batch).to(projection.weight.device)
            with torch.inference_mode():
                embeddings = projection(vision_model(pixel_values=pixels).pooler_output).float().cpu().numpy()
            blocks.append(unsafe_scores(safety_margins(embeddings, concepts)))
        return np.concatenate(blocks)

    def _load(self, folder: Path, device: str) -> _Parts:
        import torch

        transformers = import_transformers("vision", f"safety checker {self.spec}")
        image_processor = load_image_processor(transformers, self.spec, folder)
        tensors = self._tensors(folder, head_only=False)
        vision = self._config.vision_config
        tower = torch.nn.ModuleDict(
            {
                "vision_model": transformers.CLIPVisionModel(vision),
                "visual_projection": torch.nn.Linear(vision.hidden_size, self.dimension, bias=False),
            }
        )
        names = {_flat(name): name for name in tower.state_dict()}
        # Position ids were stored once; today they are computed.
        weights = {
            _flat(name): tensor for name, tensor in tensors.items() if name not in _HEAD and not name.endswith("position_ids")
        }
        state = {names.get(name, name): tensor for name, tensor in weights.items()}
        load_part(self.spec, "weights", lambda: tower.load_state_dict(state))
        tower = tower.to(device).eval()
        return _Parts(image_processor, tower["vision_model"], tower["visual_projection"], Concepts.of(tensors))


def _flat(name: str) -> str:
    """Name of a weight without the prefix that releases of transformers repeat a different number of times."""
    while name.startswith("vision_model."):
        name = name.removeprefix("vision_model.")
    return name


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = vectors / np.maximum(lengths, np.finfo(np.float64).tiny)
    return unit
