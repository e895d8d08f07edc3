"""Pictures fit to be shown: blurred and grey, on a contact sheet, or embedded without what the file said beside its pixels."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from assaymark.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["EmbeddedPicture", "blur_image", "contact_sheet", "embed_picture"]

BLUR_CELLS = 8
EMBED_SIDE = 1_600
MOST_PIXELS = 50_000_000


class EmbeddedPicture(NamedTuple):
    """A picture as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def blur_image(image: Image, *, side: int = 96, cells: int = BLUR_CELLS) -> Image:
    """A grey picture of `side` pixels that keeps at most `cells` x `cells` averages of the original.

    Averaging before enlarging is what makes it irreversible: a blur of full size can be sharpened again.
    """
    from PIL import Image as Images

    grey = image.convert("RGBA").convert("L")
    width, height = grey.size
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    few = (
        max(1, min(cells, round(cells * width / max(width, height)))),
        max(1, min(cells, round(cells * height / max(width, height)))),
    )
    return grey.resize(few, Images.Resampling.BOX).resize(size, Images.Resampling.BICUBIC)


def contact_sheet(images: Sequence[Image], *, columns: int = 6, side: int = 96, gap: int = 6, blur: bool = True) -> bytes:
    """PNG of the images in rows of `columns`, each at most `side` pixels and blurred.

    Raises
    ------
    ValueError
        When there is no image, or `columns` or `side` is below one.
    """
    from PIL import Image as Images

    if not images or columns < 1 or side < 1:
        raise ValueError("a contact sheet needs at least one image, one column and one pixel")
    columns = min(columns, len(images))
    rows, step = -(-len(images) // columns), side + gap
    sheet = Images.new("L" if blur else "RGB", (columns * step + gap, rows * step + gap), "white")
    for index, image in enumerate(images):
        tile = blur_image(image, side=side) if blur else _thumbnail(image, side)
        left, top = gap + step * (index % columns), gap + step * (index // columns)
        sheet.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _thumbnail(image: Image, side: int) -> Image:
    small = image.convert("RGB")
    small.thumbnail((side, side))
    return small


def embed_picture(file: Path, *, root: Path) -> EmbeddedPicture:
    """The picture as a PNG or JPEG data URI, decoded and encoded anew so that no metadata (place, camera) travels along.

    Raises
    ------
    InputError
        When the file is outside `root`, missing, too large, or not a picture.
    """
    from PIL import Image as Images

    target = file.resolve()
    if not target.is_relative_to(root.resolve()):
        raise InputError(f"picture {file.name!r} lies outside the run folder: name it relative to the run")
    try:
        # An image just above PIL's own limit only warns; ours is lower and refuses before anything is decoded.
        with warnings.catch_warnings(action="ignore", category=Images.DecompressionBombWarning), Images.open(target) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(f"picture {file.name!r} has {image.width} x {image.height} pixels: make it smaller")
            photo = image.format in ("JPEG", "WEBP")
            image.thumbnail((EMBED_SIDE, EMBED_SIDE))
            pixels = image.convert("RGB" if photo else "RGBA")
    except (OSError, ValueError, Images.DecompressionBombError) as error:
        raise InputError(f"picture {file.name!r} cannot be read ({type(error).__name__}): check the file") from None
    buffer = io.BytesIO()
    if photo:
        pixels.save(buffer, format="JPEG", quality=85)
    else:
        pixels.save(buffer, format="PNG", optimize=True)
    kind = "jpeg" if photo else "png"
    return EmbeddedPicture(f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", *pixels.size)
