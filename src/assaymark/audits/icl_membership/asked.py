"""What a prompt shows and what it asks: how the planted services read it, in a chat and flat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from assaymark.audits.icl_membership.method.prompts import Demonstration, Templates
from assaymark.models.protocols import Prompt

__all__ = ["Asked", "flat_form", "read_prompt"]


class Asked(NamedTuple):
    """A prompt as a service understands it.

    Attributes
    ----------
    kind : a label is asked for, a continuation, whether the text was seen, or something else
    text : the text in question; of a continuation, its first words; of something else, the whole message
    shown : texts with labels in their order: demonstrations, then what the user states
    instruction : all that stands before and between them
    """

    kind: Literal["label", "repeat", "inquiry", "other"]
    text: str
    shown: tuple[Demonstration, ...]
    instruction: str


class _Patterns(NamedTuple):
    pair: re.Pattern[str]
    statement: re.Pattern[str]
    question: re.Pattern[str]
    repeat: re.Pattern[str]
    inquiries: tuple[re.Pattern[str], ...]


@lru_cache(maxsize=64)
def _patterns(templates: Templates) -> _Patterns:
    field, answer = re.escape(templates.field), re.escape(templates.answer_field)
    return _Patterns(
        re.compile(rf"{field}: (.*)\n{answer}: (.*)", re.DOTALL),
        re.compile(rf"{field}: (.*) {answer}: (.*)"),
        re.compile(rf"{field}: (.*)"),
        _slot(templates.repeat, "{prefix}"),
        tuple(_slot(wording, "{x}") for wording in templates.inquiries),
    )


def _slot(wording: str, slot: str) -> re.Pattern[str]:
    """Finds a wording anywhere in a message, and in it the text."""
    head, _, tail = wording.partition(slot)
    return re.compile(f"{re.escape(head)}([^\n]*){re.escape(tail)}")


def flat_form(prompt: Prompt) -> str:
    """A chat as the flat text with the same turns; a flat prompt as it is."""
    if isinstance(prompt, str):
        return prompt
    ends = ["\n" if message["role"] == "user" else "\n\n" for message in prompt[:-1]]
    return "".join(message["content"] + end for message, end in zip(prompt, [*ends, ""], strict=True))


def read_prompt(prompt: Prompt, *, templates: Templates) -> Asked:
    """Take a prompt apart. Wordings other than those of the templates are read as far as they hold them.

    Parameters
    ----------
    prompt : str or messages
        Its form decides how it is read, not `templates.chat`.
    """
    blocks = flat_form(prompt).split("\n\n")
    if not isinstance(prompt, str):  # the user's last message may have blank lines of its own
        own = prompt[-1]["content"].split("\n\n")
        blocks = [*blocks[: len(blocks) - len(own)], prompt[-1]["content"]]
    patterns = _patterns(templates)
    shown, others = [], []
    for block in blocks[:-1]:
        pair = patterns.pair.fullmatch(block)
        if pair:
            shown.append((pair[1], pair[2]))
        else:
            others.append(block)
    lines = blocks[-1].split("\n")
    kind, text, before = _question(lines, patterns, templates, flat=isinstance(prompt, str))
    stated = (patterns.statement.fullmatch(line) for line in before)
    shown += [(found[1], found[2]) for found in stated if found]
    return Asked(kind, text, tuple(shown), "\n\n".join(others))


def _question(
    lines: Sequence[str], patterns: _Patterns, templates: Templates, *, flat: bool
) -> tuple[Literal["label", "repeat", "inquiry", "other"], str, Sequence[str]]:
    """Kind and text of the last message, and its lines before them."""
    labelled = flat and len(lines) > 1 and lines[-1] == f"{templates.answer_field}:"
    at = len(lines) - 2 if labelled else len(lines) - 1
    asked = patterns.question.fullmatch(lines[at])
    if asked:
        return ("label" if labelled or not flat else "repeat"), asked[1], lines[:at]
    message = "\n".join(lines)
    begun = patterns.repeat.search(message)
    if begun:
        return "repeat", begun[1].strip(), ()
    for wording in patterns.inquiries:
        seen = wording.search(message)
        if seen:
            return "inquiry", seen[1].strip('"'), ()
    return "other", message, ()
