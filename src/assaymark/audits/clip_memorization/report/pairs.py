"""The pairs that are remembered most and least, their blurred pictures, and the file with all scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.scoring import Scores, picture_blocks
from assaymark.audits.clip_memorization.method.alignment import ClipMem
from assaymark.report.minors import names_a_minor
from assaymark.report.pictures import contact_sheet
from assaymark.report.redaction import hash_content
from assaymark.result import Artifact, Column, Figure, Table
from assaymark.section import Section
from assaymark.stats.memorization.scores import extremes

__all__ = ["pair_section"]

PER_SHEET = 24


def pair_section(scores: Scores, found: ClipMem, config: ClipMemorizationConfig, context: Context) -> Section:
    """Table T2 of the highest and lowest scores, and the artifact with the scores of all pairs."""
    section = Section()
    candidates = np.flatnonzero(scores.pool.sets == "C")
    top, bottom = (candidates[rows] for rows in extremes(found.raw[candidates], size=config.listed))
    rows = np.concatenate([top, bottom])
    pool, f, g = scores.pool, scores.models["f"], scores.models["g"]
    values: dict[str, Any] = {
        "rank": [f"{word} {n + 1}" for word, part in (("most", top), ("least", bottom)) for n in range(len(part))],
        "id": [pool.ids[row] for row in rows],
        "caption": [pool.captions[row][0] for row in rows],
        "label": [pool.labels[row] for row in rows],
        "score": found.normalised[rows],
        "raw": found.raw[rows],
        "error": found.view_error[rows],
        "similarity_f": f.pair[rows],
        "similarity_g": g.pair[rows],
        "wrong": [None if pool.wrong is None else bool(pool.wrong[row]) for row in rows],
    }
    columns = (
        Column("rank", "label", "remembered"), Column("id", "id"), Column("caption", "content"), Column("label", "label"),
        Column("score", "number", "CLIPMem, normalised"), Column("raw", "number"),
        Column("error", "number", "standard error from views"), Column("similarity_f", "number", "similarity, model"),
        Column("similarity_g", "number", "similarity, reference"), Column("wrong", "flag", "known to be wrong"),
    )  # fmt: skip
    section.tables.append(
        Table.of(
            "pairs",
            "Candidates that are remembered most and least",
            values,
            columns,
            description="The highest scores are the pairs to look at first: wrong, imprecise or ambiguous captions, and rare "
            "content. A score is a sign of membership in the training data: do not publish it with a name.",
        )
    )
    if context.artifacts is not None:
        section.artifacts.append(_write_scores(scores, found, context.artifacts, context))
        if config.contact_sheet and pool.dataset is not None and "image" in pool.dataset:
            for name, part in (("most", top), ("least", bottom)):
                _sheet(section, name, scores, part[:PER_SHEET], context.artifacts)
    return section


def _write_scores(scores: Scores, found: ClipMem, folder: Path, context: Context) -> Artifact:
    """One line a scored pair; ids as in the report, unless the user asked for everything."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pool = scores.pool
    columns: dict[str, Any] = {
        "id": pool.ids if context.reveal else [hash_content(identity, context.salt) for identity in pool.ids],
        "set": pool.sets.tolist(),
        "alignment_f": scores.models["f"].alignment.total,
        "alignment_g": scores.models["g"].alignment.total,
        **{name: getattr(found, name) for name in ("raw", "normalised", "calibrated", "pair", "image", "text", "view_error")},
    }
    pq.write_table(pa.table(columns), folder / "scores.parquet")
    return Artifact("scores", "table", "scores.parquet", "CLIPMem and its terms of every scored pair", private=True)


def _sheet(section: Section, name: str, scores: Scores, rows: npt.NDArray[np.int64], folder: Path) -> None:
    images: list[Any] = []
    minors = 0
    for part, pictures in picture_blocks(scores.pool.take(rows)):
        for at, image in zip(pictures.positions, pictures.images, strict=True):
            if names_a_minor(" ".join(part.captions[at]), part.labels[at]):
                minors += 1
            else:
                images.append(image)
    if images:
        file = f"{name}_remembered.png"
        (folder / file).write_bytes(contact_sheet(images, columns=8, blur=True))
        section.artifacts.append(
            Artifact(f"{name}_remembered", "picture", file, f"blurred pictures that are {name} remembered")
        )
        section.figures.append(
            Figure(f"{name}_remembered", f"Candidates that are {name} remembered, blurred", "picture", artifact=file)
        )
    if minors:
        section.notes.append(f"contact sheet ({name} remembered): {minors} pictures whose text may name a minor are left out")
