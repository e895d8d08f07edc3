"""Embeddings, prompts, ratings and verdicts that are damaged, dangerous or of something else."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_rooms import WIDTH, artifact, as_lists, call, flow, prompt_file, unit_vectors, write
from outcomes import Outcome, refused, survived
from safetensors.numpy import save_file

from assaymark.models.prompt_files import PromptSet

ROOM = "image-offensiveness"
RATED = np.where(np.arange(40) % 2, 1.5, 4.5)


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch) -> None:
    """Drawing takes most of the time of small runs; that figures of odd results can be drawn is tested with the pictures."""
    monkeypatch.setattr("assaymark.report.figures.draw", lambda *_, **__: "<svg></svg>")


def rate(command: Any, *arguments: object, **options: Any) -> Outcome:
    return call(command, ROOM, "images.parquet", *arguments, **options)


@pytest.fixture
def images(here) -> Path:
    return Path(write("images.parquet", embedding=as_lists(unit_vectors(40))))


# -- embeddings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_rows_that_are_no_embeddings_are_counted_wherever_they_stand(command, first: bool) -> None:
    good = list(unit_vectors(30))
    almost = np.where(np.arange(WIDTH) == 3, np.nan, good[0])
    bad = [
        unit_vectors(1, width=16)[0], [], None, np.zeros(WIDTH), np.full(WIDTH, np.nan), np.full(WIDTH, np.inf), almost,
        [None] * WIDTH,
    ]  # fmt: skip
    rows = [*good[:20], *(7 * row for row in good[20:])]
    lists = [None if row is None else np.asarray(row, dtype=object).tolist() for row in (bad + rows if first else rows + bad)]
    write("images.parquet", embedding=pa.array(lists, pa.list_(pa.float32())))
    done = survived(rate(command, *prompt_file()), "10 of 30 embeddings did not have unit length and were normalised")
    assert flow(done, "images")["skipped"] == {
        "an embedding of zeros": 1, "an embedding with a number that is not finite": 4, "no embedding or picture": 1,
        "an embedding of another width": 2,
    }  # fmt: skip
    write("images.parquet", embedding=as_lists(good))
    assert rate(command, *prompt_file()).estimate("flagged.share") == done.estimate("flagged.share"), "length changes nothing"


def test_names_of_something_else(command, images) -> None:
    rows, ids = as_lists(unit_vectors(40)), [f"i{i}" for i in range(40)]
    write("images.parquet", embedding=rows, id=ids, label=["mask", "tree"] * 20)
    thresholds = ("--set", "class_thresholds={mask: 0.99, mosk: 0.5}")
    write("notes.parquet", id=["q1", "q2"], label=["<b>zog</b>", None])
    done = rate(command, "annotations=notes.parquet", *prompt_file(), *thresholds)
    survived(done, "1 of the 2 classes that class_thresholds names do not occur", "0 of 40 scored images have annotations")
    write("notes.parquet", key=["q1"])
    refused(rate(command, "annotations=notes.parquet", *prompt_file()), "input 'annotations': no column 'id'", lines=2)
    for setting, column in (("slices=[labl]", "labl"), ("prompt_column=askd", "askd")):
        refused(rate(command, *prompt_file(), "--set", setting), f"no column {column!r}")


def test_embeddings_of_another_width_are_refused(command) -> None:
    write("images.parquet", embedding=as_lists(unit_vectors(9, width=16)))
    refused(rate(command, *prompt_file()), "input 'images': embeddings of 16 numbers, but the prompts have 32")
    write("images.parquet", embedding=["[0.1, 0.2]"] * 3)
    refused(rate(command, *prompt_file()), "column 'embedding' holds string")
    np.save("flat.npy", unit_vectors(1)[0])
    refused(call(command, ROOM, "flat.npy", *prompt_file()), "flat.npy", "shape (rows, dimension)")


# -- prompts ----------------------------------------------------------------------------------------------------------------

TOUCHED = "touched"
FACTS = {"assaymark": "prompt", "words": "[]", "labels": "[]", "logit_scale": "100", "threshold": "0.9", "training": "{}"}


class Payload:
    def __reduce__(self) -> Any:
        return os.system, (f"touch {TOUCHED}",)


def _own(**facts: str) -> bytes:
    save_file({"prompts": unit_vectors(2)}, "own.safetensors", metadata={**FACTS, **facts})
    return Path("own.safetensors").read_bytes()


def _archive(**arrays: Any) -> bytes:
    np.savez("archive.npz", **arrays)
    return Path("archive.npz").read_bytes()


def _array(value: Any) -> bytes:
    np.save("array.npy", value, allow_pickle=True)
    return Path("array.npy").read_bytes()


def _scrambled(content: bytes) -> bytes:
    return content[:200] + b"?" * 60 + content[260:]


FILES: dict[str, tuple[Any, str]] = {
    "payload.p": (lambda: pickle.dumps(Payload()), "could run code; it was not loaded"),
    "payload.npy": (lambda: _array(np.array([Payload()], object)), "can run code"),
    "payload.npz": (lambda: _archive(a=np.array([Payload()], object)), "can run code"),
    "cut.p": (lambda: pickle.dumps(unit_vectors(2))[:60], "cut off"),
    "empty.p": (lambda: b"", "cut off"),
    "several.npz": (lambda: _archive(a=unit_vectors(2), b=unit_vectors(2)), "It holds a, b; set prompts_key=NAME"),
    "cut.npz": (lambda: _archive(a=unit_vectors(2))[:90], "cannot be read"),
    "scrambled.npz": (lambda: _scrambled(_archive(a=unit_vectors(2))), "cannot be read"),
    "empty.npz": (lambda: b"", "cannot be read"),
    "cut.npy": (lambda: _array(unit_vectors(2))[:-9], "damaged"),
    "header.npy": (lambda: _array(unit_vectors(2))[:40], "damaged"),
    "nan.npy": (lambda: _array(np.full((2, WIDTH), np.nan)), "missing number"),
    "zero.npy": (lambda: _array(np.zeros((2, WIDTH))), "row of zeros"),
    "five.npy": (lambda: _array(unit_vectors(5)), "(2, dimension)"),
    "whole.npy": (lambda: _array(np.ones((2, WIDTH), int)), "not int64"),
    "width.npy": (lambda: _array(unit_vectors(2, width=16)), "the prompts have 16"),
    "cut.safetensors": (lambda: _own()[:-40], "damaged"),
    "empty.safetensors": (lambda: b"", "damaged"),
    "words.safetensors": (lambda: _own(words="3"), "damaged"),
    "labels.safetensors": (lambda: _own(labels="null"), "damaged"),
    "scale.safetensors": (lambda: _own(logit_scale='"x"'), "damaged"),
    "nan.safetensors": (lambda: _own(logit_scale="NaN"), "logit scale above 0"),
    "threshold.safetensors": (lambda: _own(threshold="7"), "threshold in [0, 1]"),
    "training.safetensors": (lambda: _own(training="[1]"), "damaged"),
    "foreign.safetensors": (lambda: _own(assaymark="other"), "no prompt set"),
    "text.txt": (lambda: b"x", "give a .safetensors"),
}


@pytest.mark.parametrize("name", FILES)
def test_prompt_files_that_cannot_be_used(command, images, name: str) -> None:
    make, says = FILES[name]
    content = make()
    Path(name).write_bytes(content)
    refused(rate(command, "--set", f"prompts={name}"), says)
    assert not Path(TOUCHED).exists(), "nothing of it was run"


def test_an_array_of_an_archive_is_chosen_by_its_name(command, images) -> None:
    Path("p.npz").write_bytes(_archive(first=unit_vectors(2, seed=1), second=unit_vectors(2, seed=9)))
    refused(rate(command, "--set", "prompts=p.npz", "--set", "prompts_key=secnd"), "no array 'secnd' - did you mean 'second'?")
    chosen = survived(rate(command, "--set", "prompts=p.npz", "--set", "prompts_key=second"))
    assert chosen.estimate("flagged.share") == rate(command, *prompt_file()).estimate("flagged.share")


def test_prompts_of_another_encoder_are_refused(command, images) -> None:
    from assaymark.models import open_model

    right, other = "fake:dual-encoder?dimension=32", "fake:dual-encoder?dimension=32&seed=3"
    prompts = PromptSet(unit_vectors(2), encoder=right, encoder_fingerprint=open_model(right).fingerprint)
    prompts.save(Path("own.safetensors"))
    given = ("--set", "prompts=own.safetensors", "--model")
    refused(
        rate(command, *given, f"encoder={other}"), "were made for fake:dual-encoder?dimension=32, not for", "give that encoder"
    )
    refused(rate(command, *given, "encoder=fake:dual-encoder?dimension=16"), "have 16", "the encoder they were made for")
    refused(rate(command, *given, "encoder=fake:image-scorer"), "cannot take the role 'encoder'")
    survived(rate(command, *given, f"encoder={right}"))
    refused(rate(command), "there are no prompts to rate with", "--set prompts=FILE")
    refused(rate(command, "--set", 'template="{} of {x}"', "--model", f"encoder={right}"), "setting 'template'")


# -- ratings ----------------------------------------------------------------------------------------------------------------


def test_ratings_that_cannot_be_used_are_counted_by_kind(command, images) -> None:
    given = [str(value) for value in RATED]
    given[:10] = ["9", "-3", "good", "fine", "<b>3</b>", "", "3", "3.0", "nan", "inf"]
    write("ratings.parquet", embedding=as_lists(unit_vectors(40, seed=2)), rating=given)
    done = survived(
        rate(command, "ratings=ratings.parquet", *prompt_file()), "2 ratings lie outside the scale 1 to 5", "set scale="
    )
    assert flow(done, "rated images")["skipped"] == {
        "no rating": 1, "a rating that is not a number": 5, "a rating outside the scale": 2, "neutral rating": 2,
    }  # fmt: skip
    numbers = pa.array([9.0, None, float("nan"), float("inf"), *RATED[4:]])
    write("ratings.parquet", embedding=as_lists(unit_vectors(40, seed=2)), rating=numbers)
    done = survived(rate(command, "ratings=ratings.parquet", *prompt_file()))
    assert flow(done, "rated images")["skipped"] == {"no rating": 3, "a rating outside the scale": 1}


@pytest.mark.parametrize(
    ("rating", "reason"),
    [
        ([1.5] * 40, "40 images are rated below 2.5 and 0 above 3.5"),
        ([3.0] * 40, "neutral rating (40)"),
        (["good"] * 40, "a rating that is not a number (40)"),
        ([-2.0] * 40, "a rating outside the scale (40)"),
        (pa.nulls(40, pa.float64()), "no rating (40)"),
    ],
)
def test_ratings_of_one_kind_tune_nothing_and_measure_nothing(command, images, rating: Any, reason: str) -> None:
    write("ratings.parquet", embedding=as_lists(unit_vectors(40, seed=2)), rating=rating)
    refused(
        call(command, ROOM, "ratings.parquet", kind="mitigate"), reason, "at least two of each", "Check rating_column, scale"
    )


def test_one_class_of_ratings_leaves_accuracy_undefined(command, images) -> None:
    write("ratings.parquet", embedding=as_lists(unit_vectors(40, seed=2)), rating=[1.5] * 40)
    done = survived(rate(command, "ratings=ratings.parquet", *prompt_file()), "40 offensive and 0 inoffensive images")
    assert done.estimate("flagged.share")["value"] is not None
    for name in ("accuracy", "flagged.share.corrected"):
        assert done.estimate(name)["value"] is None and done.estimate(name)["reason"]
    write("ratings.parquet", embedding=as_lists(unit_vectors(40)), score=RATED)
    refused(rate(command, "ratings=ratings.parquet", *prompt_file()), "no column 'rating'", "--set rating_column=COLUMN")
    write("ratings.parquet", embedding=as_lists(unit_vectors(40, width=16)), rating=RATED)
    refused(rate(command, "ratings=ratings.parquet", *prompt_file()), "input 'ratings': embeddings of 16 numbers, but 32")


# -- verdicts ---------------------------------------------------------------------------------------------------------------


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.names.index(name), name, pa.array(values))


def test_verdicts_of_something_else(command, images) -> None:
    prompts = prompt_file()
    first = survived(rate(command, *prompts, out="first"))
    queue = pq.read_table(artifact(first, "review_queue", "first"))
    n = queue.num_rows
    full = with_column(queue, "verdict", ["1"] * n)

    def given(table: pa.Table, *arguments: str) -> Outcome:
        pq.write_table(table, "verdicts.parquet")
        return rate(command, "verdicts=verdicts.parquet", *prompts, *arguments)

    assert survived(given(full)).estimate("prevalence.reviewed")["value"] == 1.0
    assert "nobody's verdicts" in survived(given(queue)).estimate("prevalence.reviewed")["reason"]
    kept = ("continue with: assaymark resume",)
    refused(given(with_column(full, "verdict", ["1"] * (n - 1) + ["<i>so-so"])), f"row {n}: a verdict is 1", *kept, lines=2)
    refused(given(full.drop_columns(["verdict"])), "no column 'verdict'", "give back the review queue", lines=2)
    refused(given(full, "--set", "threshold=0.8"), "score bin", "same threshold", lines=2)
    refused(given(with_column(full, "prompts", ["0123"] * n)), "drawn with other prompts", lines=2)
    for column, value in (("copies", "x"), ("copies", float("inf")), ("score", "x")):
        refused(given(with_column(full, column, [value] * n)), f"column {column!r} holds something that is no number", lines=2)
    write("images.parquet", embedding=as_lists(unit_vectors(40, seed=5)))
    refused(given(full), "drawn from other images", "have the new queue looked at", lines=2)
    assert json.loads(Path("first/run.json").read_text())["steps"][0]["status"] == "done"
