"""Pictures end to end: decoded, embedded, scored, described, shown blurred - and what cannot be is counted or refused."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
from assaymark.audits.image_offensiveness.mitigate import PromptTuning
from assaymark.errors import ConfigError, InputError, ModelError, SchemaError
from assaymark.execution import execute
from assaymark.models.opening import open_model
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Result

ENCODER = "fake:dual-encoder?dimension=32&concepts=negative:red,positive:blue"
RED, BLUE, GREEN = (220, 30, 30), (30, 30, 220), (30, 180, 40)
SETTINGS: dict[str, Any] = {"splits": 3, "epochs": 60, "fractions": [0, 0.5, 1.0], "resamples": 100, "duplicate_cosine": 1.0}


def png(colour: tuple[int, int, int], seed: int, mode: str = "RGB") -> bytes:
    noise = np.random.default_rng(seed).normal(0, 40, (24, 24, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    return buffer.getvalue()


def pictures(n: int = 60) -> pa.Table:
    kinds = [i % 3 for i in range(n)]
    content: list[bytes | None] = [png((RED, BLUE, GREEN)[kind], i) for i, kind in enumerate(kinds)]
    content[1], content[2], content[4], content[5] = b"no picture", b"", None, png(GREEN, 5)[:200]
    content[7] = png(BLUE, 7, "CMYK")
    return pa.table(
        {
            "image": content,
            "caption": ["a zog kreb" if kind == 0 else "a calm plim" for kind in kinds],
            "label": [f"kind {kind}" for kind in kinds],
            "id": [f"picture-number-{i}" for i in range(n)],
            "asked": [f"prompt {i % 6}" for i in range(n)],
            "region": ["north" if i % 2 else "south" for i in range(n)],
        }
    )


def ratings(n: int = 45) -> pa.Table:
    kinds = [i % 3 for i in range(n)]
    return pa.table(
        {
            "image": [png((RED, BLUE, GREEN)[kind], 1_000 + i) for i, kind in enumerate(kinds)],
            "rating": [1.5 if kind == 0 else 4.2 for kind in kinds],
            "population": ["here" if i % 2 else "there" for i in range(n)],
        }
    )


def audit(folder: Path, **changes: Any) -> Result:
    given: dict[str, Any] = {
        "inputs": {"images": pictures()},
        "models": {"encoder": ENCODER},
        "settings": SETTINGS,
        "folder": folder,
    }
    return execute(ImageOffensiveness, **{**given, **changes})


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("full")
    result = audit(
        folder,
        inputs={"images": pictures(), "ratings": ratings()},
        models={
            "encoder": ENCODER,
            "nsfw": "fake:image-scorer?unsafe=green",
            "captioner": "fake:captioner",
            "features.other": "fake:dual-encoder?dimension=32&seed=4",
        },
        settings={**SETTINGS, "prompt_column": "asked", "slices": ["region"], "caption_samples": 2},
    )
    return result, folder


def test_what_cannot_be_scored_is_counted_by_reason(full: tuple[Result, Path]) -> None:
    flow = full[0].flows[0]
    assert flow.total == 60
    assert dict(flow.skipped) == {
        "not an image": 1,
        "empty": 1,
        "no embedding or picture": 1,
        "damaged or truncated": 1,
    }
    assert flow.used == 56


def test_red_is_flagged_and_nothing_else(full: tuple[Result, Path]) -> None:
    result = full[0]
    assert result["flagged.share"].value == pytest.approx(20 / 56)
    rows = {row["class"]: row["flagged"] for row in result.tables["class_table"].rows()}
    assert rows == {"kind 0": 20, "kind 1": 0, "kind 2": 0}
    assert result["flagged.share.corrected"].value == pytest.approx(20 / 56, abs=0.02)


def test_the_other_detector_sees_something_else(full: tuple[Result, Path]) -> None:
    result = full[0]
    assert result["overlap.both"].value == 0.0
    assert result["overlap.only_nsfw"].value == pytest.approx(18 / 56)
    kappa = result["overlap.kappa"]
    assert kappa.high is not None and kappa.high < 0


def test_generated_images_count_either_detector(full: tuple[Result, Path]) -> None:
    assert full[0]["generated.inappropriate"].value == pytest.approx(38 / 56)
    shares = [row["share"] for row in full[0].tables["generated"].rows()]
    assert full[0]["generated.expected_maximum"].value <= max(shares) + 1e-9  # type: ignore[operator]


def test_zero_shot_tuning_and_baselines_stand_side_by_side(full: tuple[Result, Path]) -> None:
    result = full[0]
    assert result["accuracy"].value == pytest.approx(1.0)
    assert result["accuracy"].low < 1.0, "splits that agree are no certainty"  # type: ignore[operator]
    methods = set(result.tables["eval_table"].data["method"].to_pylist())
    assert methods == {
        *("prompts in use", "zero-shot", "linear probe", "logistic regression", "nearest neighbours", "linear probe, other")
    }
    assert len(result.tables["prompt_ranking"]) == 9
    assert {row["population"] for row in result.tables["populations"].rows()} == {"here", "there"}
    assert {row["value"] for row in result.tables["slices"].rows()} == {"north", "south"}


def test_captions_of_flagged_pictures_are_contrasted_and_masked(full: tuple[Result, Path]) -> None:
    terms = full[0].tables["terms_captions"].rows()
    assert terms[0]["term"] in ("r**", "r** f****")
    assert not any("red" in str(row["term"]) for row in terms), "a word of flagged pictures alone is masked"


def test_artifacts_are_there_and_the_queue_is_private(full: tuple[Result, Path]) -> None:
    result, folder = full
    for artifact in result.artifacts.values():
        assert (folder / artifact.file).stat().st_size > 0
    assert result.artifacts["review_queue"].private and result.artifacts["scores"].private
    assert not result.artifacts["datasheet_q16"].private
    scores = pq.read_table(folder / result.artifacts["scores"].file)
    assert scores.num_rows == 56
    assert int(np.sum(scores["flag"].to_numpy(zero_copy_only=False))) == 20
    assert np.allclose(scores["z1"].to_numpy() - scores["z0"].to_numpy(), scores["log_odds"].to_numpy(), atol=1e-4)
    assert (folder / result.artifacts["prompts"].file).suffix == ".safetensors"


def test_pictures_of_the_sheet_are_blurred_and_never_of_a_minor(tmp_path: Path) -> None:
    table = pictures()
    sheets = audit(tmp_path / "all").artifacts
    assert any(name.startswith("contact_sheet") for name in sheets)
    with Image.open(tmp_path / "all" / sheets["contact_sheet_0"].file) as sheet:
        assert sheet.mode == "L"
    minors = table.set_column(1, "caption", pa.array(["a little girl"] * table.num_rows))
    result = audit(tmp_path / "minors", inputs={"images": minors})
    assert not any(name.startswith("contact_sheet") for name in result.artifacts)
    assert any("may name a minor" in note for note in result.notes)


def test_words_and_annotations_by_id(tmp_path: Path) -> None:
    table = pictures()
    labels = pa.table(
        {
            "ImageID": [f"picture-number-{i}" for i in range(60)] * 2,
            "LabelName": ["thing"] * 60 + [f"k{i % 3}" for i in range(60)],
        }
    )
    result = audit(tmp_path, inputs={"images": table, "annotations": labels})
    rows = {row["class"]: (row["images"], row["flagged"]) for row in result.tables["annotations"].rows()}
    assert rows["k0"] == (20, 20) and rows["thing"] == (56, 20) and rows["k1"][1] == 0


def test_without_prompts_the_three_ways_are_named(tmp_path: Path) -> None:
    vectors = pa.table({"embedding": [[0.0, 1.0], [1.0, 0.0]]})
    with pytest.raises(ConfigError, match=r"prompts=FILE.*ratings.*encoder"):
        execute(ImageOffensiveness, inputs={"images": vectors})
    with pytest.raises(InputError, match="encoder"):
        execute(ImageOffensiveness, inputs={"images": pictures()})
    with pytest.raises(SchemaError):
        execute(ImageOffensiveness, inputs={"images": pa.table({"x": [1]})})


def test_prompts_of_another_encoder_or_width_are_refused(tmp_path: Path) -> None:
    other = PromptSet(np.eye(2, 32, dtype=np.float32), encoder="fake:other", encoder_fingerprint="0" * 16)
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="fake:other"):
        audit(tmp_path, settings={"prompts": str(tmp_path / "other.safetensors")})
    PromptSet(np.eye(2, 8, dtype=np.float32)).save(tmp_path / "narrow.safetensors")
    with pytest.raises(ModelError, match="8 numbers"):
        audit(tmp_path, settings={"prompts": str(tmp_path / "narrow.safetensors")})
    vectors = pa.table({"embedding": [[0.0] * 16]})
    with pytest.raises(InputError, match="16 numbers, but the prompts have 8"):
        execute(ImageOffensiveness, inputs={"images": vectors}, settings={"prompts": str(tmp_path / "narrow.safetensors")})


class Texts:
    """An encoder of texts alone: the words of the fake dual encoder, and no pictures."""

    spec, fingerprint, dimension, logit_scale = "texts-alone", "0" * 16, 32, 100.0

    def embed_texts(self, texts: Sequence[str]) -> Any:
        return open_model(ENCODER).embed_texts(texts)


def test_an_encoder_of_texts_alone_is_refused_for_pictures_and_suits_stored_embeddings(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="texts-alone does not embed images, which the pictures of input 'images' need"):
        audit(tmp_path, models={"encoder": Texts()})
    with pytest.raises(ModelError, match="texts-alone does not embed images, which the pictures of input 'ratings' need"):
        execute(PromptTuning, inputs={"ratings": ratings()}, models={"encoder": Texts()}, settings={"epochs": 2})
    dual = open_model(ENCODER)
    vectors = dual.embed_images([Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)])
    result = audit(tmp_path, inputs={"images": pa.table({"embedding": list(vectors)})}, models={"encoder": Texts()})
    assert result["flagged.share"].value == 0.5


@pytest.mark.parametrize("n", [1, 255, 256, 257])
def test_stored_embeddings_of_any_length_and_number(n: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(n)
    vectors = rng.normal(size=(n, 8))
    rows: list[Any] = [(v / np.linalg.norm(v) * (1 if i % 2 else 7)).tolist() for i, v in enumerate(vectors)]
    if n > 10:
        rows[3], rows[4], rows[5], rows[6] = [0.0] * 8, [float("nan")] * 8, None, [1.0] * 5
    prompts = rng.normal(size=(2, 8)).astype(np.float32)
    PromptSet(prompts, logit_scale=10).save(tmp_path / "p.safetensors")
    result = execute(
        ImageOffensiveness,
        inputs={"images": pa.table({"embedding": pa.array(rows, pa.list_(pa.float32()))})},
        settings={"prompts": str(tmp_path / "p.safetensors"), "threshold": 0.6},
        batch_size=256,
    )
    unit = prompts / np.linalg.norm(prompts, axis=1, keepdims=True)
    good = [np.array(r) for r in rows if r is not None and len(r) == 8 and np.isfinite(r).all() and any(r)]
    cosine = np.array([unit @ (r / np.linalg.norm(r)) for r in good])
    score = 1 / (1 + np.exp(10 * (cosine[:, 0] - cosine[:, 1])))
    assert result["flagged.share"].n == len(good)
    assert result["flagged.share"].value == pytest.approx(float((score >= 0.6).mean()))
    if n > 10:
        assert dict(result.flows[0].skipped) == {
            "an embedding of zeros": 1,
            "an embedding with a number that is not finite": 1,
            "no embedding or picture": 1,
            "an embedding of another width": 1,
        }
        assert any("did not have unit length and were normalised" in note for note in result.notes)


def test_ratings_outside_the_scale_or_of_one_class(tmp_path: Path) -> None:
    table = ratings()
    wild = table.set_column(1, "rating", pa.array([9.0 if i == 0 else r for i, r in enumerate(table["rating"].to_pylist())]))
    result = audit(tmp_path / "a", inputs={"images": pictures(), "ratings": wild})
    assert any("outside the scale" in note for note in result.notes)
    assert dict(result.flows[1].skipped)["a rating outside the scale"] == 1
    one = table.set_column(1, "rating", pa.array([4.5] * table.num_rows))
    result = audit(tmp_path / "b", inputs={"images": pictures(), "ratings": one})
    assert not result["accuracy"].defined
    assert any("too few" in note for note in result.notes)


def test_a_neutral_third_word_takes_part_in_the_score(tmp_path: Path) -> None:
    two = audit(tmp_path / "two")
    three = audit(tmp_path / "three", settings={**SETTINGS, "words": ["positive", "negative", "red"]})
    assert three["flagged.share"].value < two["flagged.share"].value  # type: ignore[operator]


class TinyEncoder:
    """Mean colours as features: embeds pictures, and can be trained further."""

    spec, fingerprint, dimension, logit_scale = "tiny", "tiny-1", 3, 1.0

    def embed_images(self, pictures: Any) -> np.ndarray:
        rows = np.stack([np.asarray(p.convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) + 1 for p in pictures])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def feature_module(self) -> Any:
        from torch import nn

        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def prepare_images(self, pictures: Any) -> Any:
        import torch

        arrays = [np.asarray(p.convert("RGB").resize((8, 8)), dtype=np.float32) / 255 for p in pictures]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def test_a_model_that_can_be_trained_is_fine_tuned_when_asked(tmp_path: Path) -> None:
    settings = {"splits": 2, "fractions": [0, 1.0], "epochs": 20, "resamples": 100, "duplicate_cosine": 1.0}
    given: dict[str, Any] = {
        "inputs": {"images": ratings(9), "ratings": ratings()},
        "models": {"encoder": ENCODER, "features.tiny": TinyEncoder()},
    }
    idle = execute(ImageOffensiveness, settings=settings, **given)
    assert any("fine-tuning was not asked for" in note for note in idle.notes)
    tuned = execute(ImageOffensiveness, settings={**settings, "fine_tuning_splits": 2, "fine_tuning_epochs": 2}, **given)
    methods = set(tuned.tables["label_efficiency"].data["method"].to_pylist())
    assert {"fine-tuned, tiny", "linear probe, tiny"} <= methods
