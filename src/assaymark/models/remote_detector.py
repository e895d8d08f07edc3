"""`api:https://host/path?field=text&score=probability` - remote detectors of texts that answer in JSON over HTTP."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, EndpointError, MissingExtra, ModelError, UnknownName
from assaymark.models.endpoint_settings import EndpointSettings, api_key, check_endpoint_options, check_url, described
from assaymark.models.retrying import Transient, answer_all, is_transient, stated_wait
from assaymark.models.spec import ModelSpec
from assaymark.models.torch_adapter import clean_text

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["PRESETS", "RemoteDetector"]

VERSION = 1  # part of the fingerprint: grows when the same request would be made otherwise

PRESETS: dict[str, dict[str, str]] = {
    "gptzero": {
        "url": "https://api.gptzero.me/v2/predict/text",
        "field": "document",
        "score": "documents.0.class_probabilities.ai",
        "header": "x-api-key",
        "key_env": "GPTZERO_API_KEY",
    },
}
"""Services by name: their URL and options, each of which a spec can overrule. Remembered, not checked against the service."""

_OPTIONS = ("field", "score", "label", "header", "scale", "invert", "batch", "version")
_EACH = "*"  # in a path: every entry of a list
_REFUSED = (400, 413, 422)  # this text, not this service
_FEWEST = 3  # refused texts, of as many, that speak of a wrong request


class _Unlike(Exception):
    """An answer without what the path of the score names."""


class _Form(NamedTuple):
    """How a service is asked and read."""

    url: str
    field: tuple[str, ...]
    score: tuple[str, ...]
    scale: float
    invert: bool

    def body(self, texts: Sequence[str]) -> dict[str, Any]:
        """The JSON that is sent: a list of texts where the path of the score speaks of several, else one text."""
        value: Any = list(texts) if _EACH in self.score else texts[0]
        for name in reversed(self.field):
            value = {name: value}
        return dict(value)

    def probabilities(self, answer: Any) -> list[float]:
        """Probabilities in an answer; `_Unlike` where they are not there."""
        return [self._probability(value) for value in _walk(answer, self.score)]

    def _probability(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Unlike(f"{'.'.join(self.score)} is {described(value)}, not a number")
        scaled = value * self.scale
        return 1.0 - scaled if self.invert else scaled


class RemoteDetector:
    """The probability that a service gives a text (capability scores-texts, one label).

    One text, or `batch` of them, is sent as JSON by POST; the score is read at a path in the answer.

    Options: `field` is where the text goes (default `text`; `inputs.text` is nested); `score` the path of the number, names and
    positions with dots between (`documents.0.class_probabilities.ai`), where `*` stands for each entry of a list and makes the
    field a list of texts too; `scale` multiplies the number (0.01 for per cent), `invert=true` takes 1 minus it; `label` is
    the name of what is probable (default machine); `header` the header that carries the key (default authorization, as
    "Bearer KEY") and `key_env` the environment variable that holds it; `version` any word, a new one of which makes cached
    answers void. For `concurrency`, `retries`, `timeout` and `rpm` see `assaymark.models.endpoint_settings`.

    `api:gptzero` is a service by name (see `PRESETS`). Nothing is sent anywhere but to the URL.

    Notes
    -----
    Empty texts are not sent, and their rows are NaN. So are rows of texts that the service refuses (status 400, 413, 422);
    `notes` counts them. A service that refuses every text is taken to be asked in a wrong form, which is an error.
    """

    multi_label = True
    remote = True

    def __init__(self, spec: ModelSpec, loading: Loading | None = None) -> None:
        options = _with_preset(spec)
        self._parsed, self.spec = spec, spec.text
        url = check_url(options.get("url", spec.target), spec)
        check_endpoint_options(spec, _OPTIONS)
        _import_httpx2(spec.text)
        path = options.get("score")
        if not path:
            raise ModelError(f"model {spec.text}: score= names no path in the answer; write for example score=documents.0.ai")
        field, score = (tuple(text.split(".")) for text in (options.get("field", "text"), path))
        self._form = _Form(url, field, score, spec.number("scale", 1.0), spec.flag("invert", False))
        self._batch = spec.integer("batch", 1)
        if self._batch < 1 or (self._batch > 1 and _EACH not in score):
            raise ConfigError(
                f"model {spec.text}: batch={self._batch} needs a score path with * for each text: results.*.score"
            )
        self._header = options.get("header", "authorization").lower()
        self._key_env = options.get("key_env")
        self.labels: tuple[str, ...] = (options.get("label", "machine"),)
        self._settings = EndpointSettings.of(spec)
        self.at_once = 2 * self._settings.concurrency * self._batch
        identity = ("api", VERSION, *self._form, self.labels, options.get("version", ""))
        self.fingerprint = blake2b(repr(identity).encode(), digest_size=16).hexdigest()
        self._refused = self._answered = 0
        self._lock = threading.Lock()
        self._connection: tuple[int, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteDetector, (self._parsed,)

    @property
    def notes(self) -> tuple[str, ...]:
        remote = f"{self._where} is a remote service: it may change without notice, and its scores with it"
        preset = f"{self.spec}: the form of its requests is remembered, not checked against the service"
        refused = f"{self._where} refused {self._refused:,} texts, which have no score"
        named = self._parsed.target in PRESETS
        return (remote, *([preset] if named else []), *([refused] if self._refused else []))

    @property
    def _where(self) -> str:
        parts = urlsplit(self._form.url)
        return f"detector {parts.netloc}{parts.path}"

    def score_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Shape (n, 1), in [0, 1]; NaN rows for empty and refused texts.

        Raises
        ------
        ModelError
            No key.
        EndpointError
            The service is down, refuses access, or answers in another form; rows scored before are in `finished`.
        """
        cleaned = [clean_text(text) for text in texts]
        rows = [row for row, text in enumerate(cleaned) if text.strip()]
        groups = [rows[start : start + self._batch] for start in range(0, len(rows), self._batch)]
        scores = np.full((len(cleaned), 1), np.nan, dtype=np.float32)
        if not groups:
            return scores
        key = api_key(self._parsed, self._key_env)
        ask = partial(self._scores, key)
        try:
            answers = answer_all(
                ask, [[cleaned[row] for row in group] for group in groups], concurrency=self._settings.concurrency
            )
        except EndpointError as error:
            finished = {
                row: [score] for at, said in error.finished.items() for row, score in zip(groups[at], said, strict=True)
            }
            raise EndpointError(str(error), finished) from error
        scores[rows, 0] = [score for said in answers for score in said]
        self._doubt(scores[rows, 0])
        return scores

    def _scores(self, key: str | None, texts: list[str]) -> list[float]:
        """Probabilities of the texts of one request; where it is refused, each text is asked about alone."""
        said = self._settings.retrying(partial(self._request, key, texts), endpoint=self._where)
        if said is not None:
            return said
        return [math.nan] if len(texts) == 1 else [score for text in texts for score in self._scores(key, [text])]

    def _request(self, key: str | None, texts: list[str]) -> list[float] | None:
        """Probabilities of one answer, None for refused texts."""
        import httpx2

        headers = {} if key is None else {self._header: f"Bearer {key}" if self._header == "authorization" else key}
        try:
            reply = self._client().post(self._form.url, json=self._form.body(texts), headers=headers)
        except httpx2.TimeoutException:
            raise Transient(f"it was silent for {self._settings.timeout:g} s") from None
        except httpx2.TransportError as error:
            raise Transient(f"the connection failed ({type(error).__name__})") from None
        if reply.status_code in _REFUSED:
            return None
        if reply.status_code != 200:
            self._raise_for(reply.status_code, reply.headers)
        return self._read(reply, len(texts))

    def _read(self, reply: Any, expected: int) -> list[float]:
        try:
            said = self._form.probabilities(reply.json())
        except ValueError:
            raise Transient(f"{len(reply.content):,} bytes came that are not whole JSON") from None
        except _Unlike as unlike:
            raise Transient(f"its answer has another form: {unlike}") from None
        if len(said) != expected:
            raise Transient(f"it gave {len(said)} scores for {expected} texts")
        outside = next((score for score in said if not 0.0 <= score <= 1.0), None)
        if outside is not None:
            raise EndpointError(
                f"{self._where} gave {outside:g}, which is no probability; for per cent write scale=0.01, or check score="
            )
        return said

    def _raise_for(self, status: int, headers: Mapping[str, str]) -> None:
        if is_transient(status):
            raise Transient(f"status {status}", stated_wait(headers))
        if status in (401, 403):
            named = (
                f"check the key in {self._key_env}"
                if self._key_env
                else "name the environment variable with its key: key_env=NAME"
            )
            raise EndpointError(f"{self._where} refuses access (status {status}); {named}, and the header that carries it")
        raise EndpointError(f"{self._where} answered with status {status}; check its URL")

    def _doubt(self, scores: npt.NDArray[np.float32]) -> None:
        """Count refused texts; a service that refused all it ever got was asked in a wrong form."""
        refused = int(np.isnan(scores).sum())
        with self._lock:
            self._refused += refused
            self._answered += len(scores) - refused
            doubtful = not self._answered and self._refused >= _FEWEST
        if doubtful:
            raise EndpointError(
                f"{self._where} refused all of {self._refused} texts; check that field={'.'.join(self._form.field)} is "
                "where it wants the text"
            )

    def _client(self) -> Any:
        """The HTTP client in this process; connections do not survive a fork."""
        import httpx2

        with self._lock:
            if self._connection is None or self._connection[0] != os.getpid():
                limits = httpx2.Limits(max_connections=self._settings.concurrency)
                client = httpx2.Client(timeout=self._settings.timeout, limits=limits, follow_redirects=False)
                self._connection = os.getpid(), client
            return self._connection[1]


