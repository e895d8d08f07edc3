"""Continuations scored through a server's echo, against what that server's own table of probabilities says."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, EndpointError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.store.cache import ModelCache
from tests.models.json_service import Reply, Service, serve

pytest.importorskip("openai")

ROLE = ModelRole("owner", "knows its prompt", all_of=("scores-continuations",))
PIECES = ["Type", ":", " Num", "ber", " Per", "son", " ", "a", "bc", "ab", "c", "assistant", "\n\n", "user", " hi", "é", "é is"]


def spell(text: str) -> list[str]:
    """Longest known piece first; letters that are in none are written as two broken tokens, as bytes are."""
    tokens = []
    while text:
        piece = max((piece for piece in PIECES if text.startswith(piece)), key=len, default="")
        tokens += [piece] if piece else ["\ufffd", "\ufffd"]
        text = text[len(piece or text[0]) :]
    return tokens


def log_p(before: str, token: str) -> float:
    """The server's model: any number that depends on the last token and the next."""
    return -0.25 - (sum(map(ord, before + "|" + token)) % 97) / 16


def echoed(body: Any, *, start: str = "", written: str = " Num") -> Any:
    """A well-formed reply to an echo; `start` is a start token that the server puts before and counts in."""
    tokens = [*([start] if start else []), *spell(body["prompt"])]
    said = [*tokens, written]
    places = [sum(map(len, said[:number])) for number in range(len(said))]
    scores = [None, *(log_p(before, token) for before, token in pairwise(said))]
    found = {"tokens": said, "token_logprobs": scores, "text_offset": places, "top_logprobs": None}
    choice = {"index": 0, "text": body["prompt"] + written, "logprobs": found, "finish_reason": "length"}
    return {"choices": [choice], "usage": {"prompt_tokens": len(tokens), "completion_tokens": 1}}


def expected(prompt: str, continuation: str) -> tuple[float, int]:
    """The definition: what follows the longest common prefix of the tokens."""
    before, whole = spell(prompt), spell(prompt + continuation)
    given = 0
    while given < min(len(before), len(whole)) and before[given] == whole[given]:
        given += 1
    places = range(given, len(whole))
    return sum(log_p(whole[place - 1], whole[place]) for place in places), len(places)


def well(number: int, body: Any) -> Reply:
    return Reply(echoed(body))


def opened(service: Service, options: str = "", waits: list[float] | None = None) -> Any:
    model = open_model(f"openai:org/tiny@{service.url}/v1?scores=echo{options}")
    model._settings.retrying.sleep = (waits if waits is not None else []).append
    return model


ITEMS = [("Type:", " Number"), ("Type:", " Person"), ("Type: ", "a"), ("Type: a", "bc"), ("Type: ab", "c")]


