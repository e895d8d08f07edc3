"""Batches of encoded pictures: every kind is decoded or counted, threads change nothing, views reduce to their maximum."""

from __future__ import annotations

import io
import pickle
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assaymark.data.dataset import open_input
from assaymark.data.decoding import Decoded, PictureScores, Views, decode_batch, reduce_maximum
from assaymark.data.images import DAMAGED, TOO_MANY_PIXELS, PictureError, decode_frames, decode_image


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def scene(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def moving(colours: list[str], kind: str = "GIF") -> bytes:
    frames = [Image.new("RGB", (40, 40), colour) for colour in colours]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def test_order_is_kept_whatever_the_number_of_threads() -> None:
    values = [encoded(scene(k, (20 + k, 30)), ("PNG", "JPEG", "WEBP")[k % 3]) if k % 5 else None for k in range(60)]
    decoded = decode_batch(values, workers=1)
    assert decoded.n == 60 and decoded.reasons == {"missing": 12}
    assert decoded.positions.tolist() == [k for k in range(60) if k % 5]
    assert [picture.width for picture in decoded.pictures] == [20 + k for k in range(60) if k % 5]
    for other in (decode_batch(values, workers=4), decode_batch(pa.array(values, pa.large_binary()))):
        assert other.skipped == decoded.skipped
        for one, two in zip(decoded.pictures, other.pictures, strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(two))
    assert np.array_equal(np.asarray(decoded.pictures[0]), np.asarray(decode_image(values[1] or b"")))


@pytest.mark.parametrize("n", [0, 1, 3, 5])
def test_batches_of_any_size(n: int) -> None:
    decoded = decode_batch([encoded(scene(k)) for k in range(n)])
    assert (decoded.n, len(decoded.pictures), decoded.reasons) == (n, n, {})


def test_threads_leave_the_warnings_of_the_process_alone() -> None:
    before = list(warnings.filters)
    for _ in range(20):
        decode_batch([encoded(scene(1)), b"x", b"y", None, encoded(scene(2))] * 4, workers=4)
    assert list(warnings.filters) == before


def test_frames_of_an_animation() -> None:
    for kind in ("GIF", "WEBP", "PNG"):
        content = moving(["red", "green", "blue", "black", "white"], kind)
        assert len(decode_frames(content)) == 1
        assert [frame.mode for frame in decode_frames(content, frames=3)] == ["RGB"] * 3
        three = decode_batch([content, encoded(scene(0))], views=Views(frames=3))
        assert three.positions.tolist() == [0, 0, 0, 1]
        corners = np.array([picture.getpixel((5, 5)) for picture in three.pictures[:3]])
        assert np.abs(corners - [[255, 0, 0], [0, 0, 255], [255, 255, 255]]).max() < 25
        assert len(decode_batch([content], views=Views(frames=50)).pictures) == 5


def test_an_animation_that_cannot_be_looked_at_in_full_is_counted_not_half_scored() -> None:
    whole = moving(["red", "green", "blue"] * 10, "PNG")
    cut = whole[: len(whole) * 2 // 3]
    assert len(decode_frames(cut)) == 1, "its first frame is there for who asks for no more"
    with pytest.raises(PictureError) as refused:
        decode_frames(cut, frames=8)
    assert refused.value.reason == DAMAGED
    assert decode_batch([cut, whole], views=Views(frames=8)).reasons == {DAMAGED: 1}


def test_pages_that_grow_do_not_pass_the_limit() -> None:
    pages = encoded(Image.new("L", (10, 10)), "TIFF", save_all=True, append_images=[Image.new("L", (4000, 4000))])
    with pytest.raises(PictureError) as refused:
        decode_frames(pages, frames=2, max_pixels=1_000)
    assert refused.value.reason == TOO_MANY_PIXELS
    assert len(decode_frames(pages, frames=2)) == 2


def test_strips_are_tiled_without_a_gap() -> None:
    for size in ((20_000, 200), (200, 20_000), (900, 200), (650, 200)):
        ramp = np.linspace(0, 255, max(size)).astype(np.uint8)
        pixels = np.broadcast_to(ramp[:, None] if size[1] > size[0] else ramp, size[::-1])
        decoded = decode_batch([encoded(Image.fromarray(np.ascontiguousarray(pixels)))], views=Views(tile_ratio=3.0))
        shades = [np.asarray(tile)[..., 0] for tile in decoded.pictures]
        assert 2 <= len(shades) <= 16
        assert (shades[0].min(), shades[-1].max()) == (0, 255)
        assert all(int(b.min()) <= int(a.max()) + 1 for a, b in pairwise(shades))
        assert max(max(tile.size) / min(tile.size) for tile in decoded.pictures) <= 100 / 16 + 1
    assert len(decode_batch([encoded(scene(0, (300, 100)))], views=Views(tile_ratio=3.0)).pictures) == 1


def test_large_pictures_are_averaged_down_but_never_below_the_side_asked_for() -> None:
    truth = scene(3, (2400, 1600))
    for kind in ("PNG", "JPEG"):
        (small,) = decode_batch([encoded(truth, kind)], views=Views(reduce_to=200)).pictures
        assert 200 <= min(small.size) < 400 and small.width / small.height == pytest.approx(1.5, abs=0.02)
        reference = np.asarray(truth.resize(small.size, Image.Resampling.BOX), float)
        assert np.abs(np.asarray(small, float) - reference).mean() < 3
    exif = Image.Exif()
    exif[0x0112] = 6
    (turned,) = decode_batch([encoded(truth, "JPEG", exif=exif)], views=Views(reduce_to=200)).pictures
    assert turned.height > turned.width
    (same,) = decode_batch([encoded(scene(0))], views=Views(reduce_to=40)).pictures
    assert same.size == (64, 48)


def test_hostile_bytes_cost_themselves_only() -> None:
    rng = np.random.default_rng(0)
    seeds = [encoded(scene(0), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "TGA")]
    seeds += [moving(["red", "blue"]), encoded(scene(0).convert("CMYK"), "JPEG"), encoded(scene(0).convert("P"))]
    values: list[bytes | None] = []
    for trial in range(1500):
        content = bytearray(seeds[trial % len(seeds)])
        for at in rng.integers(0, min(len(content), 400 if trial % 2 else len(content)), 1 + trial % 6):
            content[at] = rng.integers(0, 256)
        values.append(bytes(content[: rng.integers(1, len(content) + 1)] if trial % 3 == 0 else content))
    decoded = decode_batch(values, views=Views(frames=2, tile_ratio=3.0, max_pixels=1_000_000))
    assert len(decoded.readable) + len(decoded.skipped) == len(values)
    assert set(decoded.reasons) <= set(Views().reasons())
    assert len(decoded.readable) > 200 and len(decoded.skipped) > 200
    assert all(picture.mode == "RGB" for picture in decoded.pictures)


def test_the_largest_score_of_the_views_counts() -> None:
    scores = np.array([[0.1, 0.9], [0.8, np.nan], [np.nan, np.nan], [0.3, 0.2]])
    out = reduce_maximum(scores, np.array([0, 0, 2, 3]), 5)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [[0.8, 0.9], [np.nan] * 2, [np.nan] * 2, [0.3, 0.2], [np.nan] * 2], rtol=1e-6)
    assert reduce_maximum(np.array([0.2, 0.7]), np.array([1, 1]), 2).tolist()[1] == pytest.approx(0.7)
    assert reduce_maximum(np.empty((0, 3)), np.empty(0, np.int64), 2).shape == (2, 3)


class Redness:
    labels = ("red",)
    largest = 0

    def score_images(self, pictures: list[Image.Image]) -> np.ndarray:
        self.largest = max(self.largest, len(pictures))
        pixels = [np.asarray(picture, float).reshape(-1, 3).mean(axis=0) for picture in pictures]
        return np.array([[p[0] / 255 if p[0] > p[1] + 50 else 0.0] for p in pixels])


def test_scores_with_their_reasons() -> None:
    red = encoded(Image.new("RGB", (50, 50), "red"))
    left_out = [
        None,
        b"",
        b"<svg>",
        encoded(scene(0))[:300],
        encoded(Image.new("1", (9_000, 9_000))),
        encoded(Image.new("RGB", (40, 31))),
    ]
    values = [moving(["black", "red"]), red, *left_out]
    model = Redness()
    scorer = PictureScores(model, views=Views(frames=2, least_side=32), with_reason=True)
    assert scorer.labels == ("red", "skipped")
    out = scorer(pa.array(values, pa.large_binary()))
    np.testing.assert_allclose(out[:2], [[1, 0], [1, 0]], atol=0.01)
    assert np.isnan(out[2:, 0]).all()
    reasons = [scorer.views.reasons()[int(code) - 1] for code in out[2:, 1]]
    assert reasons == [
        "missing", "empty", "not an image", "damaged or truncated", "too many pixels", "smaller than 32 pixels",
    ]  # fmt: skip
    assert model.largest <= len(values)
    assert PictureScores(Redness())(pa.array([], pa.large_binary())).shape == (0, 1)
    assert PictureScores(Redness(), with_reason=True)(pa.array([None], pa.large_binary())).shape == (1, 2)
    assert pickle.loads(pickle.dumps(scorer)).views == scorer.views


def of(dataset: object) -> Decoded:
    rows = [(shard.index, k) for shard in dataset.shards for k in range(dataset.count(shard))]
    return decode_batch(dataset.fetch(rows, ["image"])["image"])


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("column", ["path", "image", "file_name"])
def test_tables_that_name_their_pictures(tmp_path: Path, form: str, column: str) -> None:
    (tmp_path / "cats").mkdir()
    for k in range(3):
        (tmp_path / f"cats/{k}.png").write_bytes(encoded(Image.new("RGB", (10 + k, 8))))
    names = ["cats/0.png", "absent.png", "cats/1.png", "https://example.org/a.png", str(tmp_path / "cats/2.png"), "cats"]
    table = pa.table({column: names, "label": list("ababab")})
    rows = list(zip(names, "ababab", strict=True))
    target = tmp_path / f"t.{form}"
    if form == "parquet":
        pq.write_table(table, target, row_group_size=4)
    elif form == "jsonl":
        target.write_text("".join(f'{{"{column}": "{a}", "label": "{b}"}}\n' for a, b in rows))
    else:
        mark = "," if form == "csv" else "\t"
        lines = [f"{column}{mark}label"] + [f"{a}{mark}{b}" for a, b in rows]
        # The address stands last: a first line that holds one would be taken for data.
        target.write_text("\n".join(lines) + "\n")
    dataset = open_input("images", target, name="i")
    assert {"image", "path", "label"} <= set(dataset.mapping)
    assert any("read from the files" in note for note in dataset.notes)
    decoded = of(dataset)
    assert [picture.width for picture in decoded.pictures] == [10, 11, 12]
    assert decoded.positions.tolist() == [0, 2, 4] and decoded.reasons == {"missing": 3}
    assert dataset.fetch([(0, 4), (0, 1)], ["label", "path"])["path"].to_pylist() == [names[4], names[1]]
    assert "image" not in open_input("pairs", target, name="p") or column == "image"


def test_many_named_pictures_come_in_small_batches_with_their_defects(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(scene(0)))
    rows = [f"a.png,{k}" if k != 70 else "a.png,x,y" for k in range(150)]
    (tmp_path / "t.csv").write_text("path,width\n" + "\n".join(rows) + "\n")
    dataset = open_input("images", tmp_path / "t.csv", name="i")
    batches = list(dataset.batches(dataset.reader.parts(dataset.shards[0])[0], ["image", "width"]))
    assert max(batch.table.num_rows for batch in batches) <= 64
    assert sum(batch.table.num_rows for batch in batches) == 150
    assert [batch.first for batch in batches] == list(np.cumsum([0, *(b.table.num_rows for b in batches[:-1])]))
    assert sum(0 if batch.defects is None else int((batch.defects > 0).sum()) for batch in batches) == 1
    for column in (pa.array([str(tmp_path / "a.png")]), pa.array([str(tmp_path / "a.png")]).dictionary_encode()):
        assert len(of(open_input("images", pa.table({"path": column}), name="m")).pictures) == 1


def test_pictures_in_a_table_are_not_mistaken_for_paths(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [encoded(scene(0))], "path": ["nowhere.png"]}), tmp_path / "t.parquet")
    dataset = open_input("images", tmp_path / "t.parquet", name="i")
    assert dataset.mapping["image"] == "image" and len(of(dataset).pictures) == 1
    pq.write_table(pa.table({"url": ["https://example.org/a.png"]}), tmp_path / "u.parquet")
    assert "image" not in open_input("images", tmp_path / "u.parquet", name="i")
