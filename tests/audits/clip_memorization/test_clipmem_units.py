"""UnitMem of both towers: against a loop over single views, on planted units, beside other encoders, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audit import Context
from assaymark.audits.clip_memorization.audit import ClipMemorization
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.data import planted_pairs
from assaymark.audits.clip_memorization.measures.tower_units import measure_units, unit_pairs
from assaymark.audits.clip_memorization.reading import read_pool
from assaymark.data import open_input
from assaymark.data.images import decode_image
from assaymark.errors import ModelError
from assaymark.execution import execute
from assaymark.models.opening import open_model
from assaymark.models.small_clip import new_clip, save_clip
from assaymark.result import Result
from assaymark.stats.memorization.units import unit_memorization
from assaymark.training.augmentation_spec import augmentation
from assaymark.training.views import views

F, G = (f"fake:memorizing-dual-encoder?trained={letters}&seed={seed}" for letters, seed in (("SC", 1), ("SI", 2)))
SETTINGS = {"views": 2, "augmentation": "shift", "resamples": 100, "listed": 5, "contact_sheet": False}


@pytest.fixture(scope="module")
def pairs() -> pa.Table:
    columns = planted_pairs(3, candidates=24)
    columns["captions"] = [own[: 1 + row % 3] for row, own in enumerate(columns["captions"])]
    return pa.table(columns)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, pairs: pa.Table) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("clips")
    texts = [text for own in pairs.column("captions").to_pylist() for text in own]
    shape = {"patch": 8, "hidden": 8, "layers": 1, "heads": 1, "dimension": 4, "text_length": 16}
    for name, seed in (("f", 1), ("g", 2)):
        save_clip(new_clip(texts, side=16, seed=seed, **shape), folder / name)
    save_clip(new_clip(texts, side=16, seed=1, **{**shape, "layers": 2}), folder / "deep")
    return {path.name: f"hf:{path}" for path in folder.iterdir()}


def audited(table: pa.Table, models: dict[str, Any], **settings: Any) -> Result:
    return execute(ClipMemorization, inputs={"pairs": table}, models=models, settings={**SETTINGS, **settings})


def test_one_view_and_one_caption_at_a_time_give_the_same(pairs: pa.Table, clips: dict[str, str]) -> None:
    config = ClipMemorizationConfig.build({**SETTINGS, "unit_pairs": 20})
    context = Context(seed=5, batch_size=7)
    pool = read_pool(open_input("images", pairs, name="pairs"), config, context, name="pairs")
    pool = pool.take(unit_pairs(pool, config, seed=5))
    assert len(pool) == 20 and set(pool.sets) == {"S", "C"}
    model: Any = open_model(clips["f"])
    found = measure_units(pool, pool.captions, {"image": model, "text": model}, config, context)
    content = dict(zip(*(pairs.column(name).to_pylist() for name in ("id", "image")), strict=True))
    spec = augmentation("shift")
    mu: dict[tuple[str, str], list[np.ndarray]] = {}
    for one, captions in zip(pool.ids, pool.captions, strict=True):
        pixels = model.raw_pixels([decode_image(content[one])])
        shown = [views(pixels, ids=[one], draw=k, seed=5, spec=spec) for k in range(2)]
        for layer in model.layers:
            mu.setdefault(("image", layer.name), []).append(
                np.mean([unit_means(model.record, view, layer.name, padded=False) for view in shown], axis=0)
            )
        for layer in model.text_layers:
            read = [unit_means(model.record_texts, [text], layer.name, padded=True) for text in captions[:2]]
            mu.setdefault(("text", layer.name), []).append(np.mean(read, axis=0))
    assert found.views["text"] == np.mean([min(len(own), 2) for own in pool.captions])
    for tower, layers in found.towers.items():
        for one in layers:
            expected = unit_memorization(np.array(mu[tower, one.layer.name])).unitmem
            assert one.units.unitmem == pytest.approx(expected, abs=2e-5, nan_ok=True), (tower, one.layer.name)
    assert {tower for tower, _ in mu} == set(found.towers) and len(mu) == sum(map(len, found.towers.values()))


def unit_means(record: Any, given: Any, name: str, *, padded: bool) -> np.ndarray:
    """Activation of each unit for one item: over the tokens that are not padding."""
    seen: list[np.ndarray] = []
    record(given, [name], lambda _, output: seen.append(output[0].double().numpy()))
    output = seen[0].reshape(len(seen[0]), -1).T if seen[0].ndim == 3 else seen[0]
    kept = output[(output != 0).any(axis=1)] if padded and output.ndim == 2 else output
    return np.maximum(kept, 0).mean(axis=0) if output.ndim == 2 else np.maximum(output, 0)


def test_planted_units_are_owned_by_their_pairs(pairs: pa.Table) -> None:
    ids = pairs.column("id").to_pylist()
    number = int(ids[pairs.column("set").to_pylist().index("C")].rpartition("-")[2])
    found = audited(pairs, {"model": f"{F}&owners={number}", "reference": G})
    rows = {(row["tower"], row["kind"]): row for row in found.tables["units"].rows()}
    assert rows["image tower", "mlp"]["unitmem"] == pytest.approx(0.9 / 1.1 / 7)
    assert rows["text tower", "mlp"]["unitmem"] == pytest.approx(0.95 / 1.05 / 7)
    assert rows["text tower", "mlp"]["dead"] == 1
    assert found["dead_units"].value == pytest.approx(sum(row["dead"] for row in rows.values()) / found["dead_units"].n)
    assert found["unitmem.text_minus_image"].defined and "role supervised" in found["unitmem.image_minus_supervised"].reason


def test_other_encoders_stand_beside_the_image_tower(pairs: pa.Table, clips: dict[str, str]) -> None:
    models = {"model": clips["f"], "reference": clips["g"], "supervised": clips["g"], "self_supervised": clips["f"]}
    found = audited(pairs, models, unit_layers=["mlp", "attention"])
    assert found["unitmem.image_minus_self_supervised"].value == 0.0, "the same network has the same units"
    assert found["unitmem.image_minus_supervised"].value != 0.0
    assert {row["kind"] for row in found.tables["units"].rows()} == {"mlp", "attention"}
    assert any("supervised encoder" in finding.sentence for finding in found.findings)


def test_layers_that_no_tower_has_are_refused_by_the_nearest_name(pairs: pa.Table) -> None:
    with pytest.raises(ModelError, match=r"blocks\.0\.mlp"):
        audited(pairs, {"model": F, "reference": G}, unit_layers=["blocks.0.mpl"])


def test_two_depths_are_refused_by_the_first_layer_that_differs(pairs: pa.Table, clips: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=r"differ in architecture: layer \d+ is \S+ in the first and \S+ in the second"):
        audited(pairs, {"model": clips["f"], "reference": clips["deep"]})


def test_an_encoder_of_pictures_alone_is_no_model_of_pairs(pairs: pa.Table) -> None:
    with pytest.raises(ModelError, match="cannot take the role 'model': it lacks embeds-images and embeds-texts"):
        audited(pairs, {"model": "fake:memorizing-encoder"})


def test_captions_beyond_the_context_are_warned_of_and_counted(pairs: pa.Table, clips: dict[str, str]) -> None:
    told = [[own[0] + " and this and that" * 5 if row < 7 else own[0]] for row, own in enumerate(pairs["captions"].to_pylist())]
    table = pairs.set_column(pairs.column_names.index("captions"), "captions", pa.array(told))
    found = audited(table, {"model": clips["f"], "reference": clips["g"]}, units=False, towers=False)
    warned = [finding for finding in found.findings if "longer than the model reads" in finding.sentence]
    assert [finding.severity for finding in warned] == ["warning"] and warned[0].sentence.startswith("7 captions")
    assert any("7 captions are cut by the context" in note for note in found.notes)
    assert any("every picture has one caption" in note for note in found.notes)


def test_some_pictures_with_one_caption_are_counted(pairs: pa.Table) -> None:
    single = sum(len(own) == 1 for own in pairs["captions"].to_pylist())
    found = audited(pairs, {"model": F, "reference": G}, units=False, towers=False)
    assert f"input 'pairs': {single} of {pairs.num_rows} pictures have one caption, whose views do not vary" in found.notes


def test_a_supervised_encoder_in_training_mode_is_switched_and_said(pairs: pa.Table) -> None:
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.square_encoder import ModuleEncoder

    module = new_encoder("resnet9", seed=0, width=2, input_size=16).train()
    encoder = ModuleEncoder(module, input_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    found = audited(pairs, {"model": F, "reference": G, "supervised": encoder})
    assert any("8 of them batch normalisations: switched to evaluation" in note for note in found.notes) and module.training
    assert found["unitmem.supervised.body.layer3.conv"].defined and found["unitmem.image_minus_supervised"].defined


def test_weights_that_are_no_numbers_leave_units_undefined_and_counted(
    pairs: pa.Table, clips: dict[str, str], tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(clips["f"].removeprefix("hf:"), folder)
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = audited(pairs, {"model": f"hf:{folder}", "reference": clips["g"]})
    assert not found["clipmem.raw.candidates"].defined and found["towers.image"].defined
    assert sum(row["undefined"] for row in found.tables["units"].rows() if row["tower"] == "text tower") >= 4
    said = " ".join(found.notes)
    assert "not finite, and have no UnitMem" in said and "text_projection.weight" in said
    assert [row["unscored"] for row in found.tables["sets"].rows()][1] == 24
