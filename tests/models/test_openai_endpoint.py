from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, EndpointError, MissingExtra, ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.store.cache import ModelCache
from tests.models.json_service import Reply, Service, serve

pytest.importorskip("openai")

KEY = "sk-very-secret-0123456789"
ROLE = ModelRole("generator", "writes", all_of=("generates-text",))


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    monkeypatch.setenv("TEST_KEY", KEY)


def completion(body: Any, *, n: int | None = None) -> dict[str, Any]:
    """A well-formed reply whose texts follow from the request."""
    asked = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    texts = [f"{asked} to you, {body.get('seed')}-{number}" for number in range(n or body.get("n", 1))]
    choices = [
        {"index": number, "finish_reason": "stop", **({"message": {"content": text}} if "messages" in body else {"text": text})}
        for number, text in enumerate(texts)
    ]
    return {"object": "x", "choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 7 * len(texts)}}


def well(number: int, body: Any) -> Reply:
    return Reply(completion(body))


def opened(service: Service, options: str = "key_env=TEST_KEY", waits: list[float] | None = None) -> Any:
    model = open_model(f"openai:org/tiny:1b@{service.url}/v1?{options}")
    model._settings.retrying.sleep = (waits if waits is not None else []).append
    return model


def test_the_request_carries_what_was_asked_and_nothing_else() -> None:
    with serve(well) as service:
        model = opened(service)
        assert capabilities_of(model) == ("generates-text",)
        chat = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "good day"}]
        asked = {"samples": 2, "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "stop": ["-1"], "seed": 3}
        said = model.generate_text(["hello", chat], **asked)
    assert [len(texts) for texts in said] == [2, 2]
    assert said[0][0].startswith("hello to you, ") and said[1][0].startswith("good day to you, ")
    assert said[0][0].endswith("-0") and "-" not in said[0][1], "the stop text cuts here too"
    bodies = sorted(service.bodies, key=lambda body: len(body["messages"]))
    seeds = [body.pop("seed") for body in bodies]
    assert len(set(seeds)) == 2 and all(0 <= seed < 2**31 for seed in seeds)
    sent = {"model": "org/tiny:1b", "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "stop": ["-1"], "n": 2}
    assert bodies == [{**sent, "messages": [{"role": "user", "content": "hello"}]}, {**sent, "messages": chat}]
    headers = service.headers[0]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert [name for name in headers if name.startswith(("x-stainless", "openai-"))] == ["x-stainless-raw-response"]
    assert (model.usage.replies, model.usage.prompt_tokens, model.usage.completion_tokens) == (2, 10, 28)


def test_the_key_of_openai_goes_to_openai_alone() -> None:
    with serve(well) as service:
        opened(service, "n=false").generate_text(["hello"])
        assert service.headers[0]["authorization"] == "Bearer none"
    model = open_model("openai:gpt-x")
    assert (model._base_url, model._limit, model._default_key) == (
        "https://api.openai.com/v1",
        "max_completion_tokens",
        "OPENAI_API_KEY",
    )


def test_completions_continue_a_text() -> None:
    with serve(well) as service:
        model = opened(service, "chat=false&seed=false")
        said = model.generate_text(["hello", [{"role": "user", "content": "good day"}]])
    assert said == [["hello to you, None-0"], ["user: good day\n\nassistant: to you, None-0"]]
    assert "seed" not in service.bodies[0]
    assert "joined into one text" in model.notes[1]


@pytest.mark.parametrize("options", ["n=false", "retries=0"])
def test_servers_that_ignore_n_are_asked_again(options: str) -> None:
    with serve(lambda number, body: Reply(completion(body, n=1))) as service:
        said = opened(service, options).generate_text(["hello"], samples=4)[0]
    assert len(service.bodies) == 4
    assert len(set(said)) == 4, "each request has a seed of its own"
    assert [body.get("n") for body in service.bodies] == ([None] * 4 if options == "n=false" else [4, 3, 2, None])


def test_greedy_asks_once() -> None:
    with serve(well) as service:
        said = opened(service).generate_text(["hello"], samples=3, temperature=0)[0]
    assert len(said) == 3 and len(set(said)) == 1 == len(service.bodies)


TROUBLES: dict[str, Callable[[Any], Reply]] = {
    "busy": lambda body: Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "11"}),
    "broken": lambda body: Reply({"error": {"message": "oops"}}, 500),
    "truncated": lambda body: Reply(b'{"choices": [{"mess'),
    "cut off": lambda body: Reply(b'{"choices": [{"mess', promised=100),
    "other form": lambda body: Reply({"answer": "hello"}),
    "no texts": lambda body: Reply({"choices": [{"message": {"content": 7}}]}),
    "silent": lambda body: Reply({}, late=0.5),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubles_pass(trouble: str) -> None:
    waits: list[float] = []
    with serve(lambda number, body: TROUBLES[trouble](body) if number < 2 else Reply(completion(body))) as service:
        model = opened(service, "timeout=0.15&retries=3", waits)
        said = model.generate_text(["hello"], seed=1)
        calm = model.generate_text(["hello"], seed=1)
    assert said == calm
    assert len(service.bodies) == 4 and len(waits) == 2
    assert (waits[0] >= 11) == (trouble == "busy")


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("busy", r"status 429: slow down, and asks to wait 11 s"),
        ("broken", r"status 500: oops"),
        ("truncated", r"19 bytes came that are not whole JSON"),
        ("cut off", r"the connection failed \(RemoteProtocolError\)"),
        ("other form", r"no list of choices with texts, but is an object with 'answer'"),
        ("silent", r"it was silent for 0\.15 s"),
    ],
)
def test_troubles_that_stay_name_the_endpoint_and_what_came(trouble: str, message: str) -> None:
    with serve(lambda number, body: TROUBLES[trouble](body)) as service:
        with pytest.raises(EndpointError, match=message) as caught:
            opened(service, "timeout=0.15&retries=1").generate_text(["a private prompt"])
        assert f"model org/tiny:1b at {service.url}/v1 did not answer after 2 attempts" in str(caught.value)
        assert "private" not in str(caught.value)


