"""Reading a plan file: safe YAML that remembers the line of every key, so that a mistake is named where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from assaymark.config import in_words
from assaymark.errors import PlanError, nearest

__all__ = ["Document", "explain", "read_yaml"]

KeyPath = tuple[str | int, ...]

_KEYS: dict[str, tuple[str, ...]] = {
    "plan": ("name", "engine", "seed", "inputs", "models", "steps", "gates", "reveal", "budget"),
    "step": ("id", "audit", "mitigate", "inputs", "models", "set"),
    "input": ("path", "schema"),
}


class Document(NamedTuple):
    """What a YAML file says, and the line (from 1) of each key and list item by its path."""

    content: Any
    lines: dict[KeyPath, int]

    def line(self, path: Sequence[str | int]) -> int | None:
        """Line of the deepest part of `path` that the file has."""
        for length in range(len(path), 0, -1):
            if tuple(path[:length]) in self.lines:
                return self.lines[tuple(path[:length])]
        return None

    def at(self, *path: str | int) -> str:
        """`" line 12"`, or nothing where the line is not known."""
        line = self.line(path)
        return f" line {line}" if line else ""


def read_yaml(path: Path) -> Document:
    """Read one YAML document with the safe loader; a key that stands twice is refused, as YAML would drop the first.

    Raises
    ------
    PlanError
        When the file cannot be read, is not YAML, or repeats a key.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise PlanError(f"plan {path} cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        raise PlanError(f"{path} is not YAML: {error}".replace("\n", " ")) from None
    try:
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        if node is not None:
            _note_lines(node, (), lines, path, ())
        content = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PlanError(f"{path}{f' line {mark.line + 1}' if mark else ''} is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise PlanError(f"{path} is not YAML: {error}".replace("\n", " ")) from None
    finally:
        loader.dispose()
    return Document(content, lines)


def _note_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: Path, above: tuple[int, ...]) -> None:
    if id(node) in above:
        raise PlanError(f"{file} line {node.start_mark.line + 1}: this alias contains itself")
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*path, str(key_node.value))
            line = key_node.start_mark.line + 1
            if key in lines and key_node.tag != "tag:yaml.org,2002:merge":
                raise PlanError(f"{file} line {line}: key {key_node.value!r} stands a second time (first in line {lines[key]})")
            lines[key] = line
            _note_lines(value_node, key, lines, file, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _note_lines(item, (*path, index), lines, file, above)


def explain(error: ValidationError, document: Document) -> str:
    """` line 7: unknown key 'agin' in a step - did you mean ...` for the first thing a plan's model found wrong."""
    first = error.errors()[0]
    where = list(first["loc"])
    place = document.at(*where)
    if first["type"] == "extra_forbidden":
        kind = _kind(where)
        known = _KEYS[kind]
        return f"{place}: unknown key {where[-1]!r} in the {kind}" + (
            nearest(str(where[-1]), known) or f"; known: {', '.join(known)}"
        )
    shown = [str(part) for part in where if tuple(where[: where.index(part) + 1]) in document.lines]
    name = ".".join(shown) or ".".join(str(part) for part in where)
    if first["type"] == "missing":
        return f"{place}: {_kind(where)} without {str(where[-1])!r}"
    return f"{place}: {name} {in_words(first)} (given: {first.get('input')!r:.80})"


def _kind(where: Sequence[str | int]) -> str:
    """What the key at `where` belongs to: the plan, a step or an input."""
    if "inputs" in where[:-2]:
        return "input"
    return "step" if len(where) > 2 and where[0] == "steps" else "plan"
