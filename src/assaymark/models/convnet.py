"""`convnet:net.safetensors` - small VGG-style networks trained here, one file each with weights, labels and preprocessing.

The family of card "mixture of convolutional networks": blocks of [convolution - batch normalisation - activation] twice and a
maximum pool, then global average pool, dropout 0.5 and a linear head. Channels double from block to block, up to 8 times the
width (as in VGG).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, MissingExtra, ModelError
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["ACTIVATIONS", "ConvNetScorer", "ConvNetSpec", "build_convnet", "network_pixels", "save_convnet"]

VERSION = 1
ACTIVATIONS = ("relu", "prelu")
_FORMAT = "assaymark-convnet 1"
_DROPOUT = 0.5
_LOADING = threading.RLock()
Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ConvNetSpec:
    """Layout of one network. `classes` 1 is one logit (sigmoid: unsafe or not); more are logits of a softmax."""

    depth: int = 3
    width: int = 16
    kernel: int = 3
    activation: str = "relu"
    input_size: int = 64
    classes: int = 1

    def __post_init__(self) -> None:
        if self.depth < 1 or self.width < 1 or self.classes < 1:
            raise ConfigError(f"depth, width and classes of a network must be at least 1, not {self}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ConfigError(f"the kernel of a network is {self.kernel}; it must be odd, 3 or 5")
        if self.activation not in ACTIVATIONS:
            raise ConfigError(f"activation is {self.activation!r}; it must be one of {', '.join(ACTIVATIONS)}")
        if self.input_size < 2**self.depth:
            raise ConfigError(
                f"an input of {self.input_size} pixels does not outlast {self.depth} poolings; it takes {2**self.depth} or more"
            )

    @property
    def name(self) -> str:
        """For tables: depth, width, kernel, activation, input."""
        return f"d{self.depth}-w{self.width}-k{self.kernel}-{self.activation}-{self.input_size}px"


def build_convnet(spec: ConvNetSpec, *, seed: int) -> Any:
    """The untrained network: pixels (n, 3, h, w), normalised -> logits (n, classes). Global generators stay as they are."""
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[Any] = []
        channels = 3
        for block in range(spec.depth):
            wider = spec.width * 2 ** min(block, 3)
            for given in (channels, wider):
                # No bias: batch normalisation takes the mean away again.
                layers.append(nn.Conv2d(given, wider, spec.kernel, padding=spec.kernel // 2, bias=False))
                layers.append(nn.BatchNorm2d(wider))
                layers.append(nn.ReLU() if spec.activation == "relu" else nn.PReLU(wider))
            layers.append(nn.MaxPool2d(2))
            channels = wider
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(_DROPOUT), nn.Linear(channels, spec.classes)]
        return nn.Sequential(*layers)


def save_convnet(
    path: Path, module: Any, *, spec: ConvNetSpec, labels: Sequence[str], mean: Sequence[float], std: Sequence[float]
) -> None:
    """Write weights, layout, labels and preprocessing into one safetensors file, as a whole or not at all.

    Parameters
    ----------
    labels : sequence of str, one an output
    mean, std : three floats
        Per channel, of pixels scaled to [0, 1].
    """
    import os

    from safetensors.torch import save_file

    if len(labels) != spec.classes or len(mean) != 3 or len(std) != 3:
        raise ValueError(f"{spec.classes} labels and three numbers each in mean and std are needed")
    facts = {"layout": asdict(spec), "labels": list(labels), "mean": [float(v) for v in mean], "std": [float(v) for v in std]}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    save_file(weights, temporary, metadata={"format": _FORMAT, "facts": json.dumps(facts)})
    os.replace(temporary, path)


def network_pixels(images: Sequence[Image], size: int) -> npt.NDArray[np.uint8]:
    """Pictures squashed to squares, RGB: shape (n, size, size, 3), uint8. The one way of resizing, in training and in use."""
    from PIL.Image import Resampling

    pixels = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        pixels[row] = np.asarray(image.convert("RGB").resize((size, size), Resampling.BICUBIC))
    return pixels


class ConvNetScorer:
    """Probabilities of a saved network (capability scores-images). The weights load on first use and are not pickled."""

    def __init__(self, spec: ModelSpec, loading: Loading) -> None:
        spec.check_options(())
        path = spec.path()
        if not path.is_file():
            raise ModelError(f"model {spec.text}: no file {path}")
        facts = _facts(path, spec.text)
        self.spec, self.notes = spec.text, ()
        self._path, self._loading = path, loading
        self._layout = ConvNetSpec(**facts["layout"])
        self._mean, self._std = (np.array(facts[name], dtype=np.float32) for name in ("mean", "std"))
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        self.multi_label = self._layout.classes == 1
        self.fingerprint = blake2b(f"convnet {VERSION}".encode() + path.read_bytes(), digest_size=16).hexdigest()
        self._network: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None}

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, n_labels), in [0, 1]."""
        scores = np.empty((len(images), len(self.labels)), dtype=np.float32)
        size = self._loading.batch_size
        for start in range(0, len(images), size):
            scores[start : start + size] = self._batch(images[start : start + size])
        return scores

    def _batch(self, images: Sequence[Image]) -> Array:
        import torch

        network = self._loaded()
        pixels = (network_pixels(images, self._layout.input_size).astype(np.float32) / 255.0 - self._mean) / self._std
        given = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            logits = network(given.to(next(network.parameters()).device)).double()
        probabilities = logits.sigmoid() if self.multi_label else logits.softmax(dim=1)
        return np.asarray(probabilities.cpu().numpy(), dtype=np.float32)

    def _loaded(self) -> Any:
        with _LOADING:
            if self._network is None:
                self._network = self._load()
        return self._network

    def _load(self) -> Any:
        try:
            from safetensors.torch import load_file
        except ImportError as error:
            raise MissingExtra("vision", f"model {self.spec}") from error
        from assaymark.models.torch_adapter import torch_device

        network = build_convnet(self._layout, seed=0)
        try:
            network.load_state_dict(load_file(self._path))
        except Exception as error:
            if not isinstance(error, (RuntimeError, OSError)) and type(error).__name__ != "SafetensorError":
                raise
            raise ModelError(f"model {self.spec}: its weights do not fit its layout, or are damaged") from error
        return network.to(torch_device(self._loading.device)).eval()


def _facts(path: Path, spec: str) -> Mapping[str, Any]:
    """Layout, labels and preprocessing, checked: a file from elsewhere is refused before its weights are read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"model {spec}: {path.name} is not a safetensors file, or is damaged ({error})") from error
    if metadata.get("format") != _FORMAT:
        raise ModelError(f"model {spec}: {path.name} holds no network of ours; train one with scorer-mixture, or use onnx:")
    try:
        facts: dict[str, Any] = json.loads(metadata["facts"])
        layout = ConvNetSpec(**facts["layout"])
        sound = (
            len(facts["labels"]) == layout.classes and len(facts["mean"]) == len(facts["std"]) == 3 and min(facts["std"]) > 0
        )
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"model {spec}: the metadata of {path.name} are damaged ({error})") from error
    if not sound:
        raise ModelError(f"model {spec}: the metadata of {path.name} do not fit together (labels, mean or std)")
    return facts
