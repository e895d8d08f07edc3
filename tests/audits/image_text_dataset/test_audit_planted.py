"""The planted experiments through the whole audit: what was put into the tables is what the result says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.linalg import orthogonal_procrustes

from assaymark.audits.image_text_dataset.audit import ImageTextDataset
from assaymark.audits.image_text_dataset.method.downstream import PAPER_CLASSES
from assaymark.audits.image_text_dataset.planted import (
    IDENTITY_WORDS,
    PlantedRetrieval,
    PlantedTable,
    planted_caption_swap,
    planted_downstream,
    planted_retrieval,
    planted_tables,
)
from assaymark.audits.image_text_dataset.trials import method_trials
from assaymark.execution import execute
from assaymark.models import open_model
from assaymark.result import Result
from assaymark.testing.calibration import agrees

ENCODER = "fake:dual-encoder?dimension=64&seed=1"
CONCEPTS = ("c0", "c1", "c2", "c3")


def audit(inputs: dict[str, Any], models: dict[str, str] | None = None, **settings: Any) -> Result:
    return execute(ImageTextDataset, inputs=inputs, models=models or {}, settings={"terms": list(IDENTITY_WORDS), **settings})


def rows_of(result: Result, table: str, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in result.tables[table].rows()}


# -- A: tables ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted() -> PlantedTable:
    return planted_tables(11)  # 200,000 rows


@pytest.fixture(scope="module")
def found(planted: PlantedTable) -> Result:
    return audit({"pairs": planted.table}, probes=("slice_test", "tag_audit"))


def test_rates_of_all_terms_are_recovered(planted: PlantedTable, found: Result) -> None:
    """Counted exactly; the interval covers the planted probability (of seven, one may miss at 95 %)."""
    covered = 0
    for i, word in enumerate(IDENTITY_WORDS):
        estimate = found[f"slice_test.{word}"]
        inside = planted.term == i
        assert estimate.n == inside.sum()
        assert estimate.value == pytest.approx(planted.unsafe[inside].mean())
        covered += estimate.low <= planted.truth[f"unsafe_rate.{word}"] <= estimate.high
    assert covered >= len(IDENTITY_WORDS) - 1
    assert found["slice_test.base_rate"].value == pytest.approx(planted.unsafe.mean())


def test_only_the_planted_terms_are_raised_after_correction(found: Result) -> None:
    """Fisher's test is two-sided: a plain term may come out significantly *below* the rest, which holds z0 and z1."""
    by_term = rows_of(found, "slice_test", "term")
    significant = {term for term, row in by_term.items() if row["p_adjusted"] < 0.01}
    assert {term for term in significant if by_term[term]["risk_ratio"] > 1} == {"z0", "z1"}
    named = [f.sentence for f in found.findings if any(name.startswith("slice_test.z") for name in f.estimates)]
    assert len(named) == 2 and "'z0'" in named[0] and "'z1'" in named[1]
    assert by_term["z0"]["risk_ratio_low"] > 10 > by_term["z1"]["risk_ratio_high"] > by_term["z2"]["risk_ratio_high"]


def test_the_tag_recalls_as_little_as_planted(found: Result) -> None:
    assert found["tag_audit.recall"].value == pytest.approx(0.014, abs=0.005)
    assert found["tag_audit.lenient_recall"].low <= 0.208 <= found["tag_audit.lenient_recall"].high


def test_urls_find_five_points_more_than_texts_alone(planted: PlantedTable, found: Result) -> None:
    text_only = audit({"pairs": planted.table.drop_columns(["URL"])}, probes=("slice_test",))
    seen = [r["slice_test.base_rate"].value * planted.table.num_rows / planted.unsafe.sum() for r in (found, text_only)]
    assert seen[0] == pytest.approx(1.0)
    assert seen[0] - seen[1] == pytest.approx(0.05, abs=0.015)
    assert found["slice_test.url_only"].value == pytest.approx(planted.url_only.sum() / planted.unsafe.sum())


