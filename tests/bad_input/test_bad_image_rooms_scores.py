"""Score tables, models and mixtures that are incomplete, doubled, damaged or of something else."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_rooms import (
    DULL,
    RED,
    SHARP,
    artifact,
    as_lists,
    call,
    flow,
    labelled_pictures,
    picture,
    scored,
    unit_vectors,
    write,
)
from outcomes import Outcome, refused, survived

ROOM, N = "scorer-mixture", 300
WITHOUT_SCORES = "there are no labelled rows to fit on"


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch) -> None:
    """Drawing takes most of the time of small runs; that figures of odd results can be drawn is tested with the pictures."""
    monkeypatch.setattr("assaymark.report.figures.draw", lambda *_, **__: "<svg></svg>")


def mix(command: Any, *arguments: object, table: dict[str, Any] | None = None, **options: Any) -> Outcome:
    write("scores.parquet", **(scored() if table is None else table))
    return call(command, ROOM, "scores.parquet", *arguments, **options)


def test_a_scorer_given_twice_has_finite_weights_and_a_warning(command) -> None:
    columns = scored()
    done = survived(mix(command, table={**columns, "c": columns["a"]}), "not to be interpreted one by one")
    weights = [done.estimate(f"weights.{name}")["value"] for name in "abc"]
    assert all(math.isfinite(weight) for weight in weights)
    assert weights[0] == pytest.approx(weights[2]), "the copies share what either of them would carry"
    assert done.estimate("vif.a")["value"] == "Infinity" or float(done.estimate("vif.a")["value"]) > 1e3
    assert any("repeat each other" in finding["sentence"] for finding in done.result["findings"])
    alone = survived(mix(command))
    assert weights[0] + weights[2] == pytest.approx(alone.estimate("weights.a")["value"], abs=0.2)


@pytest.mark.parametrize("holes", [[None, math.nan, math.inf, -math.inf], ["", "nan", "high", "0,5"]])
def test_scores_that_are_missing_are_counted_and_never_zero(command, holes: list[Any]) -> None:
    columns, words = scored(), isinstance(holes[0], str)
    given = [holes[i % 4] if i < 60 else float(score) for i, score in enumerate(columns["a"])]
    columns["a"] = [str(value) for value in given] if words else pa.array(given, pa.float64())
    named = ("--set", "scorers=[a, b]")
    done = survived(mix(command, *named, table=columns), *(["counts as missing: 45"] if words else []))
    assert flow(done)["used"] == N
    patterns = {row["missing"]: row["rows"] for row in pq.read_table(table_of(done, "missing_scores")).to_pylist()}
    assert patterns["a"] == 60
    complete = {name: np.asarray(values)[60:] for name, values in scored().items()}
    whole = survived(mix(command, *named, table={**complete, "split": splits(done)}))
    assert done.estimate("weights.a")["value"] == pytest.approx(whole.estimate("weights.a")["value"]), (
        "the rows without it do not pull"
    )


def table_of(done: Outcome, name: str) -> Path:
    (path,) = [path for path in Path().glob(f"run*/tables/*{name}.parquet") if json.loads(record(path)) == done.result]
    return path


def record(path: Path) -> str:
    return json.dumps(json.loads((path.parents[1] / "run.json").read_text())["steps"][0]["result"])


def splits(done: Outcome) -> list[str]:
    """How that run divided the rows that have every score."""
    folder = str(table_of(done, "missing_scores").parents[1])
    rows = {row["row"]: row["split"] for row in pq.read_table(artifact(done, "predictions", folder)).to_pylist()}
    return [rows[i] for i in range(60, N)]


def test_columns_that_are_no_scores(command) -> None:
    columns = scored()
    done = survived(
        mix(command, table={**columns, "a": 100 * columns["a"]}), "values outside [0, 1]", "something else than scores: a"
    )
    assert done.estimate("weights.b")["value"] is not None
    refused(
        mix(command, "--set", "scorers=[a, b]", table={**columns, "a": 100 * columns["a"]}),
        "scorer 'a' has values from",
        lines=2,
    )
    one = np.where(np.arange(N) == 3, 1.5, columns["a"])
    refused(mix(command, "--set", "scorers=[a, b]", table={**columns, "a": one}), "to 1.5; a score is a probability", lines=2)
    survived(mix(command, table={**columns, "remark": ["high"] * N}), "are not taken for scores: remark (text)")
    refused(mix(command, table={"label": columns["label"], "remark": ["high"] * N}), "no score column", "--set scorers=[a, b]")
    refused(mix(command, "--set", "scorers=[a, label]"), "column 'label' is the label, which no scorer may know")
    refused(mix(command, "--set", "scorers=[a, bb]"), "no column 'bb'")
    refused(mix(command, "--set", "costs={a: 1, aa: 2}"), "setting 'costs': no scorer 'aa'")


@pytest.mark.parametrize(
    ("label", "used", "reason"),
    [
        ([1] * N, N, "no safe image"),
        (["sfw"] * N, N, "no unsafe image"),
        (["maybe"] * N, 0, WITHOUT_SCORES),
        (pa.nulls(N, pa.string()), 0, WITHOUT_SCORES),
    ],
)
def test_labels_that_teach_nothing(command, label: Any, used: int, reason: str) -> None:
    done = survived(mix(command, table=scored(label=label)))
    assert flow(done)["used"] == used
    for name in ("mixture.accuracy", "weights.a", "best_single.accuracy", "vif.a"):
        assert done.estimate(name)["value"] is None and reason in done.estimate(name)["reason"]


def test_models_that_do_not_fit(command) -> None:
    refused(mix(command, "--model", "scorer=fake:image-scorer"), "takes several models", "scorer.NAME=SPEC")
    refused(mix(command, "--model", "scorer.=fake:image-scorer"), "unknown model role 'scorer.'", "scorer.NAME")
    refused(mix(command, "--model", "scorer.a="), "write it as ROLE=SPEC")
    refused(mix(command, "--model", "scorr.x=fake:image-scorer"), "did you mean 'scorer.NAME'?")
    refused(mix(command, *SHARP), "neither pictures nor embeddings", "score columns alone")
    pictures = labelled_pictures(4)
    two = "scorer.a=fake:image-scorer?unsafe=red&drawing=blue"
    refused(mix(command, "--model", two, table=pictures), "scorer 'a'", "has the labels unsafe, drawing", "?unsafe=")
    refused(mix(command, "--model", "scorer.a=fake:text-keywords", table=pictures), "cannot take the role 'scorer.a'")
    refused(mix(command, "--model", "scorer.a=mixture:nowhere", table=pictures), "nowhere", "cannot be read")
    refused(mix(command, "--set", "zoo=1"), "holds no pictures: networks cannot be trained", lines=2)


def test_embeddings_that_cannot_be_scored(command) -> None:
    head = ("--model", "scorer.head=fake:embedding-scorer?dimension=32&unsafe=red")
    odd = [unit_vectors(1, width=16)[0], None, np.zeros(32), np.full(32, np.nan)]
    done = survived(mix(command, *head, table={"embedding": as_lists([*odd, *unit_vectors(36)]), "label": [0, 1] * 20}))
    assert flow(done)["skipped"] == {"no score": 4}


def test_production_and_pixels_that_are_something_else(command) -> None:
    write("now.parquet", a=50 * scored()["a"], b=scored()["b"])
    refused(mix(command, "production=now.parquet"), "input 'production': scorer 'a' has", "outside [0, 1]", lines=2)
    write("now.parquet", a=pa.nulls(9, pa.float64()), b=scored(9)["b"])
    done = survived(mix(command, "production=now.parquet"), "production has no scores of a")
    assert done.estimate("drift.b.psi")["value"] is not None
    planes = {"B": [1.0, None, 3.0], "G": [1, 2, 3], "R": [1, 2, 3], "label": [1, 2, None]}
    write("pixels.parquet", **planes)
    survived(mix(command, "pixels=pixels.parquet"), "2 of 3 labelled pixels lack a colour or the label")
    for wrong, says in (({"B": [300, 1, 1]}, "between 0 and 255"), ({"B": ["x", "y", "z"]}, "something else than numbers")):
        write("pixels.parquet", **{**planes, **wrong})
        refused(mix(command, "pixels=pixels.parquet"), "input 'pixels'", says, lines=2)


# -- mixtures that were saved -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A mixture of two models, as its file holds it."""
    from assaymark.audits.scorer_mixture.audit import ScorerMixture
    from assaymark.execution import execute

    folder = tmp_path_factory.mktemp("saved")
    models = dict(spec.split("=", 1) for _, spec in (SHARP, DULL))
    table = pa.table(labelled_pictures(80))
    settings = {"resamples": 100, "compare": [], "skin": False}
    result = execute(ScorerMixture, inputs={"scores": table}, models=models, settings=settings, folder=folder)
    return json.loads((folder / result.artifacts["mixture"].file / "mixture.json").read_text())