def test_a_server_that_is_not_there() -> None:
    with serve(well) as service:
        model = opened(service, "retries=2")
    with pytest.raises(EndpointError, match=r"did not answer after 3 attempts: the connection failed \(ConnectError\)"):
        model.generate_text(["hello"])


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, {"message": f"Incorrect key {KEY}"}, r"refuses access \(status 401\); check the key in TEST_KEY"),
        (403, {}, r"refuses access \(status 403\)"),
        (404, {"message": "no such model"}, r"is not there \(status 404: no such model\); check the model and the base URL"),
        (400, {"message": f"unknown 'n' {KEY}"}, r"status 400: unknown 'n' \*\*\*\); if it knows no n, write n=false"),
        (307, {}, r"refuses the request \(status 307\)"),
        (429, {"message": "no money", "code": "insufficient_quota"}, r"quota of this key is used up"),
    ],
)
def test_refusals_are_said_at_once_with_their_mend(status: int, error: dict[str, str], message: str) -> None:
    with serve(lambda number, body: Reply({"error": error}, status, {"location": "/elsewhere"})) as service:
        with pytest.raises(EndpointError, match=message) as caught:
            opened(service).generate_text(["hello"])
        assert len(service.bodies) == 1
    assert KEY not in str(caught.value)


def test_what_a_filter_withholds_is_an_empty_text() -> None:
    blocked = {"error": {"code": "content_filter", "message": "no"}}
    replies = [Reply(blocked, 400), Reply({"choices": [{"message": {"content": None}}]})]
    with serve(lambda number, body: replies[number]) as service:
        model = opened(service)
        assert model.generate_text(["hello"]) == model.generate_text(["hello"]) == [[""]]


