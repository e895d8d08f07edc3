from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.audit import ModelRole
from assaymark.errors import ConfigError, EndpointError, MissingExtra, ModelError
from assaymark.models import capabilities_of, open_model, open_role
from assaymark.models.remote_detector import PRESETS
from assaymark.store.cache import ModelCache
from tests.models.json_service import Reply, Service, serve

pytest.importorskip("httpx2")

KEY = "very-secret-0123456789"
ROLE = ModelRole("detector", "scores texts", any_of=("scores-texts",))


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)


def chance(text: str) -> float:
    return (sum(map(ord, text)) % 100) / 100


def one(number: int, body: Any) -> Reply:
    return Reply({"documents": [{"p": {"ai": chance(body["document"])}}]})


def several(number: int, body: Any) -> Reply:
    if "refuse" in body["inputs"]["texts"]:
        return Reply({"error": "no"}, 422)
    return Reply({"results": [{"score": 100 * chance(text)} for text in body["inputs"]["texts"]]})


ONE = "field=document&score=documents.0.p.ai"
SEVERAL = "field=inputs.texts&score=results.*.score&scale=0.01"


def opened(service: Service, options: str = ONE, waits: list[float] | None = None) -> Any:
    model = open_model(f"api:{service.url}/detect?{options}")
    model._settings.retrying.sleep = (waits if waits is not None else []).append
    return model


TEXTS = [f"text number {number}" for number in range(23)]


def test_one_text_a_request() -> None:
    with serve(one) as service:
        model = opened(service, f"{ONE}&header=X-Api-Key&key_env=TEST_KEY&label=ai")
        assert capabilities_of(model) == ("scores-texts",)
        assert (model.labels, model.multi_label) == (("ai",), True)
        scores = model.score_texts([*TEXTS, "", "  ", None])
    assert scores.dtype == np.float32 and scores.shape == (26, 1)
    np.testing.assert_allclose(scores[:23, 0], [chance(text) for text in TEXTS], rtol=1e-6)
    assert np.isnan(scores[23:]).all()
    assert sorted(body["document"] for body in service.bodies) == sorted(TEXTS)
    assert all(headers["x-api-key"] == KEY and "authorization" not in headers for headers in service.headers)
    assert service.most_at_once <= 8


def test_several_texts_a_request_and_refused_ones() -> None:
    with serve(several) as service:
        model = opened(service, f"{SEVERAL}&batch=5&key_env=TEST_KEY")
        assert model.labels == ("machine",)
        scores = model.score_texts([*TEXTS, "refuse"])
        assert len(service.bodies) == 5 + 4, "a refused group is asked about text by text"
    np.testing.assert_allclose(scores[:23, 0], [chance(text) for text in TEXTS], rtol=1e-6)
    assert np.isnan(scores[23, 0])
    assert model.notes[-1] == f"detector {service.url[7:]}/detect refused 1 texts, which have no score"
    assert service.headers[0]["authorization"] == f"Bearer {KEY}"


def test_inverted_scores_and_a_query_of_the_url() -> None:
    with serve(one) as service:
        model = open_model(f"api:{service.url}/detect?model=2?{ONE}&invert=true")
        assert model.score_texts(["b"])[0, 0] == pytest.approx(1 - chance("b"))
        assert model.score_texts([]).shape == (0, 1)


TROUBLES = {
    "busy": Reply({}, 429, {"Retry-After": "9"}),
    "broken": Reply({}, 502),
    "silent": Reply({}, late=0.5),
    "truncated": Reply(b'{"documents": [{'),
    "cut off": Reply(b'{"documents": [{', promised=50),
    "other form": Reply({"documents": [{"q": 1}]}),
    "no number": Reply({"documents": [{"p": {"ai": "high"}}]}),
    "no list": Reply([]),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubles_pass(trouble: str) -> None:
    waits: list[float] = []
    with serve(lambda number, body: TROUBLES[trouble] if number < 2 else one(number, body)) as service:
        scores = opened(service, f"{ONE}&timeout=0.15", waits).score_texts(["hello"])
    assert scores[0, 0] == pytest.approx(chance("hello"))
    assert len(waits) == 2 and (waits[0] >= 9) == (trouble == "busy")


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("busy", "status 429, and asks to wait 9 s"),
        ("silent", r"silent for 0\.15 s"),
        ("truncated", "16 bytes came that are not whole JSON"),
        ("cut off", r"connection failed \(RemoteProtocolError\)"),
        ("other form", r"another form: no 'p' of documents\.0\.p\.ai in an object with 'q'"),
        ("no number", r"documents\.0\.p\.ai is a str, not a number"),
        ("no list", r"no 'documents' of documents\.0\.p\.ai in a list of 0"),
    ],
)
def test_troubles_that_stay_name_the_service_and_what_came(trouble: str, message: str) -> None:
    with serve(lambda number, body: TROUBLES[trouble]) as service, pytest.raises(EndpointError, match=message) as caught:
        opened(service, f"{ONE}&timeout=0.15&retries=1").score_texts(["a private text"])
    assert f"detector {service.url[7:]}/detect did not answer after 2 attempts" in str(caught.value)
    assert "private" not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"error": KEY}, 401), r"refuses access \(status 401\); check the key in TEST_KEY, and the header"),
        (Reply({}, 404), r"status 404; check its URL"),
        (Reply({}, 302, {"location": "/elsewhere"}), r"status 302; check its URL"),
        (Reply({"documents": [{"p": {"ai": 93}}]}), r"gave 93, which is no probability; for per cent write scale=0\.01"),
        (Reply(b'{"documents": [{"p": {"ai": NaN}}]}'), r"gave nan, which is no probability"),
    ],
)
def test_refusals_are_said_at_once(reply: Reply, message: str) -> None:
    with serve(lambda number, body: reply) as service:
        with pytest.raises(EndpointError, match=message) as caught:
            opened(service, f"{ONE}&key_env=TEST_KEY").score_texts(["hello"])
        assert len(service.bodies) == 1
    assert KEY not in str(caught.value)


