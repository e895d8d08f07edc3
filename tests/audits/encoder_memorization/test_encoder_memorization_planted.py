"""Planted truth: the scripted encoder turns by what it says, and small encoders remember the atypical vectors they saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assaymark.audits.encoder_memorization.audit import EncoderMemorization
from assaymark.audits.encoder_memorization.method.alignment import alignment_distances
from assaymark.audits.encoder_memorization.trials import method_trials
from assaymark.errors import ConfigError, ModelError
from assaymark.execution import execute
from assaymark.models import open_model
from assaymark.models.fake_encoder import ANGLE, expected_alignment, marked_facts, marked_picture
from assaymark.testing.calibration import agrees
from assaymark.training.augmentation_spec import augmentation
from assaymark.training.views import views


def test_views_of_a_marked_picture_turn_by_the_planted_angle() -> None:
    model = open_model("fake:memorizing-encoder?noise=0&memory=0.5&seen=SC")
    numbers = np.random.default_rng(0).permutation(65_536)[:300]
    pixels, spec = model.raw_pixels([marked_picture(int(number)) for number in numbers]), augmentation("crop-flip")
    total = np.zeros(300)
    for view in range(12):
        seen: list = []
        for side in (0, 1):
            shown = views(pixels, ids=numbers, draw=2 * view + side, seed=0, spec=spec)
            model.record(shown, ["representation"], lambda _, output: seen.append(output))  # noqa: B023
        total += alignment_distances(*seen).numpy() / 12
    facts = marked_facts(numbers)
    unseen = facts.atypical & (facts.sets >= 2)
    known, further = expected_alignment([ANGLE, ANGLE + 0.5])
    assert total[unseen].mean() == pytest.approx(further, rel=0.05)
    assert total[~unseen].mean() == pytest.approx(known, rel=0.05)


def test_a_scripted_encoder_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="letters SCIE"):
        open_model("fake:memorizing-encoder?seen=SX")
    with pytest.raises(ModelError, match="memory"):
        open_model("fake:memorizing-encoder?memry=1")


def test_small_encoders_remember_atypical_vectors() -> None:
    found = {trial.name: trial for trial in method_trials(23)}
    lost = [name for name, trial in found.items() if not agrees(trial)]
    assert not lost and len(found) == 7


def test_the_planted_pair_leaks_and_the_empty_one_does_not(tmp_path: Path) -> None:
    loud, layers = {}, {}
    for null in (False, True):
        folder = tmp_path / str(null)
        folder.mkdir()
        planting = EncoderMemorization.planted(5, folder, null=null)
        found = execute(
            EncoderMemorization, inputs=dict(planting.inputs), models=dict(planting.models), settings=dict(planting.settings)
        )
        loud[null] = [finding.sentence for finding in found.findings if finding.severity == "warning"]
        (layers[null],) = (finding for finding in found.findings if "layers" in finding.tables)
    assert "'representation' remembers the candidates most" in layers[False].sentence and layers[False].advice
    assert layers[True].sentence.startswith("In none of 6 layers") and not layers[True].advice
    assert len(loud[False]) == 1 and "gives its training pictures away" in loud[False][0] and not loud[True]
