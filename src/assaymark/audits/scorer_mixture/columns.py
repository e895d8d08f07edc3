"""Which columns hold scores, the label, groups, splits and slices, and which models score the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.data.dataset import Dataset
from assaymark.data.schema import CONCEPTS
from assaymark.errors import ConfigError, ModelError, SchemaError, nearest

__all__ = ["GROUP", "SCORE", "SLICE", "SPLIT", "Plan", "plan_columns", "score_columns"]

SCORE, SLICE, GROUP, SPLIT = "score:", "slice:", "row:group", "row:split"
"""Names under which a column that is no concept of its own is read."""

_DECIMAL = ("double", "float", "halffloat", "decimal")
_TEXT = ("string", "large_string")
MOST_NAMED = 5


@dataclass(frozen=True)
class Plan:
    """What is read of an input, and under which names.

    Attributes
    ----------
    dataset : Dataset
        With every needed column mapped.
    columns : tuple of str
        Score columns that are read, in a fixed order.
    named : bool
        Whether the user named them; guessed ones with a value outside [0, 1] are dropped, named ones are an error.
    models : tuple of str
        Scorers that are models, by the names the user gave them.
    content : str
        What the models score: "image", "embedding", or nothing.
    """

    dataset: Dataset
    columns: tuple[str, ...]
    named: bool
    models: tuple[str, ...] = ()
    content: str = ""
    classes: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    has_group: bool = False
    has_split: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def class_scorers(self) -> tuple[str, ...]:
        """Scorers with one column for each class."""
        return tuple(dict.fromkeys(name.rpartition(":")[0] for name in self.columns)) if self.classes else ()

    @property
    def scorers(self) -> tuple[str, ...]:
        """All scorers, columns first."""
        return (*(self.class_scorers or self.columns), *self.models)


def plan_columns(dataset: Dataset, config: ScorerMixtureConfig, models: Mapping[str, Any], *, labelled: bool = True) -> Plan:
    """Find everything in an input.

    Parameters
    ----------
    labelled : bool
        False for production data: no label, split or slices are looked for.

    Raises
    ------
    SchemaError
        A named column is not there, or the input holds no label, or nothing to score.
    """
    label = config.label_column
    if labelled and label:
        _present(dataset, label, "label_column")
        dataset = replace(dataset, mapping={**dataset.mapping, "label": label})
    if labelled:
        dataset.require("label")
    wanted = config.slices if labelled else ()
    for name in wanted:
        _present(dataset, name, "slices")
    content = _content(dataset, models, required=labelled)
    columns = score_columns(dataset, config, optional=bool(models) or config.zoo > 0 or not labelled)
    mapping = {f"{SCORE}{name}": name for name in columns} | {f"{SLICE}{name}": name for name in wanted}
    has_group = labelled and config.group_column in dataset.columns
    has_split = labelled and config.split_column in dataset.columns
    mapping |= {GROUP: config.group_column} if has_group else {}
    mapping |= {SPLIT: config.split_column} if has_split else {}
    scores = {f"{SCORE}{name}": name for name in columns}
    dataset = replace(dataset, mapping={**dataset.mapping, **mapping}).with_scores(scores)
    notes = (*_notes(config, has_split), *_passed_over(dataset, columns, config)) if labelled else ()
    given = bool(config.scorers)
    names = tuple(models) if content else ()
    plan = Plan(dataset, columns, given, names, content, config.classes, wanted, has_group, has_split, notes)
    if labelled:
        _check_costs(config, plan)
    clash = set(plan.class_scorers or columns) & set(names)
    if clash:
        raise ConfigError(f"scorer {min(clash)!r} is a column and a model: give the model another name, scorer.NAME=SPEC")
    return plan


def _check_costs(config: ScorerMixtureConfig, plan: Plan) -> None:
    known = (*plan.scorers, *(f"trained_{i + 1}" for i in range(config.zoo)))
    for name in config.costs:
        if name not in known:
            raise ConfigError(f"setting 'costs': no scorer {name!r}{nearest(name, known)}; scorers: {', '.join(known)}")


def score_columns(dataset: Dataset, config: ScorerMixtureConfig, *, optional: bool) -> tuple[str, ...]:
    """Names of the score columns, sorted, so that the order of columns in a file changes nothing."""
    if config.classes:
        return _class_columns(dataset, config)
    if config.scorers:
        for name in config.scorers:
            _present(dataset, name, "scorers")
            if name == dataset.mapping.get("label"):
                raise ConfigError(f"setting 'scorers': column {name!r} is the label, which no scorer may know")
        return tuple(config.scorers)
    taken = {column for concept, column in dataset.mapping.items() if concept in CONCEPTS}
    taken |= {config.label_column, config.group_column, config.split_column, *config.slices}
    found = tuple(sorted(c for c, kind in dataset.columns.items() if kind.startswith(_DECIMAL) and c not in taken))
    if not found and not optional:
        if dataset.rows == 0:
            raise SchemaError(f"{dataset.source} holds no rows, so that nothing says which columns hold scores")
        raise SchemaError(
            f"{dataset.source}: no score column (decimal numbers in [0, 1]) and no model; columns: "
            f"{', '.join(dataset.columns)}. Name them with --set scorers=[a, b], or give models that score the pictures: "
            "--model scorer.NAME=SPEC"
        )
    return found


def _class_columns(dataset: Dataset, config: ScorerMixtureConfig) -> tuple[str, ...]:
    names = config.scorers or tuple(dict.fromkeys(c.rpartition(":")[0] for c in sorted(dataset.columns) if ":" in c))
    columns = tuple(f"{name}:{label}" for name in names if name for label in config.classes)
    for column in columns:
        _present(dataset, column, "classes")
    if not columns:
        raise SchemaError(f"{dataset.source}: no column NAME:CLASS for the classes {', '.join(config.classes)}")
    if not config.positives & {label.strip().casefold() for label in config.classes}:
        raise ConfigError("setting 'positive': name the classes that count as unsafe, as positive=[nude]")
    return columns


def _content(dataset: Dataset, models: Mapping[str, Any], *, required: bool) -> str:
    """Whether the models score pictures or stored embeddings; pictures where they can do both. Nothing only where allowed."""
    if not models:
        return ""
    for concept, method in (("image", "score_images"), ("embedding", "score_embeddings")):
        if concept in dataset and all(hasattr(model, method) for model in models.values()):
            return concept
    held = [concept for concept in ("image", "embedding") if concept in dataset]
    if held:
        raise ModelError(f"{dataset.source} holds {' and '.join(held)}, which not all models in the role scorer can score")
    if required:
        raise SchemaError(
            f"{dataset.source} holds neither pictures nor embeddings for the models in the role scorer; columns: "
            f"{', '.join(list(dataset.columns)[:20])}. Give them, or leave the models out and use score columns alone"
        )
    return ""


def _present(dataset: Dataset, column: str, setting: str) -> None:
    if column not in dataset.columns:
        raise SchemaError(
            f"setting {setting!r}: {dataset.source} has no column {column!r}{nearest(column, dataset.columns)}; "
            f"columns: {', '.join(list(dataset.columns)[:20])}"
        )


def _notes(config: ScorerMixtureConfig, has_split: bool) -> Iterator[str]:
    if config.source == "holdout" and not has_split:
        yield (
            "the fitting rows are taken to be new to the scorers (source=holdout); if they were trained on any of these rows, "
            "mark those with split=train or set source=train"
        )


def _passed_over(dataset: Dataset, columns: tuple[str, ...], config: ScorerMixtureConfig) -> Iterator[str]:
    """Columns that may well be scores, but are known as something else, or are not stored as decimal numbers."""
    used = {*columns, *dataset.mapping.values(), config.label_column, config.group_column, config.split_column, *config.slices}
    idle = sorted(name for name, kind in dataset.columns.items() if name not in used and not kind.startswith(_DECIMAL))
    if idle and not config.scorers:
        shown = ", ".join(f"{name} ({_kind(dataset.columns[name])})" for name in idle[:8])
        more = f" and {len(idle) - 8} more" if len(idle) > 8 else ""
        yield f"columns that are no decimal numbers are not taken for scores: {shown}{more}; name scores with scorers=[...]"
    for concept in ("tag", "punsafe"):
        column = dataset.mapping.get(concept)
        if column and column not in columns and dataset.columns[column].startswith(_DECIMAL):
            yield f"column {column} is taken for {concept!r}, not for a score; if it is one, name all of them: scorers=[...]"


def _kind(arrow: str) -> str:
    """An Arrow type in the user's words."""
    if arrow.endswith("string"):
        return "text"
    return "whole numbers" if arrow.startswith(("int", "uint")) else arrow


def shown_name(name: str) -> str:
    """A scorer's name as part of the name of an estimate: dots and spaces would be read as parts of it."""
    return "".join("_" if c in ". \t\n" else c for c in name)


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """`shown_name` of each, numbered where two would be the same."""
    seen: dict[str, int] = {}
    shown = []
    for name in map(shown_name, names):
        seen[name] = seen.get(name, 0) + 1
        shown.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(shown)
