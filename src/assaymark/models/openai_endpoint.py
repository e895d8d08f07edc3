"""`openai:MODEL@BASE_URL` - text generators behind any server that speaks OpenAI's protocol: vLLM, Ollama, llama.cpp, ..."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from assaymark.errors import EndpointError, MissingExtra, ModelError
from assaymark.models.chat_prompts import cut_at_stop, draw_seed, flat_text, messages_of, validate_request
from assaymark.models.checkpoint import prepare_environment
from assaymark.models.content import prompt_keys
from assaymark.models.endpoint_settings import EndpointSettings, api_key, check_endpoint_options, check_url, described
from assaymark.models.protocols import Prompt
from assaymark.models.retrying import Transient, answer_all, is_transient, stated_wait
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["OPENAI_URL", "OpenAIEndpoint", "Usage", "Withheld"]

VERSION = 1  # part of the fingerprint: grows when the same request would be made otherwise
OPENAI_URL = "https://api.openai.com/v1"

_TARGET = re.compile(r"(?P<model>.+?)(?:@(?P<url>[a-z]+://.*))?", re.DOTALL)
_OPTIONS = ("chat", "n", "seed", "limit", "version", "scores")
_LIMITS = ("max_tokens", "max_completion_tokens")
_NO_KEY = "none"  # servers without keys still want the header
_EXCERPT = 200
_ACCOUNT = ("OpenAI-Organization", "OpenAI-Project")


class Withheld(Exception):
    """A content filter of the service kept back the answer."""


class Usage(NamedTuple):
    """Replies that were counted, and the tokens that the service says they took."""

    replies: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class OpenAIEndpoint:
    """What a remote model says to a prompt (capability generates-text).

    The base URL is that of OpenAI where none is given. The key comes from the environment variable that `key_env` names; for
    OpenAI itself that is OPENAI_API_KEY. Another server gets a key only if `key_env` is given: the key of one service is
    nobody else's business.

    Options: `chat=false` asks the older completions endpoint, which continues a text; `n=false` asks for one sample at a
    time; `seed=false` sends no seed; `limit=max_completion_tokens` names the limit as newer models want it (the default at
    OpenAI, elsewhere `max_tokens`); `version=...` is any word, and a new one makes cached answers void; `scores=echo` adds
    scores-continuations, see `assaymark.models.echoing_endpoint`. For `concurrency`, `retries`, `timeout` and `rpm` see
    `assaymark.models.endpoint_settings`.

    Attributes
    ----------
    usage : Usage
        Replies and tokens of this process.

    Notes
    -----
    A server that gives fewer samples than asked for (some ignore `n`) is asked again for the rest. Each request has a seed of
    its own from the prompt, the number of the sample and the seed of the call, so that a server that keeps seeds gives answers
    that depend on nothing else. A reply that a content filter withheld is the empty text.
    """

    remote = True

    def __init__(self, spec: ModelSpec, loading: Loading | None = None) -> None:
        match = _TARGET.fullmatch(spec.target)
        assert match is not None
        self._base_url = check_url(match["url"] or OPENAI_URL, spec).rstrip("/")
        check_endpoint_options(spec, _OPTIONS)
        _import_openai(spec.text)
        self.spec, self._parsed, self._model = spec.text, spec, match["model"]
        self._settings = EndpointSettings.of(spec)
        self._chat, self._several, self._seeded = (spec.flag(name, True) for name in ("chat", "n", "seed"))
        at_openai = self._base_url == OPENAI_URL
        self._limit = spec.options.get("limit", _LIMITS[at_openai and self._chat])
        if self._limit not in _LIMITS:
            raise ModelError(f"model {spec.text}: limit={self._limit!r} must be one of {', '.join(_LIMITS)}")
        self._default_key = "OPENAI_API_KEY" if at_openai else None
        identity = (VERSION, self._model, self._base_url, self._chat, self._seeded, spec.options.get("version", ""))
        self.fingerprint = blake2b(repr(("openai", *identity)).encode(), digest_size=16).hexdigest()
        self.at_once = 2 * self._settings.concurrency
        self.notes: tuple[str, ...] = (
            f"{self._where} is a remote service: another time it may answer the same prompt and seed otherwise",
            *(() if self._chat else (f"{self._where}: messages are joined into one text, which it continues",)),
        )
        self._begin()

    def _begin(self) -> None:
        """What belongs to one process."""
        self.usage = Usage()
        self._lock = threading.Lock()
        self._connection: tuple[int, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._parsed,)

    @property
    def _where(self) -> str:
        return f"model {self._model} at {self._base_url}"

    def generate_text(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> list[list[str]]:
        """`samples` texts a prompt; see `assaymark.models.protocols.GeneratesText`.

        Raises
        ------
        ModelError
            No key.
        EndpointError
            The service refused, or gave no usable answer after all retries; what it answered before is in `finished`.
        """
        validate_request(prompts, samples=samples, temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=stop)
        if not prompts:
            return []
        self._client()  # a missing key is said once, not by each thread
        body: dict[str, Any] = {"model": self._model, "temperature": temperature, self._limit: max_tokens}
        body |= {"top_p": top_p} if top_p < 1 else {}
        body |= {"stop": list(stop)} if stop else {}
        ask = partial(self._samples, body, samples if temperature > 0 else 1, seed)
        said = answer_all(ask, list(prompts), concurrency=self._settings.concurrency)
        return [texts if temperature > 0 else texts * samples for texts in said]

    def _samples(self, body: dict[str, Any], samples: int, seed: int, prompt: Prompt) -> list[str]:
        """`samples` texts for one prompt, in as many requests as the service needs."""
        content = {"messages": messages_of(prompt)} if self._chat else {"prompt": flat_text(prompt)}
        key, texts = prompt_keys([prompt])[0], list[str]()
        while len(texts) < samples:
            wanted = samples - len(texts) if self._several else 1
            request = {**body, **content, **({"n": wanted} if wanted > 1 else {})}
            if self._seeded:
                entropy = np.random.SeedSequence(draw_seed(key, len(texts), seed))
                request["seed"] = int(entropy.generate_state(1)[0] >> 1)  # servers keep it in 32 bits with a sign
            said = self._settings.retrying(partial(self._request, request), endpoint=self._where)
            texts += [cut_at_stop(text, body.get("stop", ())) for text in said[:wanted]]
        return texts

    def _request(self, request: dict[str, Any]) -> list[str]:
        """The texts of one reply."""
        try:
            return self._texts(self._answer(request, chat=self._chat))
        except Withheld:
            return [""] * request.get("n", 1)

    def _answer(self, request: dict[str, Any], *, chat: bool, mend: str = "") -> Any:
        """What the service says to one request, as the JSON that it is.

        Raises
        ------
        Transient, EndpointError
            `mend` is what to do where it refuses this kind of request.
        Withheld
        """
        import openai

        client = self._client()
        create = (client.chat.completions if chat else client.completions).with_raw_response.create
        try:
            reply = create(**request).content
        except openai.APITimeoutError:
            raise Transient(f"it was silent for {self._settings.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise Transient(f"the connection failed ({type(error.__cause__ or error).__name__})") from None
        except openai.APIStatusError as error:
            if error.code == "content_filter":
                raise Withheld from None
            self._refused(error, mend)
        try:
            return json.loads(reply)
        except ValueError:
            raise Transient(f"{len(reply):,} bytes came that are not whole JSON") from None

    def _texts(self, answer: Any) -> list[str]:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        texts = [_text_of(choice, chat=self._chat) for choice in choices] if isinstance(choices, list) else []
        said = [text for text in texts if text is not None]
        if not said or len(said) < len(texts):
            raise Transient(f"its reply holds no list of choices with texts, but is {described(answer)}")
        self._count(answer.get("usage"))
        return said

    def _count(self, usage: Any) -> None:
        stated = usage if isinstance(usage, dict) else {}
        tokens = [stated.get(name) for name in ("prompt_tokens", "completion_tokens")]
        prompt, completion = (count if isinstance(count, int) else 0 for count in tokens)
        with self._lock:
            known = self.usage
            self.usage = Usage(known.replies + 1, known.prompt_tokens + prompt, known.completion_tokens + completion)

    def _refused(self, error: Any, mend: str) -> NoReturn:
        """What a status other than 200 means: another try, or a mend."""
        status = int(error.status_code)
        says = self._excerpt(error.body)
        if error.code == "insufficient_quota":
            raise EndpointError(
                f"{self._where} says that the quota of this key is used up; raise it, or use another key"
            ) from None
        if is_transient(status):
            raise Transient(f"status {status}{says}", stated_wait(error.response.headers)) from None
        if status in (401, 403):
            variable = self._parsed.options.get("key_env") or self._default_key
            mend = f"check the key in {variable}" if variable else "name the environment variable with its key: key_env=NAME"
            raise EndpointError(f"{self._where} refuses access (status {status}); {mend}") from None
        if status == 404:
            raise EndpointError(
                f"{self._where} is not there (status 404{says}); check the model and the base URL{mend}"
            ) from None
        mend = "; if it knows no n, write n=false" if "'n'" in says or " n " in says else mend
        raise EndpointError(f"{self._where} refuses the request (status {status}{says}){mend}") from None

    def _excerpt(self, body: Any) -> str:
        """What the service says about an error, without the key."""
        message = body.get("message") if isinstance(body, dict) else None
        if not isinstance(message, str):
            return ""
        key = api_key(self._parsed, self._default_key)
        line = " ".join(message.split()).replace(key or "\0", "***")
        return f": {line[:_EXCERPT]}"

    def _client(self) -> Any:
        """The library's client in this process; connections do not survive a fork."""
        with self._lock:
            if self._connection is None or self._connection[0] != os.getpid():
                self._connection = os.getpid(), self._connect()
            return self._connection[1]

    def _connect(self) -> Any:
        import httpx2
        from openai import Omit, OpenAI

        key = api_key(self._parsed, self._default_key)
        elsewhere = self._default_key is None
        timeout = httpx2.Timeout(self._settings.timeout)
        limits = httpx2.Limits(max_connections=self._settings.concurrency)
        return OpenAI(
            api_key=key or _NO_KEY,
            admin_api_key="",  # else it is read from the environment too
            base_url=self._base_url,
            max_retries=0,  # the one policy is ours
            timeout=timeout,
            http_client=httpx2.Client(
                timeout=timeout, limits=limits, follow_redirects=False, event_hooks={"request": [_tell_nothing_of_us]}
            ),
            default_headers={name: Omit() for name in _ACCOUNT} if elsewhere else None,
        )


def _tell_nothing_of_us(request: Any) -> None:
    """Take off the headers by which the library describes this machine and itself, all but the one that it reads again."""
    for name in [name for name in request.headers if name.startswith("x-stainless-") and not name.endswith("raw-response")]:
        del request.headers[name]


def _import_openai(spec: str) -> None:
    prepare_environment()
    try:
        import httpx2  # noqa: F401 - its transport
        import openai  # noqa: F401 - that it is there
    except ImportError as error:
        raise MissingExtra("endpoints", f"remote model {spec}") from error


def _text_of(choice: Any, *, chat: bool) -> str | None:
    """The text of a choice, empty where it was withheld; None where the choice has another form."""
    holder = choice.get("message") if chat and isinstance(choice, dict) else choice
    name = "content" if chat else "text"
    if not isinstance(holder, dict) or name not in holder:
        return None
    text = holder[name]
    return "" if text is None else text if isinstance(text, str) else None
