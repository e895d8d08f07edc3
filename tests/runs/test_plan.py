"""Plans: the design's plan is read, and each mistake is named with its place before anything runs."""

from __future__ import annotations

import json

import pytest

from assaymark.errors import AssaymarkError, ConfigError, EngineError, InputError, PlanError, UnknownName
from assaymark.plan import dependencies, plan_from_json, references, resolve
from assaymark.plan_loading import load_plan
from assaymark.runner import run

DESIGN = """
name: captions-2026-11
engine: local                      # or ray://head:10001 - nothing else changes
inputs:
  pairs: {path: "s3://corpus/part-*.parquet", schema: auto}
models:
  text_toxicity: hf:unitary/toxic-bert
  dual_encoder: openclip:ViT-B-32/laion2b_s34b_b79k
steps:
  - {id: prompts, mitigate: image-offensiveness, inputs: {ratings: ratings.csv}}           # tunes the prompts
  - {id: scorer, audit: scorer-mixture, inputs: {scores: labelled_scores.parquet}}
  - {id: data, audit: image-text-dataset, inputs: {pairs: $pairs}, models: {image_unsafe: $scorer.mixture}, set: {lexicons: [lists/en.txt], terms: [terms.csv, woman]}}
gates:
  - data.hate_content_rate.any.high < 0.5%
  - data.tag_audit.recall.low > 60%
"""  # noqa: E501


@pytest.fixture
def beside(toys):
    for name in ("ratings.csv", "terms.csv", "lists/en.txt"):
        (toys / name).parent.mkdir(exist_ok=True)
        (toys / name).write_text("x\n")
    (toys / "values.parquet").rename(toys / "labelled_scores.parquet")
    return toys


def write(folder, text: str):
    path = folder / "plan.yaml"
    path.write_text(text)
    return path


def test_the_plan_of_the_design_is_read_and_runs(beside, monkeypatch) -> None:
    path = write(beside, DESIGN)
    monkeypatch.chdir("/")
    plan = load_plan(path)
    data = plan.steps[2]
    assert [step.kind for step in plan.steps] == ["mitigation", "audit", "audit"]
    assert dependencies(data) == {"scorer"}
    assert data.settings == {"lexicons": [str(beside / "lists/en.txt")], "terms": [str(beside / "terms.csv"), "woman"]}
    assert plan.inputs["pairs"].path == "s3://corpus/part-*.parquet"
    assert plan_from_json(json.loads(json.dumps(plan.to_json())), "x") == plan

    record = run(plan, out=beside / "out")
    assert [step.status for step in record.steps] == ["done"] * 3
    facts = json.loads(record.steps[2].result.notes[0])
    assert facts["models"] == {
        "image_unsafe": "out/artifacts/scorer/model.json",  # of the run's folder, which notes leave out
        "text_toxicity": "hf:unitary/toxic-bert",
        "dual_encoder": "openclip:ViT-B-32/laion2b_s34b_b79k",
    }
    assert facts["inputs"] == {"pairs": "s3://corpus/part-*.parquet"}
    assert record.exit_code == 2  # the toys have no such estimates  # the toys give no estimates, so no gate holds
    assert all("unknown estimate" in gate.reason for gate in record.gates)
    assert record.steps[2].result.provenance.settings["lexicons"] == ["lists/en.txt"]
    assert record.steps[0].result.provenance.inputs["ratings"]["source"] == "ratings.csv"


