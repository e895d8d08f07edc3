"""Every format opens; nothing is lost, merged or guessed; what is wrong is named."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assaymark.data.dataset import Dataset, open_input
from assaymark.data.readers.base import DECODED, MALFORMED, NOT_A_NUMBER
from assaymark.errors import InputError, SchemaError

ROWS = [
    ("a cat", "http://a.example/1.jpg"),
    ('say "hi', "http://b.example/2.jpg"),
    ("nul\0 and \u202e bidi", "http://c.example/3.jpg"),
]


def read(dataset: Dataset, *concepts: str) -> dict[str, list]:
    """All rows, shard by shard, as Python lists; checks the row numbers on the way."""
    out: dict[str, list] = {concept: [] for concept in concepts}
    out["defects"] = []
    for shard in dataset.shards:
        at = 0
        for part in dataset.reader.parts(shard):
            for batch in dataset.batches(part, concepts):
                assert batch.first == at
                at += batch.table.num_rows
                for concept in concepts:
                    out[concept] += batch.table[concept].to_pylist()
                out["defects"] += [0] * batch.table.num_rows if batch.defects is None else batch.defects.tolist()
        assert dataset.count(shard) == at
    return out


def pairs(path: object, **options: object) -> Dataset:
    return open_input("pairs", path, name="pairs", **options)  # type: ignore[arg-type]


def rows_of(dataset: Dataset) -> list[tuple[str, str]]:
    out = read(dataset, "text", "url")
    return list(zip(out["text"], out["url"], strict=True))


def _jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["tsv", "cc12m.tsv", "header.tsv", "csv", "jsonl"])
def test_text_formats(tmp_path: Path, form: str, packed: bool) -> None:
    out = io.StringIO(newline="")
    if form == "jsonl":
        out.write("\n".join(json.dumps({"caption": text, "url": url}) for text, url in ROWS))
    elif form == "csv":
        csv.writer(out).writerows([("caption", "url"), *ROWS])
    else:
        lines = [(url, text) for text, url in ROWS] if form == "cc12m.tsv" else ROWS
        lines = [("caption", "url"), *lines] if form == "header.tsv" else lines
        out.write("\r\n".join("\t".join(line) for line in lines))
    data = out.getvalue().encode()
    path = tmp_path / (f"x.{form}" + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(data) if packed else data)
    dataset = pairs(path)
    assert dataset.format == form.rpartition(".")[2]
    assert rows_of(dataset) == ROWS
    fetched = dataset.fetch([(0, 2), (0, 0)], ["text"])
    assert fetched.to_pydict() == {"shard": [0, 0], "row": [2, 0], "text": [ROWS[2][0], ROWS[0][0]]}


def test_parquet_row_numbers_over_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assaymark.data.readers.parquet.PART_ROWS", 25)
    table = pa.table({"TEXT": [str(k) for k in range(101)], "SAMPLE_ID": np.arange(101) + 1.5e12, "WIDTH": [None, *range(100)]})
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=10)
    dataset = pairs(tmp_path / "p.parquet")
    assert len(dataset.reader.parts(dataset.shards[0])) == 4
    out = read(dataset, "text", "width", "id")
    assert out["text"] == [str(k) for k in range(101)] and out["width"][:2] == [None, 0.0]
    assert out["id"][3] == "1500000000003"
    assert any("floating-point" in note for note in dataset.notes)
    assert dataset.fetch([(0, 100), (0, 0), (0, 57)], ["text"])["text"].to_pylist() == ["100", "0", "57"]
    with pytest.raises(InputError, match="no row 101"):
        dataset.fetch([(0, 101)], ["text"])


def test_tables_and_frames_in_memory() -> None:
    frame = pd.DataFrame({"TEXT": ["a", None], "score": [1, 2]})
    dataset = open_input("table", frame, name="t")
    assert dataset.rows == 2
    assert read(dataset, "text", "score") == {"text": ["a", None], "score": [1, 2], "defects": [0, 0]}
    assert read(pairs(pa.table({"caption": ["x"]}).slice(0, 1)), "text")["text"] == ["x"]
    with pytest.raises(InputError, match="mixed types"):
        pairs(pd.DataFrame({"TEXT": [b"a", 1]}))


def test_webdataset_and_img2dataset_folders(tmp_path: Path) -> None:
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard:05d}.tar", "w") as archive:
            for k in range(3):
                members = {
                    "jpg": _jpeg(),
                    "txt": f"t{shard}{k}".encode(),
                    "json": json.dumps({"url": f"http://u/{k}", "width": k}).encode(),
                }
                for ending, content in members.items():
                    info = tarfile.TarInfo(f"{shard}{k:04d}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    dataset = pairs(tmp_path)
    assert dataset.format == "webdataset" and dataset.mapping["text"] == "txt"
    out = read(dataset, "text", "url", "width", "image", "id")
    assert out["text"] == ["t00", "t01", "t02", "t10", "t11", "t12"] and out["width"] == [0.0, 1.0, 2.0] * 2
    assert out["image"] == [_jpeg()] * 6 and out["id"][0] == "00000"
    for shard in range(2):
        pq.write_table(
            pa.table({"caption": ["a"] * 4, "url": ["u"] * 4, "key": list("1234")}), tmp_path / f"{shard:05d}.parquet"
        )
        (tmp_path / f"{shard:05d}_stats.json").write_text("{}")
    assert pairs(tmp_path).format == "parquet" and pairs(tmp_path).rows == 8
    assert open_input("images", tmp_path, name="i").format == "webdataset"
    cut = tmp_path / "00001.tar"
    cut.write_bytes(cut.read_bytes()[:1400])
    broken = pairs(str(tmp_path / "*.tar"))
    assert len(broken.shards) + len(broken.failed) == 2


def test_image_folder(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/a/2.jpg", "3.JPG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(_jpeg())
    (tmp_path / "cat/1.txt").write_text("a cat\n")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    dataset = open_input("images", tmp_path, name="i")
    out = read(dataset, "path", "label", "text", "image")
    assert list(zip(out["path"], out["label"], out["text"], strict=True)) == [
        ("3.JPG", None, None),
        ("cat/1.jpg", "cat", "a cat"),
        ("dog/a/2.jpg", "a", None),
    ]
    assert out["image"][0] == _jpeg() and dataset.rows == 3


def test_stray_bytes_are_replaced_and_counted(tmp_path: Path) -> None:
    bad = b"caf\xe9"
    (tmp_path / "x.tsv").write_bytes(b"caption\turl\n" + bad + b"\tu\nok\tu\n")
    (tmp_path / "x.csv").write_bytes(b"caption,url\n" + bad + b",u\nok,u\n")
    (tmp_path / "x.jsonl").write_bytes(b'{"caption": "' + bad + b'"}\n{"caption": "ok"}\n')
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([bad, b"ok"], pa.binary()).buffers())
    pq.write_table(pa.table({"caption": broken}), tmp_path / "x.parquet")
    pq.write_table(pa.table({"caption": pa.array([bad, b"ok"], pa.binary())}), tmp_path / "b.parquet")
    for name in ("x.tsv", "x.csv", "x.jsonl", "x.parquet", "b.parquet"):
        assert read(pairs(tmp_path / name), "text") == {"text": ["caf\ufffd", "ok"], "defects": [DECODED, 0]}, name


def test_bad_rows_and_bad_numbers_are_marked_not_lost(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('caption,width\n"two\nlines",3\na,b,c\nz,tall\n')
    lines = "".join(f"r{k},{k}\n" for k in range(3))
    (tmp_path / "y.csv").write_text("caption,width\n" + lines)
    out = read(pairs([tmp_path / "x.csv", tmp_path / "y.csv"]), "text", "width")
    assert out["text"] == ["two\nlines", "z", None, "r0", "r1", "r2"]
    assert out["width"] == [3.0, None, None, 0.0, 1.0, 2.0]
    assert out["defects"] == [0, NOT_A_NUMBER, MALFORMED, 0, 0, 0]
    (tmp_path / "x.jsonl").write_text('{"caption": "a"}\nnot json\n\n[1]\n{"caption": 5}\n{"other": 1}\n')
    out = read(pairs(tmp_path / "x.jsonl"), "text")
    assert out == {"text": ["a", None, None, "5", None], "defects": [0, MALFORMED, MALFORMED, 0, 0]}
    (tmp_path / "x.tsv").write_text("caption\turl\nonly\n\na\tb\tc\n")
    out = read(pairs(tmp_path / "x.tsv"), "text", "url")
    assert out["url"] == ["", "b\tc"] and out["defects"] == [MALFORMED, 0]


def test_corrupt_parts_are_named_and_the_others_read(tmp_path: Path) -> None:
    for k in range(3):
        pq.write_table(pa.table({"TEXT": [str(k)] * 5}), tmp_path / f"{k}.parquet")
    (tmp_path / "1.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:-10])
    dataset = pairs(tmp_path)
    assert dataset.rows == 10 and list(dataset.failed) == [str(tmp_path / "1.parquet")]
    assert "1.parquet was left out: Parquet magic bytes not found" in dataset.notes[0]
    for k in range(3):
        (tmp_path / f"{k}.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="none of 3 files can be read"):
        pairs(tmp_path)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text("captoin,link_to\nx,y\n")
    for value, message in [
        (tmp_path / "parts.csv", r"parts.csv does not exist - did you mean 'part.csv'"),
        (tmp_path / "*.parquet", "matches no file"),
        (42, "cannot open int"),
        ([], "an empty list"),
    ]:
        with pytest.raises(InputError, match=message):
            pairs(value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        pairs(tmp_path / "empty")
    (tmp_path / "empty/x.docx").write_text("")
    with pytest.raises(InputError, match="no file of a known format"):
        pairs(tmp_path / "empty")
    with pytest.raises(SchemaError, match=r"part.csv: no column for 'text'.*'captoin'.*--column text=COLUMN"):
        pairs(tmp_path / "part.csv").require("text")
    assert read(pairs(tmp_path / "part.csv", schema={"text": "captoin"}), "text")["text"] == ["x"]
    pq.write_table(pa.table({"TEXT": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="mixes formats"):
        pairs(tmp_path / "*")
    (tmp_path / "u.csv").write_bytes("caption\n".encode("utf-16"))
    with pytest.raises(InputError, match="UTF-16"):
        pairs(tmp_path / "u.csv")
    with pytest.raises(InputError, match="unknown kind 'pears'"):
        open_input("pears", tmp_path, name="x")


def test_no_rows_are_an_answer_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"TEXT": pa.array([], pa.string())}), tmp_path / "x.parquet")
    dataset = pairs(tmp_path / "x.parquet")
    assert dataset.rows == 0 and "no rows" in dataset.notes[0]
    (tmp_path / "x.jsonl").write_text("")
    assert pairs(tmp_path / "x.jsonl").rows == 0


def test_order_of_a_list_and_place_do_not_matter_but_content_does(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for k in range(2):
            pq.write_table(pa.table({"TEXT": [str(k)] * 5}), tmp_path / folder / f"{k}.parquet")
    files = [tmp_path / "a" / f"{k}.parquet" for k in range(2)]
    one, two, again = pairs(files), pairs(files[::-1]), pairs([*files, files[0]])
    assert one.shards == two.shards == again.shards and "named twice" in again.notes[0]
    assert one.fingerprint == two.fingerprint == pairs(tmp_path / "b").fingerprint
    pq.write_table(pa.table({"TEXT": ["9"] * 5}), files[0])
    assert pairs(files).fingerprint != one.fingerprint


def test_columns_that_differ_between_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"TEXT": ["a"], "HEIGHT": pa.array([1], pa.int32()), "punsafe": [0.5]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"TEXT": pa.array([None], pa.null()), "HEIGHT": [2.5]}), tmp_path / "1.parquet")
    dataset = pairs(tmp_path)
    out = read(dataset, "text", "height", "punsafe")
    assert (out["text"], out["height"], out["punsafe"]) == (["a", None], [1.0, 2.5], [0.5, None])
    assert any("punsafe" in note and "1 of 2 files" in note for note in dataset.notes)


def test_addresses_with_a_scheme(tmp_path: Path) -> None:
    for k in range(2):
        pq.write_table(pa.table({"TEXT": [str(k)]}), tmp_path / f"{k}.parquet")
    assert read(pairs(f"file://{tmp_path}"), "text")["text"] == ["0", "1"]
    assert read(pairs(f"file://{tmp_path}/*.parquet"), "text")["text"] == ["0", "1"]
    with pytest.raises(InputError, match="cannot open such a location"):
        pairs("gopher://host/x.parquet")


@pytest.mark.shared_data
def test_cc3m_lines_are_rows(shared_data: Path) -> None:
    (file,) = (shared_data / "cc3m-val").glob("*.tsv")
    lines = [line.split("\t") for line in file.read_bytes().decode().split("\n") if line]
    dataset = pairs(file)
    assert rows_of(dataset) == [(text, url) for text, url in lines]
    assert pairs(file, schema="cc3m").mapping == {"text": "caption", "url": "url"}
    out = read(pairs(file, schema="cc3m"), "url")
    assert out["url"] == [url for _, url in lines]


@pytest.mark.shared_data
def test_csv_files_hold_what_the_csv_module_finds(shared_data: Path) -> None:
    for name, column in (("coco-captions-3k/coco_captions_3k.csv", "prompt"), ("hatecheck/all_cases.csv", "test_case")):
        with open(shared_data / name, newline="", encoding="utf-8") as file:
            truth = [row[column] for row in csv.DictReader(file)]
        assert read(open_input("table", shared_data / name, name="t"), column)[column] == truth