def put(*path: Any) -> Callable[[Any], None]:
    """Another value at a place of the record."""
    *way, last, value = path

    def change(record: Any) -> None:
        for key in way:
            record = record[key]
        record[last] = value

    return change


MIXTURES: dict[str, tuple[Callable[[Any], None], str]] = {
    "version": (put("version", 99), "this assaymark reads 1: fit it again"),
    "format": (put("format", "other"), "is no mixture"),
    "weights": (put("weights", [1.0]), "has 1 weights"),
    "nan": (put("weights", [math.nan, 1.0]), "not a finite number"),
    "words": (put("weights", "ab"), "is damaged"),
    "threshold": (put("threshold", math.inf), "not a finite number"),
    "slope": (put("slope", 0), "rises"),
    "rule": (put("rule", "vote"), "not 'vote'"),
    "nobody": (put("members", []), "without members"),
    "counts": (put("measured", "sensitivity", [9, 3]), "counts 9 of 3"),
    "measured": (put("measured", [1]), "is damaged"),
    "pattern": (put("patterns", {"7": [[1.0], 0.0]}), "on the members '7'"),
    "transform": (put("members", 0, "transform", {"kind": "zog"}), "is damaged"),
    "member gone": (put("members", 0, "spec", "convnet:members/none.safetensors"), "none.safetensors"),
    "column": (put("members", 0, "spec", ""), "fit it on models alone"),
    "itself": (put("members", 0, "spec", "mixture:."), "a member of itself"),
    "text": (put("members", 0, "spec", "fake:text-keywords"), "do not all score pictures"),
}


