"""From pictures to the pixels that a transformers model takes.

Images go through the PIL/NumPy image processors of transformers (`backend="pil"`), which need no torchvision and give the
same pixels on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assaymark.models.torch_adapter import load_part

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["limit_aspect", "load_image_processor", "pixel_tensor"]

_MOST_ELONGATED = 20  # longer side / shorter side that is still resized as it is


def load_image_processor(transformers: Any, spec: str, folder: Path) -> Any:
    return load_part(
        spec,
        "image processor",
        lambda: transformers.AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        ),
    )


def pixel_tensor(image_processor: Any, images: Sequence[Image]) -> Any:
    """Float32 tensor on the CPU, shape (n, 3, height, width). Any PIL mode; transparency is dropped."""
    size = getattr(image_processor, "size", None) or {}
    by_shorter_side = bool(getattr(image_processor, "do_center_crop", False)) or "shortest_edge" in size
    pictures = [limit_aspect(image) if by_shorter_side else image for image in images]
    return image_processor([picture.convert("RGB") for picture in pictures], return_tensors="pt")["pixel_values"]


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
