"""Calibration: how trials are judged, what the table says, and the room on its own planted truth."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from broken_audits import AlwaysAlarmed, ToyShare, WrongFormula

from assaymark.audit import Trial
from assaymark.calibrated import calibration_table, packaged_calibration
from assaymark.catalog import AUDITS, load_audit
from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats import wilson
from assaymark.testing import Calibration, calibrate
from assaymark.testing.calibration import agrees

INTERVAL = Estimate(0.3, 0.2, 0.4, 100, "Wilson 95 %", "share")


@pytest.mark.parametrize(
    ("expect", "truth", "answer"),
    [
        ("covers", 0.2, True),
        ("covers", 0.4, True),
        ("covers", 0.4 + 1e-6, False),
        ("covers", 0.19, False),
        ("above", 0.19, True),
        ("above", 0.2, False),
        ("below", 0.41, True),
        ("below", 0.4, False),
        ("not above", 0.2, True),
        ("not above", 0.5, True),
        ("not above", 0.19, False),
    ],
)
def test_the_interval_is_judged_by_the_expectation(expect, truth: float, answer: bool) -> None:
    assert agrees(Trial("x", truth, INTERVAL, expect)) is answer


def test_rounding_of_an_exact_interval_is_no_miss_and_undefined_is_no_answer() -> None:
    exact = Estimate(0.3, 0.3, 0.3, 10, "exact", "share")
    assert agrees(Trial("x", 0.1 + 0.2, exact)) is True
    assert agrees(Trial("x", 0.3, undefined("nothing"))) is None


@pytest.fixture(scope="module")
def toy() -> Calibration:
    return calibrate(ToyShare, seeds=10)


def test_a_sound_audit_agrees_and_a_wrong_formula_does_not(toy: Calibration) -> None:
    (row,) = toy.rows
    assert (row.name, row.seeds, row.undefined) == ("share", 10, 0) and row.truth == pytest.approx(0.3)
    assert row.agreed.value >= 0.8 and abs(row.mean - 0.3) < 0.03 and 0.05 < row.width < 0.15
    assert (toy.null_seeds, toy.null_alarms) == (2, ())
    (wrong,) = calibrate(WrongFormula, seeds=3).rows
    assert wrong.agreed.value == 0 and wrong.mean == pytest.approx(0.15, abs=0.03)


def test_findings_where_nothing_is_planted_are_named() -> None:
    found = calibrate(AlwaysAlarmed, seeds=5)
    assert found.null_alarms == ("seed 0: Many texts are bad.",)
    assert "1 findings above 'note' in 1 data sets" in found.table().description


def test_table_and_saved_record_say_the_same(toy: Calibration, tmp_path: Path) -> None:
    toy.save(tmp_path / "calibration.json")
    record = json.loads((tmp_path / "calibration.json").read_text(encoding="utf-8"))
    assert calibration_table(record) == toy.table()
    (row,) = toy.table().rows()
    assert row["agreed_low"] <= row["agreed"] <= row["agreed_high"] and row["expectation"] == "cover the truth"
    assert record["command"] == "assaymark calibrate toy-share --seeds 10 --small"
    with pytest.raises(InputError, match="cannot be written"):
        toy.save(tmp_path / "nowhere" / "x.json")


def test_an_undefined_estimate_is_counted_and_judged_by_nobody() -> None:
    class Shy(ToyShare):
        def share(self, bad, known, context):
            return undefined("shy", n=known, unit="share")

    (row,) = calibrate(Shy, seeds=2).rows
    assert (row.undefined, row.mean, row.width, row.agreed.defined) == (2, None, None, False)


def test_the_room_on_its_planted_truth() -> None:
    """Three seeds prove no coverage; a wrong formula would show in all of them."""
    found = calibrate("image-text-dataset", seeds=3)
    assert len(found.rows) >= 20 and not found.null_alarms
    agreed = [row.agreed.value * row.agreed.n for row in found.rows if row.agreed.defined]
    assert sum(agreed) >= 0.88 * sum(row.agreed.n for row in found.rows)
    assert min(agreed) >= 1


@pytest.mark.parametrize("audit_id", AUDITS)
def test_packaged_calibration_is_complete_and_nominal(audit_id: str) -> None:
    """Every planted number is in it, none agrees clearly less often than 95 %, and nothing alarms on a null planting."""
    package = re.sub(r"\.audit:.*", "", AUDITS[audit_id])
    table = packaged_calibration(package)
    assert table is not None and table.name == "calibration"
    record = json.loads(files(package).joinpath("calibration.json").read_text(encoding="utf-8"))
    assert record["audit"] == audit_id and record["seeds"] >= 100
    assert len(record["null_alarms"]) <= 0.05 * record["null_seeds"]
    # Of a hundred true 95 % intervals some agree in few plantings by chance: 5 % is the error of all rows of an audit together.
    confidence = 1 - 0.05 / len(record["rows"])
    for row in record["rows"]:
        agreed = wilson(round(row["agreed"] * row["seeds"]), row["seeds"], confidence=confidence)
        assert row["undefined"] == 0 and agreed.high is not None and agreed.high >= 0.95, row


def test_coverage_of_nine_in_ten_would_be_seen() -> None:
    """What the test above still finds in 60 rows: intervals too narrow by a fifth, over 200 plantings."""
    assert (wilson(176, 200, confidence=1 - 0.05 / 60).high or 1) < 0.95


@pytest.mark.parametrize("audit_id", AUDITS)
def test_packaged_calibration_covers_what_is_planted_today(audit_id: str, tmp_path: Path) -> None:
    cls = load_audit(audit_id)
    package = re.sub(r"\.audit:.*", "", AUDITS[audit_id])
    known = set(packaged_calibration(package).data.column("planted").to_pylist())
    planted = {*cls.planted(0, tmp_path).truth, *(trial.name for trial in cls.experiments(0))}
    assert known == planted, "run: assaymark calibrate ID --seeds 100 --small --save .../calibration.json"


def test_an_audit_without_a_calibration_has_none() -> None:
    assert packaged_calibration("assaymark.testing") is None
