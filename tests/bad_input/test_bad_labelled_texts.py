"""Labelled texts, detectors and annotated posts that are wrong, one-sided or broken; a service that fails half-way."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcomes import Outcome, refused, survived
from post_inputs import (
    audited,
    called,
    flow,
    labelled,
    outcome_of,
    posts,
    rows,
    said,
    texts,
    undefined,
    write,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from json_service import Reply, Service, serve

N = 160
ROOM = "generated-text-prevalence"
UNIGRAM = ("--model", "detector.u=py:assaymark.audits.generated_text_prevalence.planted:UnigramModel")
ERRORS = ("detector.sensitivity", "prevalence.a", "prevalence.a.last", "prevalence.a.rise")
CORRECTED = ("prevalence.a", "prevalence.a.last", "prevalence.a.rise", "prevalence.a.last.floor_adjusted", "change.a.slope")


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch) -> None:
    """Drawing takes most of the time of small runs."""
    monkeypatch.setattr("assaymark.report.figures.draw", lambda *_, **__: "<svg></svg>")


def unknown_errors(done: Outcome, reason: str) -> None:
    """Nothing is corrected, for this reason; what the detector says is still counted."""
    for found in undefined(done, *ERRORS):
        assert reason in found
    assert done.estimate("prevalence.a.called")["value"] is not None
    assert "as counted, not corrected" in said(done)


# -- labels -----------------------------------------------------------------------------------------------------------------


def test_labels_of_one_kind(command) -> None:
    unknown_errors(
        survived(audited(command, known=labelled(label=["human"] * N))), "no labelled texts that are machine-written"
    )
    empty = {name: values[:0] for name, values in labelled().items()}
    unknown_errors(survived(audited(command, known=empty), "holds no rows"), "no labelled texts that are machine-written")


def test_labels_that_are_neither_and_the_mend_works(command) -> None:
    strange = labelled(label=["A", "B", "A", "B", None, "B", "A", " "] * 20)
    done = survived(audited(command, known=strange), "no label says who wrote a text: name the values with machine=[...]")
    assert flow(done, "texts")["skipped"] == {"no label": 40, "label that is neither": 120}
    unknown_errors(done, "name the values with machine=[...]")
    some = labelled(label=["human", "B"] * (N // 2))
    done = survived(audited(command, known=some), "80 labels do not say who wrote the text: name the values with machine=")
    unknown_errors(done, "no labelled texts that are machine-written; name the values")
    mended = survived(audited(command, known=strange, settings=("machine=[b]", "human=[a]")))
    assert flow(mended, "texts")["skipped"] == {"no label": 40}
    assert mended.estimate("prevalence.a")["value"] is not None
    refused(audited(command, known=strange, settings=("machine=[a]", "human=[A]")), "must not repeat what machine lists (a)")


def test_a_detector_that_is_the_wrong_way_round_is_named(command) -> None:
    turned = [1 - score for score in labelled()["score"]]
    done = survived(audited(command, posts(score=[1 - score for score in posts()["score"]]), labelled(score=turned)))
    assert "d gives human texts the larger probability" in said(done)
    right = survived(audited(command, known=labelled()))
    assert "larger probability" not in said(right)
    assert done.estimate("prevalence.a")["value"] == pytest.approx(right.estimate("prevalence.a")["value"], abs=0.15)


def chance(n: int = N) -> list[float]:
    """Equal scores for both kinds."""
    return np.repeat(np.random.default_rng(0).random(n // 2), 2).tolist()


@pytest.mark.parametrize("scores", [chance(), [0.5] * N])
def test_a_detector_that_knows_nothing_corrects_nothing(command, scores: list[float]) -> None:
    counts = np.random.default_rng(4).poisson(5, 240).tolist()
    table = posts(likes=counts, topic=["t"] * 240, followers=counts)
    done = survived(audited(command, table, labelled(score=scores), settings=("methods=[cc, acc, pacc, mle]",)))
    assert "No detector here can count" in said(done) and "larger probability" not in said(done)
    for reason in undefined(done, *CORRECTED, "prevalence.all_platforms", "topic.t", "engagement.likes.ratio"):
        assert "cell" not in reason
    shares = {row["method"]: row["share"] for row in rows(done, "prevalence_methods")}
    assert {name for name, share in shares.items() if share is not None} == {"classify and count"}
    for row in (*rows(done, "topics"), *rows(done, "followers")):
        assert row["corrected"] is None
    assert all(row["pacc"] is None and row["floor_adjusted"] is None for row in rows(done, "prevalence"))


def test_too_few_labelled_texts_correct_nothing(command) -> None:
    likes = np.random.default_rng(4).poisson(5, 240).tolist()
    known = labelled(24, generator=[None, "g1", None, "g2"] * 6)
    done = survived(audited(command, posts(topic=["t"] * 240, likes=likes), known))
    for reason in undefined(done, *CORRECTED, "topic.t", "prevalence.a.last.any_generator", "engagement.likes.ratio"):
        assert "too few to know the detector's errors: 20 of each are needed" in reason
    assert done.estimate("detector.sensitivity")["n"] < 20


def test_human_texts_that_are_too_young_and_texts_with_both_labels(command) -> None:
    known = labelled(created_at=["2024-01-01", "2024-01-01", "2022-05-01", "2019-01-01"] * 40, source_id=None)
    known["text"][:2] = ["the very same words"] * 2
    survived(
        audited(command, known=known),
        "40 texts labelled human are dated after 2022-11-30",
        "80 texts labelled human are dated after the cut-off 2022-01-01",
        "1 texts are labelled human in one row and machine-written in another",
    )


def test_texts_of_one_source_cannot_be_divided(command) -> None:
    unknown_errors(survived(audited(command, known=labelled(source_id=["x"] * N))), "all labelled texts are of one source")
    same = labelled(text=["the very same words of a text"] * N, source_id=None)
    unknown_errors(survived(audited(command, known=same)), "all labelled texts are of one source or nearly repeat")
    long = " ".join(texts(1, 5, 40))
    alike = labelled(text=[f"{long} {i}" for i in range(N)])
    unknown_errors(survived(audited(command, known=alike, settings=("near_duplicates=0.8",))), "nearly repeat each other")
    alike["text"][40:] = texts(N - 40, 6)
    survived(audited(command, known=alike, settings=("near_duplicates=0.8",)), "39 labelled texts nearly repeat another one")
    lost = survived(audited(command, known=labelled(source_id=[None] * N)))
    assert lost.estimate("prevalence.a")["value"] is not None, "without ids a text is its own source"


def test_labelled_texts_that_are_posts_too(command) -> None:
    known = labelled()
    done = survived(audited(command, posts(text=[*known["text"][:50], *texts(190, 8)]), known), "50 counted posts are among")
    assert flow(done)["used"] == 240
    other = survived(audited(command, posts(text=texts(240, 8)), known))
    assert "are among the labelled texts" not in other.notes


# -- columns and files ------------------------------------------------------------------------------------------------------


def test_columns_that_the_labelled_texts_lack(command) -> None:
    refused(
        audited(command, known=labelled(label=None)), "labelled.parquet: no labelled texts", "--column label=COLUMN", lines=2
    )
    refused(
        audited(command, known=labelled(score=None, scores=labelled()["score"])),
        "labelled.parquet: no score column 'score' - did you mean 'scores'", lines=2,
    )  # fmt: skip
    refused(audited(command, known=labelled(text=None), model=UNIGRAM), "no column for 'text'", lines=2)
    survived(audited(command, known=labelled(text=None)))
    survived(audited(command, known=labelled()), "(column generator)")


def test_scores_that_are_missing_for_a_whole_kind(command) -> None:
    known = labelled()
    holes = [None if label == "machine" else score for label, score in zip(known["label"], known["score"], strict=True)]
    unknown_errors(
        survived(audited(command, known={**known, "score": pa.array(holes, pa.float64())})),
        "no detector can be calibrated; d: it has scores for too few machine-written texts",
    )


def test_files_of_pairs_that_break_off(command) -> None:
    write("posts.parquet", posts(text=texts(240, 9)))
    Path("half.json").write_text('{"original": ["a b c d", "e f g h"], "samp')
    refused(called(command, "posts.parquet", "labelled=half.json", model=UNIGRAM), "half.json", "is not valid JSON")
    Path("uneven.json").write_text(json.dumps({"original": ["a b c"] * 5, "sampled": ["d e f"] * 4}))
    refused(called(command, "posts.parquet", "labelled=uneven.json", model=UNIGRAM), "original (5), sampled (4)")
    written = texts(60, 4)
    pairs = [{"question": f"q {i}", "human_answers": [written[i]], "chatgpt_answers": [written[i + 30]]} for i in range(30)]
    Path("hc3.jsonl").write_text("\n".join(map(json.dumps, pairs)) + '\n{"question": "half", "human_ans')
    done = survived(
        called(command, "posts.parquet", "labelled=hc3.jsonl", model=UNIGRAM),
        "unfolded into 60 texts", "rows that could not be read, such as half a line: 1",
    )  # fmt: skip
    assert flow(done, "texts")["used"] == 60


# -- detectors --------------------------------------------------------------------------------------------------------------


class Unnamed:
    """A classifier whose labels say nothing."""

    fingerprint, spec, labels, multi_label = "unnamed 1", "py:unnamed", ("LABEL_0", "LABEL_1"), False

    def score_texts(self, texts: list[str]) -> Any:
        share = np.array([0.2 + 0.6 * ("red" in text) for text in texts])
        return np.column_stack([1 - share, share])


def test_a_classifier_whose_labels_say_nothing(command, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "unnamed_detector", sys.modules[__name__])
    model = ("--model", "detector.c=py:unnamed_detector:Unnamed")
    table = posts(text=texts(240, 9))
    ask = "which of its labels (LABEL_0, LABEL_1) means machine-written? Say so with --set 'machine_label={c: LABEL}'"
    refused(audited(command, table, labelled(), model=model), ask)
    wrong = audited(command, table, labelled(), model=model, settings=("machine_label={c: LABEL_2}",))
    refused(wrong, "unknown label 'LABEL_2'", "'LABEL_0'", "setting 'machine_label', detector c")
    other = audited(command, table, labelled(), model=model, settings=("machine_label={d: LABEL_1}",))
    refused(other, "unknown detector 'd'; known: c")
    survived(audited(command, table, labelled(), model=model, settings=("machine_label={c: label_1}",)))


def test_scores_of_a_language_model_need_labelled_texts_or_published_numbers(command) -> None:
    table = posts(text=texts(240, 9))
    done = survived(audited(command, table, model=UNIGRAM))
    for reason in undefined(done, "prevalence.a", "prevalence.a.called"):
        assert "no probabilities" in reason and "labelled=FILE" in reason
    assert "Nothing is counted" in said(done)
    done = survived(audited(command, table, model=UNIGRAM, settings=("parameters=gpt-neo-2.7B",)))
    assert done.estimate("prevalence.a.called")["n"] == 120
    assert undefined(done, "prevalence.a").pop().startswith("no labelled texts were given")


@pytest.mark.parametrize(
    ("model", "setting", "says"),
    [
        ("detector.u=UNIGRAM", "token_detectors=[fast-detectgp]", "unknown token detector 'fast-detectgp' - did you mean"),
        ("detector.u=UNIGRAM", "token_detectors=[fast-detectgpt-sampled]", "which needs log_likelihood, sampled_mean"),
        ("detector.u=UNIGRAM", "detector=u.entropie", "did you mean 'u.entropy'"),
        ("detector.u=UNIGRAM", "perturbations=2", "give one with --model span_filler=SPEC"),
        ("span_filler=fake:span-filler", "texts=0", "only with a number of rewritings: --set perturbations=10"),
        ("detector.d=column:score", "perturbations=2", "--model span_filler=SPEC"),
        ("detector.d.x=column:score", "texts=0", "--model detector.d.x: a detector's name holds no dot; call it d-x"),
        ("detector.d=column:scor", "texts=0", "no score column 'scor' - did you mean 'score'"),
        ("generator.g=fake:generator", "texts=0", "works on labelled texts: give them with labelled=FILE"),
        ("trainee=fake:text-keywords", "texts=0", "cannot take the role 'trainee'"),
    ],
)  # fmt: skip
def test_detectors_and_models_that_cannot_be(command, model: str, setting: str, says: str) -> None:
    spec = model.replace("UNIGRAM", UNIGRAM[1].partition("=")[2])
    refused(audited(command, posts(12, text=texts(12, 9)), settings=(setting,), model=("--model", spec)), says, lines=2)


def test_two_detectors_on_one_column_and_odd_names(command) -> None:
    both = ("--model", "detector.<b>=column:score", "--model", "detector.é e=column:score")
    done = survived(audited(command, known=labelled(), model=both))
    assert [row["counts"] for row in rows(done, "detectors")] == [True, False]


def test_generators_that_write_twins(command) -> None:
    model = (*UNIGRAM, "--model", "generator.g=fake:generator")
    known = labelled(40, label=["human"] * 40, score=None)
    settings = ("twins=30", "prompt_styles=[rewrite]", "near_duplicates=0")
    done = survived(audited(command, posts(text=texts(240, 9)), known, model=model, settings=settings))
    (row,) = rows(done, "twins")
    assert row["written"] + row["empty"] == 30


# -- annotated posts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score": pa.nulls(N, pa.float64())}, "no annotated post has a label and a score"),
        ({"label": ["x"] * N}, "no annotated post has a label and a score"),
        ({}, "no annotated post has a label and a score"),
        ({"label": ["human"] * N, "score": [0.9] * N}, ""),
    ],
)
def test_annotated_posts_that_say_nothing(command, changes: dict[str, Any], reason: str) -> None:
    sample = labelled(**changes) if changes else {name: values[:0] for name, values in labelled().items()}
    done = survived(audited(command, None, labelled(), f"annotated={write('annotated.parquet', sample)}"))
    if reason:
        assert undefined(done, "annotated.labels", "annotated.ppi", "annotated.ppi_tuned") == {reason}
    else:
        assert "contradict each other" in undefined(done, "annotated.ppi").pop()
        assert done.estimate("annotated.labels")["value"] == 0


def test_annotated_posts_without_their_columns_are_refused_before_the_posts_are_read(command, monkeypatch) -> None:
    monkeypatch.setattr("assaymark.audits.generated_text_prevalence.audit.read_posts", lambda *_, **__: pytest.fail("too late"))
    for changes, says in (({"label": None}, "no labelled texts"), ({"score": None}, "no score column 'score'")):
        sample = write("annotated.parquet", labelled(**changes))
        refused(audited(command, None, labelled(), f"annotated={sample}"), "annotated.parquet", says, lines=2)


# -- failures half-way ------------------------------------------------------------------------------------------------------


def answered(number: int, body: Any) -> Reply:
    return Reply({"p": 0.2 + 0.6 * ("red" in body["text"].split()[:2])})


@pytest.fixture
def service() -> Iterator[Service]:
    with serve(answered) as found:
        yield found


def asked(service: Service) -> tuple[str, ...]:
    return "--model", f"detector.s=api:{service.url}/d?field=text&score=p&retries=0&concurrency=1"


def told(folder: str) -> dict[str, Any]:
    """All that a run says of the data."""
    result = json.loads(Path(folder, "run.json").read_text())["steps"][0]["result"]
    del result["provenance"]
    return result


def same(one: str, other: str) -> None:
    assert told(one) == told(other)
    for path in Path(one, "tables").iterdir():
        assert pq.read_table(path) == pq.read_table(Path(other, "tables", path.name))


@pytest.mark.parametrize("after", [30, 150])
def test_a_service_that_fails_half_way(command, monkeypatch, service: Service, after: int) -> None:
    """Amid the labelled texts, and amid the posts: the answers that were paid for are not asked for again."""
    monkeypatch.setenv("ASSAYMARK_SALT", "0123456789abcdef")
    inputs = (
        write("posts.parquet", posts(120, text=texts(120, 9))),
        f"labelled={write('labelled.parquet', labelled(100, score=None))}",
    )
    service.answer = lambda number, body: answered(number, body) if number < after else Reply({"busy": True}, status=503)
    done = called(command, *inputs, model=asked(service), out="broken")
    refused(done, service.url.removeprefix("http://"), "status 503", "run again", "assaymark resume broken", lines=2)
    service.answer = answered
    done = outcome_of(command("resume", "broken", "--quiet"), "broken")
    survived(done)
    good = [body["text"] for number, body in enumerate(service.bodies) if number < after]
    later = [body["text"] for body in service.bodies[after + 1 :]]
    assert len(good) == after and not set(good) & set(later[1:]), "only what is missing is asked for"
    monkeypatch.setenv("ASSAYMARK_CACHE", str(Path("other cache").resolve()))
    survived(called(command, *inputs, model=asked(service), out="whole"))
    same("broken", "whole")


def test_stopped_in_the_middle_of_the_posts_and_resumed(command, monkeypatch) -> None:
    monkeypatch.setenv("ASSAYMARK_SALT", "0123456789abcdef")
    monkeypatch.setattr("assaymark.data.scan.GROUP_ROWS", 80)
    monkeypatch.setattr("assaymark.data.scan._cores", lambda run: 1)
    from assaymark.data import scan

    Path("parts").mkdir()
    table, written = posts(likes=list(range(240)), topic=["a", "b"] * 120), texts(240, 9)
    for i in range(6):
        part = {name: values[40 * i : 40 * i + 40] for name, values in {**table, "text": written}.items()}
        write(f"parts/{i}.parquet", part)
    inputs = ("parts", f"labelled={write('labelled.parquet', labelled())}")
    kept, saved = scan.save_checkpoint, []

    def stop(*arguments: Any) -> None:
        kept(*arguments)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    settings = ("texts=20", "words=5", "author_level=true")
    with monkeypatch.context() as patch:
        patch.setattr(scan, "save_checkpoint", stop)
        stopped = called(command, *inputs, settings=settings, out="stopped")
        assert stopped.code == 130 and "Traceback" not in stopped.err
    assert command("resume", "stopped", "--quiet").code == 0
    assert "scan resumed" in Path("stopped/log.jsonl").read_text()
    survived(called(command, *inputs, settings=settings, out="whole"))
    same("stopped", "whole")
