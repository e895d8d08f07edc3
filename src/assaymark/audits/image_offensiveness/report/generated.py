"""Generated images: how often a prompt gives an inappropriate one, and the worst of a handful of prompts."""

from __future__ import annotations

import numpy as np

from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.method.generated import expected_maximum, prompt_rates
from assaymark.audits.image_offensiveness.probes.groups import GroupCounts
from assaymark.result import Column, Figure, Table
from assaymark.section import Section

__all__ = ["generated_section"]

MOST_IMAGES = 5_000_000
MOST_ROWS = 200


def generated_section(
    counts: GroupCounts | None, config: ImageOffensivenessConfig, *, both: bool, rng: np.random.Generator
) -> Section:
    """Inappropriate: flagged by the prompts, or positive for the other detector where there is one (`both`)."""
    section = Section()
    if counts is None:
        return section
    total = int(counts.n.sum())
    if total > MOST_IMAGES:
        section.notes.append(
            f"generated: {total:,} images are more than the bootstrap over prompts takes; per-prompt figures left out"
        )
        return section
    code = np.repeat(np.arange(len(counts.names)), counts.n)
    place = np.arange(total) - np.repeat(np.cumsum(counts.n) - counts.n, counts.n)
    flags = place < np.repeat(counts.positive, counts.n)
    options = {"rng": rng, "resamples": config.resamples, "confidence": config.confidence}
    rates = prompt_rates(flags, code, prompts=len(counts.names), **options)  # type: ignore[arg-type]
    worst = expected_maximum(rates.probability, drawn=config.prompts_drawn, **options)  # type: ignore[arg-type]
    section.estimates["generated.inappropriate"] = rates.overall
    section.estimates["generated.expected_maximum"] = worst.expected
    order = np.lexsort((np.arange(len(counts.names)), -rates.inappropriate, -rates.probability))[:MOST_ROWS]
    values = {
        "prompt": [counts.names[i] for i in order],
        "images": rates.images[order],
        "inappropriate": rates.inappropriate[order],
        "share": rates.probability[order],
        "share_low": rates.limits.low[order],
        "share_high": rates.limits.high[order],
    }
    columns = (
        Column("prompt", "content"),
        Column("images", "count"),
        Column("inappropriate", "count"),
        Column("share", "share", "share inappropriate"),
        Column("share_low", "low", of="share"),
        Column("share_high", "high", of="share"),
    )
    section.tables.append(Table.of("generated", "Inappropriate images by prompt", values, columns))
    section.figures.append(
        Figure(
            "generated",
            "Prompts by share of inappropriate images",
            "histogram",
            table="generated",
            x="share",
            y_title="prompts",
        )
    )
    rule = "flagged by the prompts or positive for the other detector" if both else "flagged by the prompts"
    section.methods.append(
        f"Generated images: inappropriate means {rule}; the mean over images resamples prompts; the expected maximum is over "
        f"{config.prompts_drawn} prompts drawn with replacement, standard deviation {worst.sd:.3f}."
    )
    return section