def test_a_service_that_dies_is_gone_on_with(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(40)]
    asked = {"samples": 2, "max_tokens": 8}

    def dying(number: int, body: Any) -> Reply:
        return Reply(completion(body)) if number < 27 else Reply({"error": {"message": "down"}}, 503)

    def guarded(service: Service, cache: str) -> Any:
        return open_role(ROLE, opened(service, "key_env=TEST_KEY&concurrency=4&retries=1"), cache=ModelCache(tmp_path / cache))

    with serve(well) as service:
        undisturbed = guarded(service, "calm.sqlite").generate_text(prompts, **asked)
    with serve(dying) as service:
        model = guarded(service, "cache.sqlite")
        with pytest.raises(EndpointError, match="status 503: down"):
            model.generate_text(prompts, **asked)
        assert model.calls == 27, "every answer that was paid for is kept, those of the failed block too"
        service.answer = well
        again = guarded(service, "cache.sqlite")
        before = len(service.bodies)
        assert again.generate_text(prompts, **asked) == undisturbed
        assert len(service.bodies) - before == again.calls == 13 == again.usage.replies
        assert again.cached == 27
        third = guarded(service, "cache.sqlite")
        assert third.generate_text(prompts, **asked) == undisturbed
        assert third.calls == 0
    assert 1 < service.most_at_once <= 4
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_the_key_is_nowhere() -> None:
    with serve(well) as service:
        model = opened(service)
        model.generate_text(["hello"])
        guarded = open_role(ROLE, model)
        shown = [
            repr(model),
            repr(guarded),
            *model.notes,
            model.spec,
            model.fingerprint,
            repr(model.usage),
            repr(model._settings),
        ]
        assert not [text for text in shown if KEY in text]
        assert KEY.encode() not in pickle.dumps(model)
        copy = pickle.loads(pickle.dumps(guarded))
        assert copy.generate_text(["hello"]) == model.generate_text(["hello"])
    for options in (f"api_key={KEY}", f"key={KEY}", f"token={KEY}"):
        with pytest.raises(ModelError, match="environment variable and name that: key_env=NAME") as caught:
            open_model(f"openai:m@http://127.0.0.1:9/v1?{options}")
        assert KEY not in str(caught.value)
    with pytest.raises(ModelError, match="holds a password or key") as caught:
        open_model(f"openai:m@http://me:{KEY}@127.0.0.1:9/v1")
    assert KEY not in str(caught.value)


def test_what_decides_answers_decides_the_fingerprint() -> None:
    specs = ["m@http://h/v1", "m@http://h/v2", "k@http://h/v1", "m@http://h/v1?chat=false", "m@http://h/v1?version=2", "m"]
    assert len({open_model(f"openai:{spec}").fingerprint for spec in specs}) == 6
    same = ["m@http://h/v1/", "m@http://h/v1?concurrency=3&rpm=9&timeout=5&retries=1&key_env=X&n=false"]
    assert {open_model(f"openai:{spec}").fingerprint for spec in same} == {open_model("openai:m@http://h/v1").fingerprint}


def test_wrong_specs_and_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: list[tuple[str, type[Exception], str]] = [
        ("openai:m@ftp://h", ModelError, "is not a URL of http or https"),
        ("openai:m@http://", ModelError, "is not a URL"),
        ("openai:m?retires=2", ModelError, "did you mean 'retries'"),
        ("openai:m?limit=tokens", ModelError, "one of max_tokens, max_completion_tokens"),
        ("openai:m?concurrency=0", ConfigError, r"concurrency must lie in \[1, 256\]"),
    ]
    for spec, error, message in wrong:
        with pytest.raises(error, match=message):
            open_model(spec)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="the environment variable OPENAI_API_KEY holds no key"):
        open_model("openai:m").generate_text(["hello"])
    for name in ("openai", "httpx2"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(MissingExtra, match=r"assaymark\[endpoints\]"):
                open_model("openai:m")


def test_impossible_parameters() -> None:
    model = open_model("openai:m@http://127.0.0.1:9/v1")
    for parameters in ({"samples": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"max_tokens": 0}, {"stop": "x"}, {"stop": [""]}):
        with pytest.raises(ValueError):
            model.generate_text(["hello"], **parameters)
    for prompts in ("hello", [[]], [[{"role": "user"}]], [["hello"]]):
        with pytest.raises(ValueError, match="prompt"):
            model.generate_text(prompts)
    assert model.generate_text([]) == []