@pytest.mark.parametrize("start", ["", "<s>", "<|begin|>"])
def test_scores_are_those_of_the_tokens_behind_the_prompt(start: str) -> None:
    with serve(lambda number, body: Reply(echoed(body, start=start))) as service:
        model = opened(service)
        assert capabilities_of(model) == ("generates-text", "scores-continuations")
        found = model.score_continuations([*ITEMS, ("Type:", "")])
    np.testing.assert_allclose(found[:-1], [expected(*item) for item in ITEMS], rtol=1e-6)
    assert np.isnan(found[-1]).all() and len(service.bodies) == len(ITEMS), "nothing is asked about nothing"
    assert expected("Type: a", "bc")[1] == 2, "the border lies within the token ab"
    asked = {"model": "org/tiny", "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    assert sorted(service.bodies, key=lambda body: body["prompt"])[0] == {**asked, "prompt": "Type: Number"}
    assert (model.usage.replies, model.usage.completion_tokens) == (5, 5)


def test_messages_are_joined_and_the_notes_say_so() -> None:
    with serve(well) as service:
        model = opened(service)
        found = model.score_continuations([([{"role": "user", "content": " hi"}], " Person")])
    assert service.bodies[0]["prompt"] == "user:  hi\n\nassistant: Person"
    np.testing.assert_allclose(found, [expected("user:  hi\n\nassistant:", " Person")], rtol=1e-6)
    assert "without a chat template" in model.notes[-1]


def test_a_first_token_follows_nothing_unless_there_is_a_start_token() -> None:
    with serve(well) as service:
        assert np.isnan(opened(service).score_continuations([("", "Type:")])).all()
    for start in ("<s>", ""):
        with serve(lambda number, body, start=start: Reply(echoed(body, start=start))) as service:
            found = opened(service).score_continuations([("", "Type:")])[0]
        assert (found[1] == 2) == bool(start)


def test_broken_characters_are_counted_by_asking_about_the_prompt_too() -> None:
    items = [("Type: 安", "全"), ("Type: 安", "全 Number"), ("Type:", " Num")]
    with serve(well) as service:
        found = opened(service, "&concurrency=1").score_continuations(items)
    np.testing.assert_allclose(found, [expected(*item) for item in items], rtol=1e-6)
    prompts = [body["prompt"] for body in service.bodies]
    assert prompts == ["Type: 安全", "Type: 安", "Type: 安全 Number", "Type: Num"], "that of two items once"


def test_true_offsets_are_used_where_tokens_do_not_spell_the_text() -> None:
    def by_characters(number: int, body: Any) -> Reply:
        reply = echoed(body)
        reply["choices"][0]["logprobs"]["text_offset"] = [0, 1, 1, 2, 3]
        return Reply(reply)

    with serve(by_characters) as service:
        found = opened(service).score_continuations([("a", "安:")])
    assert (len(spell("a安:")), len(service.bodies)) == (4, 1), "the character is two tokens, and its offset says so"
    np.testing.assert_allclose(found, [expected("a", "安:")], rtol=1e-6)


def without(*names: str) -> Callable[[Any], Any]:
    def reply(body: Any) -> Any:
        whole = echoed(body)
        for name in names:
            whole["choices"][0]["logprobs"].pop(name)
        return whole

    return reply


def generated_only(body: Any) -> Any:
    whole = echoed(body)
    said = whole["choices"][0]["logprobs"]
    whole["choices"][0]["logprobs"] = {name: column[-1:] for name, column in said.items() if column}
    return whole


def unechoed(body: Any) -> Any:
    whole = echoed(body)
    whole["choices"][0] |= {"text": " Num", "logprobs": None}
    return whole


def as_in_chat(body: Any) -> Any:
    whole = echoed(body)
    whole["choices"][0]["logprobs"] = {"content": [{"token": " Num", "logprob": -1.0}]}
    return whole


@pytest.mark.parametrize("reply", [generated_only, unechoed, as_in_chat])
def test_a_server_that_does_not_echo_is_told_about_in_one_line(reply: Callable[[Any], Any]) -> None:
    with serve(lambda number, body: Reply(reply(body))) as service:
        with pytest.raises(EndpointError, match=r"echoes no log-probabilities of a prompt; leave out scores=echo") as caught:
            opened(service).score_continuations(ITEMS[:1])
        assert len(service.bodies) == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_to_echo_says_what_to_leave_out(status: int) -> None:
    with serve(lambda number, body: Reply({"error": {"message": "echo is not supported"}}, status)) as service:
        with pytest.raises(EndpointError, match=rf"status {status}: echo is not supported\).*leave out scores=echo"):
            opened(service).score_continuations(ITEMS[:1])
        assert len(service.bodies) == 1


TROUBLES: dict[str, tuple[Callable[[Any], Reply], str]] = {
    "busy": (lambda body: Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "11"}), "asks to wait 11 s"),
    "broken": (lambda body: Reply({"error": {"message": "oops"}}, 500), "status 500: oops"),
    "truncated": (lambda body: Reply(b'{"choices": [{"te'), "17 bytes came that are not whole JSON"),
    "cut off": (lambda body: Reply(b'{"choices": [{"te', promised=100), "the connection failed"),
    "other form": (lambda body: Reply({"answer": "hello"}), "an object with 'answer'"),
    "no list": (lambda body: Reply(without("text_offset")(body)), "its log-probabilities have another form"),
    "silent": (lambda body: Reply({}, late=0.5), r"it was silent for 0\.15 s"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubles_pass_or_are_named(trouble: str) -> None:
    reply, message = TROUBLES[trouble]
    waits: list[float] = []
    with serve(lambda number, body: reply(body) if number < 2 else well(number, body)) as service:
        found = opened(service, "&timeout=0.15&retries=3", waits).score_continuations(ITEMS[:1])
    np.testing.assert_allclose(found, [expected(*ITEMS[0])], rtol=1e-6)
    assert len(service.bodies) == 3 and len(waits) == 2 and (waits[0] >= 11) == (trouble == "busy")
    with serve(lambda number, body: reply(body)) as service, pytest.raises(EndpointError, match=message) as caught:
        opened(service, "&timeout=0.15&retries=1").score_continuations(ITEMS[:1])
    assert "did not answer after 2 attempts" in str(caught.value) and "Type" not in str(caught.value)


def test_what_a_filter_withholds_has_no_score() -> None:
    blocked = {"error": {"code": "content_filter", "message": "no"}}
    with serve(lambda number, body: Reply(blocked, 400) if "Person" in body["prompt"] else well(number, body)) as service:
        found = opened(service).score_continuations(ITEMS[:2])
    assert np.isnan(found).tolist() == [[False, False], [True, True]]


def test_a_service_that_dies_is_gone_on_with(tmp_path: Path) -> None:
    items = [(f"Type: {'a' * number}", " Number") for number in range(20)]

    def dying(number: int, body: Any) -> Reply:
        return well(number, body) if number < 12 else Reply({"error": {"message": "down"}}, 503)

    def guarded(service: Service) -> Any:
        model = opened(service, "&concurrency=4&retries=1")
        return open_role(ROLE, model, cache=ModelCache(tmp_path / "cache.sqlite"))

    with serve(dying) as service:
        model = guarded(service)
        with pytest.raises(EndpointError, match="status 503: down"):
            model.score_continuations(items)
        assert model.calls == 12, "what was paid for is kept, that of the failed block too"
        service.answer = well
        again, before = guarded(service), len(service.bodies)
        found = again.score_continuations(items)
        assert (again.calls, again.cached, len(service.bodies) - before) == (8, 12, 8)
    np.testing.assert_allclose(found, [expected(*item) for item in items], rtol=1e-6)
    assert 1 < service.most_at_once <= 4


def test_without_the_option_there_is_no_score_and_answers_are_the_same() -> None:
    plain, both = (open_model(f"openai:m@http://127.0.0.1:9/v1{options}") for options in ("", "?scores=echo"))
    assert capabilities_of(plain) == ("generates-text",)
    assert plain.fingerprint == both.fingerprint
    assert capabilities_of(pickle.loads(pickle.dumps(both))) == capabilities_of(both)
    assert both.score_continuations([]).shape == (0, 2)
    with pytest.raises(ConfigError, match=r"scores='all' must be echo, or left out"):
        open_model("openai:m?scores=all")
    with pytest.raises(ValueError, match="pairs"):
        both.score_continuations(["ab"])