STEP = "name: p\nsteps:\n  - id: a\n    audit: toy-mean\n    inputs: {values: values.parquet}\n"


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("[1, 2]", PlanError, "is a mapping"),
        ("name: [", PlanError, "is not YAML"),
        ("name: p\n", PlanError, "'steps'"),
        ("name: p\nsteps: []\n", PlanError, "steps"),
        ("name: ../p\nsteps: [{id: a, audit: toy-mean}]\n", PlanError, "line 1: name"),
        (STEP + "sed: 3\n", PlanError, "line 6: unknown key 'sed' in the plan - did you mean 'seed'"),
        (STEP + "folder: /\n", PlanError, "unknown key 'folder'"),
        (STEP + "    modles: {}\n", PlanError, "line 6: unknown key 'modles' in the step - did you mean 'models'"),
        (STEP + "    settings: {}\n", PlanError, "line 6: unknown key 'settings'"),
        (STEP + "seed: -1\n", PlanError, "line 6: seed"),
        (STEP + "seed: one\n", PlanError, "line 6: seed"),
        (STEP + "seed: 1\nseed: 2\n", PlanError, "line 7: key 'seed' stands a second time (first in line 6)"),
        (STEP + "inputs: {x: {path: values.parquet, shema: auto}}\n", PlanError, "'schema'"),
        (STEP + "engine: locl\n", EngineError, "'local'"),
        (STEP + "engine: ray:/head\n", EngineError, "ray://HOST:PORT"),
        (STEP + "    mitigate: toy-mean\n", PlanError, "either 'audit: ID' or 'mitigate: ID'"),
        (STEP + "models: {scrorer: 'hf:x'}\n", PlanError, "line 6: no step has a model role 'scrorer' - did you mean 'scorer'"),
        (STEP + "    models: {scrorer: 'hf:x'}\n", UnknownName, "line 3, step 'a': unknown model role 'scrorer'"),
        (STEP + "    set: {levl: 0.3}\n", ConfigError, "line 3, step 'a': unknown setting 'levl' - did you mean 'level'"),
        (STEP + "    set: {level: 3}\n", ConfigError, "setting 'level'"),
        (STEP + "gates: ['a.mean << 3']\n", PlanError, "line 6: gate 'a.mean << 3'"),
        (STEP + "  - {id: b, audit: toy-mean, inputs: {values: values.parquet}}\ngates: [c.mean < 3]\n", PlanError, "step 'c'"),
        (STEP + "  - {id: a, audit: toy-mean, inputs: {values: values.parquet}}\n", PlanError, "the id is taken by step 1"),
        (STEP + "  - {id: b.c, audit: toy-mean, inputs: {values: values.parquet}}\n", PlanError, "line 6: steps.1.id"),
        (
            STEP.replace("toy-mean", "toy-man"),
            UnknownName,
            "line 3, step 'a': unknown audit 'toy-man' - did you mean 'toy-mean'",
        ),
        (STEP.replace("{values:", "{valus:"), UnknownName, "unknown input 'valus' - did you mean 'values'"),
        (STEP.replace("values: values.parquet", "labels: values.parquet"), InputError, "needs the input values (table)"),
        (STEP.replace("values.parquet", "gone.parquet"), InputError, "does not exist"),
        (STEP.replace("values.parquet", "gone-*.parquet"), InputError, "matches no file"),
        (STEP.replace("values.parquet", "$valus"), PlanError, "no input 'valus'; inputs: none"),
        (STEP.replace("values.parquet", "$a.kept"), PlanError, "does not come before"),
        (STEP.replace("values.parquet", "$b.kept"), PlanError, "unknown step 'b'; earlier steps: none"),
        (STEP.replace("values.parquet", "$a"), PlanError, "which file of the step"),
        (STEP.replace("values.parquet", '"$a b"'), PlanError, "is not a reference"),
        (STEP.replace("values.parquet", "$x") + "inputs: {x: gone.parquet}\n", InputError, "input 'x'"),
        (STEP + "    set: {words: [$b.kept]}\n", PlanError, "unknown step 'b'"),
        (STEP + "reveal: perhaps\n", PlanError, "line 6: reveal"),
        ("&a [*a]", PlanError, "alias"),
        ("!!python/object/apply:os.getcwd []", PlanError, "YAML"),
    ],
)
def test_mistakes_are_named_with_their_place(toys, text: str, kind: type, says: str) -> None:
    with pytest.raises(AssaymarkError) as caught:
        load_plan(write(toys, text))
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    assert not (toys / "runs").exists()


def test_unreadable_plans(toys) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        load_plan(toys / "none.yaml")
    (toys / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(PlanError, match="not UTF-8"):
        load_plan(toys / "latin.yaml")


def test_references_in_any_depth() -> None:
    value = {"a": ["$x", {"b": "$s.t.u"}], "c": "$$plain", "d": 3, "e": "no"}
    assert [(r.name, r.part) for r in references(value)] == [("x", None), ("s", "t.u")]
    assert resolve(value, lambda r: r.name.upper()) == {"a": ["X", {"b": "S"}], "c": "$plain", "d": 3, "e": "no"}


def test_command_line_overrides_engine_and_seed(toys) -> None:
    plan = load_plan(write(toys, STEP + "seed: 3\n"), seed=7)
    assert (plan.seed, plan.engine) == (7, "local")
