"""Reading labelled texts: the bounded sample of them, the models' answers, and which texts must stay on one side of a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.dates import found_dates
from assaymark.audits.generated_text_prevalence.detectors import Family
from assaymark.audits.generated_text_prevalence.measures.perturbing import Rewriting
from assaymark.audits.generated_text_prevalence.method.source_split import join_sources
from assaymark.audits.generated_text_prevalence.probes.labelled import LabelledProbe, LabelledTexts
from assaymark.audits.generated_text_prevalence.scoring import score_columns, score_texts
from assaymark.data.dates import DAY
from assaymark.data.near_text import near_duplicate_groups
from assaymark.data.scan import scan
from assaymark.data.text_pairs import HUMAN_LABELS, MACHINE_LABELS, LabelRule, labelled_texts
from assaymark.result import Flow

__all__ = ["Labelled", "ReadRows", "Units", "join_units", "microseconds", "read_labelled", "score_labelled"]

Floats = npt.NDArray[np.float64]


class ReadRows(NamedTuple):
    """Labelled texts as they were read; `data` is the input behind them."""

    rows: LabelledTexts
    flow: Flow
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Labelled:
    """Labelled texts with the answers of all models.

    Attributes
    ----------
    rows : LabelledTexts
    columns : mapping of column name to array (n,)
        Answers of all members of the family; NaN where a text cannot be scored.
    unit : array of str, shape (n,)
        Equal for texts that must not be split up: a source and its twins, and near-duplicates of any of them.
    duplicates : int
        Texts that nearly repeat another one.
    """

    rows: LabelledTexts
    columns: Mapping[str, Floats]
    unit: npt.NDArray[np.str_]
    duplicates: int

    @property
    def label(self) -> npt.NDArray[np.int8]:
        return self.rows.label


def read_labelled(
    dataset: Any, family: Family, config: GeneratedTextPrevalenceConfig, context: Context, *, name: str
) -> ReadRows:
    """One pass over a labelled input, for a bounded sample of its texts.

    Raises
    ------
    SchemaError
        No label; or neither texts nor the score columns that the detectors read.
    """
    data, rule, _ = labelled_texts(dataset)
    if config.machine or config.human:
        human, machine = (frozenset(value.strip().casefold() for value in values) for values in (config.human, config.machine))
        rule = LabelRule(human or HUMAN_LABELS, machine or MACHINE_LABELS)
    precomputed = score_columns(family)
    if not precomputed or any(member.kind != "columns" for member in family.members):
        data.require("text")
    if precomputed:
        data = data.with_scores(precomputed)
    probe = LabelledProbe(
        rule,
        config.max_labelled,
        frozenset(data.mapping),
        tuple(precomputed),
        found_dates(data, config) if "created_at" in data else None,
        (microseconds(config.released) + DAY, microseconds(config.cutoff)),
    )
    with context.progress.task(f"reading {name}", total=data.rows, unit="texts") as task:
        outcome = scan(
            data,
            [probe],
            engine=context.engine,
            checkpoint=None if context.work is None else context.work / name,
            task=task,
            log=context.log,
        )
    rows: LabelledTexts = outcome.answers["labelled"]
    skipped = {reason: count for reason, count in rows.skipped.items() if count}
    flow = outcome.flow
    used = Flow(flow.source, flow.total, flow.used - sum(skipped.values()), {**flow.skipped, **skipped}, flow.failed, "texts")
    return ReadRows(rows, used, (*data.notes, *outcome.notes, *_doubts(rows, config)))


def score_labelled(
    rows: LabelledTexts, units: Units, family: Family, context: Context, *, rewriting: Rewriting | None, name: str
) -> Labelled:
    """The rows with the answers of all models."""
    answers = score_texts(family, rows.texts, context, rewriting=rewriting, what=f"{name} texts")
    return Labelled(rows, {**rows.scores, **answers}, units.unit, units.duplicates)


def microseconds(day: date) -> int:
    """Start of a day in UTC, in microseconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6)


class Units(NamedTuple):
    """See `Labelled`."""

    unit: npt.NDArray[np.str_]
    duplicates: int


def join_units(rows: LabelledTexts, config: GeneratedTextPrevalenceConfig, context: Context) -> Units:
    """Sources, joined where their texts are nearly equal: such texts stay on one side of every split."""
    source = rows.unit.astype(str)
    if not config.near_duplicates or not any(rows.texts):
        return Units(source, 0)
    with context.progress.task("looking for near-duplicates", total=1, unit="passes") as task:
        group = near_duplicate_groups(rows.texts, threshold=config.near_duplicates, seed=context.seed)
        task.advance()
    return Units(join_sources(source, group), len(group) - len(np.unique(group)))


def _doubts(rows: LabelledTexts, config: GeneratedTextPrevalenceConfig) -> Iterator[str]:
    after_release, after_cutoff = rows.late
    if after_release:
        yield (
            f"{after_release:,} texts labelled human are dated after {config.released}, when anybody could have let a model "
            "write them: errors of the detector that are measured on them are unsafe"
        )
    if after_cutoff > after_release:
        yield f"{after_cutoff:,} texts labelled human are dated after the cut-off {config.cutoff}"
    if not rows.size and rows.skipped.get("label that is neither"):
        yield "no label says who wrote a text: name the values with machine=[...] and human=[...]"
