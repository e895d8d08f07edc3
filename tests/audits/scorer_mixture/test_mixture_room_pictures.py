"""Pictures through scripted models: every row accounted for, copies on one side, networks trained and handed on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assaymark.audits.scorer_mixture.audit import ScorerMixture
from assaymark.audits.scorer_mixture.measures.members import EmbeddingScores
from assaymark.execution import execute
from assaymark.models import open_model
from assaymark.models.fake import COLOURS, colour_directions
from assaymark.models.mixture_file import load_mixture
from assaymark.result import Result

FAST = {"resamples": 100, "compare": ["ols", "ols_intercept"], "examples": 3}
MODELS = {
    "scorer.sharp": "fake:image-scorer?unsafe=red&sensitivity=0.95&specificity=0.9&seed=1",
    "scorer.dull": "fake:image-scorer?unsafe=red&sensitivity=0.75&specificity=0.8&seed=2",
}


def encoded(rng: np.random.Generator, unsafe: bool, *, side: int = 40, form: str = "PNG") -> bytes:
    """A red picture (unsafe) or a blue one, with noise that makes each its own."""
    colour = np.array([220, 30, 30] if unsafe else [40, 60, 220])
    pixels = np.clip(colour + rng.integers(-20, 21, (side, side, 3)), 0, 255).astype(np.uint8)
    kept = io.BytesIO()
    Image.fromarray(pixels).save(kept, form)
    return kept.getvalue()


def picture_table(rows: int, *, seed: int = 0, **changes: Any) -> pa.Table:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    pictures = [encoded(rng, bool(y)) for y in label]
    return pa.table({"label": label, "image": pa.array(pictures, pa.binary()), **changes})


def audit(table: Any, models: dict[str, str] | None = None, **arguments: Any) -> Result:
    settings = {**FAST, **arguments.pop("settings", {})}
    models = MODELS if models is None else models
    return execute(ScorerMixture, inputs={"scores": table}, models=models, settings=settings, **arguments)


def test_models_are_judged_by_their_planted_error_and_every_row_is_accounted_for() -> None:
    table = picture_table(600)
    pictures = table.column("image").to_pylist()
    pictures[0], pictures[1], pictures[2] = None, b"no picture", encoded(np.random.default_rng(9), True, side=8)
    result = audit(table.set_column(1, "image", pa.array(pictures, pa.binary())))
    flow = result.flows[0]
    assert flow.total == 600 and flow.used == 597
    assert flow.skipped == {
        "no score: picture missing": 1,
        "no score: picture not an image": 1,
        "no score: picture smaller than 32 pixels": 1,
    }
    for name, truth in (("sharp", 0.925), ("dull", 0.775)):
        estimate = result[f"single.{name}.accuracy"]
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low - 0.03 <= truth <= estimate.high + 0.03
    assert result["weights.sharp"].value > result["weights.dull"].value  # type: ignore[operator]
    # red pictures are of skin colour to the rule, blue ones are not
    assert result["skin.rgb_rule.accuracy"].value == 1.0
    assert any("skin-colour rule rgb_rule ranks these pictures better" in finding.sentence for finding in result.findings)


def test_copies_of_a_picture_are_never_on_both_sides() -> None:
    """Two pictures, each many times: one side gets all copies of one, so that nothing can be fitted, and that is said."""
    rng = np.random.default_rng(3)
    pair = [encoded(rng, False), encoded(rng, True)]
    label = np.arange(100) % 2
    result = audit(pa.table({"label": label, "image": pa.array([pair[y] for y in label], pa.binary())}))
    sizes = sorted(row["rows"] for row in result.tables["rows"].rows())
    assert sizes in ([0, 0, 100], [0, 50, 50])
    assert not result["mixture.accuracy"].defined


def test_a_folder_for_each_class_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for i in range(80):
        kind = "nsfw" if i % 2 else "safe"
        (tmp_path / kind).mkdir(exist_ok=True)
        (tmp_path / kind / f"{i:03d}.png").write_bytes(encoded(rng, kind == "nsfw"))
    result = audit(str(tmp_path))
    assert result.flows[0].used == 80 and result["mixture.accuracy"].defined


def test_columns_and_models_stand_side_by_side_but_are_not_saved_as_a_model(tmp_path: Path) -> None:
    table = picture_table(300, elsewhere=np.random.default_rng(5).random(300))
    result = audit(table, folder=tmp_path)
    assert {"single.elsewhere.accuracy", "single.sharp.accuracy"} <= set(result)
    assert "mixture" not in result.artifacts and any("elsewhere are columns" in note for note in result.notes)
    assert any("elsewhere cannot be told from chance" in finding.sentence for finding in result.findings)


def test_embeddings_are_normalised_and_odd_ones_have_no_score() -> None:
    model = open_model("fake:embedding-scorer?dimension=12&seed=0")
    direction = colour_directions(12, 0)[list(COLOURS).index("red")]
    rows = pa.array([direction.tolist(), (7 * direction).tolist(), [1.0, 2.0], [0.0] * 12, [float("nan")] * 12, None])
    scores = EmbeddingScores({"head": model})(rows.cast(pa.large_list(pa.float32())))
    assert scores.shape == (6, 1)
    assert scores[0, 0] > 0.8 and scores[1, 0] > 0.8
    assert np.isnan(scores[2:, 0]).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("zoo")
    settings = {"zoo": 2, "zoo_size": 32, "zoo_epochs": 4, "zoo_folds": 2, "skin": False}
    # seed 15 draws the two smallest layouts of the family
    return audit(picture_table(160, seed=6), {}, settings=settings, folder=folder, seed=15), folder


def test_networks_are_trained_and_separate_the_colours(trained: tuple[Result, Path]) -> None:
    result, _ = trained
    names = [name for name in result if name.startswith("single.trained_") and name.endswith(".auroc")]
    assert len(names) == 2
    assert max(result[name].value or 0.0 for name in names) > 0.9
    assert (result["mixture.accuracy"].value or 0.0) > 0.85


def test_the_folder_with_the_networks_moves_and_opens(trained: tuple[Result, Path], tmp_path: Path) -> None:
    result, folder = trained
    home = tmp_path / "elsewhere"
    (folder / result.artifacts["mixture"].file).rename(home)
    mixture = load_mixture(home)
    assert [member.spec.partition(":")[0] for member in mixture.members] == ["convnet", "convnet"]
    model = open_model(str(home))
    rng = np.random.default_rng(7)
    pictures = [Image.open(io.BytesIO(encoded(rng, unsafe))).convert("RGB") for unsafe in (True, False)]
    scores = model.score_images(pictures)[:, 0]
    assert scores.shape == (2,) and scores[0] > scores[1]
    assert model.decision.sensitivity is not None


def test_pictures_in_parquet_are_found_again_for_training(tmp_path: Path) -> None:
    """Two files: a picture is fetched from the shard that holds it, so that labels and pictures stay together."""
    table = picture_table(120, seed=8)
    pq.write_table(table.slice(0, 50), tmp_path / "a.parquet")
    pq.write_table(table.slice(50), tmp_path / "b.parquet")
    settings = {"zoo": 1, "zoo_size": 32, "zoo_epochs": 2, "zoo_folds": 2, "skin": False}
    result = audit(str(tmp_path), {}, settings=settings, seed=15)
    auroc = result["single.trained_1.auroc"]
    assert auroc.value is not None and auroc.value > 0.9
