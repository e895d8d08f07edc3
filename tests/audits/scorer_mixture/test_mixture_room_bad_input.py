"""Tables that are empty, one-sided, incomplete or wrong: a reason or a plain message, never a crash and never a silent zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest

from assaymark.audits.scorer_mixture.audit import ScorerMixture
from assaymark.audits.scorer_mixture.config import VARIANTS, Method
from assaymark.audits.scorer_mixture.planted import planted_scores
from assaymark.errors import AssaymarkError, ConfigError, InputError, ModelError, SchemaError
from assaymark.execution import execute
from assaymark.models.mixture_file import load_mixture
from assaymark.result import Result

FAST = {"resamples": 100, "compare": ["ols", "ols_intercept"], "examples": 3}
ROWS = 600


def audit(table: Any, models: dict[str, str] | None = None, **settings: Any) -> Result:
    return execute(ScorerMixture, inputs={"scores": table}, models=models or {}, settings={**FAST, **settings})


def columns(rows: int = ROWS, **changes: Any) -> dict[str, Any]:
    """Experiment A as columns, some of them changed."""
    drawn = planted_scores(0, rows)
    table = {"id": [f"item-{i}" for i in range(rows)], "label": drawn.labels.tolist()}
    return {**table, **{name: drawn.scores[:, i] for i, name in enumerate(drawn.names)}, **changes}


def undefined_everywhere(result: Result, *, because: str) -> None:
    rates = [name for name in result if name.startswith(("mixture.", "average.", "best_single.", "gain.", "weights.", "ppv."))]
    assert len(rates) > 40
    for name in rates:
        assert not result[name].defined and because in result[name].reason, name


@pytest.mark.parametrize(("rows", "because"), [(0, "no labelled rows"), (1, "a fit needs 2 of each kind")])
def test_no_row_and_one_row(rows: int, because: str) -> None:
    table = pa.table(columns(1)).slice(0, rows)
    result = audit(table)
    because = because if rows == 0 or result.tables["rows"].rows()[1]["rows"] else "no fitting row"
    undefined_everywhere(result, because=because)
    assert result.flows[0].total == rows


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class(label: int) -> None:
    result = audit(pa.table(columns(label=[label] * ROWS)))
    undefined_everywhere(result, because="no unsafe image" if label == 0 else "no safe image")


def test_a_test_split_of_one_class_still_tells_what_it_can() -> None:
    data = columns()
    labels = np.array(data["label"])
    result = audit(pa.table({**data, "split": np.where((labels == 0) & (np.arange(ROWS) % 2 == 0), "test", "fit")}))
    assert result["mixture.fpr"].defined and result["mixture.specificity"].defined
    for name in ("mixture.recall", "mixture.auroc", "ppv.0.01", "mixture.balanced_accuracy"):
        assert not result[name].defined and result[name].reason


def test_without_test_rows_weights_are_known_and_nothing_else() -> None:
    result = audit(pa.table(columns(split=["fit"] * ROWS)))
    assert result["weights.network_1"].defined and result["threshold"].defined
    for name in ("mixture.accuracy", "mixture.auroc", "mixture.brier", "shapley.network_1", "cascade.mean_cost", "ppv.0.01"):
        assert not result[name].defined, name
    undefined_everywhere(
        audit(pa.table(columns(split=["test"] * ROWS))), because="none of the 600 labelled rows is a fitting row"
    )


def test_a_split_that_nobody_knows_is_counted() -> None:
    split = ["fit", "test", "holdout", "x"] * (ROWS // 4)
    flow = audit(pa.table(columns(split=split))).flows[0]
    assert flow.skipped == {"split that is none of train, fit, test": ROWS // 4}


@pytest.mark.parametrize("transform", ["probability", "logit", "platt", "isotonic", "temperature"])
@pytest.mark.parametrize("balanced", [False, True])
def test_every_way_works_with_every_transform_and_holes(transform: str, balanced: bool) -> None:
    data = columns(400)
    data["network_3"] = np.where(np.arange(400) % 7 == 0, np.nan, data["network_3"])
    result = audit(pa.table(data), transform=transform, balanced=balanced, compare=list(VARIANTS), threshold="cost")
    ways = {row["way"]: row["accuracy"] for row in result.tables["comparison"].rows()}
    assert len(ways) == len(VARIANTS) + 6 + 3
    # log-odds lie around 0, so that without an intercept they cannot be brought around 1/2
    weak = {"the paper's form, cut at 0.5"} if transform == "logit" else set()
    weak |= {"network_5 alone, cut at 0.5", "network_6 alone, cut at 0.5"}
    assert not {way: accuracy for way, accuracy in ways.items() if accuracy < 0.75 and way not in weak}


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("threshold", ["midpoint", "balanced_accuracy"])
def test_every_way_can_be_the_mixture(method: str, threshold: str, tmp_path: Path) -> None:
    settings = {**FAST, "method": method, "threshold": threshold, "compare": []}
    result = execute(ScorerMixture, inputs={"scores": pa.table(columns(400))}, settings=settings, folder=tmp_path)
    saved = load_mixture(tmp_path / result.artifacts["mixture"].file)
    assert saved.method == method and saved.measured is not None
    assert result["mixture.accuracy"].value == pytest.approx(
        (saved.measured.sensitivity[0] + saved.measured.specificity[0])  # type: ignore[index]
        / (saved.measured.sensitivity[1] + saved.measured.specificity[1])  # type: ignore[index]
    )


def test_all_scores_missing_is_no_answer() -> None:
    empty = {f"network_{i}": pa.nulls(ROWS, pa.float64()) for i in range(1, 7)}
    result = audit(pa.table(columns(**empty)))
    undefined_everywhere(result, because="no labelled rows")
    assert result.flows[0].skipped == {"no score": ROWS}


def test_constant_and_empty_scorers_are_left_out_by_name() -> None:
    result = audit(pa.table(columns(network_2=[0.3] * ROWS, network_5=pa.nulls(ROWS, pa.float64()))))
    assert "weights.network_2" not in result and "weights.network_5" not in result
    assert result["weights.network_1"].defined
    notes = " ".join(result.notes)
    assert "network_2 was left out: the same score" in notes and "network_5 was left out: fewer than two" in notes


def test_missing_scores_are_decided_by_their_own_fit_and_never_taken_for_zero() -> None:
    rng = np.random.default_rng(1)
    data = columns(3_000)
    holes = rng.random(3_000) < 0.3
    data["network_1"] = np.where(holes, np.nan, data["network_1"])
    result = audit(pa.table(data))
    patterns = {row["missing"]: row for row in result.tables["missing_scores"].rows()}
    assert patterns["network_1"]["rows"] == holes.sum() and patterns["network_1"]["decided"]
    assert result["mixture.abstained"].value == 0
    accuracy = result["mixture.accuracy"].value
    zeros = audit(pa.table({**data, "network_1": np.where(holes, 0.0, np.nan_to_num(data["network_1"]))}))["mixture.accuracy"]
    assert accuracy is not None and zeros.value is not None
    assert accuracy > 0.97 and accuracy > zeros.value + 0.004


def test_a_pattern_without_rows_to_fit_abstains() -> None:
    data = columns()
    scores = np.column_stack([data[f"network_{i}"] for i in range(1, 7)])
    scores[:4, 1:] = np.nan  # four rows with one score alone
    scores[4:6, :5] = np.inf  # infinite is missing
    changed = {f"network_{i + 1}": scores[:, i] for i in range(6)}
    split = ["test"] * 6 + ["fit", "test"] * ((ROWS - 6) // 2)
    data = {**data, **changed, "network_7": np.where(np.arange(ROWS) < 6, np.nan, np.random.default_rng(0).random(ROWS))}
    sparse = {**data, "split": split}
    for i in range(6, ROWS, 2):  # fitting rows have every score, so that single scores have fits as well
        assert sparse["split"][i] == "fit"
    result = audit(pa.table(sparse), method="logistic")
    assert result["mixture.abstained"].value == 0, "every pattern is covered by the complete fitting rows"
    nothing = audit(pa.table(sparse), method="average")
    assert nothing["mixture.abstained"].value == pytest.approx(6 / (6 + (ROWS - 6) // 2))
    assert any("no verdict on" in finding.sentence for finding in nothing.findings)


def test_few_rows_for_each_scorer_become_ridge() -> None:
    result = audit(pa.table(columns(120)))
    assert any("ridge regression takes the place of ols_intercept" in note for note in result.notes)
    assert result["mixture.accuracy"].defined


def test_more_scorers_than_rows_have_finite_weights() -> None:
    rng = np.random.default_rng(2)
    label = np.arange(30) % 2
    scores = {f"s{i:02d}": np.clip(0.3 * label + 0.7 * rng.random(30), 0, 1) for i in range(20)}
    result = audit(pa.table({"label": label, **scores}), least_rows=1)
    assert all(np.isfinite(result[f"weights.s{i:02d}"].value or 0.0) for i in range(20))
    assert any("minimum norm" in note for note in result.notes)


def test_labels_that_nobody_explained_are_counted_not_guessed() -> None:
    names = ["unsafe" if y else ("safe" if i % 3 else "borderline") for i, y in enumerate(columns()["label"])]
    result = audit(pa.table(columns(label=names)))
    assert result.flows[0].skipped == {"label that is neither": names.count("borderline")}
    strange = audit(pa.table(columns(label=["odd", "even"] * (ROWS // 2))))
    assert f"{ROWS} labels are neither safe nor unsafe" in strange.findings[0].advice
    named = audit(pa.table(columns(label=names)), positive=["unsafe"])
    assert not named.flows[0].skipped, "with a positive list of one's own all else is negative"


def test_a_score_column_that_looks_like_a_tag_is_pointed_out() -> None:
    data = columns()
    data["nsfw"] = data.pop("network_1")
    result = audit(pa.table(data))
    assert "weights.nsfw" not in result and any("column nsfw is taken for 'tag'" in note for note in result.notes)
    assert audit(pa.table(data), scorers=["nsfw", "network_2"])["weights.nsfw"].defined


def test_columns_of_text_and_whole_numbers_are_pointed_out() -> None:
    data = columns()
    result = audit(pa.table({**data, "network_1": [f"{p:.4f}" for p in data["network_1"]], "seen": [640] * ROWS}))
    assert "weights.network_1" not in result
    assert any("network_1 (text), seen (whole numbers); name scores with" in note for note in result.notes)
    named = audit(pa.table(data), scorers=["network_2", "network_3"])
    assert not any("no decimal numbers" in note for note in named.notes)


def test_one_scorer_alone_and_a_way_that_is_worse_than_the_average() -> None:
    alone = audit(pa.table(columns()), scorers=["network_2"])
    assert "nothing is combined" in alone.findings[0].advice
    worse = audit(pa.table(columns(3_000)), method="majority", transform="platt")
    assert worse.findings[0].severity == "warning" and worse.findings[0].advice.startswith("Use the ")


@pytest.mark.parametrize("kind", ["HC3", "HC0", "classic"])
def test_the_standard_errors_that_were_asked_for(kind: str) -> None:
    result = audit(pa.table(columns()), covariance=kind)
    assert kind in result["weights.network_1"].method
    low, high = (result["weights.network_1"].low or 0.0), (result["weights.network_1"].high or 0.0)
    robust = audit(pa.table(columns()))["weights.network_1"]
    assert (high - low < (robust.high or 0.0) - (robust.low or 0.0)) == (kind == "HC0") or kind == "classic"


def test_columns_outside_the_range_are_no_scores_unless_named() -> None:
    table = pa.table(columns(score_of_another_kind=np.linspace(-3, 3, ROWS)))
    plain, more = audit(pa.table(columns())), audit(table)
    assert any("score_of_another_kind" in note for note in more.notes)
    assert plain["weights.network_1"] == more["weights.network_1"] or more["weights.network_1"].defined
    with pytest.raises(SchemaError, match=r"probability in \[0, 1\]"):
        audit(table, scorers=["network_1", "score_of_another_kind"])
    with pytest.raises(SchemaError, match="outside"):
        audit(pa.table({"label": [0, 1], "x": [2.0, 3.0]}))


@pytest.mark.parametrize(
    ("table", "settings", "error", "says"),
    [
        ({"label": [0, 1], "a": [1, 2]}, {}, SchemaError, "no score column"),
        ({"a": [0.1, 0.2]}, {}, SchemaError, "label"),
        ({"label": [0, 1], "network": [0.1, 0.2]}, {"scorers": ["netwrk"]}, SchemaError, "did you mean 'network'"),
        ({"label": [0, 1], "a": [0.1, 0.2]}, {"slices": ["tone"]}, SchemaError, "'tone'"),
        ({"label": [0, 1], "a": [0.1, 0.2]}, {"compare": ["olz"]}, ConfigError, "olz"),
        ({"label": ["x", "y"], "a:x": [0.1, 0.2], "a:y": [0.9, 0.8]}, {"classes": ["x", "y"]}, ConfigError, "positive"),
        ({"label": [0, 1], "a": [0.1, 0.2]}, {"costs": {"aa": 2}}, ConfigError, "no scorer 'aa' - did you mean 'a'"),
        ({"label": [0, 1], "a": [0.1, 0.2]}, {"scorers": ["a", "a"]}, ConfigError, "once"),
        (
            {"label": [0, 1], "a": [0.1, 0.2]},
            {"threshold": "cost", "cost_false_negative": 0, "cost_false_positive": 0},
            ConfigError,
            "above 0",
        ),
        ({"label": pa.array([], pa.null()), "a": pa.array([], pa.null())}, {}, SchemaError, "holds no rows"),
        ({"label": [0, 1], **{f"s{i}": [0.1, 0.2] for i in range(41)}}, {}, ConfigError, "at most 40"),
    ],
)
def test_mistakes_are_named_with_the_mend(
    table: dict[str, Any], settings: dict[str, Any], error: type[AssaymarkError], says: str
) -> None:
    with pytest.raises(error, match=says):
        audit(pa.table(table), **settings)


def test_a_model_without_its_input_and_one_with_several_labels() -> None:
    picture = pa.array([b"x"] * 4, pa.binary())
    table = pa.table({"label": [0, 1, 0, 1], "image": picture})
    with pytest.raises(ModelError, match="unsafe="):
        audit(table, {"scorer.two": "fake:image-scorer?unsafe=red&drawing=blue"})
    with pytest.raises(ModelError, match="not all models"):
        audit(table, {"scorer.head": "fake:embedding-scorer"})
    with pytest.raises(InputError, match="no pictures"):
        audit(pa.table(columns()), zoo=2)


def test_skin_pixels_need_their_columns() -> None:
    inputs = {"scores": pa.table(columns()), "pixels": pa.table({"B": [1], "G": [2], "red": [3], "label": [1]})}
    with pytest.raises(SchemaError, match="no column 'r'"):
        execute(ScorerMixture, inputs=inputs, settings=FAST)
    twice = pa.table({"B": ["B", "1"], "G": ["G", "2"], "R": ["R", "3"], "label": ["label", "1"]})
    with pytest.raises(SchemaError, match="column 'R' holds something else than numbers"):
        execute(ScorerMixture, inputs={**inputs, "pixels": twice}, settings=FAST)
