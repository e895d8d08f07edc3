"""Scores of all pictures and units, as files that a step hands on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.encoder_memorization.study import Study
from assaymark.report.redaction import hash_content
from assaymark.result import Artifact
from assaymark.section import Section
from assaymark.stats import calibrated_scores, normalised_scores
from assaymark.stats.memorization.scores import DISTANCE_BOUND

__all__ = ["file_section"]

POINTS, UNITS = "points.parquet", "units.parquet"


def file_section(study: Study, ids: Sequence[str]) -> Section:
    """Nothing without a folder for files that are handed on."""
    section, folder = Section(), study.context.artifacts
    if folder is None or not study.config.write_files:
        return section
    folder.mkdir(parents=True, exist_ok=True)
    hashed = np.array([hash_content(one, study.context.salt) for one in ids], object)
    if study.paired:
        pq.write_table(_points(study, hashed), folder / POINTS)
        what = "SSLMem of every scored picture at every layer; ids are salted hashes"
        section.artifacts.append(Artifact("points", "table", POINTS, what, private=True))
    pq.write_table(_units(study, hashed), folder / UNITS)
    what = "UnitMem and ClassMem of every unit; owners are salted hashes"
    section.artifacts.append(Artifact("units", "table", UNITS, what, private=True))
    return section


def _points(study: Study, hashed: np.ndarray) -> pa.Table:
    rows = np.flatnonzero(study.points.scored)
    sets = study.letters[rows]
    parts = []
    for place, layer in enumerate(study.layers):
        raw = study.raw[place, rows]
        candidates = study.raw[place, study.candidates]
        parts.append(
            pa.table(
                {
                    "id": hashed[rows].tolist(),
                    "set": sets.tolist(),
                    "layer": [layer.name] * len(rows),
                    "align_f": study.measured.align["encoder"][place, rows],
                    "align_g": study.measured.align["reference"][place, rows],
                    "raw": raw,
                    "calibrated": calibrated_scores(raw, sets),
                    "bound": normalised_scores(raw, by="bound", bound=DISTANCE_BOUND),
                    "range": normalised_scores(raw, by="official_range", reference=candidates),
                }
            )
        )
    return pa.concat_tables(parts)


def _units(study: Study, hashed: np.ndarray) -> pa.Table:
    by_key = {int(key): place for place, key in enumerate(study.points.key)}
    parts = []
    for found in study.units:
        count = len(found.units.unitmem)
        owners = [by_key.get(int(key), -1) for key in found.units.owner]
        parts.append(
            pa.table(
                {
                    "layer": pa.array([found.layer.name] * count, pa.string()),
                    "unit": np.arange(count),
                    "mu_max": found.units.largest,
                    "mu_rest": found.units.rest,
                    "unitmem": found.units.unitmem,
                    "classmem": found.classes.classmem if found.classes is not None else np.full(count, np.nan),
                    "argmax_id": pa.array([hashed[owner] if owner >= 0 else None for owner in owners], pa.string()),
                    "dead": found.units.dead,
                }
            )
        )
    return pa.concat_tables(parts) if parts else pa.table({"layer": pa.array([], pa.string())})
