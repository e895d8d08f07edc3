"""What a shared report must not hold: harmful words, full addresses, the people who asked; and that --reveal shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import assaymark
from assaymark.audits.image_text_dataset.audit import ImageTextDataset
from assaymark.audits.image_text_dataset.report.names import shown_terms
from assaymark.data.images import perceptual_hash
from assaymark.data.lexicon import Term
from assaymark.errors import ConfigError
from assaymark.execution import execute
from assaymark.report.redaction import leaks
from assaymark.result import Result

BAD = ("zqslur", "zqfoul phrase", "zqblur")
ENCODER = "fake:dual-encoder?dimension=32"
PERSON = "Ada Example"
ADDRESS = "https://img.people.example/private/ada.jpg"
SEVEN = f"{7:064x}"


def picture(colour: tuple[int, int, int], path: Path) -> Path:
    Image.new("RGB", (32, 32), colour).save(path)
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """300 rows: bad words in some, one person's name, address, hashes and picture in row 7; a class list; a word list."""
    folder = tmp_path_factory.mktemp("inputs")
    red, blue = (picture(c, folder / f"{n}.png").read_bytes() for n, c in (("red", (220, 30, 30)), ("blue", (40, 60, 220))))
    texts = [f"photo {i} {BAD[i % 3] if i % 10 == 0 else 'garden'}" for i in range(300)]
    texts[7] = f"portrait of {PERSON}, smiling"
    urls = [f"https://site{i % 9}.example/folder/{i}.jpg" for i in range(300)]
    urls[7] = ADDRESS
    columns = {
        "URL": urls,
        "TEXT": texts,
        "NSFW": ["UNLIKELY"] * 300,
        "similarity": [0.2 + i / 2000 for i in range(300)],
        "sha256": [f"{i:064x}" for i in range(300)],
        "md5": [f"{i:032x}" for i in range(300)],
        "phash": [f"{i * 0x9E3779B97F4A7C15 % 2**64:016x}" for i in range(300)],
        "image": [red if i == 7 else blue for i in range(300)],
    }
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    (folder / "harm.csv").write_text("term,category\n" + "".join(f"{word},slur\n" for word in BAD))
    pq.write_table(pa.table({"class": [BAD[0], "garden"], "count": [40, 60]}), folder / "classes.parquet")
    return {"folder": folder, "pairs": str(folder / "pairs.parquet"), "classes": str(folder / "classes.parquet")}


@pytest.fixture(scope="module")
def settings(inputs: dict[str, Any]) -> dict[str, Any]:
    words = str(inputs["folder"] / "harm.csv")
    find = [f"name={PERSON}", f"url={ADDRESS}", "domain=people.example", f"sha256={SEVEN}", f"image={inputs['folder']}/red.png"]
    return {
        "lexicons": [words],
        "terms": [words, BAD[0], "garden"],
        "queries": ["garden", f"a {BAD[2]} person"],
        "class_blocklist": ["zqforbidden"],
        "find": find,
        "k": 20,
    }


def run(inputs: dict[str, Any], settings: dict[str, Any], out: Path, **options: Any) -> Result:
    given = {name: inputs[name] for name in ("pairs", "classes")}
    models = {"dual_encoder": ENCODER}
    return assaymark.audit("image-text-dataset", given, models=models, out=out, **options, **settings)


SECRETS = (*BAD, "zqforbidden", PERSON, "Ada")


