"""Scores by models on random halves: against plain means, after a kill, and what is said of too few models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assaymark.audit import Progress
from assaymark.audits.clip_memorization.audit import ClipMemorization
from assaymark.audits.clip_memorization.data import planted_pairs
from assaymark.errors import ConfigError
from assaymark.execution import execute
from assaymark.result import Result

SMALL: dict[str, Any] = {
    "side": 16, "patch": 8, "hidden": 16, "layers": 1, "heads": 1, "dimension": 8, "batch": 16, "views": 2, "epochs": 2,
    "augmentation": "shift", "resamples": 100, "listed": 3, "contact_sheet": False, "units": False, "towers": False,
}  # fmt: skip


def audited(folder: Path | None, progress: Progress | None = None, **settings: Any) -> Result:
    table = pa.table(planted_pairs(6, candidates=24))
    options = {**SMALL, "subsampled": 4, **settings}
    return execute(
        ClipMemorization, inputs={"pairs": table}, settings=options, folder=folder, seed=2, reveal=True, progress=progress
    )


class Killed(Progress):
    """Stops behind the second model on a half."""

    @contextmanager
    def task(self, title: str, total: int | None = None, unit: str = "rows") -> Iterator[Any]:
        self.halves, self.made = title == "training on halves", 0
        yield self

    def expect(self, total: int) -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        self.made += amount
        if self.halves and self.made >= 2:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return audited(folder), folder


def test_scores_stand_beside_those_of_the_pair(whole: tuple[Result, Path]) -> None:
    result, folder = whole
    found = pq.read_table(folder / "artifacts" / "clip-memorization" / "subsampled.parquet").to_pylist()
    rows = {row["set"]: row for row in result.tables["subsampled"].rows()}
    assert {row["with_item"] + row["without_item"] for row in found} == {4}
    own = [row["score"] for row in found if row["set"] == "C" and np.isfinite(row["score"])]
    assert rows["candidates"]["score"] == pytest.approx(np.mean(own)) and rows["candidates"]["pairs"] == 24
    assert sum(row["pairs"] for row in rows.values()) == len(found) == result.flows[-1].used
    assert result["subsampled.rank_correlation"].n == len(own) and result["subsampled.wrong_captions.auc"].defined
    sure = [row for row in found if np.isfinite(row["standard_error"])]
    beyond = np.mean([row["score"] > 2 * row["standard_error"] for row in sure])
    assert result["subsampled.beyond_error"].value == pytest.approx(beyond) and 0 < len(sure) < len(found)
    assert any("4 models on halves are few" in note for note in result.notes)


def test_a_killed_run_ends_like_another(whole: tuple[Result, Path], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        audited(tmp_path, Killed())
    assert audited(tmp_path).fingerprint() == whole[0].fingerprint()


def test_held_out_pairs_are_in_no_half(whole: tuple[Result, Path]) -> None:
    folder = whole[1]
    members = pq.read_table(next(folder.rglob("membership.parquet"))).column("id").to_pylist()
    scored = pq.read_table(folder / "artifacts" / "clip-memorization" / "subsampled.parquet").column("id").to_pylist()
    assert set(members) == set(scored) and len(members) == 24 + 12 + 12 + 12, "half of the external pairs are held out"


def test_one_model_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        audited(None, subsampled=1)
