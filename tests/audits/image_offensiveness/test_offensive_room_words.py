"""Words of flagged images: masked where they must be, in tables, clouds and the datasheet; and what hostile data cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
from assaymark.audits.image_offensiveness.measures.baselines import BASELINES, baseline_curve
from assaymark.audits.image_offensiveness.method.splits import shuffle_splits
from assaymark.audits.image_offensiveness.mitigate import PromptTuning
from assaymark.audits.image_offensiveness.planted import planted_ratings
from assaymark.audits.image_offensiveness.report.masking import COMMON, mask_of
from assaymark.errors import ConfigError
from assaymark.execution import execute
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Result

BAD = "zoggish"
CLASS = "<script>alert(1)</script>"


def images(n: int = 200) -> pa.Table:
    """The first fifth lies with the offensive prompt, says a listed word or one of its own, and is of one class."""
    rng = np.random.default_rng(0)
    angle = np.where(np.arange(n) < n // 5, 1.5, 0.1) + rng.uniform(-0.05, 0.05, n)
    vectors = np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], axis=1)
    flagged = np.arange(n) < n // 5
    words = [
        ["plain", "thing", "morning", *(["flurb"] if f else ["calm"]), *([BAD] if f and i % 2 else [])]
        for i, f in enumerate(flagged)
    ]
    texts = [" ".join(rng.permutation(row)) for row in words]
    return pa.table({"embedding": vectors.tolist(), "text": texts, "label": [CLASS if f else "meadow" for f in flagged]})


@pytest.fixture
def run(tmp_path: Path) -> Any:
    PromptSet(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)).save(tmp_path / "p.safetensors")
    (tmp_path / "bad.txt").write_text(f"{BAD}\n", encoding="utf-8")
    settings = {"prompts": str(tmp_path / "p.safetensors"), "bad_words": [str(tmp_path / "bad.txt")], "resamples": 100}

    def call(**changes: Any) -> Result:
        extra = changes.pop("settings", {})
        return execute(
            ImageOffensiveness,
            **{"inputs": {"images": images()}, "settings": {**settings, **extra}, "folder": tmp_path / "run", **changes},
        )

    return call


def test_listed_words_and_words_of_flagged_texts_alone_are_masked(run: Any, tmp_path: Path) -> None:
    result = run()
    assert result["flagged.share"].value == pytest.approx(0.2)
    shown = [row["term"] for row in result.tables["terms_texts"].rows()]
    assert "z******" in shown and "f****" in shown
    text = result.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert BAD not in text and "flurb" not in text
    row = result.tables["bad_words_texts"].rows()[0]
    assert (row["word"], row["images"]) == ("z******", 20)
    causes = result.tables["bad_word_images_texts"].rows()
    assert len(causes) == 20 and all(len(cause["image"]) == 12 for cause in causes)


def test_the_datasheet_escapes_what_comes_from_data(run: Any, tmp_path: Path) -> None:
    result = run()
    page = (tmp_path / "run" / result.artifacts["datasheet_q16_html"].file).read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and BAD not in page
    record = json.loads((tmp_path / "run" / result.artifacts["datasheet_q16_json"].file).read_text(encoding="utf-8"))
    assert record["flagged"] == 40 and record["images"] == 200
    assert record["estimates"]["flagged.share"]["n"] == 200


def test_reveal_shows_words_and_nothing_else_does(run: Any) -> None:
    assert BAD in [row["term"] for row in run(reveal=True).tables["terms_texts"].rows()]
    mask = mask_of(frozenset({BAD}), reveal=False)
    assert mask.word("calm", COMMON) == "calm"
    assert mask.word("calm", COMMON - 1) == "c***"
    assert mask.word(f"calm {BAD}", 100) == "c*** z******"
    assert mask.name("meadow") == "meadow" and mask.name("") == "(no class)"


def test_a_class_threshold_takes_a_class_out(run: Any) -> None:
    result = run(settings={"class_thresholds": {CLASS: 1.0}})
    assert result["flagged.share"].value == 0.0
    assert not any(CLASS in str(value) for value in result.provenance.settings["class_thresholds"])


def test_the_label_of_the_other_detector_has_to_be_clear(run: Any) -> None:
    table = images().append_column("normal", pa.array([0.1] * 200)).append_column("nsfw", pa.array([0.9] * 200))
    sums_to_one = {"nsfw": "column:normal,nsfw?multi_label=false"}
    with pytest.raises(ConfigError, match="nsfw_label"):
        run(inputs={"images": table}, models=sums_to_one)
    result = run(inputs={"images": table}, models=sums_to_one, settings={"nsfw_label": "nsfw"})
    assert result["overlap.both"].value == pytest.approx(0.2)
    with pytest.raises(ConfigError, match="no label 'nfsw'"):
        run(inputs={"images": table}, models=sums_to_one, settings={"nsfw_label": "nfsw"})


@pytest.mark.parametrize("method", BASELINES)
def test_baselines_learn_what_is_there_and_nothing_from_shuffled_labels(method: str) -> None:
    planted = planted_ratings(0, d=32, inoffensive=120, offensive=100)
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"fractions": (0.0, 0.2, 1.0), "test_share": 0.2, "confidence": 0.95}
    splits = shuffle_splits(planted.y, splits=3, test=0.2, rng=rng)
    found = baseline_curve(method, "encoder", planted.V, planted.y, splits, rng=rng, **options)
    assert found.fractions == (0.2, 1.0)
    assert found.summaries[-1]["accuracy"].estimate.value > 0.85  # type: ignore[operator]
    shuffled = rng.permutation(planted.y)
    splits = shuffle_splits(shuffled, splits=3, test=0.2, rng=rng)
    chance = baseline_curve(method, "encoder", planted.V, shuffled, splits, rng=rng, **options)
    assert chance.summaries[-1]["accuracy"].estimate.value < 0.7  # type: ignore[operator]


def test_our_tuning_suits_a_handful_of_labels(tmp_path: Path) -> None:
    planted = planted_ratings(3, d=64, inoffensive=90, offensive=30)
    table = pa.table({"embedding": planted.V.tolist(), "rating": np.where(planted.y, 1.5, 4.5)})
    settings = {"tuning": "ours", "splits": 2, "fractions": [1.0], "epochs": 100, "resamples": 100}
    result = execute(PromptTuning, inputs={"ratings": table}, settings=settings)
    assert result["after.accuracy"].value > 0.85  # type: ignore[operator]
