"""How an ONNX scorer wants its pictures: size, channels, scale, layout; and the presets of published detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError, UnknownName
from assaymark.models.onnx_graph import choice
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PRESETS", "PixelFormat", "preset_options"]

Array = npt.NDArray[np.float32]

_KERAS = {"layout": "nhwc", "labels": "drawings,hentai,neutral,porn,sexy", "resize": "squash"}
PRESETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # Labels in the order of the released Keras models; pixels RGB / 255.
        "keras-mobilenet": {**_KERAS, "size": "224"},
        "keras-inception": {**_KERAS, "size": "299"},
        # Caffe: BGR on the scale 0 to 255 minus the means of ImageNet, the middle 224 of 256 x 256. Scores: safe, unsafe.
        "open-nsfw": {
            "channels": "bgr",
            "mean": f"{104 / 255},{117 / 255},{123 / 255}",
            "std": f"{1 / 255},{1 / 255},{1 / 255}",
            "size": "224",
            "resize_to": "256",
            "labels": "sfw,nsfw",
        },
    }
)
"""Options of published detectors that were converted to ONNX; what the spec or the file beside the model says wins."""


class _UnknownPreset(UnknownName, ModelError):
    pass


def preset_options(spec: ModelSpec) -> Mapping[str, str]:
    """Options of the preset that a spec names; none without one."""
    name = spec.options.get("preset")
    if name is None:
        return {}
    if name not in PRESETS:
        raise _UnknownPreset("preset", name, PRESETS, mend=f"(model {spec.text})")
    return PRESETS[name]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """Input of an image graph; `mean` and `std` are in the order of the channels that it takes."""

    size: int
    resize_to: int
    crop: bool
    bgr: bool
    channels_first: bool
    mean: Array
    std: Array

    @classmethod
    def of(cls, spec: ModelSpec, shape: list[Any]) -> PixelFormat:
        """From the options of a spec and the shape of the graph's input."""
        channels_first = choice(spec, "layout", ("nchw", "nhwc")) == "nchw"
        size = _input_size(spec, shape[2] if channels_first else shape[1])
        resize_to = spec.integer("resize_to", size)
        if resize_to < size:
            raise ConfigError(f"model {spec.text}: resize_to={resize_to} is less than the input, {size} pixels")
        return cls(
            size=size,
            resize_to=resize_to,
            crop=choice(spec, "resize", ("squash", "crop")) == "crop",
            bgr=choice(spec, "channels", ("rgb", "bgr")) == "bgr",
            channels_first=channels_first,
            mean=_channels(spec, "mean", 0.0),
            std=_channels(spec, "std", 1.0),
        )

    def __call__(self, images: Sequence[Image]) -> Array:
        """Shape (n, 3, size, size), or (n, size, size, 3) where the graph takes channels last."""
        pixels = np.stack([self._one(image) for image in images])  # (n, size, size, 3)
        return pixels.transpose(0, 3, 1, 2) if self.channels_first else pixels

    def _one(self, image: Image) -> Array:
        from PIL.Image import Resampling
        from PIL.ImageOps import fit

        colour, square = image.convert("RGB"), (self.resize_to, self.resize_to)
        resized = fit(colour, square, Resampling.BICUBIC) if self.crop else colour.resize(square, Resampling.BICUBIC)
        margin = (self.resize_to - self.size) // 2
        pixels = np.asarray(resized, dtype=np.float32)[margin : margin + self.size, margin : margin + self.size]
        pixels = pixels[..., ::-1] if self.bgr else pixels
        return ((pixels / 255.0 - self.mean) / self.std).astype(np.float32)


def _channels(spec: ModelSpec, name: str, default: float) -> Array:
    try:
        values = np.array([float(part) for part in spec.names(name)] or [default] * 3, dtype=np.float32)
    except ValueError:
        raise ConfigError(f"model {spec.text}: {name} must be three numbers, one a channel") from None
    if values.size != 3 or (name == "std" and (values <= 0).any()):
        raise ConfigError(f"model {spec.text}: {name} must be three numbers, one a channel (std over 0)")
    return values


def _input_size(spec: ModelSpec, side: Any) -> int:
    size = spec.integer("size", side if isinstance(side, int) else 0)
    if size < 1 or (isinstance(side, int) and size != side):
        fixed = f"; the model takes {side}" if isinstance(side, int) else ""
        raise ModelError(f"model {spec.text}: give the side of its input in pixels, size=224 or the like{fixed}")
    return size
