"""Defences before and after: what each recipe stops in planted services, and what the combinations are said to cost."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import assaymark as am
from assaymark.audits.icl_membership.induction import InductionModel
from assaymark.audits.icl_membership.planted import ScriptedService, planted_pool
from assaymark.errors import InputError
from assaymark.result import Result

SMALL = {"trials": 30, "shadow_trials": 30, "utility_queries": 40, "similarity": "token_f1", "transforms": False}


def table_of(seed: int, size: int) -> pa.Table:
    drawn = planted_pool(seed, size)
    return pa.table({"text": drawn.texts, "label": drawn.labels})


@pytest.fixture(scope="module")
def inputs() -> dict[str, pa.Table]:
    return {"pool": table_of(5, 400), "public": table_of(905, 300)}


def mitigated(inputs: dict[str, pa.Table], model: Any = None, **changes: Any) -> Result:
    return am.mitigate("icl-membership", inputs, models={"service": model or InductionModel()}, seed=0, **{**SMALL, **changes})


@pytest.fixture(scope="module")
def combined(inputs: dict[str, pa.Table]) -> Result:
    return mitigated(inputs, recipes=["nearest_public", "label_only", "consistent"], data="nearest_public")


def rows(result: Result) -> dict[str, dict[str, Any]]:
    return {row["defence"]: row for row in result.tables["defences"].rows()}


def cells(result: Result) -> dict[tuple[str, str], float]:
    return {(row["defence"], row["attack"]): row["advantage"] for row in result.tables["by_attack"].rows()}


def test_all_subsets_are_there(combined: Result) -> None:
    names = list(rows(combined))
    assert names[0] == "none" and len(names) == 1 + 3 + 5, "eight subsets, of which three are recipes by themselves"
    assert "nearest public + instruction + label only" in names


def test_each_recipe_stops_what_it_is_for(combined: Result) -> None:
    found = cells(combined)
    assert found["none", "Repeat"] > 0.8 and found["none", "Brainwash"] > 0.8
    assert abs(found["label only", "Repeat"]) < 0.15 and found["label only", "Brainwash"] > 0.8
    assert abs(found["consistent", "Brainwash"]) < 0.5 and found["consistent", "Repeat"] > 0.8
    assert abs(found["nearest public + label only", "Brainwash"]) < 0.25


def test_gains_are_paired_and_told(combined: Result) -> None:
    best = rows(combined)["nearest public + label only"]
    assert best["gain_high"] < -0.5 and best["p_value"] < 0.01
    assert best["cost_low"] <= 0 <= best["cost_high"], "its labels come from what it knew before"
    assert combined["gain.nearest_public_label_only"].value == best["gain"]
    assert combined.findings[-1].severity in ("good", "note", "warning")
    assert "no formal guarantee" in best["guarantee"]


def test_a_blocked_reply_gives_the_member_away(inputs: dict[str, pa.Table]) -> None:
    result = mitigated(inputs, recipes=["overlap_guard"], data="none", attacks=["repeat"])
    row = rows(result)["overlap guard"]
    assert row["refused"] == 0.0, "ordinary queries are not blocked"
    assert row["advantage"] > 0.6, "who is blocked is a member"
    assert row["static"] < 0.3, "an attacker who expects copies finds none"


def test_encoded_replies_pass_a_filter_on_words(inputs: dict[str, pa.Table]) -> None:
    result = mitigated(
        {"pool": inputs["pool"]}, ScriptedService(), recipes=["scrub"], data="none", attacks=["repeat"], transforms=True
    )
    assert ("scrub", "Repeat, encoded") in cells(result)


def test_a_recipe_without_its_model_is_a_row_with_the_reason(inputs: dict[str, pa.Table]) -> None:
    result = mitigated({"pool": inputs["pool"]}, recipes=["paraphrase", "redact", "labels_only"], data="none", attacks=["gap"])
    found = rows(result)
    assert "paraphraser" in found["paraphrase"]["reason"] and "public" in found["redact"]["reason"]
    assert found["labels only"]["reason"] == "" and found["labels only"]["advantage"] is not None
    assert not result["advantage.paraphrase"].defined


def test_votes_ask_more(inputs: dict[str, pa.Table]) -> None:
    result = mitigated({"pool": inputs["pool"]}, recipes=["ensemble"], data="none", attacks=["gap", "brainwash"])
    assert rows(result)["ensemble"]["calls"] == 3 and rows(result)["none"]["calls"] == 1


def test_too_small_a_pool_is_refused() -> None:
    with pytest.raises(InputError, match="demonstrations"):
        mitigated({"pool": table_of(1, 8)})
