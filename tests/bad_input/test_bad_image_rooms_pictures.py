"""Every kind of picture, any number of rows, and texts that would break a page, through the commands of the two rooms."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from image_rooms import (
    DULL,
    ENCODER,
    SHARP,
    artifact,
    as_lists,
    call,
    flow,
    labelled_pictures,
    prompt_file,
    scored,
    unit_vectors,
    write,
)
from outcomes import refused, survived
from test_bad_images import CASES

from assaymark.data.images import decode_image
from assaymark.models import open_model

SMALL = "smaller than 32 pixels"
KINDS = {name: case for name, case in CASES.items() if case.content is not None}


def counted(*, small: bool) -> dict[str, int]:
    """How many pictures are left out for each reason; `small` ones are, or are not."""
    reasons = [case.reason for case in KINDS.values() if case.reason and (small or case.reason != SMALL)]
    return {reason: reasons.count(reason) for reason in reasons}


def test_every_kind_of_picture_is_rated_or_counted(command) -> None:
    Path("pictures").mkdir()
    for i, case in enumerate(KINDS.values()):
        Path(f"pictures/{i:03d}.jpg").write_bytes(case.content or b"")  # whatever the ending says
    done = survived(call(command, "image-offensiveness", "pictures", *ENCODER, out="run"))
    assert flow(done, "images")["skipped"] == counted(small=False)
    assert flow(done, "images")["used"] == len(KINDS) - sum(counted(small=False).values())
    scores = pq.read_table(artifact(done, "scores", "run"))
    assert scores.num_rows == flow(done, "images")["used"] and np.isfinite(scores["log_odds"].to_numpy()).all()
    reds = {
        i for i, case in enumerate(KINDS.values()) if case.red and "frame" not in (name := list(KINDS)[i]) and name != "apng"
    }
    flagged = {row["row"] for row in scores.to_pylist() if row["flag"]}
    assert reds - flagged == {i for i in reds if "strip red" in list(KINDS)[i]}, "seen whole, not in tiles"


def test_every_kind_of_picture_is_scored_or_counted(command) -> None:
    for i, case in enumerate(KINDS.values()):
        folder = Path("classes", "unsafe" if case.red else "safe")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03d}.jpg").write_bytes(case.content or b"")
    exact = ("--model", "scorer.exact=fake:image-scorer?unsafe=red", "--set", "frames=3")
    done = survived(call(command, "scorer-mixture", "classes", *exact, *DULL))
    reasons = {f"no score: picture {reason}": count for reason, count in counted(small=True).items()}
    assert flow(done)["skipped"] == reasons
    assert done.estimate("single.exact.accuracy")["value"] == 1.0, "every readable kind is seen as what it is"


def test_no_picture_can_be_read(command) -> None:
    write("none.parquet", image=[b"x", b"<html>", None, b""], label=[0, 1, 0, 1])
    done = survived(call(command, "image-offensiveness", "none.parquet", *ENCODER))
    assert flow(done, "images")["used"] == 0 and done.estimate("flagged.share")["reason"]
    done = survived(call(command, "scorer-mixture", "none.parquet", *SHARP))
    assert flow(done)["used"] == 0 and done.estimate("mixture.accuracy")["reason"]


@pytest.mark.parametrize("n", [0, 1])
def test_no_row_and_one_row(command, n: int) -> None:
    prompts = prompt_file()
    write("images.parquet", embedding=as_lists(unit_vectors(n)))
    done = survived(call(command, "image-offensiveness", "images.parquet", *prompts))
    assert flow(done, "images")["used"] == n
    assert (done.estimate("flagged.share")["value"] is None) == (n == 0)
    columns = {name: np.asarray(values)[:n] for name, values in scored().items()}
    done = survived(call(command, "scorer-mixture", write("scores.parquet", **columns)))
    assert flow(done)["used"] == n
    assert done.estimate("mixture.accuracy")["reason"] and done.estimate("weights.a")["reason"]


def test_one_picture_more_than_a_batch_scores_as_all_at_once(command) -> None:
    n = 257
    columns = labelled_pictures(n)
    write("pictures.parquet", **columns)
    images = [decode_image(content.as_py()) for content in columns["image"]]
    done = survived(call(command, "scorer-mixture", "pictures.parquet", *SHARP, *DULL, "--set", "skin=false", out="mixed"))
    predictions = pq.read_table(artifact(done, "predictions", "mixed")).to_pylist()
    rows = np.array([row["row"] for row in predictions])
    assert sorted(rows) == list(range(n))
    for name, (_, spec) in (("sharp", SHARP), ("dull", DULL)):
        at_once = open_model(spec.partition("=")[2]).score_images(images)[:, 0]
        np.testing.assert_allclose([row[f"score {name}"] for row in predictions], at_once[rows], atol=1e-6)


def test_one_embedding_more_than_a_batch_scores_as_all_at_once(command) -> None:
    n = 8_193
    prompts = prompt_file()
    V, P = unit_vectors(n).astype(np.float64), np.load("prompts.npy").astype(np.float64)
    write("images.parquet", embedding=as_lists(V))
    done = survived(call(command, "image-offensiveness", "images.parquet", *prompts, out="run"))
    scores = pq.read_table(artifact(done, "scores", "run"))
    cosines = V @ (P / np.linalg.norm(P, axis=1, keepdims=True)).T
    assert scores["row"].to_pylist() == list(range(n))
    np.testing.assert_allclose(scores["log_odds"].to_numpy(), 100 * (cosines[:, 1] - cosines[:, 0]), atol=2e-4)


HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\u202egnp.exe", "a\x07b\x1b[31mred", "x\u2066y\u2069",
    "</td></tr></table>", "&lt;b&gt;", "{{7*7}}",
)  # fmt: skip
ACTIVE = re.compile(r"<script>alert|<img src=x|[\x00-\x08\x0b-\x1f\x7f]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def pages(folder: str) -> list[Path]:
    found = [path for path in Path(folder).rglob("*") if path.suffix in (".html", ".svg")]
    assert any(path.name == "report.html" for path in found)
    return found


@pytest.mark.parametrize("reveal", [(), ("--reveal",)])
def test_hostile_texts_reach_no_page(command, reveal: tuple[str, ...]) -> None:
    n = 160
    names = [HOSTILE[i % len(HOSTILE)] for i in range(n)]
    captions = [f"{name} thing" for name in names]
    write("images.parquet", embedding=as_lists(unit_vectors(n)), label=names, caption=captions, place=names)
    survived(
        call(command, "image-offensiveness", "images.parquet", *prompt_file(), "--set", "slices=[place]", *reveal, out="run")
    )
    columns = scored(n, place=names, group=names)
    columns["<script>alert(1)</script>"] = columns.pop("a")
    columns["\u202eb\x1b"] = columns.pop("b")
    survived(call(command, "scorer-mixture", write("s.parquet", **columns), "--set", "slices=[place]", *reveal, out="mixed"))
    for path in (*pages("run"), *pages("mixed")):
        assert not ACTIVE.findall(path.read_text()), path


def test_pictures_without_a_model(command) -> None:
    write("pictures.parquet", **labelled_pictures(4))
    refused(call(command, "image-offensiveness", "pictures.parquet", *prompt_file()), "--model encoder=SPEC")
    refused(call(command, "scorer-mixture", "pictures.parquet"), "no score column", "--model scorer.NAME=SPEC")
