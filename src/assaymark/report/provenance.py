"""Provenance as facts to read: settings, inputs, models, libraries; secrets in URLs do not travel along."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from assaymark.result import Provenance

__all__ = ["Fact", "describe_plan", "format_seconds", "view_provenance", "withheld", "without_secrets"]

# user:password@ before a host, and the query of a URL, which is where signed links keep their signature.
_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.\-]*://)[^\s/@\"']+@", re.IGNORECASE)
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.\-]*://[^\s?#\"']*)[?#][^\s\"']+", re.IGNORECASE)
_SECRET_KEY = re.compile(r"(api.?key|token|secret|password|authorization|credential)s?$", re.IGNORECASE)


class Fact(NamedTuple):
    name: str
    value: str


def view_provenance(made: Provenance) -> list[tuple[str, list[Fact]]]:
    """Titled lists of facts, empty ones left out."""
    run = [
        Fact("audit", made.audit),
        Fact("assaymark", made.version),
        Fact("seed", str(made.seed)),
        Fact("engine", without_secrets(made.engine)),
        Fact("started", made.started),
        Fact("took", format_seconds(made.seconds)),
    ]
    sections = [
        ("Run", [fact for fact in run if fact.value]),
        ("Settings", _facts(made.settings)),
        ("Inputs", _facts(made.inputs)),
        ("Models", _facts(made.models)),
        ("Queries", _facts(made.queries)),
        ("Libraries", _facts(made.libraries)),
    ]
    return [(title, facts) for title, facts in sections if facts]


def _facts(mapping: Mapping[str, Any], prefix: str = "") -> list[Fact]:
    facts: list[Fact] = []
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if _SECRET_KEY.search(str(key)) and value and isinstance(value, str):
            facts.append(Fact(name, "(withheld)"))
        elif isinstance(value, Mapping) and value:
            facts.extend(_facts(value, f"{name} · "))
        else:
            facts.append(Fact(name, _plain(value)))
    return facts


def _plain(value: Any) -> str:
    if value is None or value == "" or (isinstance(value, (list, tuple, Mapping)) and not value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return without_secrets(str(value))


def without_secrets(text: str) -> str:
    """`https://user:key@host/path?signature=...` as `https://host/path`."""
    return _QUERY.sub(r"\1", _LOGIN.sub(r"\1", text))


def describe_plan(plan: Mapping[str, Any]) -> str:
    """The plan as indented JSON, secrets withheld, paths as seen from its folder; empty when the run had none."""
    if not plan:
        return ""
    folder = str(plan.get("folder", "")).rstrip("/")
    shown = {key: value for key, value in plan.items() if key != "folder"}
    return json.dumps(_seen_from(withheld(shown), folder), indent=2, ensure_ascii=False, default=str)


def _seen_from(value: Any, folder: str) -> Any:
    """Paths below the folder made relative: a report tells nothing of where its writer keeps files."""
    if isinstance(value, str):
        return value.removeprefix(f"{folder}/") if folder else value
    if isinstance(value, Mapping):
        return {key: _seen_from(item, folder) for key, item in value.items()}
    return [_seen_from(item, folder) for item in value] if isinstance(value, (list, tuple)) else value


def withheld(value: Any) -> Any:
    """A copy of nested settings with secrets withheld: values of keys that name one, logins and queries of URLs."""
    if isinstance(value, Mapping):
        return {
            str(k): "(withheld)" if _SECRET_KEY.search(str(k)) and isinstance(v, str) and v else withheld(v)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [withheld(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value


def format_seconds(seconds: float) -> str:
    """`3 h 12 min`, `41 s`, `0.3 s`; empty for zero, which stands for unknown."""
    if seconds <= 0:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
