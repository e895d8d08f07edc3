"""Base of every audit's typed settings, and how settings arrive from YAML and from `--set key=value`."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from assaymark.errors import ConfigError, nearest

__all__ = ["AuditConfig", "parse_overrides"]


class AuditConfig(BaseModel):
    """Frozen, typed settings; an unknown key fails and names the nearest known one.

    Every field has a default (the paper's number, with its source beside it) and a `Field(description=...)`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)

    @classmethod
    def build(cls, settings: Mapping[str, Any] | None = None) -> Self:
        """Settings from a plain mapping.

        Raises
        ------
        ConfigError
            Naming the key, what was given, and what is allowed.
        """
        settings = dict(settings or {})
        for key in settings:
            if key not in cls.model_fields:
                hint = nearest(key, cls.model_fields) or f"; known: {', '.join(sorted(cls.model_fields))}"
                raise ConfigError(f"unknown setting {key!r}{hint}")
        for key, value in settings.items():
            if isinstance(value, str) and _is_sequence(cls.model_fields[key].annotation):
                settings[key] = (value,)
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "settings"
            raise ConfigError(f"setting {where!r}: {first['msg']} (given: {first.get('input')!r})") from None

    def shown(self, *, hashed: Callable[[str], str]) -> dict[str, Any]:
        """Settings as a report may show them, unless the user asks for everything; an audit with private ones overrides this.

        Parameters
        ----------
        hashed : salted hash of a text, for what must not be read but has to be recognised.
        """
        return self.model_dump(mode="json")


def _is_sequence(annotation: Any) -> bool:
    """True for `tuple[...]` and `list[...]`, also inside an optional: a single string then means one element."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is_sequence(part) for part in get_args(annotation)) and str not in get_args(annotation)
    return get_origin(annotation) in (tuple, list)


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """`["theta=0.5", "lexicons=[a.txt, b.txt]"]` to `{"theta": 0.5, "lexicons": ["a.txt", "b.txt"]}` (values are YAML)."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {pair!r}: write it as key=value")
        try:
            settings[key.strip()] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            raise ConfigError(f"--set {key.strip()}: {text!r} is not a YAML value; quote it") from None
    return settings
