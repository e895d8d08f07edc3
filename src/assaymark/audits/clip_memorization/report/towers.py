"""Text or image: which tower holds the candidates."""

from __future__ import annotations

from typing import Any

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.scoring import Scores
from assaymark.audits.clip_memorization.measures.tower_scores import TowerScores
from assaymark.audits.clip_memorization.report.sets import difference_of
from assaymark.result import Column, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["tower_section"]

TITLES = {
    "towers.image": "image tower by itself (SSLMem)",
    "towers.text": "text tower by itself (SSLMem)",
    "towers.swap.image": "lost with the reference's image tower (experimental)",
    "towers.swap.text": "lost with the reference's text tower (experimental)",
}


def tower_section(scores: Scores, found: TowerScores, config: ClipMemorizationConfig, context: Context) -> Section:
    """SSLMem of each tower and the swap, candidates minus external pairs."""
    section = Section()
    sets = scores.pool.sets
    columns = (found.image, found.text, found.swap_image, found.swap_text)
    for name, values in zip(TITLES, columns, strict=True):
        estimate = difference_of(values[sets == "C"], values[sets == "E"], config=config, rng=context.rng(name))
        if estimate.value is None and "swap" in name and found.reason:
            estimate = undefined(found.reason)
        elif estimate.value is None and name == "towers.text":
            estimate = undefined("captions have one view each, so the text tower shows no distance between views")
        section.estimates[name] = estimate
    values_: dict[str, Any] = {
        "tower": list(TITLES.values()),
        **interval_values("difference", (section.estimates[name] for name in TITLES)),
        "residual": [None, None, *(value if value == value else None for value in found.residual)],
        "reason": [section.estimates[name].reason for name in TITLES],
    }
    section.tables.append(
        Table.of(
            "towers",
            "Memorization by tower, candidates minus external pairs",
            values_,
            (
                Column("tower", "label"),
                *interval_columns("difference", "number", "difference"),
                Column("residual", "number", "what the rotation leaves over"),
                Column("reason", "text"),
            ),
            description="A tower by itself: distance between two views under the reference minus that under the model, in "
            "[-2, 2]. The exchange needs a rotation between the two spaces; what it leaves over, up to about 1, says how "
            "little the two have in common, and the larger it is the less the row says.",
        )
    )
    image, text = section.estimates["towers.image"], section.estimates["towers.text"]
    if image.low is not None and text.low is not None:
        section.findings.append(
            Finding(
                "note",
                f"Views of a candidate are nearer to each other under the model by {format_interval(text)} in the text tower "
                f"and by {format_interval(image)} in the image tower. "
                "The two distances are of different augmentations: they say where there is memorization, not which is more.",
                ("towers.image", "towers.text"),
                ("towers",),
            )
        )
    return section