def test_a_service_that_refuses_every_text_is_asked_in_a_wrong_form() -> None:
    with serve(lambda number, body: Reply({}, 422)) as service:
        model = opened(service)
        assert np.isnan(model.score_texts(["a"])).all(), "one text may be at fault itself"
        with pytest.raises(
            EndpointError, match="refused all of 24 texts; check that field=document is where it wants the text"
        ):
            model.score_texts(TEXTS)


def test_too_few_scores_for_a_batch() -> None:
    fewer = Reply({"results": [{"score": 1}]})
    with serve(lambda number, body: fewer) as service, pytest.raises(EndpointError, match="1 scores for 2 texts"):
        opened(service, f"{SEVERAL}&batch=2&retries=0").score_texts(["a", "b"])


def test_a_service_that_dies_is_gone_on_with(tmp_path: Path) -> None:
    texts = [f"text {number:02}" for number in range(40)]

    def guarded(service: Service, cache: str) -> Any:
        model = opened(service, f"{ONE}&key_env=TEST_KEY&concurrency=4&retries=1")
        return open_role(ROLE, model, cache=ModelCache(tmp_path / cache))

    with serve(lambda number, body: one(number, body) if number < 27 else Reply({}, 503)) as service:
        undisturbed = np.array([[chance(text)] for text in texts], dtype=np.float32)
        model = guarded(service, "cache.sqlite")
        with pytest.raises(EndpointError, match="status 503"):
            model.score_texts(texts)
        assert model.calls == 27
        service.answer = one
        again = guarded(service, "cache.sqlite")
        np.testing.assert_array_equal(again.score_texts(texts), undisturbed)
        assert (again.calls, again.cached) == (13, 27)
        third = guarded(service, "cache.sqlite")
        np.testing.assert_array_equal(third.score_texts(texts), undisturbed)
        assert third.calls == 0
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_notes_in_a_role_are_those_of_now() -> None:
    with serve(several) as service:
        model = open_role(ROLE, opened(service, SEVERAL))
        assert len(model.notes) == 1
        model.score_texts(["refuse", "good"])
        assert len(model.notes) == 2


def test_the_key_is_nowhere() -> None:
    with serve(one) as service:
        model = opened(service, f"{ONE}&key_env=TEST_KEY")
        model.score_texts(["hello"])
        shown = [repr(model), repr(open_role(ROLE, model)), *model.notes, model.spec, model.fingerprint, str(vars(model))]
        assert not [text for text in shown if KEY in text]
        assert KEY.encode() not in pickle.dumps(model)
        copy = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(copy.score_texts(["hello"]), model.score_texts(["hello"]))
    for target in (f"https://h/p?score=a&api_key={KEY}", f"https://me:{KEY}@h/p?score=a", f"https://h/p?key={KEY}?score=a"):
        with pytest.raises(ModelError, match="key_env=NAME") as caught:
            open_model(f"api:{target}")
        assert KEY not in str(caught.value)


def test_a_service_by_name() -> None:
    model = open_model("api:gptzero?version=2")
    assert model._form.url == PRESETS["gptzero"]["url"]
    assert (model._header, model._key_env) == ("x-api-key", "GPTZERO_API_KEY")
    assert "remembered, not checked against the service" in model.notes[1]
    with pytest.raises(ModelError, match="the environment variable GPTZERO_API_KEY holds no key"):
        model.score_texts(["hello"])
    with pytest.raises(ModelError, match=r"unknown service 'gptzer' - did you mean 'gptzero'"):
        open_model("api:gptzer")


def test_what_decides_scores_decides_the_fingerprint() -> None:
    specs = ["", "&field=b", "&scale=2", "&invert=true", "&version=2", "&label=x"]
    assert len({open_model(f"api:https://h/p?score=a{options}").fingerprint for options in specs}) == len(specs)
    same = ["&concurrency=2&retries=0&timeout=1&rpm=5", "&key_env=X&header=y"]
    assert {open_model(f"api:https://h/p?score=a{options}").fingerprint for options in same} == {
        open_model("api:https://h/p?score=a").fingerprint
    }


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("api:https://h/p", ModelError, "score= names no path"),
        ("api:https://h/p?score=a&batch=4", ConfigError, r"score path with \* for each text"),
        ("api:https://h/p?score=a&feild=x", ModelError, "did you mean 'field'"),
        ("api:ftp://h/p?score=a", ModelError, "not a URL of http or https"),
    ],
)
def test_wrong_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_model(spec)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(MissingExtra, match=r"assaymark\[endpoints\]"):
        open_model("api:https://h/p?score=a")
