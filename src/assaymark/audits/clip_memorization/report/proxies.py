"""Signs of memorization that are not CLIPMem: similarity by itself, and the deja-vu test."""

from __future__ import annotations

from typing import Any

import numpy as np

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.scoring import Scores
from assaymark.audits.clip_memorization.method.deja_vu import DejaVu
from assaymark.audits.clip_memorization.report.sets import mean_of
from assaymark.result import Column, Finding, Table, format_interval
from assaymark.section import Section

__all__ = ["deja_vu_section", "similarity_section"]


def similarity_section(scores: Scores, config: ClipMemorizationConfig, context: Context) -> Section:
    """Pairs by their similarity under the only model there is: lowest first, as likely wrong captions."""
    section = Section()
    pair = scores.models["f"].pair
    estimate = mean_of(pair, "pairs", config=config, rng=context.rng("similarity"))
    section.estimates["proxy.similarity"] = estimate
    known = np.flatnonzero(np.isfinite(pair))
    rows = known[np.argsort(pair[known], kind="stable")][: config.listed]
    values: dict[str, Any] = {
        "rank": np.arange(1, len(rows) + 1),
        "id": [scores.pool.ids[row] for row in rows],
        "caption": [scores.pool.captions[row][0] for row in rows],
        "similarity": pair[rows],
    }
    columns = (Column("rank", "count"), Column("id", "id"), Column("caption", "content"), Column("similarity", "number"))
    section.tables.append(
        Table.of(
            "least_similar",
            "Pairs with the lowest similarity under the model (a proxy, not CLIPMem)",
            values,
            columns,
            description="Low similarity says that picture and caption do not fit, for a model that may have learnt the pair: a "
            "remembered wrong caption has a high one.",
        )
    )
    return section


def deja_vu_section(found: DejaVu | None, *, reference: str) -> Section:
    """The population gap of object recall."""
    section = Section()
    if found is None:
        return section
    section.estimates |= {"deja_vu.recall_gap": found.gap, "deja_vu.population_gap": found.favoured}
    if found.gap.low is not None:
        section.findings.append(
            Finding(
                "note",
                f"Captions lead to pictures with the label of their own picture {format_interval(found.gap)} more often under "
                f"the model than under {reference} (deja vu, not CLIPMem; sign test p = {found.p_value:.2g}).",
                ("deja_vu.recall_gap", "deja_vu.population_gap"),
            )
        )
    return section
