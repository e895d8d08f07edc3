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

__all__ = [
    "DAMAGED",
    "EMPTY",
    "MAX_PIXELS",
    "NOT_AN_IMAGE",
    "TOO_MANY_PIXELS",
    "PictureError",
    "decode_frames",
    "decode_image",
    "hash_distance",
    "perceptual_hash",
]

MAX_PIXELS = 50_000_000
MOST_WALKED = 8 * MAX_PIXELS
"""Pixels of an animation that are unpacked on the way to a late frame."""

HASH_SIDE, HASH_KEPT = 32, 8

EMPTY, NOT_AN_IMAGE, DAMAGED = "empty", "not an image", "damaged or truncated"
TOO_MANY_PIXELS = "too many pixels"


class PictureError(InputError):
    """A picture that cannot be decoded; `reason` is one of the few short ones that are counted."""

    def __init__(self, message: str, reason: str = DAMAGED) -> None:
        super().__init__(message)
        self.reason = reason


def decode_image(source: bytes | str | PathLike[str], *, max_pixels: int = MAX_PIXELS, where: str = "") -> Image:
    """An RGB picture: upright (EXIF), the first frame of an animation, transparency over white.

    Parameters
    ----------
    source : bytes of an image file, or its path
    max_pixels : larger pictures are refused from their header, before anything is unpacked
    where : name of the picture for messages (default: the path)

    Raises
    ------
    PictureError
        An `InputError`: not an image, truncated, damaged, or larger than `max_pixels`.
    """
    where = where or ("picture" if isinstance(source, bytes) else str(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode_frames(source, max_pixels=max_pixels, where=where)[0]


def decode_frames(
    source: bytes | str | PathLike[str], *, frames: int = 1, max_pixels: int = MAX_PIXELS, reduce_to: int = 0, where: str = ""
) -> list[Image]:
    """At least one RGB picture: `frames` of an animation, evenly spaced from its first to its last, else the picture itself.

    Parameters
    ----------
    source, max_pixels, where : as for `decode_image`
    frames : most frames, those beyond `MOST_WALKED` pixels left out; where one of them cannot be read the whole animation is
        damaged: nobody could say what it was not looked at for
    reduce_to : where the shorter side is at least twice as long, average blocks of pixels so that it keeps at least this
        length (0: never); a JPEG is then unpacked at the smaller size at once

    Notes
    -----
    Safe to call from several threads, which the warnings of Python are not: it leaves them alone.
    """
    import PIL.Image
    from PIL import UnidentifiedImageError

    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        if not content:
            raise PictureError(f"{where}: an empty file; leave it out", EMPTY)
        with PIL.Image.open(io.BytesIO(content)) as picture:
            _check_size(picture, max_pixels, where)
            if reduce_to and picture.format == "JPEG":
                picture.draft(None, (reduce_to, reduce_to))
            found = [_upright(picture, reduce_to)]
            if frames > 1:
                found += _later_frames(picture, frames, max_pixels, reduce_to, where)
            return found
    except UnidentifiedImageError:
        raise PictureError(f"{where}: not an image that can be decoded; leave it out", NOT_AN_IMAGE) from None
    except PIL.Image.DecompressionBombError:
        raise PictureError(
            f"{where}: more pixels than the limit of {max_pixels:,}; leave it out or raise it", TOO_MANY_PIXELS
        ) from None
    except PictureError:
        raise
    except Exception as error:
        # Decoders of hostile bytes raise whatever they stumble over, from struct.error to AttributeError.
        raise PictureError(
            f"{where}: damaged or truncated image ({str(error)[:120] or type(error).__name__}); leave it out"
        ) from None


def _check_size(picture: Any, max_pixels: int, where: str) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise PictureError(
            f"{where}: {width} x {height} pixels exceed the limit of {max_pixels:,}; leave it out or raise it", TOO_MANY_PIXELS
        )


def _upright(picture: Any, reduce_to: int) -> Image:
    from PIL import ImageOps

    picture.load()
    upright = _over_white(ImageOps.exif_transpose(picture))
    factor = min(upright.size) // reduce_to if reduce_to else 1
    return upright.reduce(factor) if factor > 1 else upright


def _later_frames(picture: Any, frames: int, max_pixels: int, reduce_to: int, where: str) -> list[Image]:
    found: list[Image] = []
    reached = min(int(getattr(picture, "n_frames", 1)), max(1, MOST_WALKED // (picture.width * picture.height)))
    for place in sorted(set(np.linspace(0, reached - 1, frames).round().astype(int).tolist()) - {0}):
        picture.seek(place)
        _check_size(picture, max_pixels, where)  # pages of a TIFF differ in size
        found.append(_upright(picture, reduce_to))
    return found


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