@pytest.mark.filterwarnings("ignore")
def test_no_file_for_sharing_holds_a_harmful_word_an_address_or_a_person(
    inputs: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    result = run(inputs, settings, tmp_path / "run")
    shared = {tmp_path / "run" / "report.html", *(result.report(tmp_path / f"r.{kind}") for kind in ("html", "md", "json"))}
    shared |= set((tmp_path / "run").rglob("datasheet.md"))
    assert len(shared) == 5
    for path in shared:
        text = path.read_text(encoding="utf-8")
        assert leaks(text, SECRETS) == [], path.name
        assert SEVEN not in text and ADDRESS not in text, path.name
    for table in (tmp_path / "run").rglob("tables/*.parquet"):
        assert leaks(json.dumps(pq.read_table(table).to_pylist(), default=str), SECRETS) == [], table.name


def test_reveal_shows_them(inputs: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    result = run(inputs, settings, tmp_path / "run", reveal=True)
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert set(leaks(html, SECRETS)) >= {BAD[0], PERSON}
    assert f"name={PERSON}" in result.tables["find_me"].data.column("request").to_pylist()


def test_masked_terms_that_look_alike_keep_their_numbers_apart(
    inputs: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    """zqslur and zqblur are both z*****; the word given twice is one term."""
    result = run(inputs, settings, tmp_path / "run")
    names = [name for name in result.estimates if name.startswith("slice_test.z")]
    assert sorted(names) == ["slice_test.z*****", "slice_test.z***** (2)", "slice_test.z***** p*****"]
    assert [result[name].n for name in names] == [10, 10, 10]
    assert shown_terms([Term("zqslur", category="slur"), Term("garden")], reveal=True) == ["zqslur", "garden"]


def test_everybody_who_asks_is_found_and_the_manifest_is_private(
    inputs: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    result = run(inputs, settings, tmp_path / "run")
    counts = {row["kind"]: row["rows"] for row in result.tables["find_me"].rows()}
    assert counts == {"name": 1, "url": 1, "domain": 1, "sha256": 1, "image": 1}
    assert result["find_me.rows"].value == 1
    artifact = result.artifacts["removal_manifest"]
    assert artifact.private
    manifest = pq.read_table(tmp_path / "run" / artifact.file)
    assert set(manifest.column_names) == {"shard", "row", "reason", "request", "date", "url", "sha256", "md5", "phash"}
    assert set(manifest.column("url").to_pylist()) == {ADDRESS} and set(manifest.column("sha256").to_pylist()) == {SEVEN}
    assert {(r["shard"], r["row"]) for r in manifest.to_pylist()} == {(0, 7)} and manifest.num_rows == 5
    requests = result.tables["find_me"].data.column("request").to_pylist()
    assert all(len(request.split()) == 2 for request in requests) and not leaks(" ".join(requests), SECRETS)
    assert set(manifest.column("request").to_pylist()) == set(requests)


@pytest.mark.parametrize(
    ("request_", "rows"),
    [
        (f"md5={'0' * 31}7", 1),
        (f"sha256={SEVEN.upper()}", 1),
        (f"phash={7 * 0x9E3779B97F4A7C15 % 2**64:016x}", 1),
        (f"phash={7 * 0x9E3779B97F4A7C15 % 2**64 ^ 0b111:016x}", 1),  # three bits away
        (f"phash={7 * 0x9E3779B97F4A7C15 % 2**64 ^ 0b1111:016x}", 0),
        ("domain=site1.example", 34),
        ("name=ada example", 1),
        ("name=Ada", 1),
        ("name=Ad", 0),
        ("url=https://img.people.example/private/", 0),
    ],
)
def test_each_kind_of_request(inputs: dict[str, Any], request_: str, rows: int) -> None:
    result = execute(
        ImageTextDataset, inputs={"pairs": inputs["pairs"]}, settings={"probes": ("find_me",), "find": (request_,)}
    )
    assert result.tables["find_me"].data.column("rows").to_pylist() == [rows]


def test_a_request_that_cannot_be_read_is_refused_before_anything_is_opened(inputs: dict[str, Any]) -> None:
    for wrong in ("Ada", "face=x", "name=", "phash=zz"):
        with pytest.raises(ConfigError, match="find"):
            execute(ImageTextDataset, inputs={"pairs": inputs["pairs"]}, settings={"find": (wrong,)})


def test_the_hash_of_a_picture_finds_its_resized_copy(tmp_path: Path) -> None:
    original = Image.effect_mandelbrot((256, 256), (-2, -1.5, 1, 1.5), 60).convert("RGB")
    stored = f"{int(perceptual_hash(original.resize((100, 100)))):016x}"
    table = pa.table({"TEXT": ["a", "b"], "phash": [stored, "0123456789abcdef"]})
    wanted = f"phash={int(perceptual_hash(original)):016x}"
    result = execute(ImageTextDataset, inputs={"pairs": table}, settings={"probes": ("find_me",), "find": (wanted,)})
    assert result["find_me.rows"].value == 1


def test_what_could_not_be_searched_is_not_called_absent() -> None:
    table = pa.table({"TEXT": [f"portrait of {PERSON}"]})

    def find(*requests: str) -> Result:
        return execute(ImageTextDataset, inputs={"pairs": table}, settings={"probes": ("find_me",), "find": requests})

    some = find(f"name={PERSON}", f"md5={'0' * 32}", "name=Bob")
    assert some.tables["find_me"].data.column("rows").to_pylist() == [1, None, 0]
    assert sum("no column for md5" in note for note in some.notes) == 1
    assert not find(f"md5={'0' * 32}")["find_me.rows"].defined
    assert find("name=Bob")["find_me.rows"].value == 0  # looked for in every row, and not there


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://people.example/a.jpg", True),
        ("HTTP://IMG.People.Example:8080/a", True),
        ("//user:word@cdn.people.example?x", True),
        ("people.example", True),
        ("https://notpeople.example/a.jpg", False),
        ("https://people.example.org/a.jpg", False),
        ("https://other.example/people.example/a.jpg", False),
        ("https://other.example/?u=https://people.example/a", False),
    ],
)
def test_a_domain_is_found_by_its_host_alone(url: str, found: bool) -> None:
    settings = {"probes": ("find_me",), "find": ("domain=people.example",)}
    result = execute(ImageTextDataset, inputs={"pairs": pa.table({"URL": [url]})}, settings=settings)
    assert result["find_me.rows"].value == found
