"""The audit on odd tables and with models: empty texts, ids, sampled texts, pictures, faces, captions, classes."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assaymark.audits.image_text_dataset.audit import ImageTextDataset
from assaymark.audits.image_text_dataset.data import SENSITIVITY, SPECIFICITY, planting
from assaymark.audits.image_text_dataset.planted import planted_tables
from assaymark.errors import AssaymarkError, ConfigError, InputError, SchemaError
from assaymark.execution import execute
from assaymark.models.fake import COLOURS
from assaymark.result import Result

SCORER = "fake:text-keywords?hateful=badword"
ENCODER = "fake:dual-encoder?dimension=32"
ONE = pa.table({"TEXT": ["a"]})


def audit(pairs: Any, models: dict[str, str] | None = None, more: dict[str, Any] | None = None, **settings: Any) -> Result:
    return execute(ImageTextDataset, inputs={"pairs": pairs, **(more or {})}, models=models or {}, settings=settings)


def paint(folder: Path, name: str, colour: str, shade: int = 0) -> str:
    """A picture of one colour; `shade` tells two pictures of one colour apart."""
    path = folder / f"{name}.png"
    rgb = tuple(min(255, max(0, c + shade)) for c in COLOURS[colour])
    Image.new("RGB", (24, 24), rgb).save(path)
    return str(path)


# -- texts and ids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("empty", "n"), [("zero", 10), ("exclude", 5)])
def test_empty_texts_count_as_zero_or_leave_the_rate(empty: str, n: int) -> None:
    texts = ["badword here", None, "", "   ", "\u3000", "nan", "fine", "fine too", "badword", float("nan")]
    table = pa.table({"TEXT": pa.array([None if isinstance(t, float) else t for t in texts], pa.string())})
    result = audit(table, {"text_toxicity": SCORER}, probes=("hate_content",), empty_text=empty)
    rate = result["hate_content_rate.any"]
    assert (rate.n, rate.value) == (n, pytest.approx(2 / n))
    assert "5 empty texts" in result.methods


def test_the_word_nan_is_a_text_and_a_missing_text_is_not_that_word() -> None:
    table = pa.table({"TEXT": ["nan", None, "garden"]})
    result = audit(table, terms=["nan"], probes=("slice_test", "anatomy"))
    assert result["slice_test.nan"].n == 1
    assert result["anatomy.missing_text"].value == pytest.approx(1 / 3)


def test_texts_of_a_shard_that_holds_none_are_no_numbers(tmp_path: Path) -> None:
    """A column without any text is written as floats by some tools."""
    pq.write_table(pa.table({"TEXT": pa.array([np.nan, np.nan], pa.float64())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"TEXT": ["badword", "fine"]}), tmp_path / "b.parquet")
    result = audit(str(tmp_path / "*.parquet"), {"text_toxicity": SCORER}, probes=("hate_content",))
    assert result["hate_content_rate.any"].value == 0.25


def test_rows_are_named_by_shard_and_row_whatever_their_ids_became(tmp_path: Path) -> None:
    """Ids beyond 2^53 collide as float64; the manifest must still name the one row."""
    big = 2.0**53
    for shard in range(2):
        ids = pa.array([big, big + 1, big + 1.0])  # the last two are one number
        texts = [f"portrait {shard} {row} {'Ada' if (shard, row) == (1, 2) else 'Bob'}" for row in range(3)]
        pq.write_table(pa.table({"SAMPLE_ID": ids, "TEXT": texts}), tmp_path / f"part-{shard}.parquet")
    assert big + 1 == big
    settings = {"probes": ("find_me",), "find": ("name=Ada",)}
    folder = tmp_path / "run"
    pairs = str(tmp_path / "*.parquet")
    result = execute(ImageTextDataset, inputs={"pairs": pairs}, settings=settings, folder=folder)
    (row,) = pq.read_table(folder / result.artifacts["removal_manifest"].file).to_pylist()
    assert (row["shard"], row["row"]) == (1, 2)


def test_a_sample_of_each_shard_is_scored_and_no_more(tmp_path: Path) -> None:
    for shard in range(3):
        texts = [f"text {shard} {i} {'badword' if i % 4 == 0 else ''}" for i in range(400)]
        pq.write_table(pa.table({"TEXT": texts}), tmp_path / f"{shard}.parquet")
    result = audit(str(tmp_path / "*.parquet"), {"text_toxicity": SCORER}, probes=("hate_content",), sample_rows=100)
    assert result["hate_content_rate.any"].n == 300 == result.provenance.models["text_toxicity"]["calls"]
    assert result["hate_content_rate.any"].value == pytest.approx(0.25, abs=0.09)  # 3.5 standard errors


def test_correction_for_the_model_s_own_error_recovers_the_planted_prevalence() -> None:
    """Rogan-Gladen with sensitivity 0.8 and specificity 0.99, both counted on labelled texts."""
    rng = np.random.default_rng(3)
    hateful = rng.random(40_000) < 0.05
    found = rng.random(40_000) < np.where(hateful, SENSITIVITY, 1 - SPECIFICITY)
    table = pa.table({"TEXT": [f"t{i}" for i in range(40_000)], "score": np.where(found, 0.9, 0.1)})
    label = np.arange(20_000) % 2
    seen = rng.random(20_000) < np.where(label == 1, SENSITIVITY, 1 - SPECIFICITY)
    calibration = pa.table({"label": label, "score": np.where(seen, 0.9, 0.1)})
    result = audit(table, {"text_toxicity": "column:score"}, {"calibration": calibration}, probes=("hate_content",))
    raw, corrected = result["hate_content_rate.any"], result["hate_content_rate.any.corrected"]
    assert corrected.low <= 0.05 <= corrected.high and corrected.value == pytest.approx(0.05, abs=0.005)
    assert corrected.high - corrected.low > raw.high - raw.low  # both sources of error are in it
    assert raw.value == pytest.approx(0.05 * 0.8 + 0.95 * 0.01, abs=0.004)


def test_without_labelled_texts_the_corrected_rate_is_undefined() -> None:
    result = audit(pa.table({"TEXT": ["badword", "fine"]}), {"text_toxicity": SCORER}, probes=("hate_content",))
    assert not result["hate_content_rate.any.corrected"].defined


def test_nothing_is_connected_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a name is looked up while the whole planted audit runs."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise AssertionError(f"network used: {args[:2]}")

    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    given = planting(0, tmp_path, null=False, full=False)
    execute(ImageTextDataset, inputs=dict(given.inputs), models=dict(given.models), settings=dict(given.settings))


# -- the safety filter, the similarity cut-off ---------------------------------------------------------------------------------


def test_what_the_tag_leaves_in_is_measured() -> None:
    planted = planted_tables(5, 20_000)
    result = audit(planted.table, probes=("tag_audit",))
    tag = np.array(planted.table.column("NSFW").to_pylist())
    kept = tag == "UNLIKELY"
    assert result["tag_audit.residual"].value == pytest.approx(planted.unsafe[kept].mean())
    assert result["tag_audit.survives"].value == pytest.approx(kept[planted.unsafe].mean())
    assert any(f.severity == "critical" and "NSFW" in f.sentence for f in result.findings)


def test_a_cut_off_that_prefers_unsafe_rows_is_called_that() -> None:
    planted = planted_tables(5, 20_000)
    similarity = np.where(planted.unsafe, 0.33, planted.table.column("similarity").to_numpy())
    table = planted.table.set_column(planted.table.column_names.index("similarity"), "similarity", pa.array(similarity))
    result = audit(table, probes=("admission",))
    assert result["admission.unsafe_dropped.0.3"].value == 0 < result["admission.unsafe_kept.0.3"].low
    assert any("prefers unsafe rows" in f.sentence for f in result.findings if f.severity == "warning")
    assert not any("prefers unsafe rows" in f.sentence for f in audit(planted.table, probes=("admission",)).findings)


# -- pictures ------------------------------------------------------------------------------------------------------------------


def test_search_over_the_pictures_of_the_table(tmp_path: Path) -> None:
    """Red pictures are unsafe, blue ones are not; the encoder knows both words. Broken pictures are counted."""
    colours = ["red" if i % 5 == 0 else "blue" if i % 2 else "green" for i in range(150)]
    pictures = [Path(paint(tmp_path, f"p{i}", c, shade=i // 5 - 15)).read_bytes() for i, c in enumerate(colours)]
    pictures[3] = b"not a picture"
    table = pa.table({"image": pictures, "TEXT": [f"photo {i} {c}" for i, c in enumerate(colours)]})
    scorer = "fake:image-scorer?unsafe=red"
    settings = {"queries": ("red", "blue"), "k": 20, "duplicate_cosine": 1.0, "resamples": 200}
    result = audit(table, {"dual_encoder": ENCODER, "image_unsafe": scorer}, probes=("retrieval",), **settings)
    assert result["retrieval.red.unsafe_at_k"].value == 1 > 0 == result["retrieval.blue.unsafe_at_k"].value
    assert any("1 pictures could not be decoded" in note for note in result.notes)
    assert "fake:image-scorer" in result.methods
    verdicts = {row["query"]: row["verdict"] for row in result.tables["retrieval_test"].rows()}
    assert verdicts["red"] == "in the data"


def test_embeddings_in_another_number_than_the_rows_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.eye(32, dtype=np.float32)[:3])
    with pytest.raises(InputError, match="one for each"):
        audit(ONE, {"dual_encoder": ENCODER}, {"embeddings": str(tmp_path / "e.npy")}, probes=("retrieval",), queries=("red",))


def test_captions_and_pictures_through_an_encoder(tmp_path: Path) -> None:
    """`housewife` means orange to this encoder, so it fits the orange picture better than `astronaut` does."""
    rows = {"image": [], "benign": [], "harmful": [], "axis": []}
    for i in range(30):
        colour = "orange" if i % 2 == 0 else "blue"
        rows["image"].append(paint(tmp_path, f"s{i}", colour, shade=i % 10))
        rows["benign"].append("an astronaut with a flag")
        rows["harmful"].append("a housewife with a flag")
        rows["axis"].append(colour)
    rows["image"][4] = str(tmp_path / "missing.png")
    encoder = f"{ENCODER}&concepts=housewife:orange"

    def swaps(first: str, second: str) -> Result:
        table = pa.table({**rows, "benign": rows[first], "harmful": rows[second]})
        return audit(ONE, {"dual_encoder": encoder}, {"swaps": table}, probes=("caption_swap",), resamples=200)

    there, back = swaps("benign", "harmful"), swaps("harmful", "benign")
    assert there["caption_swap.orange.delta"].low > 0.1
    assert there["caption_swap.orange.delta"].value > there["caption_swap.blue.delta"].value + 0.1
    for axis in ("orange", "blue"):
        assert there[f"caption_swap.{axis}.delta"].value == -back[f"caption_swap.{axis}.delta"].value
    assert "30 pairs, 1 without a readable picture" in there.methods
    assert there["caption_swap.orange.flip.0.3"].value == 1
    assert back["caption_swap.orange.flip.0.3"].value == 0


def test_captions_without_an_encoder_are_refused() -> None:
    table = pa.table({"image": ["a.png"], "benign": ["x"], "harmful": ["y"]})
    with pytest.raises(InputError, match="dual_encoder"):
        audit(ONE, None, {"swaps": table})


def test_faces_through_an_encoder(tmp_path: Path) -> None:
    """To this encoder `human` is blue and `thief` is red."""
    colours = ["red" if i % 2 else "blue" for i in range(40)]
    faces = {
        "image": [paint(tmp_path, f"f{i}", c, shade=i % 20) for i, c in enumerate(colours)],
        "race": ["r1" if c == "red" else "r2" for c in colours],
    }
    encoder = f"{ENCODER}&concepts=human:blue,being:blue,thief:red"
    result = audit(ONE, {"dual_encoder": encoder}, {"faces": pa.table(faces)}, probes=("downstream",), resamples=200)
    assert result["downstream.r2.human"].low > 0.9 > 0.1 > result["downstream.r1.human"].high
    assert result["downstream.race.r1.gap"].high < -0.8
    predicted = {(r["group"], r["class"]): r["predicted"] for r in result.tables["downstream_probe"].rows()}
    assert predicted["r1", "thief"] == 1 == predicted["r2", "human being"]


def test_faces_need_the_human_class_and_the_same_faces_twice() -> None:
    scores = pa.table({"race": ["a", "b"], "score:animal": [1.0, 2.0], "score:human being": [2.0, 1.0]})
    with pytest.raises(SchemaError, match="human_class"):
        audit(ONE, None, {"faces": scores}, human_class="person")
    with pytest.raises(SchemaError, match="same faces"):
        audit(ONE, None, {"faces": scores, "faces_baseline": scores.slice(0, 1)})
    assert audit(ONE, None, {"faces": scores}, probes=("downstream",))["downstream.a.human"].n == 1


def test_class_names_of_a_word_list_are_counted(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("zqbad\n")
    classes = pa.table({"class": ["zqbad_person", "garden", "zq-forbidden", "zqbadly"], "count": [30, 50, 15, 5]})
    more = {"classes": classes}
    result = audit(ONE, None, more, lexicons=(str(tmp_path / "bad.txt"),), class_blocklist=("zq forbidden",))
    assert (result["label_space.classes"].value, result["label_space.images"].value) == (0.5, 45)
    assert result.tables["label_space"].data.column("images").to_pylist() == [30, 15]
    clean = audit(ONE, None, more, class_blocklist=("nothing",))
    assert (clean["label_space.classes"].value, clean["label_space.images"].value) == (0, 0)


# -- mistakes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"probes": ("slices",)}, ConfigError, "slice_test"),
        ({"theta": 2}, ConfigError, "theta"),
        ({"lexicons": ("nowhere.txt",)}, InputError, "nowhere.txt"),
        ({"queries": ("nowhere.csv",)}, InputError, "nowhere.csv"),
    ],
)
def test_mistakes_in_settings_are_named(settings: dict[str, Any], error: type[AssaymarkError], words: str) -> None:
    with pytest.raises(error, match=words):
        audit(ONE, **settings)


def test_probes_without_their_column_are_left_out_with_a_note() -> None:
    result = audit(pa.table({"TEXT": ["a photo", "b"]}))
    left_out = {note.partition(" was left out")[0] for note in result.notes if "was left out" in note}
    assert left_out == {"lexicons", "tag_audit", "hate_content", "admission", "retrieval", "find_me", "removal_check"}
    assert result["anatomy.rows"].value == 2
