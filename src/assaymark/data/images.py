"""Pictures from untrusted bytes, and their perceptual hash."""

from __future__ import annotations

import io
import warnings
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MAX_PIXELS", "decode_image", "hash_distance", "perceptual_hash"]

MAX_PIXELS = 50_000_000
HASH_SIDE, HASH_KEPT = 32, 8


def decode_image(source: bytes | str | PathLike[str], *, max_pixels: int = MAX_PIXELS, where: str = "") -> Image:
    """An RGB picture: upright (EXIF), the first frame of an animation, transparency over white.

    Parameters
    ----------
    source : bytes of an image file, or its path
    max_pixels : larger pictures are refused from their header, before anything is unpacked
    where : name of the picture for messages (default: the path)

    Raises
    ------
    InputError
        Not an image, truncated, damaged, or larger than `max_pixels`.
    """
    import PIL.Image
    from PIL import ImageOps, UnidentifiedImageError

    where = where or ("picture" if isinstance(source, bytes) else str(source))
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(content)) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise InputError(
                        f"{where}: {width} x {height} pixels exceed the limit of {max_pixels:,}; leave it out or raise it"
                    )
                picture.seek(0)
                picture.load()
                return _over_white(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise InputError(f"{where}: not an image that can be decoded; leave it out") from None
    except PIL.Image.DecompressionBombError:
        raise InputError(f"{where}: more pixels than the limit of {max_pixels:,}; leave it out or raise it") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(
            f"{where}: damaged or truncated image ({str(error)[:120] or type(error).__name__}); leave it out"
        ) from None


def _over_white(picture: Any) -> Image:
    import PIL.Image

    if picture.mode.startswith("I") or picture.mode == "F":
        return _scaled_grey(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = PIL.Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return PIL.Image.alpha_composite(ground, picture).convert("RGB")
    return picture.convert("RGB")  # type: ignore[no-any-return]


def _scaled_grey(picture: Any) -> Image:
    """16- and 32-bit grey: the type's range (floats and 32 bit: the picture's own) to 0..255; `convert` would clip."""
    import PIL.Image

    values = np.asarray(picture, np.float64)
    values = np.nan_to_num(values)
    top = 65_535.0 if picture.mode.startswith("I;16") else max(float(values.max()), 1.0)
    return PIL.Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8)).convert("RGB")


@lru_cache(maxsize=1)
def _cosines() -> npt.NDArray[np.float64]:
    """Orthonormal DCT-II matrix, shape (HASH_SIDE, HASH_SIDE)."""
    k, x = np.arange(HASH_SIDE)[:, None], np.arange(HASH_SIDE)[None, :]
    matrix = np.sqrt(2.0 / HASH_SIDE) * np.cos(np.pi * k * (2 * x + 1) / (2 * HASH_SIDE))
    matrix[0] /= np.sqrt(2.0)
    return np.asarray(matrix)


def perceptual_hash(picture: Image) -> int:
    """64-bit DCT hash: scaling, recompression and slight colour changes flip few bits.

    The picture is made grey and 32 x 32; of its DCT-II the 8 x 8 lowest frequencies are compared with their median (taken
    without the constant term, which only says how bright the picture is).

    References
    ----------
    Zauner (2010), "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1.
    """
    import PIL.Image

    grey = np.asarray(picture.convert("L").resize((HASH_SIDE, HASH_SIDE), PIL.Image.Resampling.LANCZOS), np.float64)
    low = (_cosines() @ grey @ _cosines().T)[:HASH_KEPT, :HASH_KEPT].ravel()
    # Rounded, so that the exact zeros of a flat picture do not become signs of rounding errors.
    bits = np.round(low, 6) > np.round(np.median(low[1:]), 6)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hash_distance(a: int, b: int) -> int:
    """Bits in which two hashes differ, 0 to 64; unrelated pictures differ in about 32, copies in at most 8 or so."""
    return (a ^ b).bit_count()
