"""The room on small encoders: what it refuses, what it leaves undefined and counts, what it trains and hands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from assaymark.audit import Progress
from assaymark.audits.encoder_memorization.audit import EncoderMemorization
from assaymark.errors import AssaymarkError, InputError, ModelError, SchemaError
from assaymark.execution import execute
from assaymark.models.encoder_architectures import new_encoder
from assaymark.models.trained_encoder import save_encoder
from tests.audits.encoder_memorization.encoders import SIDE, encoder_file, pictures, png, table

SETS = "SSSSCCCCIIEE"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {"encoder": encoder_file(folder, "f", seed=1), "reference": encoder_file(folder, "g", seed=2)}


def audit(
    images: Any, models: dict[str, str], *, folder: Path | None = None, more: dict[str, Any] | None = None, **settings: Any
):
    options = {"n_views": 2, "resamples": 100, "augmentation": "crop-flip", **settings}
    inputs = {"images": images, **(more or {})}
    return execute(EncoderMemorization, inputs=inputs, models=models, settings=options, folder=folder, seed=1)


def test_an_encoder_alone_shows_units_and_says_what_is_missing(models) -> None:
    found = audit(table(12), {"encoder": models["encoder"]})
    assert found["unit_points"].value == 12 and found["unitmem.body.layer3.conv"].defined
    assert not [name for name in found if name.startswith(("sslmem", "layermem"))]
    assert any("takes a second training" in note for note in found.notes)
    assert found["unitmem.share_above_classmem"].defined


def test_without_labels_classes_are_undefined(models) -> None:
    found = audit(table(12).drop_columns(["label"]), {"encoder": models["encoder"]})
    assert "column label" in found["unitmem.share_above_classmem"].reason


def test_an_id_in_two_sets_is_refused(models) -> None:
    images = table(12, sets=SETS)
    ids = images.column("id").to_pylist()
    ids[4] = ids[0]
    with pytest.raises(InputError, match=r"1 ids are in two sets, the first in S \(trained on by both\) and in C"):
        audit(images.set_column(0, "id", pa.array(ids)), models)


def test_a_picture_in_two_training_sets_is_refused_and_counted(models) -> None:
    images = table(12, sets=SETS)
    contents = images.column("image").to_pylist()
    contents[4], contents[9] = contents[0], contents[5]
    with pytest.raises(InputError, match=r"2 pictures are in two sets"):
        audit(images.set_column(1, "image", pa.array(contents, pa.large_binary())), models)


def test_an_external_picture_that_was_trained_on_is_left_out_and_repeats_too(models) -> None:
    images = table(12, sets=SETS)
    contents = images.column("image").to_pylist()
    contents[10], contents[1] = contents[0], contents[2]
    (flow,) = audit(images.set_column(1, "image", pa.array(contents, pa.large_binary())), models).flows
    assert (flow.total, flow.used) == (12, 10)
    assert flow.skipped == {"external, but a picture of a training set": 1, "repeats another picture": 1}


def test_two_architectures_are_refused_by_the_first_difference(models, tmp_path) -> None:
    other = encoder_file(tmp_path, "wide", seed=1, width=3)
    with pytest.raises(ModelError, match=r"body\.prep\.conv"):
        audit(table(12, sets=SETS), {**models, "reference": other})


def test_what_cannot_be_asked_is_refused(models) -> None:
    with pytest.raises(ModelError, match="reference was given without the encoder"):
        audit(table(12, sets=SETS), {"reference": models["reference"]})
    with pytest.raises(SchemaError, match="which a reference model needs"):
        audit(table(12), models)
    with pytest.raises(SchemaError, match="no picture has one of the sets"):
        audit(table(12, sets="xxxxxxxxxxxx"), models)
    with pytest.raises(AssaymarkError, match=r"body\.layer3"):
        audit(table(12, sets=SETS), models, layers=["body.layer3.con"])


def test_layers_are_chosen_by_kind_and_the_representation_comes_along(models) -> None:
    found = audit(table(12, sets=SETS), models, layers=["pooling"])
    layers = found.tables["layers"].data.column("layer").to_pylist()
    assert layers[-1] == "representation" and all("pool" in name for name in layers[:-1]) and len(layers) == 5
    assert found.tables["layers"].rows()[0]["delta"] is None


def test_sets_come_from_a_table_of_their_own(models) -> None:
    split = pa.table({"id": [f"p{k}" for k in range(12)], "set": list(SETS)})
    found = audit(table(12), models, more={"split": split})
    assert found["sslmem.candidates"].value == audit(table(12, sets=SETS), models)["sslmem.candidates"].value
    twice = pa.concat_tables([split, pa.table({"id": ["p0"], "set": ["C"]})])
    with pytest.raises(InputError, match="1 ids stand in two sets"):
        audit(table(12), models, more={"split": twice})


def test_weights_that_are_no_numbers_leave_scores_undefined_and_counted(models, tmp_path) -> None:
    module = new_encoder("resnet9", seed=1, width=2, input_size=SIDE)
    with torch.no_grad():
        module.body.layer3.conv.weight[0, 0, 0, 0] = torch.nan
    save_encoder(tmp_path / "broken.safetensors", module, mean=(0.5,) * 3, std=(0.5,) * 3)
    found = audit(table(12, sets=SETS), {**models, "encoder": f"encoder:{tmp_path / 'broken.safetensors'}"})
    assert not found["sslmem.candidates"].defined and found["layermem.body.layer2.conv"].defined
    assert found.tables["sets"].rows()[1]["undefined"] == 4
    by_layer = {row["layer"]: row for row in found.tables["unit_layers"].rows()}
    assert by_layer["body.layer3.conv"]["undefined"] >= 1 and by_layer["body.layer2.conv"]["undefined"] == 0
    assert any("put out numbers that are not finite" in note for note in found.notes)
    assert any("not finite, in body.layer3.conv.weight" in note for note in found.notes)


def test_a_module_in_training_mode_is_switched_and_said(models) -> None:
    from assaymark.models.square_encoder import ModuleEncoder

    module = new_encoder("resnet9", seed=1, width=2, input_size=SIDE)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    scale = {"mean": (0.5, 0.4, 0.3), "std": (0.5, 0.6, 0.7)}
    training = ModuleEncoder(module.train(), input_size=SIDE, **scale)
    found = audit(table(12, sets=SETS), {**models, "encoder": training})
    assert any("8 of them batch normalisations: switched to evaluation" in note for note in found.notes)
    assert module.training and all(torch.equal(state[name], value) for name, value in module.state_dict().items())
    still = ModuleEncoder(module.eval(), input_size=SIDE, **scale)
    assert audit(table(12, sets=SETS), {**models, "encoder": still})["sslmem.candidates"] == found["sslmem.candidates"]


def test_dead_units_are_undefined_and_counted(models, tmp_path) -> None:
    module = new_encoder("resnet9", seed=1, width=2, input_size=SIDE)
    with torch.no_grad():
        module.body.layer3.norm.weight[:3] = 0
        module.body.layer3.norm.bias[:3] = -1
    save_encoder(tmp_path / "dead.safetensors", module, mean=(0.5,) * 3, std=(0.5,) * 3)
    found = audit(table(12), {"encoder": f"encoder:{tmp_path / 'dead.safetensors'}"})
    by_layer = {row["layer"]: row for row in found.tables["unit_layers"].rows()}
    row = by_layer["body.layer3.conv"]
    assert row["dead"] >= 3 and found["unitmem.body.layer3.conv"].n == row["units"] - row["dead"]
    assert any("units are dead" in finding.sentence for finding in found.findings)


def test_a_constant_layer_has_no_range_but_a_bound(models, tmp_path) -> None:
    module = new_encoder("resnet9", seed=1, width=2, input_size=SIDE)
    with torch.no_grad():
        module.body.layer3.norm.weight.zero_()
        module.body.layer3.norm.bias.fill_(1.0)
    specs = {}
    for name in models:
        save_encoder(tmp_path / f"{name}.safetensors", module, mean=(0.5,) * 3, std=(0.5,) * 3)
        specs[name] = f"encoder:{tmp_path / f'{name}.safetensors'}"
    found = audit(table(12, sets=SETS), specs)
    assert "no range" in found["layermem.body.layer3.conv"].reason
    rows = {row["layer"]: row for row in found.tables["layers"].rows()}
    assert rows["body.layer3.conv"]["bound"] == 0.0 and rows["body.layer3.conv"]["range"] is None


def test_pictures_of_any_size_and_those_that_are_none(models) -> None:
    contents = [*pictures(6), *pictures(5, seed=1, side=40), b"no picture"]
    images = table(12, sets=SETS).set_column(1, "image", pa.array(contents, pa.large_binary()))
    found = audit(images, models)
    (flow,) = found.flows
    assert (flow.total, flow.used, flow.skipped) == (12, 11, {"not an image": 1})
    assert any("2 different sizes were resized" in note for note in found.notes)


def test_files_name_pictures_by_salted_hashes(models, tmp_path) -> None:
    found = audit(table(12, sets=SETS), models, folder=tmp_path)
    points = pq.read_table(tmp_path / found.artifacts["points"].file)
    units = pq.read_table(tmp_path / found.artifacts["units"].file)
    assert points.num_rows == 12 * 15 and found.artifacts["points"].private and found.artifacts["units"].private
    raw = np.array(points.column("align_g")) - np.array(points.column("align_f"))
    assert np.array(points.column("raw")) == pytest.approx(raw)
    shown = {*points.column("id").to_pylist(), *units.column("argmax_id").to_pylist()}
    assert not shown & {f"p{k}" for k in range(12)} and len(set(points.column("id").to_pylist())) == 12
    assert found.tables["units"].data.column("owner").to_pylist()[0] in shown


class _Killed(Progress):
    """Stops in the middle of the training."""

    def task(self, title: str, total: int | None = None, unit: str = "rows"):
        return self if title == "training a pair" else super().task(title, total, unit)

    def __enter__(self):
        self.steps = 0
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        self.steps += amount
        if self.steps >= 7:
            raise KeyboardInterrupt


def test_a_pair_is_trained_and_goes_on_after_a_kill(tmp_path) -> None:
    settings = {
        "n_views": 2, "resamples": 100, "augmentation": "crop-flip", "side": SIDE,
        "recipe": {"epochs": 3, "batch": 8, "architecture_options": {"width": 2}},
    }  # fmt: skip
    images = table(40)

    def run(folder: Path, progress: Progress | None = None):
        return execute(
            EncoderMemorization, inputs={"images": images}, settings=settings, folder=folder, seed=4, progress=progress
        )

    whole = run(tmp_path / "whole")
    assert whole["sslmem.candidates"].n == 5 and {"encoder", "reference", "pair"} <= set(whole.artifacts)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", _Killed())
    assert run(tmp_path / "killed").fingerprint() == whole.fingerprint()
    named = {role: f"encoder:{tmp_path / 'whole' / whole.artifacts[role].file}" for role in ("encoder", "reference")}
    assert (tmp_path / "whole" / whole.artifacts["pair"].file / "split.parquet").is_file() and len(named) == 2


def test_a_recipe_with_an_unknown_part_names_the_nearest(tmp_path) -> None:
    with pytest.raises(AssaymarkError, match="did you mean 'epochs'"):
        audit(table(12), {}, recipe={"epoch": 3})


def test_grey_pictures_are_pictures(models) -> None:
    contents = [png(np.full((SIDE, SIDE), 20 * k, np.uint8)) for k in range(12)]
    images = table(12, sets=SETS).set_column(1, "image", pa.array(contents, pa.large_binary()))
    assert audit(images, models).flows[0].used == 12