def use(command: Any) -> Outcome:
    write("new.parquet", image=pa.array([picture(RED, i) for i in range(8)], pa.binary()), label=[0, 1] * 4)
    return call(command, ROOM, "new.parquet", "--model", "scorer.saved=mixture:kept", "--set", "skin=false")


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_that_cannot_be_used(command, saved, name: str) -> None:
    change, says = MIXTURES[name]
    altered = copy.deepcopy(saved)
    change(altered)
    Path("kept").mkdir()
    Path("kept/mixture.json").write_text(json.dumps(altered))
    refused(use(command), says)


def test_a_mixture_whose_file_is_damaged(command, saved) -> None:
    Path("kept").mkdir()
    refused(use(command), "kept/mixture.json", "cannot be read")
    for content in (b"", b"\xff\xfe\x00", json.dumps(saved).encode()[:300], b"[1]"):
        Path("kept/mixture.json").write_bytes(content)
        refused(use(command), "kept/mixture.json")
    Path("kept/mixture.json").write_text(json.dumps(saved))
    survived(use(command))


# -- plans ------------------------------------------------------------------------------------------------------------------

PLAN = """name: two-steps
steps:
  - {{id: tune, mitigate: image-offensiveness, inputs: {{ratings: {ratings}}}, set: {{resamples: 100, splits: 2}}}}
  - {{id: q16, audit: image-offensiveness, inputs: {{images: images.parquet}}, set: {{resamples: 100, prompts: {prompts}}}}}
"""


def planned(command: Any, **names: str) -> tuple[Outcome, list[str]]:
    write("images.parquet", embedding=as_lists(unit_vectors(30)))
    write("good.parquet", embedding=as_lists(unit_vectors(30)), rating=np.where(np.arange(30) % 2, 1.5, 4.5))
    write("neutral.parquet", embedding=as_lists(unit_vectors(30)), rating=[3.0] * 30)
    Path("plan.yaml").write_text(PLAN.format(**names))
    shutil.rmtree("run", ignore_errors=True)
    done = command("run", "plan.yaml", "--quiet", "--out", "run")
    steps = json.loads(Path("run/run.json").read_text())["steps"] if Path("run/run.json").exists() else []
    return done, [step["status"] for step in steps]


def test_references_to_what_is_not_there(command) -> None:
    done, steps = planned(command, ratings="good.parquet", prompts="$tun.prompts")
    refused(done, "plan.yaml line 4, step 'q16'", "unknown step 'tun' - did you mean 'tune'?")
    done, steps = planned(command, ratings="good.parquet", prompts="$tune.promts")
    assert (done.code, steps) == (3, ["done", "failed"]), "the finished step is kept"
    assert "step tune left no 'promts' - did you mean 'prompts'?" in done.err and "Traceback" not in done.err
    done, steps = planned(command, ratings="neutral.parquet", prompts="$tune.prompts")
    assert (done.code, steps) == (3, ["failed", "skipped"])
    assert len(done.err.splitlines()) == 1 and "step tune failed: input 'ratings': 0 images are rated" in done.err
