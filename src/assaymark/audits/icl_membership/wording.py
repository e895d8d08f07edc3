"""The words of one service: names of its labels, templates of its prompt, and a reader of labels, from settings and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.method.labels import SYNONYMS, LabelParser
from assaymark.audits.icl_membership.method.prompts import TASKS, Templates, generic_templates
from assaymark.errors import ConfigError

__all__ = ["TASK_LABELS", "Wording", "label_words", "wording"]

TASK_LABELS: dict[str, tuple[str, ...]] = {
    "trec": ("Number", "Location", "Person", "Description", "Entity", "Abbreviation"),
    "ag_news": ("World", "Sports", "Business", "Technology"),
    "dbpedia": (
        *("Company", "School", "Artist", "Athlete", "Politician", "Transportation", "Building"),
        *("Nature", "Village", "Animal", "Plant", "Album", "Film", "Book"),
    ),
}
"""Label words of the paper's tasks, in the order of the data sets' numbers (which begin with 1)."""


class Wording(NamedTuple):
    """Templates of the prompt and of the attacks, and what reads labels off replies."""

    templates: Templates
    parser: LabelParser


def label_words(labels: Sequence[str], config: ServiceConfig) -> list[str]:
    """The word in the prompt for each label of the data: as the settings say, by the known task, or the label itself.

    A fine label as "NUM:dist" counts by what stands before the colon.
    """
    known = TASK_LABELS.get(config.task, ())
    parser = LabelParser(known, SYNONYMS.get(config.task)) if known else None
    return [config.label_words.get(label) or _known_word(label, known, parser) for label in labels]


def _known_word(label: str, known: tuple[str, ...], parser: LabelParser | None) -> str:
    if parser is None:
        return label
    if label.isdecimal() and 1 <= int(label) <= len(known):
        return known[int(label) - 1]
    found = int(parser.parse([label.partition(":")[0]])[0])
    return known[found] if found >= 0 else label


def wording(names: Sequence[str], config: ServiceConfig) -> Wording:
    """Templates with what the settings change in them.

    Raises
    ------
    ConfigError
        Synonyms that fit no label, or that mean two.
    """
    templates = TASKS.get(config.task) or generic_templates(names)
    changes: dict[str, Any] = {
        "instruction": config.instruction,
        "field": config.field,
        "answer_field": config.answer_field,
        "repeat": config.repeat_wording,
        "inquiries": config.inquiries or templates.inquiries[:1],
    }
    templates = replace(templates, chat=config.form == "chat", **{name: value for name, value in changes.items() if value})
    synonyms = {label: words for label, words in SYNONYMS.get(config.task, {}).items() if label in names}
    try:
        return Wording(templates, LabelParser(names, {**synonyms, **config.synonyms}))
    except ValueError as error:
        raise ConfigError(f"setting 'synonyms': {error}") from None
