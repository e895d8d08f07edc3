"""Pruning and tuning: what is changed, what is measured before and after, and what is handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assaymark.audits.encoder_memorization.measures.changed import ChangedEncoder, prunable, weights_of
from assaymark.audits.encoder_memorization.mitigate import MemorizingParts
from assaymark.data.images import decode_image
from assaymark.errors import InputError
from assaymark.execution import execute
from assaymark.models import open_model
from tests.audits.encoder_memorization.encoders import encoder_file, pictures, table

SETS = "SSSSSCCCCCIIIEEE"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {"encoder": encoder_file(folder, "f", seed=1), "reference": encoder_file(folder, "g", seed=2)}


def cured(models: dict[str, str], *, folder: Path | None = None, more: dict[str, Any] | None = None, **settings: Any):
    options = {"n_views": 2, "resamples": 100, "augmentation": "crop-flip", "shares": [0.25], "epochs": 2, **settings}
    inputs = {"images": table(48, sets=SETS * 3), **(more or {})}
    return execute(MemorizingParts, inputs=inputs, models=models, settings=options, folder=folder, seed=2)


def test_units_are_silenced_and_everything_is_measured_again(models, tmp_path) -> None:
    found = cured(models, folder=tmp_path)
    rows = {row["variant"]: row for row in found.tables["variants"].rows()}
    assert len(rows) == 4 and len({row["parts"] for row in rows.values()} - {0}) == 1
    assert found["sslmem.highest_25.difference"].n == 15 + 9 and found["accuracy.lowest_25.difference"].defined
    assert found["unitmem.highest_25.difference"].n < found["unitmem.before"].n
    assert not found["other_accuracy.before"].defined
    pruned: Any = open_model(f"encoder:{tmp_path / found.artifacts['encoder'].file}")
    source: Any = open_model(models["encoder"])
    pixels = source.raw_pixels([decode_image(one) for one in pictures(3)])
    assert torch.allclose(pruned.raw_pixels([decode_image(one) for one in pictures(3)]), pixels)
    silent = [int((part.weight.flatten(1) == 0).all(dim=1).sum()) for part in convolutions(pruned.feature_module())]
    assert sum(silent) == next(row["parts"] for row in rows.values() if row["parts"])


def convolutions(module: Any) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]


def test_layers_are_tuned_and_others_stay(models, tmp_path) -> None:
    found = cured(models, folder=tmp_path, method="finetune", lr=0.01)
    assert [row["variant"] for row in found.tables["variants"].rows()][:2] == ["as it is", "head alone"]
    assert found["sslmem.head.difference"].value == 0.0, "the head alone leaves the encoder as it is"
    tuned: Any = open_model(f"encoder:{tmp_path / found.artifacts['encoder'].file}")
    source: Any = open_model(models["encoder"])
    before, after = (dict(one.feature_module().named_parameters()) for one in (source, tuned))
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert 1 <= len(changed) <= 2 and any(name.endswith("conv") for name in changed), "a convolution with its normalisation"


def test_a_second_set_and_no_reference(models) -> None:
    found = cured({"encoder": models["encoder"]}, more={"other": table(30, seed=9)})
    assert found["other_accuracy.before"].n == 15 and not found["sslmem.before"].defined
    assert found["unitmem.highest_25.difference"].defined


def test_too_few_labelled_pictures_are_refused(models) -> None:
    images = table(48, sets=SETS * 3)
    with pytest.raises(InputError, match="too few for a linear head"):
        cured(models, more={"images": images.slice(0, 6)})


@pytest.mark.parametrize("architecture", ["resnet9", "vit", "mlp"])
def test_every_kind_of_network_has_parts_to_work_on(architecture: str, tmp_path) -> None:
    source: Any = open_model(encoder_file(tmp_path, "net", seed=1, architecture=architecture))
    shown = [decode_image(one) for one in pictures(4)]
    changed = ChangedEncoder(source, shown)
    assert changed.layers == source.layers
    assert changed.normalisation[0] == pytest.approx(1 / np.array([0.5, 0.6, 0.7]), rel=1e-4)
    pixels = source.raw_pixels(shown)
    ready = source.prepare_images(shown)
    assert torch.allclose(changed.normalised(pixels), ready, atol=1e-5)
    parts = prunable(changed.module, changed.layers)
    assert len(parts) == {"resnet9": 8, "vit": 3, "mlp": 1}[architecture], parts
    if architecture == "vit":
        by_name = {layer.name: layer for layer in changed.layers}
        assert weights_of(changed.module, by_name["blocks.1.attention"]) == ("blocks.1.attn.qkv", "blocks.1.attn.proj")
        assert weights_of(changed.module, by_name["blocks.1.mlp"]) == ("blocks.1.mlp.fc1", "blocks.1.mlp.fc2")
        assert weights_of(changed.module, by_name["blocks.1.mlp.hidden"]) == ("blocks.1.mlp.fc1",)
