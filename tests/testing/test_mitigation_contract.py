"""Every mitigation of the catalog keeps its part of the contract, and a broken one is caught."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assaymark.audit import Context, Mitigation
from assaymark.audits.image_text_dataset.mitigate import FilterRows
from assaymark.catalog import MITIGATIONS, load_audit, load_mitigation
from assaymark.result import Column, Result, Table
from assaymark.testing import MITIGATION_CHECKS, check_mitigation

SETTINGS: dict[str, dict[str, Any]] = {
    "clip-memorization": {
        "augmentation": "none",
        "recipes": ["captions"],
        "seeds": 1,
        "epochs": 1,
        "batch": 64,
        "side": 16,
        "patch": 8,
        "hidden": 8,
        "layers": 1,
        "heads": 1,
        "dimension": 8,
        "views": 1,
        "points": 20,
        "others": 20,
        "test_items": 20,
        "resamples": 100,
        "find_copies": False,
    },
    "encoder-memorization": {
        "augmentation": "crop-flip",
        "n_views": 1,
        "shares": [0.2],
        "unit_points": 30,
        "resamples": 200,
        "layers": ["body.layer3*"],
    },
    "image-text-dataset": {"drop": ["unsafe"], "terms": ["z0", "z1"]},
    "image-offensiveness": {"splits": 3, "fractions": [0.0, 0.1, 1.0], "resamples": 200},
    "icl-membership": {
        "trials": 20,
        "shadow_trials": 20,
        "recipes": ["subset"],
        "instruct": "never_repeat",
        "transforms": False,
    },
}
INPUTS = {
    "clip-memorization": "pairs",
    "encoder-memorization": "images",
    "image-text-dataset": "pairs",
    "image-offensiveness": "ratings",
    "icl-membership": "pool",
}


def models_of(audit_id: str, planted: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Those of the planting, as far as the mitigation takes them; scripted encoders have no weights that could be changed."""
    if audit_id != "encoder-memorization":
        roles = load_mitigation(audit_id).info.models
        return {role: spec for role, spec in planted.items() if any(known.takes(role) for known in roles)}
    from assaymark.models.encoder_architectures import new_encoder
    from assaymark.models.trained_encoder import save_encoder

    for seed, role in enumerate(("encoder", "reference")):
        module = new_encoder("resnet9", seed=seed, width=2, input_size=16)
        save_encoder(folder / f"{role}.safetensors", module, mean=(0.5,) * 3, std=(0.5,) * 3)
    return {role: f"encoder:{folder / role}.safetensors" for role in ("encoder", "reference")}


@pytest.mark.parametrize("audit_id", sorted(MITIGATIONS))
def test_mitigation_keeps_its_promises(audit_id: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    planting = load_audit(audit_id).planted(0, tmp_path / "in")
    inputs = {INPUTS[audit_id]: planting.inputs[INPUTS[audit_id]]}
    mitigation = load_mitigation(audit_id)
    models = models_of(audit_id, planting.models, tmp_path / "in")
    found = check_mitigation(mitigation, tmp_path, inputs=inputs, settings=SETTINGS[audit_id], models=models)
    assert found == dict.fromkeys(MITIGATION_CHECKS, "passed")


class BareShares(FilterRows):
    """Adds a share without limits, and forgets what it bought."""

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        result = super().run(inputs, context)
        bare = Table.of("bare", "Bare", {"share": [0.5]}, (Column("share", "share"),))
        kept = {name: e for name, e in result.estimates.items() if not name.endswith(".difference")}
        return result.replace(tables={**result.tables, "bare": bare}, estimates=kept, findings=())


def test_a_broken_mitigation_is_caught(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pairs = load_audit("image-text-dataset").planted(0, tmp_path / "in").inputs["pairs"]
    mitigation: type[Mitigation] = BareShares
    with pytest.raises(AssertionError) as broken:
        check_mitigation(mitigation, tmp_path, inputs={"pairs": pairs}, settings=SETTINGS["image-text-dataset"])
    named = {line.partition(":")[0] for line in str(broken.value).splitlines()}
    assert named == {"shares_have_intervals", "says_what_it_bought"}
