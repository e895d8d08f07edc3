"""Other encoders from real checkpoints on disk, through the adapters: probed frozen, and fine-tuned whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
from assaymark.execution import execute
from assaymark.result import Result

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {**SIZES, "image_size": 16, "patch_size": 8}
ENCODER = "fake:dual-encoder?dimension=16&concepts=negative:red,positive:blue"


def png(seed: int, *, upright: bool) -> bytes:
    """Stripes with noise: what a random network sees, and a colour encoder does not."""
    import io

    wave = np.where(np.arange(16) // 2 % 2 == 0, 70, -70)
    noise = np.random.default_rng(seed).normal(0, 25, (16, 16, 3))
    pixels = 128 + (wave[None, :, None] if upright else wave[:, None, None]) + noise
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def rated(n: int, first: int = 0) -> pa.Table:
    upright = [i % 2 == 0 for i in range(n)]
    pictures = [png(first + i, upright=u) for i, u in enumerate(upright)]
    return pa.table({"image": pictures, "rating": [1.5 if u else 4.5 for u in upright]})


def saved(folder: Path, model: Any) -> str:
    model.save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    root = tmp_path_factory.mktemp("checkpoints")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = transformers.ViTModel(transformers.ViTConfig(**VISION, initializer_range=0.3))
        convolutions = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
        resnet = transformers.ResNetModel(convolutions)
        text = {**SIZES, "vocab_size": 12, "max_position_embeddings": 8}
        clip = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16))
    models = {name: saved(root / name, model) for name, model in (("vit", vit), ("resnet", resnet), ("clip", clip))}
    settings = {
        "splits": 2, "test_share": 0.25, "epochs": 20, "fractions": [0, 0.1, 1.0], "resamples": 100, "duplicate_cosine": 1.0,
        "fine_tuning_splits": 2, "fine_tuning_epochs": 2,
    }  # fmt: skip
    return execute(
        ImageOffensiveness,
        inputs={"images": rated(6, 900), "ratings": rated(80)},
        models={"encoder": ENCODER, **{f"features.{name}": spec for name, spec in models.items()}},
        settings=settings,
        folder=root / "run",
    )


def test_every_checkpoint_is_probed_and_fine_tuned_on_the_same_splits(result: Result) -> None:
    rows = result.tables["label_efficiency"].rows()
    for name in ("vit", "resnet", "clip"):
        probe = {row["share"]: row for row in rows if row["method"] == f"linear probe, {name}"}
        tuned = {row["share"]: row for row in rows if row["method"] == f"fine-tuned, {name}"}
        assert set(probe) == set(tuned) == {0.1, 1.0}, name
        assert all(0 <= row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] <= 1 for row in tuned.values())
    assert not any("fine-tuning was not asked for" in note for note in result.notes)


def test_features_that_see_the_pattern_beat_prompts_of_an_encoder_that_does_not(result: Result) -> None:
    accuracy = {row["method"]: row["accuracy"] for row in result.tables["label_efficiency"].rows() if row["share"] == 1.0}
    assert accuracy["linear probe, vit"] > 0.9 and accuracy["linear probe, resnet"] > 0.9
    assert accuracy["prompt tuning"] < 0.75
