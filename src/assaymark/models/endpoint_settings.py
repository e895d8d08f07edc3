"""What every remote model is told in its spec: where it is, which key opens it, how fast and how patiently to ask."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from assaymark.errors import ConfigError, ModelError
from assaymark.models.retrying import Retrying
from assaymark.models.spec import ModelSpec

__all__ = ["SHARED_OPTIONS", "EndpointSettings", "api_key", "check_endpoint_options", "check_url", "described"]

SHARED_OPTIONS = ("concurrency", "retries", "timeout", "rpm", "key_env")

_KEY_LIKE = re.compile(r"(api[-_]?)?key|token|secret|password|authorization", re.IGNORECASE)
_EXCERPT = 160


class EndpointSettings(NamedTuple):
    """Options of every remote model; none of them changes an answer.

    Attributes
    ----------
    concurrency : int
        Questions under way at a time (option `concurrency`, default 8).
    timeout : float
        Seconds until a silent service is asked again (option `timeout`, default 60).
    retrying : Retrying
        With the options `retries` (default 5) and `rpm`, requests a minute (default 0: no limit).
    """

    concurrency: int
    timeout: float
    retrying: Retrying

    @classmethod
    def of(cls, spec: ModelSpec) -> EndpointSettings:
        concurrency, retries = spec.integer("concurrency", 8), spec.integer("retries", 5)
        timeout, rpm = spec.number("timeout", 60.0), spec.number("rpm", 0.0)
        if not (1 <= concurrency <= 256 and 0 <= retries <= 100 and timeout > 0 and rpm >= 0):
            raise ConfigError(
                f"model {spec.text}: concurrency must lie in [1, 256], retries in [0, 100], timeout above 0 and rpm at least 0"
            )
        return cls(concurrency, timeout, Retrying(retries, rpm))


def check_endpoint_options(spec: ModelSpec, known: tuple[str, ...]) -> None:
    """Refuse unknown options, and a key in the spec without repeating it: specs stand in reports and logs."""
    if any(_KEY_LIKE.fullmatch(name) for name in spec.options):
        raise ModelError(
            f"model {spec.scheme}:{spec.target.partition('?')[0]}: a key does not belong into a spec, which is written into "
            "reports; put it into an environment variable and name that: key_env=NAME"
        )
    spec.check_options((*SHARED_OPTIONS, *known))


def check_url(url: str, spec: ModelSpec) -> str:
    """The URL, if it is one of http without a password or key in it."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        whole = False
    if not whole:
        raise ModelError(f"model {spec.scheme}: {url[:_EXCERPT]!r} is not a URL of http or https")
    if "@" in parts.netloc or any(_KEY_LIKE.fullmatch(name) for name, _ in parse_qsl(parts.query)):
        raise ModelError(
            f"model {spec.scheme}: the URL of {parts.hostname} holds a password or key, which would be written into reports; "
            "put it into an environment variable and name that: key_env=NAME"
        )
    return url


def api_key(spec: ModelSpec, default: str | None) -> str | None:
    """The key from the environment variable that `key_env` names, else from `default`; None where none is asked for.

    Read when it is used and never kept: an adapter that is pickled or printed holds no key.

    Raises
    ------
    ModelError
        The variable that is to hold it is not set.
    """
    name = spec.options.get("key_env") or default
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise ModelError(
            f"model {spec.text}: the environment variable {name} holds no key; set it, or name another: key_env=NAME"
        )
    return key


def described(answer: object) -> str:
    """What came instead of an answer, by its form only: replies may quote what was sent."""
    if isinstance(answer, dict):
        return f"an object with {', '.join(map(repr, sorted(map(str, answer))))[:_EXCERPT]}" if answer else "an empty object"
    if isinstance(answer, list):
        return f"a list of {len(answer)}"
    return "nothing" if answer is None else f"a {type(answer).__name__}"