def test_substrings_count_the_decoys_and_words_do_not(planted: PlantedTable, found: Result) -> None:
    substring = audit({"pairs": planted.table}, probes=("slice_test",), unsafe_mode="substring")
    assert substring["slice_test.base_rate"].value == pytest.approx((planted.unsafe | planted.decoy).mean())
    assert substring["slice_test.base_rate"].value > 2 * found["slice_test.base_rate"].value


def test_a_row_with_the_token_in_its_url_alone_is_found() -> None:
    table = pa.table({"URL": ["https://a.example/porn/1.jpg", "https://a.example/2.jpg"], "TEXT": ["z0 garden", "z0 garden"]})
    result = audit({"pairs": table}, probes=("slice_test",))
    assert (result["slice_test.z0"].value, result["slice_test.url_only"].value) == (0.5, 1.0)


def test_terms_without_rows_have_no_rate_and_adjusted_p_keeps_the_order_of_p(planted: PlantedTable) -> None:
    result = audit({"pairs": planted.table.slice(0, 4_000)}, probes=("slice_test",), terms=[*IDENTITY_WORDS, "zz9", "zz8"])
    assert not result["slice_test.zz9"].defined and result["slice_test.zz9"].n == 0
    rows = result.tables["slice_test"].rows()
    absent = [row for row in rows if row["term"].startswith("zz")]
    assert all(row[c] is None for row in absent for c in ("rate", "rate_low", "rate_high", "p_value", "p_adjusted"))
    tested = sorted((row["p_value"], row["p_adjusted"]) for row in rows if row["rows"])
    assert len(tested) == len(IDENTITY_WORDS)
    assert all(p <= adjusted <= 1 for p, adjusted in tested)
    assert [adjusted for _, adjusted in tested] == sorted(adjusted for _, adjusted in tested)
    for row in rows:
        if row["rows"] and not row["unsafe"]:  # no unsafe row: still an interval, from 0 to above 0
            assert row["rate"] == row["rate_low"] == 0 < row["rate_high"] < 1


# -- B: retrieval ------------------------------------------------------------------------------------------------------------


def retrieval(seed: int, tmp_path: Any, **changes: Any) -> tuple[PlantedRetrieval, Result]:
    planted = planted_retrieval(seed, n=20_000, **changes)
    target = np.asarray(open_model(ENCODER).embed_texts(list(CONCEPTS)), dtype=float)
    rotation, _ = orthogonal_procrustes(planted.queries, target)
    np.save(tmp_path / "img_emb_0.npy", (planted.embeddings @ rotation).astype(np.float16))
    words = np.array([" ".join(CONCEPTS[i] for i in np.flatnonzero(row)) for row in planted.named])
    table = pa.table(
        {
            "TEXT": pa.array([f"photo {i} {word}" for i, word in enumerate(words)]),
            "NSFW": pa.array(np.where(planted.flagged, "NSFW", "UNLIKELY")),
            "score": pa.array(planted.unsafe.astype(np.float32)),
        }
    )
    inputs = {"pairs": table, "embeddings": str(tmp_path / "img_emb_0.npy")}
    models = {"dual_encoder": ENCODER, "image_unsafe": "column:score"}
    return planted, audit(inputs, models, probes=("retrieval",), queries=list(CONCEPTS), resamples=300)


def test_a_biased_concept_brings_up_unsafe_rows_that_the_filter_leaks(tmp_path: Any) -> None:
    planted, result = retrieval(2, tmp_path)
    # The random pictures behind this baseline belong to the concept too (8 %), and bring its unsafe rows with them; against
    # searches for something else the ratio is above 10 (see the trials below).
    assert result["retrieval.c0.ratio"].value > 8 and result["retrieval.c0.ratio"].low > 4
    assert result["retrieval.c0.unsafe_at_k"].low > 10 * planted.truth["unsafe.base"]
    assert result["retrieval.c0.leak"].low <= 0.3 <= result["retrieval.c0.leak"].high
    verdicts = {row["query"]: row["verdict"] for row in result.tables["retrieval_test"].rows()}
    assert verdicts["c0"] == "in the data"
    assert not {verdicts[c] for c in CONCEPTS[1:]} & {"in the data", "model misassociates"}


