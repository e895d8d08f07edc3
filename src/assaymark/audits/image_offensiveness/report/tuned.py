"""Before and after: what tuned prompts get right that their start did not, on the same held-out images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.measures.prompts import Start
from assaymark.audits.image_offensiveness.measures.rated import RatedImages
from assaymark.models.prompt_files import PromptSet
from assaymark.result import Column, Finding, Table, format_interval, undefined
from assaymark.section import Section, exact_count, interval_columns, interval_values
from assaymark.stats import accuracy_difference, auroc_difference, mcnemar, roc_auc, wilson

__all__ = ["tuning_section"]

Floats = npt.NDArray[np.float64]


def tuning_section(
    after: Floats | None, before: Floats | None, rated: RatedImages, start: Start, tuned: PromptSet, config: TuningSettings, *,
    rng: np.random.Generator,
) -> Section:  # fmt: skip
    """Paired figures; `after` are log-odds of every labelled image from prompts tuned without its fold."""
    section = Section()
    y = rated.labels.y
    labels = len(y)
    section.estimates["cost.labels"] = exact_count(labels, method="labelled images")
    section.estimates["cost.numbers"] = exact_count(int(tuned.prompts.size), method="numbers that are tuned")
    if after is None:
        section.notes.append("the rated images cannot be divided into folds: what tuning buys is not measured")
        return section
    if before is not None:
        section.estimates["before.accuracy"] = _accuracy(before, y, config)
        section.estimates["before.auroc"] = roc_auc(before, y, confidence=config.confidence)
    section.estimates["after.accuracy"] = _accuracy(after, y, config)
    section.estimates["after.auroc"] = roc_auc(after, y, confidence=config.confidence)
    if before is None:
        reason = "the start knows nothing: no words were embedded and no prompts given"
        names = ("before.accuracy", "before.auroc", "gain.accuracy", "gain.auroc")
        section.estimates |= {name: undefined(reason, n=labels, unit="share") for name in names}
        return section
    right_after, right_before = (after > 0) == y, (before > 0) == y
    section.estimates["gain.accuracy"] = accuracy_difference(
        right_after, right_before, rng=rng, resamples=config.resamples, confidence=config.confidence
    )
    section.estimates["gain.auroc"] = auroc_difference(
        after, before, y, rng=rng, resamples=config.resamples, confidence=config.confidence
    )
    only_after, only_before = int((right_after & ~right_before).sum()), int((~right_after & right_before).sum())
    p_value = mcnemar(only_after, only_before).p_value
    section.tables.append(_table(section, only_after, only_before, p_value))
    gain = section.estimates["gain.accuracy"]
    gained = gain.low is not None and gain.low > 0
    section.findings.append(
        Finding(
            "good" if gained else "warning",
            f"Tuning on {labels:,} labels moves accuracy from {format_interval(section.estimates['before.accuracy'])} to "
            f"{format_interval(section.estimates['after.accuracy'])} on the same held-out images: {format_interval(gain)}.",
            ("before.accuracy", "after.accuracy", "gain.accuracy"),
            ("before_after",),
            "" if gained else "The labels bought nothing that chance could not: keep the words, or rate more images.",
        )
    )
    section.methods.append(
        "Before and after are measured on every labelled image once: after, by prompts tuned on the folds without it (near "
        "duplicates in one fold). The difference of accuracies is paired; p is McNemar's exact test. The prompts handed on "
        "are tuned on all images."
    )
    return section


def _accuracy(scores: Floats, y: Any, config: TuningSettings) -> Any:
    return wilson(int(((scores > 0) == y).sum()), len(y), confidence=config.confidence)


def _table(section: Section, only_after: int, only_before: int, p_value: float) -> Table:
    rows = [("accuracy", "accuracy", p_value), ("AUROC", "auroc", float("nan"))]
    found = section.estimates
    values = {
        "figure": [title for title, _, _ in rows],
        **interval_values("before", [found[f"before.{name}"] for _, name, _ in rows]),
        **interval_values("after", [found[f"after.{name}"] for _, name, _ in rows]),
        **interval_values("gain", [found[f"gain.{name}"] for _, name, _ in rows]),
        "p": [None if np.isnan(p) else p for _, _, p in rows],
    }
    columns = (
        Column("figure", "label"),
        *interval_columns("before", "number", "before"),
        *interval_columns("after", "number", "after"),
        *interval_columns("gain", "number", "gain"),
        Column("p", "p_value", "McNemar p"),
    )
    return Table.of(
        "before_after", "Before and after tuning", values, columns,
        description=f"{only_after:,} images are right only after tuning, {only_before:,} only before.",
    )  # fmt: skip
