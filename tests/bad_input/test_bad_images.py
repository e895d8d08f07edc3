"""Every kind of picture that data sets hold, through the batch decoder and through the pass with an image scorer."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assaymark.data.dataset import Dataset, open_input
from assaymark.data.decoding import PictureScores, Views, decode_batch
from assaymark.data.probe import Batch, Probe
from assaymark.data.scan import ScanOutcome, Scorer, scan
from assaymark.models import open_model

RED, BLUE = (220, 30, 30), (40, 60, 220)
VIEWS = Views(frames=3, tile_ratio=4.0, least_side=32)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def plain(colour: tuple[int, ...] = RED, size: tuple[int, int] = (48, 40), mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", size, colour).convert(mode)


def animation(colours: list[tuple[int, ...]], kind: str) -> bytes:
    frames = [plain(colour) for colour in colours]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40)


def announced(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header announces more."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(plain(), "JPEG", exif=exif)


def half_red_strip() -> Image.Image:
    """Blue but for one end: who looks at the centre only sees no red."""
    pixels = np.full((40, 2_000, 3), BLUE, np.uint8)
    pixels[:, -200:] = RED
    return Image.fromarray(pixels)


class Case(NamedTuple):
    content: bytes | None
    red: bool | None = None  # None: left out, for `reason`
    reason: str = ""


CASES: dict[str, Case] = {
    "rgb": Case(encoded(plain()), True),
    "other colour": Case(encoded(plain(BLUE)), False),
    "greyscale": Case(encoded(plain(mode="L")), False),
    "grey with alpha": Case(encoded(plain(mode="LA")), False),
    "bilevel": Case(encoded(plain(mode="1")), False),
    "cmyk": Case(encoded(plain(mode="CMYK"), "JPEG"), True),
    "rgba": Case(encoded(plain(mode="RGBA")), True),
    "transparent red is white": Case(encoded(Image.new("RGBA", (48, 40), (*RED, 0))), False),
    "palette": Case(encoded(plain(mode="P").quantize(8)), True),
    "sixteen bits": Case(encoded(Image.fromarray(np.full((40, 48), 32_768, np.uint16))), False),
    "float tiff": Case(encoded(Image.fromarray(np.full((40, 48), 0.5, np.float32)), "TIFF"), False),
    "webp": Case(encoded(plain(), "WEBP"), True),
    "turned": Case(turned(), True),
    "broken exif": Case(encoded(plain(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken"), True),
    "gif whose last frame is red": Case(animation([BLUE, (40, 60, 200), (40, 60, 180), RED], "GIF"), True),
    "webp whose middle frame is red": Case(animation([BLUE, RED, BLUE], "WEBP"), True),
    "apng": Case(animation([BLUE, RED], "PNG"), True),
    "strip red at one end": Case(encoded(half_red_strip()), True),
    "long strip": Case(encoded(plain(size=(20_000, 200))), True),
    "tall strip": Case(encoded(plain(size=(200, 20_000)), "JPEG"), True),
    "large photograph": Case(encoded(plain(size=(5_000, 4_000)), "JPEG"), True),
    "one pixel": Case(encoded(plain(size=(1, 1))), None, "smaller than 32 pixels"),
    "icon": Case(encoded(plain(size=(31, 200))), None, "smaller than 32 pixels"),
    "just large enough": Case(encoded(plain(size=(32, 32))), True),
    "20,000 pixels square": Case(encoded(Image.new("1", (20_000, 20_000))), None, "too many pixels"),
    "announced": Case(announced(60_000, 60_000), None, "too many pixels"),
    "announced a little": Case(announced(64, 64), None, "damaged or truncated"),
    "truncated png": Case(encoded(plain(size=(90, 90)))[:120], None, "damaged or truncated"),
    "truncated jpeg": Case(encoded(plain(size=(90, 90)), "JPEG")[:-200], None, "damaged or truncated"),
    "zero bytes": Case(b"", None, "empty"),
    "page": Case(b"<html>404</html>", None, "not an image"),
    "svg": Case(b"<svg xmlns='http://www.w3.org/2000/svg'/>", None, "not an image"),
    "missing": Case(None, None, "missing"),
}
LEFT_OUT = {name: case.reason for name, case in CASES.items() if case.red is None}


def test_each_kind_is_decoded_or_left_out_with_its_reason() -> None:
    decoded = decode_batch([case.content for case in CASES.values()], views=VIEWS)
    names = list(CASES)
    assert {names[k]: reason for k, reason in decoded.skipped.items()} == LEFT_OUT
    assert [names[k] for k in decoded.readable] == [name for name in names if name not in LEFT_OUT]
    assert sum(decoded.reasons.values()) == len(LEFT_OUT)
    assert {picture.mode for picture in decoded.pictures} == {"RGB"}
    by_name = {
        name: [p for p, k in zip(decoded.pictures, decoded.positions, strict=True) if names[k] == name] for name in names
    }
    assert by_name["turned"][0].size == (40, 48)
    assert len(by_name["gif whose last frame is red"]) == 3
    assert len(by_name["long strip"]) > 4
    assert by_name["sixteen bits"][0].getpixel((0, 0)) == (127, 127, 127)
    assert min(by_name["large photograph"][0].size) < 4_000


class Verdicts(Probe):
    """How many pictures are red, how many are not, and how many were left out for which reason."""

    name: ClassVar[str] = "verdicts"
    columns = ("unsafe.unsafe", "unsafe.skipped")

    def aggregate(self, batch: Batch) -> dict[str, Any]:
        scores, codes = batch.numbers("unsafe.unsafe"), batch.numbers("unsafe.skipped").astype(int)
        assert np.array_equal(np.isnan(scores), codes > 0)
        reasons = np.bincount(codes, minlength=len(VIEWS.reasons()) + 1)
        return {"red": int(np.sum(scores > 0.5)), "other": int(np.sum(scores <= 0.5)), "reasons": reasons, "rows": batch.rows}

    def finalize(self, state: Any) -> dict[str, Any]:
        named = zip(VIEWS.reasons(), state["reasons"][1:].tolist(), strict=True)
        return {"red": state["red"], "other": state["other"], "reasons": {name: count for name, count in named if count}}


def scored(dataset: Dataset, batch_size: int = 8) -> ScanOutcome:
    scores = PictureScores(open_model("fake:image-scorer?unsafe=red"), views=VIEWS, with_reason=True)
    return scan(dataset, [Verdicts()], scorers=[Scorer("unsafe", "image", scores.labels, scores, batch_size)])


def check(outcome: ScanOutcome, *, cases: dict[str, Case]) -> None:
    reasons: dict[str, int] = {}
    for case in cases.values():
        if case.reason:
            reasons[case.reason] = reasons.get(case.reason, 0) + 1
    reds = [case.red for case in cases.values()]
    assert outcome.answers["verdicts"] == {"red": reds.count(True), "other": reds.count(False), "reasons": reasons}
    assert outcome.flow.used == len(cases)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_the_pass_scores_what_can_be_seen(tmp_path: Path, batch_size: int) -> None:
    images = pa.array([case.content for case in CASES.values()], pa.large_binary())
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet", row_group_size=10)
    check(scored(open_input("images", tmp_path / "x.parquet", name="i"), batch_size), cases=CASES)


def test_the_pass_over_folders_hub_tables_and_paths(tmp_path: Path) -> None:
    cases = {name: case for name, case in CASES.items() if case.content is not None}
    (tmp_path / "folder").mkdir()
    for k, case in enumerate(cases.values()):
        (tmp_path / f"folder/{k:03d}.jpg").write_bytes(case.content or b"")  # whatever the ending says
    check(scored(open_input("images", tmp_path / "folder", name="i")), cases=cases)
    stored = [{"bytes": case.content, "path": name} for name, case in CASES.items()]
    pq.write_table(pa.table({"image": stored}), tmp_path / "hub.parquet")
    check(scored(open_input("images", tmp_path / "hub.parquet", name="i")), cases=CASES)
    lines = [f"folder/{k:03d}.jpg" for k in range(len(cases))] + ["folder/absent.jpg"]
    (tmp_path / "table.csv").write_text("path\n" + "\n".join(lines) + "\n")
    check(scored(open_input("images", tmp_path / "table.csv", name="i")), cases=CASES)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9])
def test_any_number_of_rows_and_none_readable(tmp_path: Path, rows: int) -> None:
    good = {str(k): CASES["rgb"] for k in range(rows)}
    bad = {str(k): CASES["page"] for k in range(rows)}
    for cases in (good, bad):
        images = pa.array([case.content for case in cases.values()], pa.large_binary())
        check(scored(open_input("images", pa.table({"image": images}), name="i")), cases=cases)
