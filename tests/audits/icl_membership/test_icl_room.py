"""The room as a user meets it: planted services through the whole audit, every setting that changes what is asked or told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark as am
from assaymark.audits.icl_membership.induction import InductionModel
from assaymark.audits.icl_membership.method.exact import exact_advantages
from assaymark.audits.icl_membership.method.prompts import TASK_LABELS, TREC
from assaymark.audits.icl_membership.planted import ScriptedService, planted_pool
from assaymark.audits.icl_membership.wording import label_words
from assaymark.errors import ConfigError
from assaymark.result import Result

ROOM = "icl-membership"
SMALL = {"trials": 60, "shadow_trials": 60, "hard_negatives": False, "control": False}


@pytest.fixture(scope="module")
def pool() -> pa.Table:
    drawn = planted_pool(3, 500)
    return pa.table({"text": drawn.texts, "label": drawn.labels})


def audited(pool: Any, model: Any = None, *, out: Path | None = None, **changes: Any) -> Result:
    return am.audit(ROOM, pool, models={"service": model or ScriptedService()}, seed=0, out=out, **{**SMALL, **changes})


def covers(result: Result, name: str, truth: float) -> bool:
    found = result[name]
    assert found.low is not None and found.high is not None
    return found.low <= truth <= found.high


def test_planted_advantages_are_found(pool: pa.Table) -> None:
    result = audited(pool, trials=150, shadow_trials=150, attacks=["gap", "inquiry", "brainwash"])
    truth = exact_advantages()
    for name in ("gap", "inquiry", "brainwash"):
        assert covers(result, f"advantage.{name}", getattr(truth, name)), name
    assert result.findings[0].severity == "warning" and "leaks its examples" in result.findings[0].sentence


def test_the_copying_model_gives_away_more_than_its_labels_say(pool: pa.Table) -> None:
    result = audited(pool, InductionModel(), similarity="token_f1", demonstrations=[3])
    assert result["advantage.repeat"].low > 0.8 > result["advantage.gap"].high
    assert result["advantage.brainwash"].low > 0.8
    assert result["advantage.likelihood"].defined, "this model gives log-probabilities"
    assert result["advantage.brainwash.fixed"].high < 0.1, "its labels give way long before the fifth statement"
    assert result["advantage.worst"].high >= result["advantage.repeat"].value


def test_without_log_probabilities_there_is_no_reference_attack(pool: pa.Table) -> None:
    assert "advantage.likelihood" not in audited(pool).estimates


def test_more_demonstrations_are_further_conditions(pool: pa.Table) -> None:
    result = audited(pool, InductionModel(), demonstrations=[1, 4], similarity="token_f1", attacks=["gap", "repeat"])
    table = result.tables["conditions"].to_pandas()
    assert set(table["condition"]) == {"1 demonstration", "4 demonstrations"}
    assert result["advantage.repeat.k_4"].value == pytest.approx(
        table[(table["condition"] == "4 demonstrations") & (table["attack"] == "Repeat")]["advantage"].item()
    )


def test_hard_outsiders_and_control(pool: pa.Table) -> None:
    result = audited(pool, InductionModel(), similarity="token_f1", hard_negatives=True, control=True, attacks=["repeat"])
    assert result["advantage.repeat.hard"].defined
    assert covers(result, "control.advantage.repeat", 0.0)
    assert result.tables["control"].rows()[0]["called"] < 0.1, "without demonstrations there is nothing to copy"


@pytest.mark.parametrize(("data", "output", "attack"), [("none", "label_only", "repeat"), ("labels_only", "none", "brainwash")])
def test_a_service_with_a_defence_is_audited_with_it(pool: pa.Table, data: str, output: str, attack: str) -> None:
    plain, defended = (
        audited(pool, InductionModel(), similarity="token_f1", attacks=["repeat", "brainwash"], **defence)
        for defence in ({}, {"data": data, "output": output})
    )
    assert plain[f"advantage.{attack}"].low > 0.7
    assert defended[f"advantage.{attack}"].high < 0.3
    assert "It has the defence" in defended.methods


def test_bisection_asks_less_and_finds_the_same(pool: pa.Table) -> None:
    found = {how: audited(pool, attacks=["brainwash"], search=how) for how in ("bisect", "linear")}
    rows = {how: result.tables["attacks"].rows()[0] for how, result in found.items()}
    assert found["bisect"]["advantage.brainwash"].value == found["linear"]["advantage.brainwash"].value
    assert rows["bisect"]["questions"] < 16


def test_one_message_does_for_services_without_history(pool: pa.Table) -> None:
    result = audited(pool, InductionModel(), assistant_turns=False, attacks=["brainwash"])
    assert result["advantage.brainwash"].low > 0.7
    assert "one message" in result.methods


def test_flat_prompts(pool: pa.Table) -> None:
    result = audited(pool, InductionModel(), form="flat", similarity="token_f1", attacks=["repeat", "brainwash"])
    assert result["advantage.repeat"].low > 0.7 and result["advantage.brainwash"].low > 0.7


def test_position(pool: pa.Table) -> None:
    result = audited(pool, InductionModel(), demonstrations=[3], trials=90, attacks=["brainwash"])
    places = result.tables["positions"].rows()
    assert [row["place"] for row in places] == ["1", "2", "3"] and sum(row["members"] for row in places) == 90
    assert "positions" not in audited(pool, position="last", attacks=["gap"]).tables


def test_games_are_kept_without_texts(pool: pa.Table, tmp_path: Path) -> None:
    result = audited(pool, attacks=["gap", "repeat"], out=tmp_path / "run")
    kept = next((tmp_path / "run").rglob(result.artifacts["games"].file.rpartition("/")[2]))
    table = pq.read_table(kept)
    assert table.num_rows == 2 * 2 * 60
    assert result.artifacts["games"].private
    written = {str(value) for column in table.columns for value in column.to_pylist()}
    assert not written & set(pool["text"].to_pylist())
    texts = "\n".join(path.read_text(errors="replace") for path in (tmp_path / "run").rglob("*.html"))
    assert not any(text in texts for text in pool["text"].to_pylist())


def test_a_second_run_asks_nothing(pool: pa.Table) -> None:
    first, second = (audited(pool, attacks=["gap", "repeat", "brainwash"]) for _ in range(2))
    assert first.fingerprint() == second.fingerprint()
    assert second.provenance.models["service"]["calls"] == 0


def test_hybrid_needs_its_parts(pool: pa.Table) -> None:
    with pytest.raises(ConfigError, match="needs repeat and brainwash"):
        audited(pool, attacks=["gap", "hybrid"])


def test_label_words_of_known_tasks() -> None:
    from assaymark.audits.icl_membership.config import IclMembershipConfig

    trec, news = (IclMembershipConfig.build({"task": task}) for task in ("trec", "ag_news"))
    assert label_words(["NUM:dist", "HUM", "ABBR:exp", "odd"], trec) == ["Number", "Person", "Abbreviation", "odd"]
    assert label_words(["1", "4", "Sci/Tech", "9"], news) == ["World", "Technology", "Technology", "9"]
    own = IclMembershipConfig.build({"label_words": {"0": "safe", "1": "unsafe"}})
    assert label_words(["0", "1", "2"], own) == ["safe", "unsafe", "2"]


def test_synonyms_that_mean_two_labels_are_refused(pool: pa.Table) -> None:
    with pytest.raises(ConfigError, match="synonyms"):
        audited(pool, synonyms={"Animal": ["thing"], "Plant": ["thing"]})


def test_trec_leaks_through_a_model_that_copies(shared_data: Path) -> None:
    lines = (shared_data / "text-classification" / "trec_train.txt").read_text(encoding="latin-1").splitlines()
    labels, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    from assaymark.audits.icl_membership.config import IclMembershipConfig

    words = label_words(labels, IclMembershipConfig.build({"task": "trec"}))
    truth = {" ".join(text.split()): word for text, word in zip(texts, words, strict=True)}
    model = InductionModel(TASK_LABELS["trec"], truth.get, templates=TREC, name="trec")
    result = audited(
        pa.table({"text": texts, "label": labels}), model, task="trec", trials=100, similarity="token_f1",
        attacks=["gap", "repeat", "brainwash"], demonstrations=[3],
    )  # fmt: skip
    assert 0.15 < result["advantage.gap"].value < 0.5
    assert result["advantage.repeat"].value > 0.9 and result["advantage.brainwash"].value > 0.9
