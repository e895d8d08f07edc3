"""From pictures to the pixels that a transformers model takes.

Images go through the PIL/NumPy image processors of transformers (`backend="pil"`), which need no torchvision and give the
same pixels on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from assaymark.errors import ModelError
from assaymark.models.torch_adapter import load_part

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Normalisation",
    "limit_aspect",
    "load_image_processor",
    "pixel_tensor",
    "processed_shape",
    "processor_normalisation",
    "raw_pixel_tensor",
]

_MOST_ELONGATED = 20  # longer side / shorter side that is still resized as it is


def load_image_processor(transformers: Any, spec: str, folder: Path) -> Any:
    return load_part(
        spec,
        "image processor",
        lambda: transformers.AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        ),
    )


class Normalisation(NamedTuple):
    """What a network takes of raw pixels in [0, 1]: (pixels - mean) / std, a channel each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Any) -> Any:
        """Tensor of shape (n, channels, height, width), on any device."""
        mean, std = (pixels.new_tensor(values)[:, None, None] for values in self)
        return (pixels - mean) / std


def processor_normalisation(image_processor: Any, spec: str) -> Normalisation:
    """What an image processor does to pixels after they were resized, held against what it gives for a picture.

    Raises
    ------
    ModelError
        It does something else: then a network cannot be given views that were changed after resizing.
    """
    from PIL import Image

    scale = 255.0 * float(image_processor.rescale_factor) if getattr(image_processor, "do_rescale", True) else 255.0
    normalises = bool(getattr(image_processor, "do_normalize", False))
    mean, std = (
        _by_channel(getattr(image_processor, name) if normalises else neutral)
        for name, neutral in (("image_mean", 0.0), ("image_std", 1.0))
    )
    found = Normalisation(tuple(value / scale for value in mean), tuple(value / scale for value in std))
    ramp = Image.fromarray(np.arange(0, 192, dtype=np.uint8).reshape(8, 8, 3))
    difference = found(raw_pixel_tensor(image_processor, [ramp])) - pixel_tensor(image_processor, [ramp])
    if float(difference.abs().max()) > 1e-4:
        raise ModelError(
            f"model {spec}: its image processor does more than rescale and normalise, so that its layers cannot be given views "
            "of a picture; give an encoder with an ordinary processor"
        )
    return found


def _by_channel(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else (float(value),) * 3


def processed_shape(image_processor: Any) -> tuple[int, ...]:
    """Channels, height and width of what a network gets, by trying a picture."""
    from PIL import Image

    made = image_processor([Image.new("RGB", (64, 64))], return_tensors="np")["pixel_values"]
    return tuple(int(length) for length in made.shape[1:])


def raw_pixel_tensor(image_processor: Any, images: Sequence[Image]) -> Any:
    """As `pixel_tensor`, resized and cropped, but in [0, 1] and not normalised."""
    return pixel_tensor(image_processor, images, do_normalize=False, do_rescale=True, rescale_factor=1 / 255)


def pixel_tensor(image_processor: Any, images: Sequence[Image], **settings: Any) -> Any:
    """Float32 tensor on the CPU, shape (n, 3, height, width). Any PIL mode; transparency is dropped."""
    size = getattr(image_processor, "size", None) or {}
    by_shorter_side = bool(getattr(image_processor, "do_center_crop", False)) or "shortest_edge" in size
    pictures = [limit_aspect(image) if by_shorter_side else image for image in images]
    return image_processor([picture.convert("RGB") for picture in pictures], return_tensors="pt", **settings)["pixel_values"]


def limit_aspect(image: Image) -> Image:
    """Cut a very elongated image to its middle before it is resized by its shorter side and cropped to a square.

    The square is the same, but a hostile 1 x 100,000 image is not first blown up to 224 x 22,400,000.
    """
    width, height = image.size
    longest = _MOST_ELONGATED * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))
