"""The room on planted streams: each kind of detector, each input, each option that changes what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assaymark as am
from assaymark.audits.generated_text_prevalence.planted import (
    UnigramModel,
    planted_posts,
    planted_words,
    written_texts,
)
from assaymark.result import Result

ROOM = "generated-text-prevalence"
SETTINGS: dict[str, Any] = {"min_words": 5, "resamples": 100, "permutations": 99, "texts": 0, "words": 0, "near_duplicates": 0}
RISING, FLAT = 0.3, 0.0


def scores(machine: np.ndarray, rng: np.random.Generator, distance: float = 3.0) -> np.ndarray:
    raw = rng.standard_normal(machine.size) + np.where(machine, 0.5, -0.5) * distance
    return 1 / (1 + np.exp(-distance * raw))


@pytest.fixture(scope="module")
def stream() -> pa.Table:
    """24 months of two platforms with precomputed scores: A rises to 30 % at once in January 2023, B has no machines."""
    rng = np.random.default_rng(0)
    platform = np.repeat(["A", "B"], 24 * 100)
    month = np.tile(np.repeat(np.arange(24), 100), 2)
    machine = rng.random(platform.size) < np.where((platform == "A") & (month >= 12), RISING, FLAT)
    dates = [f"{2022 + m // 12}-{m % 12 + 1:02d}-10T08:00:00Z" for m in month]
    order = rng.permutation(platform.size)
    columns = {
        "id": np.arange(platform.size).astype(str),
        "created_at": dates,
        "platform": platform,
        "score": scores(machine, rng),
        "topic": rng.choice(["tech", "food"], platform.size),
        "author": rng.integers(60, size=platform.size).astype(str),
        "truth": machine,
    }
    return pa.table({name: pa.array(values).take(pa.array(order)) for name, values in columns.items()})


@pytest.fixture(scope="module")
def labelled() -> pa.Table:
    rng = np.random.default_rng(1)
    machine = np.arange(1200) % 2 == 1
    generator = np.where(machine, np.where(np.arange(1200) % 4 == 1, "m1", "m2"), None)
    source = (np.arange(1200) // 2).astype(str)
    return pa.table({"label": machine.astype(int), "score": scores(machine, rng), "generator": generator, "source_id": source})


def audited(
    posts: Any, *, models: dict[str, Any] | None = None, labelled: Any = None, out: Any = None, **changes: Any
) -> Result:
    inputs = {"posts": posts} | ({} if labelled is None else {"labelled": labelled})
    extra = changes.pop("inputs", {})
    return am.audit(
        ROOM, inputs | extra, models=models or {"detector.s": "column:score"}, seed=0, out=out, **{**SETTINGS, **changes}
    )


def covers(result: Result, name: str, truth: float) -> bool:
    estimate = result[name]
    return estimate.low is not None and estimate.high is not None and estimate.low <= truth <= estimate.high


def test_precomputed_scores_are_enough(stream: pa.Table, labelled: pa.Table) -> None:
    result = audited(stream.drop_columns(["truth"]), labelled=labelled)
    assert covers(result, "prevalence.a.last", RISING) and covers(result, "prevalence.b", FLAT)
    assert covers(result, "prevalence.a.last.any_generator", RISING)
    rows = {row["platform"]: row for row in result.tables["changes"].rows()}
    assert rows["A"]["onset"] == "2023-01" and rows["A"]["p_value"] < 0.05 < rows["B"]["p_value"]
    loud = [finding.sentence for finding in result.findings if finding.severity == "warning"]
    assert loud and all(sentence.startswith("A: ") for sentence in loud)


def test_counting_is_biased_as_the_paper_does_not_say(stream: pa.Table, labelled: pa.Table) -> None:
    """CC = pi TPR + (1 - pi) FPR: the floor of platform B is the detector's, not the machine's."""
    result = audited(stream, labelled=labelled)
    sensitivity, specificity = (result[f"detector.{name}"].value for name in ("sensitivity", "specificity"))
    called = {row["platform"]: row["cc"] for row in result.tables["prevalence"].rows() if row["period"] == "2023-12"}
    assert result["prevalence.b.called"].value == pytest.approx(1 - specificity, abs=0.02)
    assert called["A"] == pytest.approx(RISING * sensitivity + (1 - RISING) * (1 - specificity), abs=0.12)
    assert result["prevalence.b.floor"].low > 0.03


def test_without_labelled_texts_nothing_is_corrected(stream: pa.Table) -> None:
    result = audited(stream)
    assert result["prevalence.a.called"].defined and not result["prevalence.a"].defined
    assert "no labelled texts" in result["prevalence.a"].reason
    values = [row["pacc"] for row in result.tables["prevalence"].rows()]
    assert not any(value is not None for value in values)
    assert not result["detector.sensitivity"].defined


def test_a_labelled_sample_of_the_stream_needs_no_detector_errors(stream: pa.Table) -> None:
    sample = stream.slice(0, 400)
    annotated = pa.table({"label": sample["truth"].cast(pa.int64()), "score": sample["score"]})
    result = audited(stream.drop_columns(["truth"]), inputs={"annotated": annotated})
    truth = float(np.mean(stream["truth"].to_numpy()))
    assert all(covers(result, f"annotated.{way}", truth) for way in ("labels", "ppi", "ppi_tuned"))
    width = {way: result[f"annotated.{way}"].high - result[f"annotated.{way}"].low for way in ("labels", "ppi_tuned")}
    assert width["ppi_tuned"] < width["labels"]


@pytest.mark.parametrize(("unit", "first"), [("week", "2022-W02"), ("day", "2022-01-10")])
def test_other_periods(stream: pa.Table, labelled: pa.Table, unit: str, first: str) -> None:
    result = audited(stream, labelled=labelled, unit=unit, methods=["cc", "pacc"])
    assert result.tables["prevalence"].rows()[0]["period"] == first


def test_authors_are_counted_not_named(stream: pa.Table, labelled: pa.Table) -> None:
    plain = audited(stream, labelled=labelled)
    assert "authors" not in plain.tables
    shown = audited(stream, labelled=labelled, author_level=True, anonymity=5)
    assert sum(row["authors"] for row in shown.tables["authors"].rows()) == 60
    assert not {"author", "author_id"} & set(shown.tables["authors"].data.column_names)


def test_a_turned_score_is_read_the_right_way_round(stream: pa.Table, labelled: pa.Table) -> None:
    """A score that is no probability, of any scale, high for people: the labelled texts teach its sign."""
    turned = [
        table.set_column(table.column_names.index("score"), "score", pa.array(-50 * np.asarray(table["score"])))
        for table in (stream, labelled)
    ]
    result = audited(turned[0], labelled=turned[1])
    assert covers(result, "prevalence.a.last", RISING) and covers(result, "prevalence.b", FLAT)


def test_weights_by_posterior(stream: pa.Table, labelled: pa.Table) -> None:
    rng = np.random.default_rng(3)
    likes = rng.poisson(np.where(stream["truth"].to_numpy(), 7.0, 10.0))
    table = stream.append_column("likes", pa.array(likes))
    for weights in ("hard", "posterior"):
        result = audited(table, labelled=labelled, weights=weights)
        assert covers(result, "engagement.likes.ratio", 0.7)
        assert result["engagement.likes.delta"].high < 0
    assert result["engagement.likes.called_ratio"].value > result["engagement.likes.ratio"].value


@pytest.fixture(scope="module")
def written() -> dict[str, pa.Table]:
    """A small stream of texts, and labelled texts in pairs."""
    drawn = planted_posts(5, 4)
    posts = pa.table(
        {
            "text": written_texts(drawn.words, drawn.offsets),
            "created_at": [f"{2022 + (m - 1) // 12}-{(m - 1) % 12 + 1:02d}-05" for m in drawn.month.tolist()],
        }
    )
    machine = np.arange(160) % 2 == 1
    words, offsets = planted_words(machine, np.random.default_rng(6))
    source = (np.arange(160) // 2).astype(str)
    return {
        "posts": posts,
        "labelled": pa.table({"text": written_texts(words, offsets), "label": machine, "source_id": source}),
    }


def test_rewritings_make_detectgpt(written: dict[str, pa.Table]) -> None:
    models = {"detector.m": UnigramModel.spec, "span_filler": "fake:span-filler?words=bababa|bebabe&seed=1"}
    result = audited(
        written["posts"].slice(0, 60), models=models, labelled=written["labelled"], perturbations=3, detector="m.log-likelihood"
    )
    found = {row["detector"]: row for row in result.tables["detectors"].rows()}
    assert {"m.detectgpt", "m.detectgpt-z", "m.npr"} <= set(found)
    assert result["detector.m.detectgpt.auroc"].low > 0.5  # rewriting with rare words costs the machine's texts more


def test_generators_write_twins_that_become_labelled_texts(written: dict[str, pa.Table]) -> None:
    humans = written["labelled"].filter(pa.compute.invert(written["labelled"]["label"]))
    models = {"detector.m": UnigramModel.spec, "generator.g": "fake:generator?vocabulary=babaa|babae|babai&words=40"}
    result = audited(
        written["posts"].slice(0, 60), models=models, labelled=humans, twins=50, prompt_styles=["rewrite", "continue"]
    )
    assert [row["written"] for row in result.tables["twins"].rows()] == [50, 50]
    assert [row["generator"] for row in result.tables["generators"].rows()] == ["g"]
    assert result["detector.m.log-likelihood.auroc"].low > 0.9


def test_a_classifier_is_read_by_the_name_of_its_label(written: dict[str, pa.Table]) -> None:
    models = {"detector.words": "fake:text-keywords?human=babaa&machine=zzz&noise=0"}
    result = audited(written["posts"].slice(0, 60), models=models, labelled=written["labelled"])
    assert "detector.words.auroc" in result.estimates
    named = audited(
        written["posts"].slice(0, 60),
        models={"detector.words": "fake:text-keywords?LABEL_0=babaa&LABEL_1=zzz&noise=0"},
        labelled=written["labelled"],
        machine_label={"words": "label_1"},
    )
    assert named["detector.words.auroc"].value == result["detector.words.auroc"].value


def test_short_posts_are_counted_by_period(written: dict[str, pa.Table]) -> None:
    posts = written["posts"]
    short = pa.concat_tables([posts, pa.table({"text": ["three short words"] * 7, "created_at": ["2023-05-05"] * 7})])
    result = audited(short, models={"detector.m": UnigramModel.spec}, labelled=written["labelled"])
    assert result.flows[0].skipped == {"too short": 7}
    row = next(row for row in result.tables["left_out"].rows() if row["period"] == "2023-05")
    assert row["reason_4"] == 7 and row["counted"] == 12


def test_style_and_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    calm = "the house is small and the garden is quiet . we like to sit there in the evening and read a book"
    loud = "crucially , this remarkable tapestry showcases a vibrant and truly comprehensive journey of innovation"
    machine = rng.random(400) < 0.4
    texts = [" ".join(rng.permutation((loud if m else calm).split())) + "." for m in machine]
    posts = pa.table({"text": texts, "created_at": ["2023-02-01"] * 400, "score": scores(machine, rng, 6.0)})
    labels = np.arange(400) % 2 == 1
    labelled = pa.table({"label": labels, "score": scores(labels, rng, 6.0)})
    (tmp_path / "style.txt").write_text("tapestry\nshowcases\nvibrant\n")
    result = audited(posts, labelled=labelled, texts=100, words=3, anonymity=5, dictionary=str(tmp_path / "style.txt"))
    assert result["style.dictionary"].low > 1 and result["style.characters_per_word"].low > 1
    words = [row["word"] for row in result.tables["words"].rows()]
    assert set(words[:3]) < set(loud.split()) and set(words[3:]) < set(calm.split())
    row = next(row for row in result.tables["style"].rows() if "list" in row["measure"])
    assert row["corrected"] >= row["difference"] > 100


def test_parquet_shards_of_scores(tmp_path: Path, stream: pa.Table, labelled: pa.Table) -> None:
    for part in range(4):
        pq.write_table(stream.slice(part * 1200, 1200), tmp_path / f"part-{part}.parquet")
    whole, parts = audited(stream, labelled=labelled), audited(str(tmp_path / "part-*.parquet"), labelled=labelled)
    assert dict(parts.estimates) == dict(whole.estimates)


def test_words_of_a_list_are_masked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    machine = np.arange(200) % 2 == 1
    texts = ["plain words porn badword" if m else "plain words kind gentle" for m in machine]
    posts = pa.table({"text": texts, "created_at": ["2023-02-01"] * 200, "score": scores(machine, rng, 8.0)})
    (tmp_path / "list.txt").write_text("badword\n")
    labelled = pa.table({"label": machine, "score": scores(machine, rng, 8.0)})
    result = audited(posts, labelled=labelled, words=10, anonymity=5, min_words=0, masked=[str(tmp_path / "list.txt")])
    words = [row["word"] for row in result.tables["words"].rows()]
    assert {"p***", "b******", "kind", "gentle"} <= set(words) and not {"porn", "badword"} & set(words)


def test_twins_are_kept_with_what_made_them(tmp_path: Path, written: dict[str, pa.Table]) -> None:
    models = {"detector.m": UnigramModel.spec, "generator.g": "fake:generator?vocabulary=babaa|babae&words=30"}
    result = audited(written["posts"].slice(0, 40), models=models, labelled=written["labelled"], twins=10, out=tmp_path / "run")
    kept = result.artifacts["twins"]
    assert kept.private
    rows = pq.read_table(tmp_path / "run" / kept.file).to_pylist()
    assert len(rows) == 30 and {row["prompt_style"] for row in rows} == {"continue", "rewrite", "polish"}
    assert {(row["label"], row["generator"], row["temperature"]) for row in rows} == {("machine", "g", 1.0)}
    again = audited(
        written["posts"].slice(0, 40),
        models={"detector.m": UnigramModel.spec},
        labelled=pa.concat_tables(
            [
                pa.Table.from_pylist([{k: row[k] for k in ("text", "label", "source_id")} for row in rows]),
                written["labelled"].set_column(1, "label", written["labelled"]["label"].cast(pa.string())),
            ],
            promote_options="default",
        ),
    )
    assert again.flows[1].used == 190


def test_a_platform_is_corrected_by_its_own_labelled_texts() -> None:
    """People on A write so that the detector flags a third of them, on B hardly any; no machine writes anywhere."""
    rng = np.random.default_rng(4)
    platform = np.repeat(["A", "B"], 1_200)

    def written_by_people(names: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-3 * (rng.standard_normal(names.size) + np.where(names == "A", -0.4, -2.0))))

    dates = [f"2022-{1 + i % 10:02d}-03" for i in range(platform.size)]
    posts = pa.table({"created_at": dates, "platform": platform, "score": written_by_people(platform)})
    names = np.tile(["A", "B"], 300)
    texts = {
        "score": np.concatenate([written_by_people(names), scores(np.ones(600, bool), rng)]),
        "platform": np.tile(names, 2),
    }
    table = pa.table({**texts, "label": np.repeat([0, 1], 600)})
    own = audited(posts, labelled=table)
    assert all(covers(own, f"prevalence.{name}", 0.0) for name in ("a", "b", "all_platforms"))
    assert not [finding.sentence for finding in own.findings if finding.severity == "warning"]
    pooled = audited(posts, labelled=table, least_platform=0)
    assert not covers(pooled, "prevalence.a", 0.0)
    assert any("differ by platform" in finding.sentence for finding in pooled.findings)