def test_plain_text_search_tells_the_model_from_the_data(tmp_path: Any) -> None:
    _, result = retrieval(2, tmp_path, biased=True)
    verdicts = {row["query"]: row["verdict"] for row in result.tables["retrieval_test"].rows()}
    assert verdicts["c0"] == "model misassociates"


# -- C: caption swap ---------------------------------------------------------------------------------------------------------


def swaps(seed: int, *, turned: bool = False, **changes: Any) -> Result:
    planted = planted_caption_swap(seed, **changes)
    sides = [(planted.images * side).sum(axis=1) for side in (planted.benign, planted.harmful)]
    benign, harmful = reversed(sides) if turned else sides
    table = pa.table({"image": planted.image, "axis": planted.group, "cos_benign": benign, "cos_harmful": harmful})
    return audit({"pairs": pa.table({"TEXT": ["a"]}), "swaps": table}, probes=("caption_swap",), resamples=300)


def test_the_planted_preference_for_harm_is_recovered_for_its_group_alone() -> None:
    result = swaps(4)
    assert result["caption_swap.G1.delta"].value == pytest.approx(0.03, abs=0.003)
    assert result["caption_swap.G2.delta"].low <= 0 <= result["caption_swap.G2.delta"].high
    assert result["caption_swap.G1.flip.0.3"].low > result["caption_swap.G2.flip.0.3"].high
    axes = {finding.sentence.split("'")[1] for finding in result.findings if finding.severity == "warning"}
    assert axes == {"G1"}


def test_no_admission_flips_far_from_the_cut_off() -> None:
    result = swaps(4, tau=0.6)
    assert [result[f"caption_swap.G1.flip.{tau}"].value for tau in ("0.25", "0.28", "0.3")] == [0, 0, 0]


def test_swapping_the_captions_flips_the_sign() -> None:
    there, back = swaps(4), swaps(4, turned=True)
    for group in ("G1", "G2"):
        a, b = there[f"caption_swap.{group}.delta"], back[f"caption_swap.{group}.delta"]
        assert (a.value, a.low, a.high) == pytest.approx((-b.value, -b.high, -b.low), abs=2e-3)
        assert a.value == -b.value


# -- D: scale law, E: downstream ---------------------------------------------------------------------------------------------


def test_trials_meet_their_expectations() -> None:
    trials = [trial for seed in range(3) for trial in method_trials(seed)]
    assert len({trial.name for trial in trials}) == 4
    assert sum(bool(agrees(trial)) for trial in trials) >= len(trials) - 1


def test_the_gap_between_groups_is_recovered_under_both_encoders() -> None:
    planted = planted_downstream(5)

    def faces(cosines: Any) -> pa.Table:
        scores = {f"score:{name}": 100 * cosines[:, i] for i, name in enumerate(PAPER_CLASSES)}
        return pa.table({"race": planted.race, "gender": planted.gender, **scores})

    pairs = pa.table({"TEXT": ["a"]})
    inputs = {"pairs": pairs, "faces": faces(planted.scores_b), "faces_baseline": faces(planted.scores_a)}
    result = audit(inputs, probes=("downstream",), resamples=300)
    assert result["downstream.race.r1.gap"].value == pytest.approx(planted.truth["gap_b"], abs=0.02)
    only_a = audit({"pairs": pairs, "faces": faces(planted.scores_a)}, probes=("downstream",), resamples=300)
    assert only_a["downstream.race.r1.gap"].value == pytest.approx(planted.truth["gap_a"], abs=0.02)
    assert result["downstream.gender.f.gap"].low <= 0 <= result["downstream.gender.f.gap"].high
    change = {(row["group"], row["class"]): row["mean"] for row in result.tables["downstream_change"].rows()}
    for gender in ("f", "m"):
        assert change[f"r1 {gender}", "human being"] < -0.05 < change[f"r2 {gender}", "human being"] < 0.05
    assert any("'r1 " in finding.sentence for finding in result.findings if finding.severity == "warning")
