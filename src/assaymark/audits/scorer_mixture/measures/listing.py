"""Lists of rows for the user's own eyes: scores and verdicts by hash and place, never a picture, a path or an id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.scorer_mixture.probes.row_keys import SPLITS
from assaymark.audits.scorer_mixture.study import Study
from assaymark.report.redaction import hash_content

__all__ = ["item_hash", "write_disagreements", "write_predictions"]


def item_hash(key: int, salt: bytes) -> str:
    """Salted hash that names a row in a report: of the hash of its content, which has no secret in it."""
    return hash_content(f"{key:016x}", salt)


def write_predictions(study: Study, path: Path) -> None:
    """Every sampled row with its scores, the mixture's score, probability and verdict, as Parquet."""
    fitting, sample = study.fitting, study.rows.sample
    scores = fitting.main.score(fitting.scores)
    known = np.isfinite(scores)
    called = np.where(known, scores, -np.inf) >= fitting.main.mixture.threshold
    columns = {
        "item": pa.array([item_hash(int(key), study.context.salt) for key in sample.key], pa.string()),
        "shard": pa.array(sample.shard),
        "row": pa.array(sample.row),
        "split": pa.array([SPLITS[split] for split in sample.split], pa.string()),
        "unsafe": pa.array(fitting.label),
        "mixture": _nullable(scores),
        "probability": _nullable(fitting.main.mixture.probability(scores)),
        "called": pa.array(called, mask=~known),
    }
    columns |= {f"score {name}": _nullable(column) for name, column in zip(study.names, fitting.scores.T, strict=True)}
    pq.write_table(pa.table(columns), path)


def write_disagreements(study: Study, path: Path, *, most: int) -> None:
    """The test rows on which the scorers spread most: where they lie, and what each scorer said."""
    scores, sample, test = study.scores, study.rows.sample, study.fitting.test
    present = np.isfinite(scores)
    spread = np.where(present, scores, -np.inf).max(axis=1) - np.where(present, scores, np.inf).min(axis=1)
    order = np.argsort(-spread, kind="stable")[:most]
    columns = {
        "item": pa.array([item_hash(int(key), study.context.salt) for key in sample.key[test][order]], pa.string()),
        "shard": pa.array(sample.shard[test][order]),
        "row": pa.array(sample.row[test][order]),
        "unsafe": pa.array(study.label[order]),
        "spread": pa.array(spread[order]),
    }
    columns |= {f"score {name}": _nullable(column[order]) for name, column in zip(study.names, scores.T, strict=True)}
    pq.write_table(pa.table(columns), path)


def _nullable(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