def _import_httpx2(spec: str) -> None:
    try:
        import httpx2  # noqa: F401 - that it is there
    except ImportError as error:
        raise MissingExtra("endpoints", f"remote detector {spec}") from error


def _with_preset(spec: ModelSpec) -> Mapping[str, str]:
    """Options of the spec over those of the service it names; a URL is as good as a name."""
    if spec.target in PRESETS:
        return {**PRESETS[spec.target], **spec.options}
    if "://" not in spec.target:
        raise _UnknownService("service", spec.target, PRESETS, mend=f"(or a URL: api:https://host/path; model {spec.scheme})")
    return spec.options


class _UnknownService(UnknownName, ModelError):
    pass


def _walk(answer: Any, path: tuple[str, ...]) -> list[Any]:
    """Values at a path: names of objects, positions of lists, or each entry of a list."""
    found = [answer]
    for step in path:
        if step == _EACH:
            lists = [value for value in found if isinstance(value, list)]
            if len(lists) < len(found):
                raise _Unlike(f"no list at * of {'.'.join(path)}")
            found = [entry for value in lists for entry in value]
        else:
            found = [_entry(value, step, path) for value in found]
    return found


def _entry(value: Any, step: str, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    raise _Unlike(f"no {step!r} of {'.'.join(path)} in {described(value)}")
