"""Models behind a service with examples: short contexts, no chat template, servers that die; and what a run keeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outcomes import refused, survived
from prompt_inputs import advantages, attacked, pool, same, table

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from json_service import Reply, Service, serve
from tiny_language_models import TEMPLATE, save_model

from assaymark.audits.icl_membership.planted import ScriptedService

SCRIPT = ScriptedService()
SALT = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch) -> None:
    """Drawing takes most of the time of small runs."""
    monkeypatch.setattr("assaymark.report.figures.draw", lambda *_, **__: "<svg></svg>")


# -- models that see little -------------------------------------------------------------------------------------------------

FEW = ("trials=2", "attacks=[gap, brainwash]", "repetitions=1", "wrong_labels=1", "demonstrations=1", "max_tokens=8")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Two models of 256 tokens, one of them with a chat template."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "bare": save_model(folder / "bare", "gpt2", positions=256),
        "chat": save_model(folder / "chat", "llama", positions=256, template=TEMPLATE),
    }


def short_pool() -> dict[str, Any]:
    return {"text": [f"the red cat {i} mat" for i in range(30)], "label": ["Entity", "Number"] * 15}


@pytest.mark.parametrize("kind", ["audit", "mitigate"])
@pytest.mark.parametrize(("setting", "mend"), [("demonstrations=9", "demonstrations="), ("repetitions=40", "repetitions=")])
def test_prompts_that_do_not_fit_are_refused_before_anything_is_asked(
    command, monkeypatch, models, kind: str, setting: str, mend: str
) -> None:
    settings = (*FEW, "form=flat", setting)
    service = f"hf:{models['bare']}?task=generate"
    done = attacked(command, short_pool(), settings=settings, service=service, kind=kind)
    refused(done, "the longest prompt, with", "tokens, and the model sees 256", "nothing is cut off", mend, lines=3)
    line = next(line for line in done.err.splitlines() if "would fit" in line)
    fits = line.partition(mend)[2].split()[0]
    assert int(fits) >= 1
    with monkeypatch.context() as patch:  # what is said to fit does: the length of the longest prompt is the same in this pool
        patch.setattr("assaymark.audits.icl_membership.audit.play_all", _stop)
        patch.setattr("assaymark.audits.icl_membership.mitigate.defend_all", _stop)
        mended = attacked(command, short_pool(), settings=(*settings[:-1], f"{mend}{fits}"), service=service, kind=kind)
    assert "the games begin" in mended.err


def _stop(*_: Any) -> None:
    from assaymark.errors import InputError

    raise InputError("the games begin")


def test_texts_that_no_setting_makes_fit(command, models) -> None:
    columns = {"text": ["word" * 300 + str(i) for i in range(30)], "label": ["Entity", "Number"] * 15}
    done = attacked(command, columns, settings=(*FEW, "form=flat"), service=f"hf:{models['bare']}?task=generate")
    refused(done, "the model sees 256", "no smaller number would fit: give shorter texts", lines=3)


@pytest.mark.parametrize("form", ["chat", "flat"])
def test_models_with_and_without_a_chat_template(command, models, form: str) -> None:
    for name, path in models.items():
        done = attacked(
            command, short_pool(), settings=(*FEW, f"form={form}"), service=f"hf:{path}?task=generate", out=f"{name} {form}"
        )
        survived(done)
        assert table(done, f"{name} {form}", "replies")[0]["replies"] == 4
        assert advantages(done)["gap"]["n"] == 2


# -- servers ----------------------------------------------------------------------------------------------------------------


def answered(number: int, body: Any) -> Reply:
    (said,) = SCRIPT.generate_text([body["messages"]], temperature=0.0, max_tokens=body["max_tokens"])[0]
    return Reply({"choices": [{"message": {"role": "assistant", "content": said}}]})


@pytest.fixture
def service() -> Iterator[Service]:
    with serve(answered) as found:
        yield found


def keys(bodies: list[Any]) -> list[str]:
    return [json.dumps(body, sort_keys=True) for body in bodies]


def test_a_server_that_dies_amid_the_questions(command, monkeypatch, service: Service) -> None:
    """At 60 % of them: what was answered is not asked again, and the end is that of an undisturbed run."""
    monkeypatch.setenv("ASSAYMARK_SALT", SALT)
    spec = f"openai:m@{service.url}/v1?retries=0&concurrency=1"
    settings = ("trials=3", "attacks=[gap, inquiry, repeat, brainwash]", "repetitions=1", "wrong_labels=1")
    survived(attacked(command, settings=settings, service=spec, out="whole"))
    everything = keys(service.bodies)
    assert len(set(everything)) == len(everything) > 80
    monkeypatch.setenv("ASSAYMARK_CACHE", str(Path("other cache").resolve()))
    service.bodies.clear()
    dies = len(everything) * 6 // 10
    service.answer = lambda number, body: answered(number, body) if number < dies else Reply({"busy": True}, status=503)
    broken = attacked(command, settings=settings, service=spec, out="broken")
    refused(broken, service.url.removeprefix("http://"), "status 503", "assaymark resume broken", lines=2)
    good = keys(service.bodies[:dies])
    service.bodies.clear()
    service.answer = answered
    resumed = command("resume", "broken", "--quiet")
    assert (resumed.code, resumed.err) == (0, "")
    later = keys(service.bodies)
    assert not set(good) & set(later) and set(good) | set(later) == set(everything)
    assert len(later) == len(everything) - len(good)
    same("broken", "whole")


def test_a_budget_that_is_too_small(command, monkeypatch) -> None:
    """Said before the first question; the run goes on with a larger one."""
    monkeypatch.setenv("ASSAYMARK_SALT", SALT)
    asked: list[Any] = []
    for kind in ("audit", "mitigate"):
        with monkeypatch.context() as patch:
            patch.setattr(ScriptedService, "generate_text", lambda *_, **__: asked.append(1))
            done = attacked(command, None, "--budget", 50, kind=kind, out=kind)
        refused(done, "exceed the budget of 50", f"assaymark resume {kind}", lines=3)
        assert not asked
        needed = int(done.err.partition("give --budget ")[2].split()[0])
        resumed = command("resume", kind, "--budget", needed, "--quiet")
        assert (resumed.code, resumed.err) == (0, "")
        survived(attacked(command, kind=kind, out=f"free {kind}"))
        if kind == "audit":  # a mitigation tells the seconds it took
            same(kind, f"free {kind}")


@pytest.mark.parametrize("attacks", ["repeat", "brainwash"])
def test_the_announced_cost_is_not_exceeded(command, attacks: str) -> None:
    """Also with prompts in parts, encoded replies and ordinary queries: a budget of what was announced is enough."""
    settings = ("recipes=[ensemble]", "transforms=true", "search=linear", "repetitions=2", "demonstrations=3", "trials=2")
    settings = (*settings, f"attacks=[{attacks}]")
    done = attacked(command, None, "--budget", 10, settings=settings, kind="mitigate")
    needed = int(done.err.partition("give --budget ")[2].split()[0])
    service = "fake:generator?reply=none of them"  # every search goes to its end
    survived(attacked(command, None, "--budget", needed, settings=settings, kind="mitigate", service=service))


# -- what is kept -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["audit", "mitigate"])
@pytest.mark.parametrize("reveal", [False, True])
def test_no_text_of_the_pool_is_kept(command, kind: str, reveal: bool) -> None:
    columns = pool()
    more = ("--reveal",) if reveal else ()
    settings = ("control=true", "hard_negatives=true") if kind == "audit" else ("transforms=true",)
    done = survived(attacked(command, columns, *more, settings=settings, kind=kind, out="kept"))
    assert done.result is not None
    files = [path for path in Path("kept").rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"report.html", "run.json", "card.md"} <= names and any(path.suffix == ".parquet" for path in files)
    assert ("games.parquet" in names) == (kind == "audit")
    words = {word for text in columns["text"] for word in text.split() if set(word) - set("abcdef")}  # not in a hash
    assert len(words) > 100
    for path in files:
        shown = _content(path)
        assert not [text for text in columns["text"] if text in shown], path
        assert not [word for word in words if word in shown], path


def _content(path: Path) -> str:
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        return path.read_text(errors="replace")
    found = pq.read_table(path)
    return json.dumps([found.to_pylist(), {k.decode(): v.decode() for k, v in (found.schema.metadata or {}).items()}])
