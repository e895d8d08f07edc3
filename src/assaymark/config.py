"""Base of every audit's typed settings, and how settings arrive from YAML and from `--set key=value`."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from assaymark.errors import ConfigError, nearest

__all__ = ["AuditConfig", "in_words", "parse_overrides"]


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
            alone = value is not None and not isinstance(value, (list, tuple, set, frozenset, Mapping))
            if alone and _is_sequence(cls.model_fields[key].annotation):
                settings[key] = (value,)
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise ConfigError(_explain(error.errors()[0])) from None

    def shown(self, *, hashed: Callable[[str], str]) -> dict[str, Any]:
        """Settings as a report may show them, unless the user asks for everything; an audit with private ones overrides this.

        Parameters
        ----------
        hashed : salted hash of a text, for what must not be read but has to be recognised.
        """
        return self.model_dump(mode="json")


_IN_WORDS = {
    "tuple_type": "must be a list, written [a, b]",
    "list_type": "must be a list, written [a, b]",
    "string_type": "must be text; put what looks like a number or a date in quotes, as \"'1'\"",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
}


def in_words(error: Any) -> str:
    """What a value must be, from one of pydantic's error dictionaries, whose own wording speaks to programmers."""
    if error["type"] in _IN_WORDS:
        return _IN_WORDS[error["type"]]
    message = str(error["msg"]).removeprefix("Value error, ")
    for programmers, ours in (
        ("Input should", "must"),
        ("String should", "must"),
        ("Tuple should", "must"),
        ("List should", "must"),
    ):
        message = message.replace(programmers, ours)
    return message.removesuffix(" after validation, not 0")


def _explain(first: Any) -> str:
    key, *inside = first["loc"] or ("settings",)
    names = [part for part in inside if isinstance(part, (int, str)) and not str(part).startswith("function-")]
    where = f"{key!r}" + "".join(f", item {part + 1}" if isinstance(part, int) else f", {part}" for part in names)
    given = repr(first.get("input"))
    shown = given if len(given) <= 80 else f"{given[:77]}..."
    return f"setting {where}: {in_words(first)} (given: {shown})"


def _is_sequence(annotation: Any) -> bool:
    """True for `tuple[...]` and `list[...]`, also inside an optional: a single value then means one element.

    Not for a pair, as `tuple[int, int]`, of which one element is no short form.
    """
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is_sequence(part) for part in get_args(annotation)) and str not in get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _is_sequence(get_args(annotation)[0])
    return get_origin(annotation) is list or (get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis)


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """`["theta=0.5", "lexicons=[a.txt, b.txt]"]` to `{"theta": 0.5, "lexicons": ["a.txt", "b.txt"]}` (values are YAML)."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {pair!r}: write it as key=value")
        if key.strip() in settings:
            raise ConfigError(f"--set {key.strip()} is given twice; several values are one list: --set '{key.strip()}=[a, b]'")
        try:
            settings[key.strip()] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            raise ConfigError(f"--set {key.strip()}: {text!r} is not a YAML value; quote it") from None
    return settings
