"""Tuned prompts and fitted mixtures as the image scorer of the audit: same scores, own threshold, own measured error."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import assaymark as am
from assaymark.models import open_model
from assaymark.models.mixture_file import Member, Mixture
from assaymark.models.prompt_files import PromptSet
from assaymark.models.protocols import Decision
from assaymark.runner import run

COLOURS = {"red": (220, 30, 30), "blue": (40, 60, 220), "green": (30, 170, 50)}
ENCODER = "fake:dual-encoder?dimension=16"
ROWS = 600


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), COLOURS[colour]).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of the pictures is red; two columns score them, the second one the better."""
    rng = np.random.default_rng(0)
    colours = np.array(list(COLOURS))[np.arange(ROWS) % 3]
    red = colours == "red"
    vectors = open_model(ENCODER).embed_images([Image.open(io.BytesIO(png(c))) for c in colours])
    table = pa.table(
        {
            "TEXT": [f"picture {i}" for i in range(ROWS)],
            "image": pa.array([png(c) for c in colours], pa.binary()),
            "embedding": pa.array(list(7.0 * vectors), pa.list_(pa.float32())),
            "weak": np.clip(0.45 + 0.1 * red + 0.2 * rng.standard_normal(ROWS), 0, 1),
            "strong": np.clip(0.25 + 0.5 * red + 0.1 * rng.standard_normal(ROWS), 0, 1),
        }
    )
    path = tmp_path_factory.mktemp("scorers") / "pairs.parquet"
    pq.write_table(table, path)
    return path


def mixture(folder: Path, members: tuple[Member, ...], weights: tuple[float, ...], **facts: object) -> str:
    Mixture(members, "ols", "linear", weights, **facts).save(folder)  # type: ignore[arg-type]
    return str(folder)


def test_a_mixture_of_columns_brings_threshold_and_error(pairs: Path, tmp_path: Path) -> None:
    decision = Decision(0.5, (95, 100), (990, 1000), "300 labelled images")
    spec = mixture(tmp_path / "m", (Member("weak"), Member("strong")), (0.1, 0.9), threshold=0.5, measured=decision)
    result = am.audit("image-text-dataset", pairs, models={"image_unsafe": spec})
    table = pq.read_table(pairs, columns=["weak", "strong"]).to_pandas()
    over = (0.1 * table["weak"] + 0.9 * table["strong"] >= 0.5).mean()
    assert result["image_unsafe_rate"].value == pytest.approx(over)
    corrected = result["image_unsafe_rate.corrected"]
    assert corrected.value == pytest.approx((over + 0.99 - 1) / (0.95 + 0.99 - 1), abs=1e-6)
    assert any("found 95 of 100, passed 990 of 1,000" in note for note in result.notes)


def test_a_threshold_of_the_users_keeps_the_measured_error_out(pairs: Path, tmp_path: Path) -> None:
    decision = Decision(0.5, (95, 100), (990, 1000), "labelled images")
    spec = mixture(tmp_path / "m", (Member("weak"), Member("strong")), (0.1, 0.9), measured=decision)
    result = am.audit("image-text-dataset", pairs, models={"image_unsafe": spec}, image_threshold=0.7)
    assert not result["image_unsafe_rate.corrected"].defined


def test_a_lacking_column_is_named(pairs: Path, tmp_path: Path) -> None:
    spec = mixture(tmp_path / "m", (Member("weak"), Member("stronk")), (0.1, 0.9))
    with pytest.raises(am.errors.SchemaError, match=r"stronk.*did you mean 'strong'"):
        am.audit("image-text-dataset", pairs, models={"image_unsafe": spec})


def test_prompts_score_stored_embeddings_or_pictures_alike(pairs: Path, tmp_path: Path) -> None:
    encoder = open_model(ENCODER)
    texts = encoder.embed_texts(["green", "red"])
    file = tmp_path / "prompts.safetensors"
    PromptSet(13.0 * texts, encoder=ENCODER, encoder_fingerprint=encoder.fingerprint).save(file)
    by_picture = am.audit("image-text-dataset", pairs, models={"image_unsafe": str(file)})
    only = pq.read_table(pairs, columns=["TEXT", "embedding"])
    by_vector = am.audit("image-text-dataset", only, models={"image_unsafe": str(file)})
    for result in (by_picture, by_vector):
        assert result["image_unsafe_rate"].value == pytest.approx(1 / 3)
        assert any("own threshold, 0.9" in note for note in result.notes)


def test_prompts_in_a_mixture_in_a_plan(pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scorer"
    encoder = open_model(ENCODER)
    PromptSet(encoder.embed_texts(["green", "red"]), encoder=ENCODER, encoder_fingerprint=encoder.fingerprint).save(
        tmp_path / "p.safetensors"
    )
    members = (Member("prompts", "prompt:../p.safetensors"), Member("colour", "fake:image-scorer?unsafe=red"))
    mixture(folder, members, (0.5, 0.5))
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        f"name: scorers\ninputs: {{pairs: {{path: {pairs}}}}}\nmodels: {{image_unsafe: scorer}}\n"
        "steps: [{id: data, audit: image-text-dataset, inputs: {pairs: $pairs}}]\ngates: [data.image_unsafe_rate.value < 50%]\n"
    )
    record = run(plan, out=tmp_path / "run")
    assert record.exit_code == 0
    result = record.steps[0].result
    assert result is not None and result["image_unsafe_rate"].value == pytest.approx(1 / 3)
    assert str(tmp_path) not in (tmp_path / "run" / "report.html").read_text()
