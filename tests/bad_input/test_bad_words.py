"""Mistakes in the words of a command and in plans: settings, models, engines, gates, keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from outcomes import refused, survived

from assaymark.models.spec import ADAPTERS


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("thetaa=0.5", "unknown setting 'thetaa' - did you mean 'theta'"),
        ("theta=abc", "setting 'theta': must be a number (given: 'abc')"),
        ("theta=2", "setting 'theta': must be less than or equal to 1 (given: 2)"),
        ("theta=[1, 2]", "setting 'theta': must be a number"),
        ("theta=", "setting 'theta': must be a number"),
        ("theta=.nan", "setting 'theta'"),
        ("theta=null", "setting 'theta': must be a number"),
        ("tau=[a, b]", "setting 'tau', item 1: must be a number (given: 'a')"),
        ("terms=[1, 2]", "setting 'terms', item 1: must be text; put what looks like a number or a date in quotes"),
        ("lexicons={a: 1}", "setting 'lexicons': must be a list, written [a, b]"),
        ("k=1.5", "setting 'k': must be a whole number"),
        ("k=0", "setting 'k': must be greater than or equal to 1"),
        ("nfkc=maybe", "setting 'nfkc': must be true or false"),
        ("term_mode=fuzzy", "setting 'term_mode': must be 'word' or 'substring' (given: 'fuzzy')"),
        ("image_sensitivity=[5, 3]", "setting 'image_sensitivity': must be [part, whole] with 0 <= part <= whole"),
        ("image_sensitivity=5", "setting 'image_sensitivity': must be a list"),
        ("lexicons=nowhere.txt", "nowhere.txt"),
        ("find=foo", "'foo' is not KIND=VALUE"),
        ("find=phash=zz", "a phash has 16 hexadecimal digits"),
        ("find=image=nowhere.png", "there is no file nowhere.png"),
        ("queries=nowhere.csv", "nowhere.csv"),
        ("=3", "write it as key=value"),
        ("theta", "write it as key=value"),
        ("theta=[", "is not a YAML value"),
    ],
)
def test_settings(audit, here, setting: str, says: str) -> None:
    refused(audit("good.parquet", "--set", setting), says)
    assert not list(here.glob("run*"))


def test_settings_given_oddly_but_well(audit) -> None:
    survived(audit("good.parquet", "--set", "tau=0.3", "--set", "terms=woman", "--set", "theta=1e-1"))
    refused(audit("good.parquet", "--set", "theta=0.1", "--set", "theta=0.2"), "--set theta is given twice")
    refused(audit("good.parquet", probes="[anatomi]"), "unknown probe 'anatomi' - did you mean 'anatomy'?")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("scorr=fake:text-keywords", "unknown model role 'scorr'; known: dual_encoder, image_unsafe, text_toxicity"),
        ("text_toxicity", "write it as ROLE=SPEC"),
        ("text_toxicity=", "write it as ROLE=SPEC"),
        ("text_toxicity=foo:bar", f"unknown model scheme 'foo'; known: {', '.join(sorted(ADAPTERS))}"),
        ("text_toxicity=hf:", "says nothing after the colon"),
        ("text_toxicity=nobody/nothing", "for a hub model write hf:nobody/nothing"),
        ("text_toxicity=./nofolder", "has no scheme and is neither a model folder nor a model file"),
        ("text_toxicity=good.parquet", "has no scheme and is neither a model folder nor a model file"),
        ("text_toxicity=fake:zzz", "unknown fake model 'zzz'"),
        ("text_toxicity=fake:text-keywords?unsafe", "options are written ?key=value"),
        ("text_toxicity=fake:dual-encoder", "cannot take the role 'text_toxicity'"),
        ("text_toxicity=py:no_such_module:x", "cannot be imported"),
        ("text_toxicity=py:json:dumps", "is not a model, nor a factory without arguments"),
        ("image_unsafe=onnx:no.onnx", "no file"),
        ("image_unsafe=onnx:good.parquet", "cannot load good.parquet"),
        ("text_toxicity=hf:nobody/nothing", "neither in the local cache nor could it be fetched"),
    ],
)
def test_models(audit, model: str, says: str) -> None:
    refused(audit("good.parquet", "--model", model), says)


def test_models_beyond_their_spec(audit) -> None:
    two = ("--model", "text_toxicity=fake:text-keywords?unsafe=a", "--model", "text_toxicity=fake:text-keywords?unsafe=b")
    refused(audit("good.parquet", *two), "--model text_toxicity is given twice")
    column = audit("good.parquet", "--model", "text_toxicity=column:nope", probes="[hate_content]")
    refused(column, "no score column 'nope'", "columns: url, text")
    folder = Path("model")
    folder.mkdir()
    for content, says in (("{", "no readable config.json"), ('{"model_type": "t5"}', "config.json says t5")):
        (folder / "config.json").write_text(content)
        (folder / "model.safetensors").write_bytes(b"x" * 30)
        refused(audit("good.parquet", "--model", "text_toxicity=./model"), says)
    (folder / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}')
    refused(audit("good.parquet", "--model", "text_toxicity=./model"), "model.safetensors are damaged")


@pytest.mark.parametrize("engine", ["locl", "spark", "ray://", "ray://host", "local:1"])
def test_engines(audit, engine: str) -> None:
    refused(audit("good.parquet", "--engine", engine), f"unknown engine '{engine}'", "known: local, ray, ray://HOST:PORT")


@pytest.mark.parametrize(
    ("missing", "words", "install"),
    [
        ("ray", ("--engine", "ray"), "pip install 'assaymark[cluster]'"),
        ("open_clip", ("--model", "dual_encoder=openclip:ViT-B-32/x"), "pip install 'assaymark[openclip]'"),
        ("onnxruntime", ("--model", "image_unsafe=onnx:good.parquet"), "pip install 'assaymark[vision]'"),
        ("transformers", ("--model", "text_toxicity=./model"), "pip install 'assaymark[language]'"),
        ("huggingface_hub", ("--model", "text_toxicity=hf:a/b"), "pip install 'assaymark[language]'"),
    ],
)
def test_missing_extra_is_its_install_line(audit, monkeypatch, missing: str, words: tuple[str, ...], install: str) -> None:
    Path("model").mkdir()
    Path("model/config.json").write_text('{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}')
    Path("model/model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    refused(audit("good.parquet", *words, probes="[hate_content, retrieval]"), install)


@pytest.mark.parametrize(
    ("gate", "code", "says"),
    [
        ("anatomy.rows > 3", 0, ""),
        ("anatomy.rows < 3", 1, ""),
        ("anatomy.row > 3", 2, "unknown estimate 'anatomy.row' - did you mean 'anatomy.rows'"),
        ("anatomy.rows", 2, "no comparison"),
        ("anatomy.rows < 1 < 2", 2, "more than one comparison"),
        ("anatomy.rows < abc", 2, "is not a number"),
        ("anatomy.rows ~ 3", 2, "no comparison"),
    ],
)
def test_gates_and_their_exit_codes(audit, gate: str, code: int, says: str) -> None:
    done = audit("good.parquet", "--gate", gate)
    assert done.code == code
    refused(done, says) if says else None
    assert (done.result is None) == (says in ("no comparison", "more than one comparison", "is not a number"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), None),
        (("nonsense",), "No such command 'nonsense'"),
        (("--foo",), "No such option: --foo"),
        (("audit",), "Missing argument 'ID'"),
        (("audit", "image-text-dataset"), "Missing argument 'INPUT...'"),
        (("audit", "image-text-dataset", "good.parquet", "--fooo"), "No such option: --fooo"),
        (("audit", "image-text-dataset", "good.parquet", "--seed", "x"), "--seed"),
        (
            ("audit", "image-txt-dataset", "good.parquet"),
            "unknown audit 'image-txt-dataset' - did you mean 'image-text-dataset'?",
        ),
        (("describe", "x"), "unknown audit 'x'"),
        (("calibrate", "x"), "unknown audit 'x'"),
        (("compare", "a", "b"), "a is not a run"),
        (("report", "."), "is not a run"),
        (("resume", "good.parquet"), "is not a run"),
        (("run", "."), "plan . cannot be read: Is a directory"),
        (("run", "good.parquet"), "it is not UTF-8 text"),
    ],
)
def test_words_of_the_command(command, words: tuple[str, ...], says: str | None) -> None:
    done = command(*words)
    if says is None:
        assert "Usage" in done.out + done.err  # alone, the command shows its help
    else:
        refused(done, says)


STEPS = "steps:\n  - {id: a, audit: image-text-dataset, inputs: {pairs: good.parquet}, set: {probes: [anatomy]}}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a plan is a mapping"),
        ("- 1", "a plan is a mapping"),
        ("name: x\n", "plan without 'steps'"),
        ("name: x\nsteps: []\n", "line 2: steps must have at least 1 item"),
        ("name: x\nsteps: 5\n", "line 2: steps must be a list"),
        ("a: [1\n", "is not YAML"),
        ("\t- x\n", "line 1 is not YAML"),
        ("&a [*a]", "this alias contains itself"),
        ("name: !!python/object/apply:os.mkdir [SPRUNG]\n" + STEPS, "line 1 is not YAML"),
        ("name: x\nname: y\n" + STEPS, "line 2: key 'name' stands a second time"),
        ("name: 5\n" + STEPS, "line 1: name must be text"),
        ("name: ../../x\n" + STEPS, "line 1: name must match pattern"),
        ("name: x\nseed: abc\n" + STEPS, "line 2: seed must be a whole number"),
        ("name: x\nengin: local\n" + STEPS, "line 2: unknown key 'engin' in the plan - did you mean 'engine'?"),
        ("name: x\nengine: sparc\n" + STEPS, "unknown engine 'sparc'"),
        ("name: x\n" + STEPS.replace("audit:", "audti:"), "unknown key 'audti' in the step - did you mean 'audit'?"),
        ("name: x\n" + STEPS.replace("image-text", "image-txt"), "step 'a': unknown audit"),
        ("name: x\n" + STEPS.replace("probes:", "probs:"), "step 'a': unknown setting 'probs' - did you mean 'probes'?"),
        ("name: x\n" + STEPS.replace("good.parquet", "$pears"), "the plan has no input 'pears'"),
        ("name: x\n" + STEPS.replace("good.parquet", "gone.parquet"), "gone.parquet does not exist"),
        ("name: x\ninputs: {p: {path: good.parquet, schma: auto}}\n" + STEPS, "unknown key 'schma' in the input"),
        ("name: x\nmodels: {dual_encodr: fake:dual-encoder}\n" + STEPS, "no step has a model role 'dual_encodr'"),
        ("name: x\n" + STEPS + "gates: [a.anatomy.rows]\n", "line 4: gate 'a.anatomy.rows': no comparison"),
    ],
)
def test_plans(command, text: str, says: str) -> None:
    Path("plan.yaml").write_text(text)
    refused(command("run", "plan.yaml", "--quiet"), "plan.yaml" if "engine 'sparc'" not in says else "", says)
    assert not Path("SPRUNG").exists()
    assert not Path("runs").exists()


def test_a_failed_step_keeps_the_done_ones(command) -> None:
    Path("bad.parquet").write_bytes(b"PAR1xxxx")
    second = "  - {id: b, audit: image-text-dataset, inputs: {pairs: bad.parquet}, set: {probes: [anatomy]}}\n"
    third = second.replace("id: b", "id: c").replace("bad.parquet", "good.parquet")
    Path("plan.yaml").write_text("name: x\n" + STEPS + second + third + "gates: [a.anatomy.rows >= 20]\n")
    done = command("run", "plan.yaml", "--out", "r", "--quiet")
    assert done.code == 3
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert "step b failed" in line and "bad.parquet" in line
    record = json.loads(Path("r/run.json").read_text())
    assert [step["status"] for step in record["steps"]] == ["done", "failed", "done"]
    assert record["gates"][0]["holds"] is True
    assert "bad.parquet" in record["steps"][1]["error"]
    Path("bad.parquet").write_bytes(Path("good.parquet").read_bytes())
    assert command("resume", "r", "--quiet").code == 0


def test_quiet_and_json(command) -> None:
    run = ("audit", "image-text-dataset", "good.parquet", "--set", "probes=[anatomy]")
    failing = command(*run, "--gate", "anatomy.rows < 3", "--quiet", "--out", "a")
    assert (failing.code, failing.out, failing.err) == (1, "", "")
    done = command(*run, "--gate", "anatomy.rows < 3", "--json", "--out", "b")
    assert (done.code, done.err) == (1, "")
    document = json.loads(done.out)
    assert document["folder"] == "b" and document["exit_code"] == 1
    assert not json.loads(command("compare", "a", "b", "--json").out)[0]["reason"]
    refused(command("audit", "image-text-dataset", "gone.parquet", "--json"), "does not exist")


def test_reports_name_no_folder_of_the_user(command, here) -> None:
    Path("parts").mkdir()
    Path("parts/a.parquet").write_bytes(Path("good.parquet").read_bytes())
    Path("parts/b.parquet").write_bytes(b"PAR1")
    assert command("audit", "image-text-dataset", "parts", "--set", "probes=[anatomy]", "--out", "r", "--quiet").code == 0
    for name in ("report.html", "card.md"):
        text = Path("r", name).read_text()
        assert "parts/b.parquet was left out" in text
        assert str(here) not in text


def test_reports_again(command) -> None:
    assert (
        command("audit", "image-text-dataset", "good.parquet", "--set", "probes=[anatomy]", "--out", "r", "--quiet").code == 0
    )
    for name in ("x.html", "x.md", "x.json", "below/x.html"):
        assert command("report", "r", "--to", name).code == 0
        assert Path(name).stat().st_size
    json.loads(Path("x.json").read_text())
    for name in ("x.txt", "x", "r"):
        refused(command("report", "r", "--to", name), "the name ends in .html, .md or .json")
    for content, says in (
        ("{", "cannot be read"),
        ("[]", "schema version None"),
        ('{"schema_version": 99}', "schema version 99"),
    ):
        Path("r/run.json").write_text(content)
        for words in (("report", "r"), ("resume", "r"), ("compare", "r", "r")):
            refused(command(*words), says)


def test_describe_says_how_to_write_what_it_names(command) -> None:
    text = command("describe", "image-text-dataset").out
    for part in (
        "pairs (pairs, required)",
        "text_toxicity (optional)",
        "--column [NAME.]CONCEPT=COLUMN",
        "(one of word, substring)",
    ):
        assert part in text
    assert max(len(line) for line in text.splitlines()) <= 100
