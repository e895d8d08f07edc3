"""Pairs of models that the room trains, the trainings that it compares, and the small world behind the claims."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audit import Progress
from assaymark.audits.clip_memorization.audit import ClipMemorization
from assaymark.audits.clip_memorization.config import MitigationConfig
from assaymark.audits.clip_memorization.data import planted_pairs
from assaymark.audits.clip_memorization.measures.retraining import Outcome, conditions
from assaymark.audits.clip_memorization.mitigate import ForgetfulTraining
from assaymark.audits.clip_memorization.small_world import Sizes, Training, small_world
from assaymark.audits.clip_memorization.trials import exact_trial, trained_pair
from assaymark.errors import InputError
from assaymark.execution import execute
from assaymark.result import Result

SMALL: dict[str, Any] = {
    "side": 16, "patch": 8, "hidden": 8, "layers": 1, "heads": 1, "dimension": 8, "epochs": 2, "batch": 16, "views": 2,
    "augmentation": "shift", "resamples": 100, "listed": 3, "contact_sheet": False, "units": False,
}  # fmt: skip
CURE = {name: value for name, value in SMALL.items() if name not in ("listed", "contact_sheet", "units")}


def unsplit() -> pa.Table:
    return pa.table(planted_pairs(4, candidates=24)).drop_columns(["set"])


def audited(table: pa.Table, folder: Path, **options: Any) -> Result:
    return execute(ClipMemorization, inputs={"pairs": table}, settings=SMALL, folder=folder, **options)


class Killed(Progress):
    """Stops the run in the middle of the second training."""

    advances = 0

    @contextmanager
    def task(self, title: str, total: int | None = None, unit: str = "rows") -> Iterator[Any]:
        self.title = title
        yield self

    def expect(self, total: int) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        self.advances += self.title.startswith("training")
        if self.advances == 7:
            raise KeyboardInterrupt


def test_a_killed_training_goes_on_and_its_models_can_be_named(tmp_path: Path) -> None:
    table = unsplit()
    with pytest.raises(KeyboardInterrupt):
        audited(table, tmp_path / "killed", progress=Killed())
    resumed = audited(table, tmp_path / "killed")
    whole = audited(table, tmp_path / "whole")
    assert resumed.fingerprint() == whole.fingerprint()
    assert any("split by a hash" in note for note in whole.notes) and {"model", "reference", "split"} <= set(whole.artifacts)
    assert any("hardly trained" in finding.sentence for finding in whole.findings if finding.severity == "warning")
    pair = tmp_path / "whole" / "artifacts" / "clip-memorization" / "pair"
    again = execute(
        ClipMemorization,
        inputs={"pairs": table, "split": str(pair / "split.parquet")},
        models={"model": f"hf:{pair / 'with'}", "reference": f"hf:{pair / 'without'}"},
        settings={**SMALL, "text_views": "first"},
    )
    assert again["clipmem.raw.candidates"].value == pytest.approx(whole["clipmem.raw.candidates"].value, abs=1e-5)


def test_too_many_pairs_are_not_trained_on() -> None:
    with pytest.raises(InputError, match="most_trained"):
        execute(ClipMemorization, inputs={"pairs": unsplit()}, settings={**SMALL, "most_trained": 20})


def test_removal_and_new_captions_are_compared(tmp_path: Path) -> None:
    settings = {**CURE, "recipes": ["remove", "recaption"], "removed": [4], "recaptioned": 4, "seeds": 1}
    table = pa.table(planted_pairs(4, candidates=24))
    result = execute(ForgetfulTraining, inputs={"pairs": table}, settings=settings, folder=tmp_path)
    rows = {row["training"]: row for row in result.tables["trainings"].rows()}
    assert set(rows) == {
        "plain training", "M4: without 4 most remembered", "M4: without 4 random", "M4: without 4 least similar",
        "M5: 4 captions anew",
    }  # fmt: skip
    assert result["gain.memorization.remove.memorized.4"].defined and result["gain.utility.recaption"].defined
    assert sum(row["front"] for row in rows.values()) >= 1
    lost = result.tables["removed_groups"].rows()
    assert abs(sum(row["removed"] for row in lost) - 1.0) < 1e-9
    assert (tmp_path / "artifacts" / "clip-memorization" / "recommended" / "config.json").is_file()


def test_several_captions_that_are_not_there_are_said_or_refused() -> None:
    columns = planted_pairs(4, candidates=24)
    columns["captions"] = [own[:1] for own in columns["captions"]]
    settings = {**CURE, "epochs": 1, "seeds": 1, "removed": [4]}
    with pytest.raises(InputError, match="recipes=captions draw among the captions of a picture, and every picture has one"):
        execute(ForgetfulTraining, inputs={"pairs": pa.table(columns)}, settings={**settings, "recipes": ["captions"]})
    several = {**settings, "recipes": ["captions", "weight-decay"]}
    result = execute(ForgetfulTraining, inputs={"pairs": pa.table(columns)}, settings=several)
    assert any("recipe captions was left out: every picture has one caption" in note for note in result.notes)
    assert len(result.tables["trainings"].rows()) == 2


def test_every_recipe_has_its_training() -> None:
    config = MitigationConfig.build({"recipes": list(conditions_of()), "noise": [0.1, 0.2], "removed": [5, 500]})
    names = [condition.name for condition in conditions(config, captions=3, candidates=100)]
    assert names[0] == "plain" and {"text-noise.0.1", "text-noise.0.2", "remove.memorized.5", "recaption"} <= set(names)
    assert not any(name.endswith(".500") for name in names), "more than all candidates are not removed"
    single = [condition.name for condition in conditions(config, captions=1, candidates=100)]
    assert "captions" not in single and "captions+images" not in single and "images" in single


def conditions_of() -> tuple[str, ...]:
    from assaymark.audits.clip_memorization.config import RECIPES

    return RECIPES


def test_exactness_trial_covers() -> None:
    trial = exact_trial(5)
    assert trial.estimate.low is not None and trial.estimate.low <= trial.truth <= (trial.estimate.high or 0)


def test_small_world_remembers_its_candidates() -> None:
    sizes = Sizes(300, 80, 80, 150, 25)
    world = small_world(41, sizes)
    assert 0.08 < world.wrong[world.rows("SCI")].mean() < 0.22 and not world.wrong[world.rows("ET")].any()
    found = trained_pair(world, Training(epochs=sizes.epochs, seed=41))
    c, i, s, e = (found.raw(letter) for letter in "CISE")
    assert c.mean() - e.mean() > 0.1 and i.mean() - e.mean() < -0.1 and abs(s.mean() - e.mean()) < 0.08
    wrong = found.wrong[found.sets == "C"]
    assert c[wrong].mean() > 1.3 * c[~wrong].mean()


def test_pictures_of_a_caption_show_what_it_says() -> None:
    world = small_world(42, Sizes(40, 20, 20, 20, 1), pictures=3)
    assert world.pixels.shape[1:] == (3, 3, 16, 16) and world.tokens.shape[1:] == (5, 8)
    assert world.pixels.min() >= 0.0 and world.pixels.max() <= 1.0
    right = np.flatnonzero(~world.wrong)
    same = np.abs(world.pixels[right, 1] - world.pixels[right, 2]).mean()
    assert same < np.abs(world.pixels[right, 1] - world.pixels[np.roll(right, 1), 1]).mean()


def test_taking_the_most_remembered_pairs_out_is_no_forgetting() -> None:
    """The same scores without the highest have a lower mean; against the plain training on the same pairs nothing changed."""
    plain = Outcome(np.array([0.9, 0.1, 0.0]), np.array(list("CCE")), utility=None, ids=["a", "b", "e"])  # type: ignore[arg-type]
    left = plain._replace(raw=plain.raw[1:], sets=plain.sets[1:], ids=["b", "e"])
    assert (plain.memorization, left.memorization) == pytest.approx((0.5, 0.1))
    assert plain.among(left.ids).memorization == left.memorization
