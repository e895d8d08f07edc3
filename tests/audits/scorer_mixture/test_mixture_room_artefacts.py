"""What a run leaves behind: a mixture that other audits can use with its measured error, and nothing of any picture or id."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assaymark.audits.scorer_mixture.audit import ScorerMixture
from assaymark.audits.scorer_mixture.measures import saving
from assaymark.audits.scorer_mixture.planted import planted_scores
from assaymark.execution import execute
from assaymark.models import open_model
from assaymark.models.mixture_file import Member, load_mixture
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Result
from assaymark.runner import run
from assaymark.section import Section
from assaymark.store.runs import RunFolder

FAST: dict[str, Any] = {"resamples": 100, "compare": ["ols", "ols_intercept", "gbdt"], "examples": 5}
SECRET = "private-photo-of-somebody"


def score_table(rows: int = 1_500, seed: int = 0) -> pa.Table:
    drawn = planted_scores(seed, rows)
    ids = [f"{SECRET}-{i:06d}" for i in range(rows)]
    urls = [f"https://example.org/{SECRET}/{i}.jpg" for i in range(rows)]
    columns = {name: pa.array(drawn.scores[:, i]) for i, name in enumerate(drawn.names)}
    return pa.table({"id": ids, "url": urls, "label": drawn.labels, **columns})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("kept")
    return execute(ScorerMixture, inputs={"scores": score_table()}, settings=FAST, folder=folder), folder


def test_the_saved_mixture_decides_as_the_predictions_say(kept: tuple[Result, Path]) -> None:
    result, folder = kept
    predictions = pq.read_table(folder / result.artifacts["predictions"].file).to_pandas()
    mixture = load_mixture(folder / result.artifacts["mixture"].file)
    scores = predictions[[f"score {name}" for name in mixture.names]].to_numpy()
    assert np.allclose(mixture.score(scores), predictions["mixture"])
    assert ((mixture.score(scores) >= mixture.threshold) == predictions["called"]).all()
    model = open_model(str(folder / result.artifacts["mixture"].file))
    assert ((model.combine_columns(scores)[:, 0] > model.decision.threshold) == predictions["called"]).all()
    test = predictions[predictions["split"] == "test"]
    assert model.decision.sensitivity == (int((test.called & test.unsafe).sum()), int(test.unsafe.sum()))
    assert model.decision.specificity == (int((~test.called & ~test.unsafe).sum()), int((~test.unsafe).sum()))


def test_the_place_of_each_prediction_leads_back_to_its_row(kept: tuple[Result, Path]) -> None:
    result, folder = kept
    table = score_table()
    predictions = pq.read_table(folder / result.artifacts["predictions"].file)
    rows = predictions.column("row").to_numpy()
    assert np.array_equal(np.sort(rows), np.arange(table.num_rows))
    assert np.array_equal(table.column("network_3").to_numpy()[rows], predictions.column("score network_3").to_numpy())


def test_row_lists_are_private_and_hold_no_name(kept: tuple[Result, Path]) -> None:
    result, folder = kept
    assert result.artifacts["predictions"].private and result.artifacts["disagreements"].private
    for artifact in result.artifacts.values():
        path = folder / artifact.file
        for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
            assert SECRET.encode() not in file.read_bytes()
    items = result.tables["disagreements"].data.column("item").to_pylist()
    assert len(set(items)) == 5 and not any(SECRET in item for item in items)


def test_thresholds_are_kept_for_every_way(kept: tuple[Result, Path]) -> None:
    result, folder = kept
    thresholds = json.loads((folder / result.artifacts["thresholds"].file).read_text())
    assert set(thresholds) == {"average", "best_single", "ols", "ols_intercept", "gbdt"}
    assert thresholds["ols_intercept"] == result["threshold"].value


def png(colour: tuple[int, int, int], rng: np.random.Generator) -> bytes:
    pixels = np.clip(np.array(colour) + rng.integers(-15, 16, (36, 36, 3)), 0, 255).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG" if rng.random() < 0.5 else "PNG")
    return held.getvalue()


def picture_table(rows: int, *, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, rows)
    pictures = [png((220, 30, 30) if y else (40, 60, 220), rng) for y in label]
    return pa.table({"label": label, "image": pa.array(pictures, pa.binary()), "text": [f"row {i}" for i in range(rows)]})


SCORERS = {
    "scorer.a": "fake:image-scorer?unsafe=red&sensitivity=0.9&specificity=0.95&seed=1",
    "scorer.b": "fake:image-scorer?unsafe=red&sensitivity=0.8&specificity=0.9&seed=2",
}


def test_no_picture_is_in_anything_that_is_written(tmp_path: Path) -> None:
    source = tmp_path / "pictures.parquet"
    pq.write_table(picture_table(120), source)
    folder = tmp_path / "run"
    result = execute(ScorerMixture, inputs={"scores": str(source)}, models=SCORERS, settings=FAST, folder=folder)
    result.report(folder / "report.html")
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) >= 5
    for path in written:
        content = path.read_bytes()
        assert b"\xff\xd8\xff" not in content and b"\x89PNG\r\n" not in content, path.name


def test_member_files_are_copied_beside_the_mixture(tmp_path: Path) -> None:
    """A tuned prompt given by a relative path: after the fit its file, and the run folder it was in, may go."""
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 400)
    towards = np.where(label == 1, 1.0, -1.0)[:, None] * np.eye(8)[0] + 0.5 * rng.standard_normal((400, 8))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    table = pa.table(
        {"label": label, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(towards.astype(np.float32).ravel()), 8)}
    )
    base = tmp_path / "plan"
    base.mkdir()
    for name, axis in (("one", 0), ("two", 1)):
        prompts = np.stack([-np.eye(8)[axis], np.eye(8)[axis] + 0.2 * np.eye(8)[0]]).astype(np.float32)
        PromptSet(prompts).save(base / f"{name}.safetensors")
    models = {f"scorer.{name}": f"prompt:{name}.safetensors?logit_scale=3" for name in ("one", "two")}
    folder = tmp_path / "run"
    result = execute(ScorerMixture, inputs={"scores": table}, models=models, settings=FAST, folder=folder, base=base)
    home = tmp_path / "moved"
    (folder / result.artifacts["mixture"].file).rename(home)
    for path in base.iterdir():
        path.unlink()
    assert sorted(path.name for path in (home / "members").iterdir()) == ["one.safetensors", "two.safetensors"]
    model = open_model(str(home))
    scores = model.score_embeddings(towards.astype(np.float32))[:, 0]
    assert ((scores > model.decision.threshold) == (label == 1)).mean() > 0.8


def test_a_plan_uses_the_mixture_with_its_measured_error(tmp_path: Path) -> None:
    pq.write_table(picture_table(400, seed=1), tmp_path / "labelled.parquet")
    pq.write_table(picture_table(300, seed=2).drop_columns(["label"]), tmp_path / "corpus.parquet")
    plan = {
        "name": "mixture",
        "inputs": {"labelled": {"path": "labelled.parquet"}, "corpus": {"path": "corpus.parquet"}},
        "steps": [
            {"id": "scorer", "audit": "scorer-mixture", "inputs": {"scores": "$labelled"}, "models": SCORERS, "set": FAST},
            {
                "id": "data",
                "audit": "image-text-dataset",
                "inputs": {"pairs": "$corpus"},
                "models": {"image_unsafe": "$scorer.mixture"},
                "set": {"probes": ["tag_audit"]},
            },
        ],
    }
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    run(tmp_path / "plan.yaml", out=tmp_path / "out")
    results = {step.id: step.result for step in RunFolder.open(tmp_path / "out").load().steps}
    data, scorer = results["data"], results["scorer"]
    assert data is not None and scorer is not None
    corrected = data["image_unsafe_rate.corrected"]
    assert corrected.low is not None and corrected.high is not None
    assert corrected.low <= 0.5 + 0.06 and corrected.high >= 0.5 - 0.06
    raw = data["image_unsafe_rate"].value
    se, sp = scorer["mixture.sensitivity"].value, scorer["mixture.specificity"].value
    assert raw is not None and se is not None and sp is not None
    assert corrected.value == pytest.approx((raw + sp - 1) / (se + sp - 1), abs=1e-6)


def test_members_are_copied_and_what_their_options_name_stays_where_it_is(tmp_path: Path) -> None:
    base, home, section = tmp_path / "plan", tmp_path / "mixture", Section()
    (base / "model").mkdir(parents=True)
    (base / "model" / "config.json").write_text("{}")
    (base / "p.safetensors").write_bytes(b"weights")
    study: Any = SimpleNamespace(context=SimpleNamespace(base=base))
    kept = [
        saving._kept_member(Member(name, spec), home, study, section).spec
        for name, spec in (("a b", "prompt:p.safetensors?encoder=hf:./model"), ("c", "hf:./model"), ("d", "hf:org/name@v2"))
    ]
    assert kept == [f"prompt:members/a_b.safetensors?encoder=hf:{base}/model", f"hf:{base}/model", "hf:org/name@v2"]
    assert (home / "members" / "a_b.safetensors").read_bytes() == b"weights"
    assert any("member c is the folder model, which is not copied" in note for note in section.notes)
