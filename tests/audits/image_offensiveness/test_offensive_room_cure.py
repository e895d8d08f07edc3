"""Prompt tuning as a step: paired before and after, a file that says where it belongs, and the audit that uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from assaymark.audits.image_offensiveness.audit import ImageOffensiveness
from assaymark.audits.image_offensiveness.measures.cross_tuning import cross_tuned, error_counts, folds_of
from assaymark.audits.image_offensiveness.measures.prompts import Start
from assaymark.audits.image_offensiveness.measures.rated import near_duplicate_groups
from assaymark.audits.image_offensiveness.method.tuning import PAPER
from assaymark.audits.image_offensiveness.mitigate import PromptTuning
from assaymark.audits.image_offensiveness.planted import planted_ratings
from assaymark.errors import InputError
from assaymark.execution import execute
from assaymark.models import open_model
from assaymark.models.prompt_files import PromptSet, load_prompts
from assaymark.result import Result
from assaymark.runner import run

SETTINGS: dict[str, Any] = {"splits": 3, "epochs": 100, "fractions": [0, 0.1, 1.0], "resamples": 200}


def rated_table(seed: int = 0, *, shuffled: bool = False) -> pa.Table:
    planted = planted_ratings(seed, d=64, inoffensive=160, offensive=120)
    ratings = np.where(planted.y, 1.6, 4.4)
    if shuffled:
        ratings = np.random.default_rng(seed).permutation(ratings)
    return pa.table({"embedding": planted.V.tolist(), "rating": ratings})


def tuned(folder: Path, table: pa.Table, **settings: Any) -> Result:
    return execute(PromptTuning, inputs={"ratings": table}, settings={**SETTINGS, **settings}, folder=folder)


@pytest.fixture(scope="module")
def cured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("cure")
    start = planted_ratings(0, d=64, inoffensive=160, offensive=120).P0
    PromptSet(start).save(folder / "start.safetensors")
    return tuned(folder, rated_table(), prompts=str(folder / "start.safetensors")), folder


def test_tuning_gains_on_the_same_held_out_images(cured: tuple[Result, Path]) -> None:
    result = cured[0]
    assert result["after.accuracy"].value > 0.9  # type: ignore[operator]
    gain = result["gain.accuracy"]
    assert gain.value == pytest.approx(result["after.accuracy"].value - result["before.accuracy"].value)  # type: ignore[operator]
    assert gain.low is not None and gain.low > 0
    assert result["before.accuracy"].n == result["after.accuracy"].n == 280


def test_shuffled_ratings_gain_nothing(tmp_path: Path) -> None:
    start = planted_ratings(0, d=64, inoffensive=160, offensive=120).P0
    PromptSet(start).save(tmp_path / "start.safetensors")
    result = tuned(tmp_path, rated_table(shuffled=True), prompts=str(tmp_path / "start.safetensors"))
    assert result["gain.accuracy"].low < 0.05  # type: ignore[operator]
    assert 0.35 < result["after.accuracy"].value < 0.62  # type: ignore[operator]


def test_the_file_says_what_it_was_tuned_on_and_what_it_gets_wrong(cured: tuple[Result, Path]) -> None:
    result, folder = cured
    path = folder / result.artifacts["prompts"].file
    prompts = load_prompts(path)
    assert prompts.dimension == 64 and prompts.threshold == 0.9
    assert prompts.training["offensive"] == 120 and prompts.training["start"] == "file"
    decision = open_model(f"prompt:{path}").decision
    assert decision.sensitivity == tuple(prompts.training["sensitivity"])
    assert decision.specificity is not None and decision.specificity[1] == 160
    assert open_model(f"prompt:{path}?threshold=0.5").decision.sensitivity is None, "measured at another threshold"


def test_the_audit_does_not_praise_prompts_on_their_own_ratings(cured: tuple[Result, Path]) -> None:
    result, folder = cured
    table = rated_table()
    settings = {**SETTINGS, "prompts": str(folder / result.artifacts["prompts"].file)}
    own = execute(ImageOffensiveness, inputs={"images": table, "ratings": table}, settings=settings)
    assert any("tuned on these very ratings" in note for note in own.notes)
    assert own["accuracy"].method.startswith("corrected resampled t") or own["accuracy"].n == 280
    other = execute(ImageOffensiveness, inputs={"images": table, "ratings": rated_table(1)}, settings=settings)
    assert not any("tuned on these very ratings" in note for note in other.notes)
    assert other["accuracy"].method.startswith("Wilson") and other["accuracy"].n == 280


def test_without_words_or_prompts_nothing_is_claimed_of_zero_shot(tmp_path: Path) -> None:
    result = tuned(tmp_path, rated_table())
    assert not result["before.accuracy"].defined and not result["gain.accuracy"].defined
    assert result["after.accuracy"].value > 0.9  # type: ignore[operator]
    shares = result.tables["label_efficiency"].data
    first = [
        share
        for share, method in zip(shares["share"].to_pylist(), shares["method"].to_pylist(), strict=True)
        if method == "prompt tuning"
    ]
    assert min(first) > 0


def test_one_class_is_refused(tmp_path: Path) -> None:
    table = rated_table()
    with pytest.raises(InputError, match="at least two of each"):
        tuned(tmp_path, table.set_column(1, "rating", pa.array([4.4] * table.num_rows)))


def test_the_same_seed_gives_the_same_prompts(tmp_path: Path) -> None:
    a, b = (tuned(tmp_path / name, rated_table()) for name in "ab")
    assert a.fingerprint() == b.fingerprint()
    first, second = (load_prompts(tmp_path / n / r.artifacts["prompts"].file) for n, r in (("a", a), ("b", b)))
    assert np.array_equal(first.prompts, second.prompts)


def test_near_duplicates_never_straddle_a_fold() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(60, 16))
    V = np.repeat(base / np.linalg.norm(base, axis=1, keepdims=True), 2, axis=0).astype(np.float32)
    V[1::2] += 0.001
    groups = near_duplicate_groups(V, np.arange(1, 121).astype(np.uint64), cosine=0.985)
    assert len(np.unique(groups)) == 60 and np.array_equal(groups[::2], groups[1::2])
    named = near_duplicate_groups(V[::2], np.arange(1, 61).astype(np.uint64), cosine=0.999, given=["x"] * 10 + [""] * 50)
    assert len(set(named[:10].tolist())) == 1 and len(np.unique(named)) == 51
    folds = folds_of(np.repeat(np.arange(60) % 2, 2), groups, test_share=0.1, rng=rng)
    assert folds.max() == 9 and np.array_equal(folds[::2], folds[1::2])


def test_held_out_scores_come_from_prompts_that_did_not_see_them() -> None:
    """Labels without any signal: in-sample prompts fit them, held-out ones cannot."""
    rng = np.random.default_rng(2)
    V = rng.normal(size=(80, 64)).astype(np.float32)
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    y = np.arange(80) % 2 == 0
    start = Start(rng.normal(size=(2, 64)), "words", 100.0)
    held = cross_tuned(V, y, np.arange(80), start, setting=PAPER, test_share=0.1, rng=rng)
    assert held is not None
    assert 0.25 < float(((held > 0) == y).mean()) < 0.75


def test_error_counts_at_a_threshold() -> None:
    rng = np.random.default_rng(1)
    scores, y = rng.normal(0, 3, 200), rng.random(200) < 0.4
    found = error_counts(scores, y, threshold=0.9)
    called = expit(scores) >= 0.9
    assert found.sensitivity == (int((called & y).sum()), int(y.sum()))
    assert found.specificity == (int((~called & ~y).sum()), int((~y).sum()))


def test_verdicts_on_a_queue_of_other_prompts_are_refused(cured: tuple[Result, Path], tmp_path: Path) -> None:
    result, folder = cured
    table = rated_table()
    own = str(folder / result.artifacts["prompts"].file)
    first = execute(ImageOffensiveness, inputs={"images": table}, settings={"prompts": own}, folder=tmp_path)
    queue = pq.read_table(tmp_path / first.artifacts["review_queue"].file)
    looked_at = queue.set_column(queue.column_names.index("verdict"), "verdict", pa.array(["1"] * queue.num_rows))
    inputs = {"images": table, "verdicts": looked_at}
    assert execute(ImageOffensiveness, inputs=inputs, settings={"prompts": own})["prevalence.reviewed"].value == 1.0
    with pytest.raises(InputError, match="other prompts"):
        execute(ImageOffensiveness, inputs=inputs, settings={"prompts": str(folder / "start.safetensors")})


def test_a_plan_tunes_prompts_and_audits_with_them(tmp_path: Path) -> None:
    pq.write_table(rated_table(), tmp_path / "ratings.parquet")
    pq.write_table(rated_table(1).drop_columns(["rating"]), tmp_path / "images.parquet")
    (tmp_path / "plan.yaml").write_text(
        """
name: question-16
steps:
  - id: tune
    mitigate: image-offensiveness
    inputs: {ratings: ratings.parquet}
    set: {splits: 2, epochs: 60, fractions: [1.0]}
  - {id: q16, audit: image-offensiveness, inputs: {images: images.parquet}, set: {prompts: $tune.prompts}}
gates:
  - q16.flagged.share.high < 99%
""",
        encoding="utf-8",
    )
    record = run(tmp_path / "plan.yaml", out=tmp_path / "run")
    assert record.exit_code == 0
    q16 = record.steps[1].result
    assert q16 is not None and q16["flagged.share"].n == 280
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "ask a person" in report and str(tmp_path) not in report
