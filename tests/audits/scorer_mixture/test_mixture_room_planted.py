"""The planted experiments through the whole audit: what was put into the table is what the report says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assaymark.audits.scorer_mixture.audit import ScorerMixture
from assaymark.audits.scorer_mixture.planted import PlantedScores, planted_scores
from assaymark.execution import execute
from assaymark.result import Result

FAST = {"resamples": 100, "compare": ["ols", "ols_intercept", "ridge"], "examples": 0}


def table_of(drawn: PlantedScores, **further: Any) -> pa.Table:
    names = [f"item-{i:06d}" for i in range(len(drawn.labels))]
    columns = {name: pa.array(drawn.scores[:, i]) for i, name in enumerate(drawn.names)}
    return pa.table({"id": names, "label": pa.array(drawn.labels), **columns, **further})


def audit(table: Any, **settings: Any) -> Result:
    return execute(ScorerMixture, inputs={"scores": table}, settings={**FAST, **settings})


def split_of(fit: int, test: int) -> pa.Array:
    return pa.array(["fit"] * fit + ["test"] * test)


def value(result: Result, name: str) -> float:
    found = result[name].value
    assert found is not None, f"{name}: {result[name].reason}"
    return found


def loud(result: Result) -> list[str]:
    return [finding.sentence for finding in result.findings if finding.severity in ("warning", "critical")]


# -- A: unequal scorers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unequal() -> Result:
    """Fitted on 400 rows, judged on 4,000, as published."""
    return audit(table_of(planted_scores(3, 4_400), split=split_of(400, 4_000)), compare=["ols", "majority", "simplex"])


def test_unequal_scorers_give_the_published_accuracies(unequal: Result) -> None:
    published = {"midpoint.average.accuracy": 0.892}
    published |= {f"single.network_{i}.accuracy": p for i, p in enumerate((0.947, 0.919, 0.864, 0.815, 0.602, 0.602), start=1)}
    published |= {"mixture.accuracy": 0.994, "midpoint.ols.accuracy": 0.973}
    for name, expected in published.items():
        spread = 3 * np.sqrt(expected * (1 - expected) / 4_000) + (0.012 if name == "midpoint.ols.accuracy" else 0.003)
        assert value(unequal, name) == pytest.approx(expected, abs=spread), name


def test_the_mixture_leads_and_the_average_loses(unequal: Result) -> None:
    for name in ("gain.over_average.accuracy", "gain.over_best_single.accuracy", "gain.over_best_single.auroc"):
        low = unequal[name].low
        assert low is not None and low > 0, name
    assert value(unequal, "average.accuracy") < value(unequal, "best_single.accuracy")
    assert not loud(unequal)
    weights = [value(unequal, f"weights.network_{i}") for i in range(1, 7)]
    assert weights[:4] == sorted(weights[:4], reverse=True) and max(map(abs, weights[4:])) < 0.1


def test_cross_fitting_judges_every_row_once(unequal: Result) -> None:
    found = unequal["cross_fitted.accuracy"]
    assert found.n == 4_400 and found.value == pytest.approx(0.994, abs=0.005)


def test_the_missing_intercept_is_named(unequal: Result) -> None:
    (found,) = [f for f in unequal.findings if "without an intercept" in f.sentence]
    assert found.severity == "note" and value(unequal, "midpoint.gain_of_intercept") == pytest.approx(0.02, abs=0.012)


def test_the_cascade_changes_no_decision_and_costs_less(unequal: Result) -> None:
    assert unequal["cascade.identical"].value == 1.0
    assert value(unequal, "cascade.mean_cost") < 6


def test_comparison_shows_every_way_with_its_limits(unequal: Result) -> None:
    ways = {row["way"]: row for row in unequal.tables["comparison"].rows()}
    assert {"majority", "weights >= 0, sum 1", "network_6 alone, cut at 0.5"} <= set(ways)
    for row in ways.values():
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
    assert ways["majority"]["p_value"] < 1e-6


def test_predictive_value_follows_from_both_rates(unequal: Result) -> None:
    se, sp = value(unequal, "mixture.sensitivity"), value(unequal, "mixture.specificity")
    for prevalence in (0.001, 0.01, 0.1):
        expected = se * prevalence / (se * prevalence + (1 - sp) * (1 - prevalence))
        assert value(unequal, f"ppv.{prevalence:g}") == pytest.approx(expected)


# -- B: a scorer twice -------------------------------------------------------------------------------------------------------


def test_a_duplicated_scorer_keeps_the_decisions_and_warns() -> None:
    drawn = planted_scores(1, 4_400, experiment="B")
    result = audit(table_of(drawn, split=split_of(400, 4_000)))
    assert value(result, "mixture.accuracy") > 0.985
    assert value(result, "vif.network_1") > 1e3
    assert any("do not read single weights" in sentence for sentence in loud(result))
    exact = drawn._replace(scores=np.column_stack([drawn.scores[:, :6], drawn.scores[:, 0]]))
    twin = audit(table_of(exact, split=split_of(400, 4_000)))
    assert np.isinf(value(twin, "vif.network_1"))
    assert abs(value(twin, "weights.network_1")) < 1 and value(twin, "mixture.accuracy") > 0.985


# -- C: a scorer that has seen the fitting rows ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt() -> PlantedScores:
    return planted_scores(2, 4_800, experiment="C")


def test_fitting_on_training_rows_is_fooled_and_says_so(learnt: PlantedScores) -> None:
    split = pa.array(np.where(learnt.trained_on, "train", "test"))
    result = audit(table_of(learnt, split=split), source="train")
    assert value(result, "weights.network_1") == pytest.approx(1.0, abs=0.01)
    assert value(result, "mixture.accuracy") == pytest.approx(0.62, abs=0.03)
    assert any(sentence.startswith("THE WEIGHTS WERE FITTED ON ROWS") for sentence in loud(result))


def test_training_rows_are_left_alone_unless_asked_for(learnt: PlantedScores) -> None:
    rest = np.where(np.cumsum(~learnt.trained_on) <= 400, "fit", "test")
    result = audit(table_of(learnt, split=pa.array(np.where(learnt.trained_on, "train", rest))))
    assert value(result, "midpoint.ols.accuracy") == pytest.approx(0.948, abs=0.015)
    assert not loud(result)
    assert {row["split"]: row["rows"] for row in result.tables["rows"].rows()} == {"train": 400, "fit": 400, "test": 4_000}


def test_a_scorer_that_knows_the_fitting_rows_is_found_out(learnt: PlantedScores) -> None:
    split = pa.array(np.where(learnt.trained_on, "fit", "test"))
    result = audit(table_of(learnt, split=split))
    assert any("network_1 is better on the fitting rows" in sentence for sentence in loud(result))
    assert value(result, "learnt.network_1") > 0.3


# -- E: equal scorers, where weights cannot win ------------------------------------------------------------------------------


def test_equal_scorers_are_the_honest_negative_case() -> None:
    result = audit(table_of(planted_scores(4, 4_400, experiment="E"), split=split_of(400, 4_000)))
    assert value(result, "midpoint.average.accuracy") == pytest.approx(0.9925, abs=0.005)
    assert value(result, "midpoint.ols.accuracy") == pytest.approx(0.968, abs=0.015)
    gain = result["gain.over_plain_average.accuracy"]
    assert gain.low is not None and gain.low <= 0 and not loud(result)
    (verdict,) = [f for f in result.findings if f.sentence.startswith("The mixture (")]
    assert "average them" in verdict.advice


# -- protocol ----------------------------------------------------------------------------------------------------------------


def test_test_labels_do_not_move_weights_or_threshold() -> None:
    drawn = planted_scores(5, 2_000)
    split = split_of(1_000, 1_000)
    turned = drawn._replace(labels=np.where(np.arange(2_000) < 1_000, drawn.labels, 1 - drawn.labels))
    a, b = audit(table_of(drawn, split=split)), audit(table_of(turned, split=split))
    assert a["threshold"] == b["threshold"] and a["weights.network_1"] == b["weights.network_1"]
    assert value(a, "mixture.accuracy") > 0.98 and value(b, "mixture.accuracy") < 0.02


def test_groups_are_never_split_up() -> None:
    drawn = planted_scores(6, 1_000)
    group = np.arange(1_000) // 500  # two groups: one side each, or both on one
    table = table_of(drawn, group=pa.array([f"film-{g}" for g in group]))
    for seed in range(6):
        result = execute(ScorerMixture, inputs={"scores": table}, settings=FAST, seed=seed)
        sizes = {row["rows"] for row in result.tables["rows"].rows() if row["split"] != "train"}
        assert sizes <= {0, 500, 1_000}


def test_rows_beyond_the_sample_still_weigh_in_and_shards_change_nothing(tmp_path: Path) -> None:
    table = table_of(planted_scores(7, 3_000))
    for i in range(5):
        pq.write_table(table.slice(600 * i, 600), tmp_path / f"part-{i}.parquet")
    whole = audit(table, method="ols_intercept")
    sharded = audit(str(tmp_path), method="ols_intercept")
    sampled = audit(str(tmp_path), method="ols_intercept", max_rows=1_000)
    comparison = {name: e.value for name, e in whole.estimates.items()}
    assert comparison == {name: pytest.approx(e.value, rel=1e-9) for name, e in sharded.estimates.items()}
    assert sampled["mixture.accuracy"].n < whole["mixture.accuracy"].n
    assert any("1,000 of 3,000 labelled rows" in note for note in sampled.notes)
    # the weights are those of all rows, although two thirds of them are not in memory
    descriptions = [r.tables["weights"].description.split(", threshold")[0] for r in (whole, sampled)]
    assert descriptions[0] == descriptions[1]
    for i in range(1, 7):
        assert value(sampled, f"weights.network_{i}") == pytest.approx(value(whole, f"weights.network_{i}"), abs=1e-9)


def test_slices_that_are_flagged_more_often_are_named() -> None:
    drawn = planted_scores(8, 6_000, experiment="E")
    rng = np.random.default_rng(8)
    medium = np.where(rng.random(6_000) < 0.3, "drawing", "photo")
    shifted = np.where((medium == "drawing")[:, None], drawn.scores**0.35, drawn.scores)
    table = table_of(drawn._replace(scores=shifted), medium=pa.array(medium))
    result = audit(table, slices=["medium"])
    assert any(sentence.startswith("Of medium = drawing") and "flagged" in sentence for sentence in loud(result))
    rates = {row["value"]: row["fpr"] for row in result.tables["slices"].rows()}
    assert rates["drawing"] > rates["photo"] + 0.05


def test_several_classes_are_summed_to_unsafe_and_mixed_class_by_class() -> None:
    rng = np.random.default_rng(9)
    classes = ("neutral", "drawing", "nude")
    target = rng.integers(0, 3, 3_000)
    columns: dict[str, Any] = {}
    for name, noise in (("a", 0.6), ("b", 1.2)):
        logits = 2.0 * (target[:, None] == np.arange(3)) + noise * rng.standard_normal((3_000, 3))
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        columns |= {f"{name}:{label}": pa.array(p[:, i]) for i, label in enumerate(classes)}
    table = pa.table({"label": pa.array([classes[t] for t in target]), **columns})
    result = audit(table, classes=classes, positive=["nude"])
    unsafe = np.asarray(table.column("a:nude")) >= 0.5
    test_rows = result["single.a.accuracy"].n
    assert value(result, "single.a.accuracy") == pytest.approx((unsafe == (target == 2)).mean(), abs=4 * 0.5 / test_rows**0.5)
    assert value(result, "classes.per_class.accuracy") >= value(result, "classes.best_single.accuracy") - 0.01
    assert result.tables["class_weights"].rows()[2]["class"] == "nude"
