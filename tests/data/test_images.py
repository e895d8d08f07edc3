"""Pictures of every mode, damaged ones, bombs; the perceptual hash."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from assaymark.data.images import decode_image, hash_distance, perceptual_hash
from assaymark.errors import InputError


def _bytes(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def _scene(seed: int, side: int = 96) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("CMYK", "JPEG"), ("P", "PNG"), ("1", "PNG"), ("RGB", "WEBP"), ("LA", "PNG")]
)
def test_every_mode_becomes_rgb(mode: str, kind: str) -> None:
    out = decode_image(_bytes(Image.new("RGB", (5, 4), "white").convert(mode), kind))
    assert out.mode == "RGB" and out.size == (5, 4)
    assert np.asarray(out).min() > 250


def test_transparency_lies_over_white_and_sixteen_bits_are_not_clipped() -> None:
    out = decode_image(_bytes(Image.new("RGBA", (2, 2), (0, 0, 0, 0))))
    assert out.getpixel((0, 0)) == (255, 255, 255)
    half = Image.fromarray(np.full((2, 2), 32768, np.uint16))
    assert decode_image(_bytes(half)).getpixel((1, 1)) == (127, 127, 127)


def test_rotation_first_frame_and_one_pixel(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(_bytes(Image.new("RGB", (8, 4)), "JPEG", exif=exif)).size == (4, 8)
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    moving = _bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(moving).getpixel((0, 0)) == (255, 0, 0)
    (tmp_path / "one.png").write_bytes(_bytes(Image.new("L", (1, 1), 7)))
    assert decode_image(tmp_path / "one.png").getpixel((0, 0)) == (7, 7, 7)


def test_what_cannot_be_decoded_is_an_input_error(tmp_path: Path) -> None:
    jpeg = _bytes(_scene(0), "JPEG")
    for broken in (b"", b"not a picture", jpeg[: len(jpeg) // 2], _bytes(_scene(0))[:200]):
        with pytest.raises(InputError, match="leave it out"):
            decode_image(broken)
    with pytest.raises(InputError, match=r"absent.png"):
        decode_image(tmp_path / "absent.png")


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = _bytes(Image.new("1", (9000, 9000)))
    assert len(bomb) < 50_000
    with pytest.raises(InputError, match="9000 x 9000"):
        decode_image(bomb)
    assert decode_image(_bytes(Image.new("1", (20, 20))), max_pixels=400).size == (20, 20)
    huge = _bytes(Image.new("1", (20_000, 20_000)))
    with pytest.raises(InputError, match="limit"):
        decode_image(huge)


def test_hash_is_the_dct_definition() -> None:
    picture = _scene(3)
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), float)
    low = dctn(grey, norm="ortho")[:8, :8].ravel()
    bits = low > np.median(low[1:])
    assert perceptual_hash(picture) == int("".join("1" if bit else "0" for bit in bits), 2)


def test_hash_survives_scaling_and_recompression_and_tells_scenes_apart() -> None:
    for seed in range(5):
        picture = _scene(seed, 200)
        copy = Image.open(io.BytesIO(_bytes(picture.resize((90, 90)), "JPEG", quality=60)))
        assert hash_distance(perceptual_hash(picture), perceptual_hash(copy)) <= 8
        assert hash_distance(perceptual_hash(picture), perceptual_hash(_scene(seed + 100))) >= 16
