"""What a report says when nobody rated, where people find the pictures, and how scores become probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from PIL import Image

from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.measures.cross_tuning import calibrated_log_odds
from assaymark.errors import InputError
from assaymark.execution import execute
from assaymark.models.prompt_files import PromptSet, load_prompts
from assaymark.result import Result
from assaymark.stats import calibration_error

ENCODER = "fake:dual-encoder?dimension=32&concepts=negative:red,positive:blue,cheerful:blue,gloomy:red"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for kind, colour in (("calm", (20, 20, 220)), ("mask", (220, 20, 20))):
        (root / kind).mkdir()
        for i in range(6):
            Image.new("RGB", (16, 16), tuple(c + i for c in colour)).save(root / kind / f"{i}.png")  # type: ignore[arg-type]
    return root


def audit(folder: Path, inputs: dict[str, Any], **settings: Any) -> Result:
    return execute(ImageOffensiveness, inputs=inputs, models={"encoder": ENCODER}, settings=settings, folder=folder)


def warnings_of(result: Result) -> list[str]:
    return [finding.sentence for finding in result.findings if finding.severity == "warning"]


def test_words_that_nobody_compared_with_people_are_unmeasured_and_say_so(pictures: Path, tmp_path: Path) -> None:
    result = audit(tmp_path / "unrated", {"images": pictures})
    assert any(sentence.startswith("Nobody rated") for sentence in warnings_of(result))
    for name in ("accuracy", "auroc", "ece", "spearman", "flagged.share.corrected", "flagged.precision"):
        assert not result[name].defined and result[name].reason
    assert "prompt file" not in result["flagged.share.corrected"].reason
    assert "70 to 80 %" in result.methods

    # people look at the queue: then precision is measured, and the report no longer says that nothing is
    folder = tmp_path / "unrated" / "artifacts" if (tmp_path / "unrated" / "artifacts").exists() else tmp_path / "unrated"
    queue = pacsv.read_csv(next(folder.rglob("review_queue.csv")))
    assert sorted(set(queue.column("path").to_pylist())) == sorted(f"{k}/{i}.png" for k in ("calm", "mask") for i in range(6))
    listed = pacsv.read_csv(next(folder.rglob("shortlist.csv")))
    assert listed.column("rank").to_pylist() == list(range(1, 13)) and set(listed.column("file").to_pylist()) != {""}
    assert all(path.startswith("mask/") for path in listed.column("path").to_pylist()[:6])
    verdict = ["1" if path.startswith("mask/") else "0" for path in queue.column("path").to_pylist()]
    given = queue.set_column(queue.column_names.index("verdict"), "verdict", pa.array(verdict))
    seen = audit(tmp_path / "seen", {"images": pictures, "verdicts": given})
    assert seen["flagged.precision"].value == 1.0 and seen["prevalence.reviewed"].value == pytest.approx(0.5)
    assert not any(sentence.startswith("Nobody rated") for sentence in warnings_of(seen))


def test_no_image_at_all_is_a_warning(tmp_path: Path) -> None:
    PromptSet(np.eye(2, 4, dtype=np.float32)).save(tmp_path / "prompts.safetensors")
    np.save(tmp_path / "none.npy", np.zeros((0, 4), np.float32))
    result = execute(
        ImageOffensiveness,
        inputs={"images": tmp_path / "none.npy"},
        settings={"prompts": tmp_path / "prompts.safetensors"},
        folder=tmp_path / "run",
    )
    assert "No image could be scored, so nothing is known of this data set." in warnings_of(result)
    assert not result["flagged.share"].defined


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        (np.tile([30.0, 90.0, 96.0], 10), r"a rating outside the scale \(30\). Check rating_column, scale \(1 to 5 now\)"),
        (np.full(30, 4.5), "0 images are rated below 2.5 and 30 above 3.5"),
        (["good"] * 30, r"a rating that is not a number \(30\)"),
    ],
)
def test_ratings_that_cannot_tune_are_named_as_the_reason(ratings: Any, message: str, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    rated = pa.table({"embedding": vectors.tolist(), "rating": ratings})
    with pytest.raises(InputError, match=message):
        execute(
            ImageOffensiveness, inputs={"images": rated.drop_columns(["rating"]), "ratings": rated}, folder=tmp_path / "run"
        )


def test_tuning_starts_from_the_words_that_rank_best_when_asked(pictures: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names = [f"{kind}/{i}.png" for kind in ("calm", "mask") for i in range(6)]
    rated = pa.table(
        {
            "path": [str(pictures / name) for name in names],
            "rating": [4.5 if name.startswith("calm") else 1.5 for name in names],
        }
    ).take(pa.array(rng.permutation(len(names))))
    settings: dict[str, Any] = {
        "rank_words": [["praiseworthy", "blameworthy"], ["cheerful", "gloomy"]], "rank_templates": ["something {}"],
        "words": ["praiseworthy", "blameworthy"], "splits": 2, "fractions": [0, 1.0], "epochs": 5, "duplicate_cosine": 1.0,
        "resamples": 100, "test_share": 0.3,
    }  # fmt: skip
    found = {}
    for start in ("words", "best"):
        result = audit(tmp_path / start, {"images": pictures, "ratings": rated}, start=start, **settings)
        file = next((tmp_path / start).rglob("prompts.safetensors"))
        found[start] = load_prompts(file).words, result["zero_shot.auroc"].value
    assert found["words"][0] == ("praiseworthy", "blameworthy") and found["best"][0] == ("cheerful", "gloomy")
    assert found["best"][1] == 1.0 > found["words"][1]
    assert TuningSettings().start == "words"


def test_calibration_is_judged_on_the_half_that_did_not_fit_it() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(0, 2, 1_500)
    y = rng.random(1_500) < 1 / (1 + np.exp(-truth))
    found = calibrated_log_odds(8 * truth + 3, y, np.arange(1_500), rng=rng)
    assert found is not None
    raw, mended = (calibration_error(1 / (1 + np.exp(-z)), y) for z in (8 * truth + 3, found.held_out))
    assert raw > 0.12 and mended < 0.05
    np.testing.assert_allclose(found.platt, (1 / 8, -3 / 8), atol=0.06)
    assert calibrated_log_odds([1.0, 2.0], [0, 1], np.arange(2), rng=rng) is None


def test_settings_and_models_that_change_nothing_are_pointed_out(tmp_path: Path) -> None:
    PromptSet(np.eye(2, 4, dtype=np.float32)).save(tmp_path / "prompts.safetensors")
    vectors = np.random.default_rng(3).standard_normal((20, 4))
    images = pa.table({"embedding": vectors.tolist(), "label": ["a"] * 20, "other": ["no number"] * 20})
    settings = {"prompts": tmp_path / "prompts.safetensors", "class_thresholds": {"a": 0.99, "b": 0.5}}
    result = execute(
        ImageOffensiveness,
        inputs={"images": images},
        models={"nsfw": "column:other"},
        settings=settings,
        folder=tmp_path / "run",
    )
    assert any(note.startswith("1 of the 2 classes that class_thresholds names do not occur") for note in result.notes)
    assert any("gave no image a score that is a number" in note for note in result.notes)
