"""The words of one service: names of its labels, templates of its prompt, and a reader of labels, from settings and data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.method.labels import SYNONYMS, LabelParser
from assaymark.audits.icl_membership.method.prompts import TASK_LABELS, TASKS, Templates, generic_templates
from assaymark.audits.icl_membership.method.words import folded
from assaymark.errors import ConfigError

__all__ = ["Wording", "check_names", "label_words", "wording"]


class Wording(NamedTuple):
    """Templates of the prompt and of the attacks, and what reads labels off replies."""

    templates: Templates
    parser: LabelParser


def label_words(labels: Sequence[str], config: ServiceConfig) -> list[str]:
    """The word in the prompt for each label of the data: as the settings say, by the known task, or the label itself.

    A fine label as "NUM:dist" counts by what stands before the colon. Numbers of the known tasks begin with 1, or with 0 where
    the data hold a 0, except for TREC, for which there are several orders.
    """
    known = TASK_LABELS.get(config.task, ())
    if not known:
        return [config.label_words.get(label, label) for label in labels]
    parser = LabelParser(known, SYNONYMS.get(config.task))
    first = 0 if "0" in labels else 1
    numbers = {} if config.task == "trec" else {str(first + place): word for place, word in enumerate(known)}
    return [config.label_words.get(label) or numbers.get(label) or _known_word(label, known, parser) for label in labels]


def _known_word(label: str, known: tuple[str, ...], parser: LabelParser) -> str:
    found = int(parser.parse([label.partition(":")[0]])[0])
    return known[found] if found >= 0 else label


def check_names(names: Sequence[str], config: ServiceConfig) -> Iterator[str]:
    """Yields what is odd about the label words of a pool.

    Raises
    ------
    ConfigError
        Two that no reader of replies could tell apart; none that the task has.
    """
    known = TASK_LABELS.get(config.task, ())
    alien = [name for name in names if known and name not in known]
    if alien and len(alien) == len(names):
        raise ConfigError(
            f"the labels of the pool ({_listed(names)}) are none of the task {config.task} ({_listed(known)}); say which is "
            "which with label_words={label: word}, or leave task out"
        )
    if alien:
        yield f"labels that the task {config.task} does not have, and that its instruction does not name: {_listed(alien)}"
    read: dict[str, str] = {}
    for name in names:
        other = read.setdefault(folded(name), name)
        if other != name:
            raise ConfigError(
                f"the labels {other!r} and {name!r} of the pool cannot be told apart in a reply; give them one word with "
                f"label_words={{{name}: {other}}}"
            )


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def wording(names: Sequence[str], config: ServiceConfig) -> Wording:
    """Templates with what the settings change in them.

    Raises
    ------
    ConfigError
        Synonyms that fit no label, or that mean two.
    """
    templates = TASKS.get(config.task) or generic_templates(names)
    changes: dict[str, Any] = {
        "field": config.field,
        "answer_field": config.answer_field,
        "repeat": config.repeat_wording,
        "inquiries": config.inquiries or templates.inquiries[:1],
    }
    if config.instruction is not None:
        templates = replace(templates, instruction=config.instruction)
    templates = replace(templates, chat=config.form == "chat", **{name: value for name, value in changes.items() if value})
    synonyms = {label: words for label, words in SYNONYMS.get(config.task, {}).items() if label in names}
    try:
        return Wording(templates, LabelParser(names, {**synonyms, **config.synonyms}))
    except ValueError as error:
        raise ConfigError(f"setting 'synonyms': {error}") from None
