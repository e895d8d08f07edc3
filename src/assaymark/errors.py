"""Everything a user can get wrong, each with the mend in the message.

The command line prints the message and leaves with exit code 2; a traceback is for defects of ours. Messages are one or
two lines: what is wrong, where (file, column, row, key), and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "AssaymarkError",
    "BudgetExceeded",
    "ConfigError",
    "EndpointError",
    "EngineError",
    "InputError",
    "MissingExtra",
    "ModelError",
    "PlanError",
    "PromptTooLong",
    "RunError",
    "SchemaError",
    "UnknownName",
    "UnsafeFile",
    "is_fetch_failure",
    "nearest",
]


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """`" - did you mean 'a' or 'b'?"` for the known names closest to `name`, or `""` when none is close."""
    close = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=most, cutoff=0.55)
    return f" - did you mean {' or '.join(repr(item) for item in close)}?" if close else ""


def is_fetch_failure(error: BaseException) -> bool:
    """Whether an error comes from a library that fetches over a network.

    Each has a family of exceptions of its own, not derived from `OSError`; which of them lies below another library changes
    from release to release, so they are told by where they are defined.
    """
    families = ("httpx", "httpcore", "requests", "urllib3", "aiohttp", "huggingface_hub", "fsspec")
    return type(error).__module__.partition(".")[0].startswith(families)


class AssaymarkError(Exception):
    """Base of every mistake that the user can mend (exit code 2)."""


class InputError(AssaymarkError):
    """A path, folder or file that cannot be read, or holds nothing."""


class SchemaError(InputError):
    """A table whose columns do not fit; the message names the column and the candidates."""


class UnsafeFile(InputError):
    """A file that would run code when loaded, or expands beyond its limit."""


class ConfigError(AssaymarkError):
    """A setting with an unknown name or a value out of range."""


class PlanError(AssaymarkError):
    """A plan file or a gate that cannot be understood."""


class RunError(AssaymarkError):
    """A run folder that is missing, incomplete, locked or of another version."""


class EngineError(AssaymarkError):
    """An execution engine that is unknown or cannot be reached."""


class ModelError(AssaymarkError):
    """A model that cannot be loaded or lacks the capability a role asks for."""


class PromptTooLong(ModelError):
    """A prompt that does not fit into the context of a model, which would read it only in part.

    `tokens` is its length, `context` what the model sees with its answer.
    """

    def __init__(self, message: str, *, tokens: int, context: int) -> None:
        super().__init__(message)
        self.tokens, self.context = tokens, context


class EndpointError(ModelError):
    """A remote model that failed or timed out; what was already answered is in the cache.

    `finished` are the answers of the call that failed, by the position of their item: they were paid for, so whoever catches
    the error keeps them.
    """

    def __init__(self, message: str, finished: Mapping[int, Any] | None = None) -> None:
        super().__init__(message)
        self.finished: Mapping[int, Any] = finished or {}


class BudgetExceeded(AssaymarkError):
    """More queries than the budget allows; what was answered is in the cache.

    `needed` is the budget with which the plan of the audit would have had leave, 0 where nobody knows it.
    """

    def __init__(self, message: str, needed: int = 0) -> None:
        super().__init__(message)
        self.needed = needed


class UnknownName(AssaymarkError):
    """A name that is not in a list of known ones; the message offers the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, mend: str = "") -> None:
        known = sorted(known)
        hint = nearest(name, known) or (f"; known: {', '.join(known)}" if known else "")
        super().__init__(f"unknown {kind} {name!r}{hint}{' ' + mend if mend else ''}")
        self.kind, self.name = kind, name


class MissingExtra(AssaymarkError):
    """An optional dependency is not installed; the message is the install line."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional part of assaymark: pip install 'assaymark[{extra}]'")
        self.extra = extra
