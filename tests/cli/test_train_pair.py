from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("accelerate")

NARROW = ("--set", "architecture_options={width: 2}", "--set", "batch=16", "--epochs", "2", "--side", "16")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def table(**columns: list[Any]) -> str:
    rng = np.random.default_rng(0)
    pictures = [png(rng.integers(0, 256, (16, 16 + i % 2, 3), dtype=np.uint8)) for i in range(40)]
    pq.write_table(pa.table({"id": [f"p{i}" for i in range(40)], "image": pictures, **columns}), "pool.parquet")
    return "pool.parquet"


def test_a_pair_from_a_folder_of_pictures(command) -> None:
    Path("pictures").mkdir()
    for i in range(40):
        (Path("pictures") / f"{i}.png").write_bytes(png(np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)))
    (Path("pictures") / "broken.png").write_bytes(b"\x89PNG broken")
    arguments = ("train-pair", "pictures", *NARROW, "--sizes", "20,8,8,4", "--out", "pair")
    done = command(*arguments)
    assert done.code == 0, done
    assert "sets     S 20, C 8, I 8, E 4" in done.out and "without.safetensors" in done.out
    assert "1 rows are left out" in done.err and "hardly trained" in done.err
    again = command(*arguments, "--json")
    document = json.loads(again.out)
    assert document["record"] == json.loads(Path("pair/pair.json").read_text())
    assert document["with"].startswith("encoder:") and sum(document["skipped"].values()) == 1
    other = command(*arguments, "--seed", "1")
    assert other.code == 2 and "another seed (0 there, 1 here)" in other.err and other.out == ""


def test_the_sets_of_a_table_are_kept_and_labels_are_used(command) -> None:
    sets = ["S", "C", "I", "E"] * 10
    pool = table(set=sets, label=[f"kind {i % 3}" for i in range(40)])
    done = command("train-pair", pool, *NARROW, "--objective", "supervised", "--out", "pair", "--json")
    assert done.code == 0, done
    split = pq.read_table("pair/split.parquet").to_pydict()
    assert dict(zip(split["id"], split["set"], strict=True)) == {f"p{i}": letter for i, letter in enumerate(sets)}
    assert "pictures of 2 sizes are brought to 16 x 16 pixels" in json.loads(done.out)["notes"][-1]


def test_a_pair_of_dual_encoders_from_rows_with_captions(command) -> None:
    pool = table(captions=[[f"thing {i}", "a thing"] if i else [] for i in range(40)])
    tiny = ("--set", "hidden=16", "--set", "layers=1", "--set", "heads=2", "--set", "batch=16", "--epochs", "1", "--side", "16")
    done = command(
        "train-pair", pool, "--captions", *tiny, "--set", "text_noise=0.1", "--sizes", "20,8,8,3", "--out", "pair", "--json"
    )
    assert done.code == 0, done
    document = json.loads(done.out)
    assert document["skipped"] == {"without a caption": 1} and document["with"].startswith("hf:")
    assert document["record"]["identity"]["recipe"]["text_noise"] == 0.1
    once = table(caption=[f"thing {i}" for i in range(40)])
    assert command("train-pair", once, "--captions", *tiny, "--out", "other", "--sizes", "20,8,8,4").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("pool.parquet", "--objective", "simcler"), "did you mean 'simclr'"),
        (("pool.parquet", "--architecture", "resnet"), "resnet9"),
        (("pool.parquet", "--objective", "supervised"), "needs labels"),
        (("pool.parquet", "--set", "epoch=3"), "did you mean 'epochs'"),
        (("pool.parquet", "--set", "lr=fast"), "must be a number"),
        (("pool.parquet", "--sizes", "3,2"), "write four numbers"),
        (("pool.parquet", "--sizes", "300,20,20,20"), "the pool has 40"),
        (("pool.parquet", "--captions"), "no column 'captions'"),
        (("pool.parquet", "--captions", "--objective", "dino"), "both towers are transformers"),
        (("gone.parquet",), "does not exist"),
        (("pool.parquet", "--column", "image"), "CONCEPT=COLUMN"),
    ],
)
def test_mistakes_are_one_line(command, arguments: tuple[str, ...], says: str) -> None:
    table()
    given = list(arguments)
    given += [] if "--sizes" in given else ["--sizes", "20,8,8,4"]
    done = command("train-pair", *given, "--out", "pair")
    assert done.code == 2 and says in done.err and done.err.count("\n") <= 2 and done.out == ""
    assert not Path("pair/pair.json").exists()
