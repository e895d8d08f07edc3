"""Somebody else's flags of the same images, such as the lists that the authors publish: how far the two agree.

The published lists have four columns and no header: label ("off" or "toxic"), index, score with two decimals, file name. A
reader of tables takes their first row for names, and with it an image would be lost; here it comes back.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.image_offensiveness.method.overlap import Overlap, overlap
from assaymark.errors import SchemaError
from assaymark.result import Estimate, undefined
from assaymark.stats import spearman

__all__ = ["FlagListMatch", "compare_flag_list", "read_flag_list"]

LABELS = ("off", "toxic")
NAMES = ("file", "path", "image", "id", "url", "name")


class FlagListMatch(NamedTuple):
    """The list beside the flags of this audit.

    listed : int, different images on the list
    matched : int, of them that are among the scored images
    agreement : Overlap of "prompts" and "list" over the scored images that have a name
    correlation : Estimate, rank correlation of both scores over matched images
    """

    listed: int
    matched: int
    agreement: Overlap
    correlation: Estimate


def read_flag_list(table: pa.Table) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Name of each listed image and its score (NaN where the list has none).

    Raises
    ------
    SchemaError
        Neither the published form nor a column that names images.
    """
    header = [str(name) for name in table.column_names]
    if len(header) == 4 and header[0].strip().casefold() in LABELS:
        scores, names = ([header[i], *table.column(i).to_pylist()] for i in (2, 3))
    else:
        place = {name.casefold(): i for i, name in enumerate(header)}
        named = next((place[name] for name in NAMES if name in place), None)
        if named is None:
            raise SchemaError(
                f"input 'flag_list': no column that names the images ({', '.join(NAMES)}); columns: {', '.join(header)}. The "
                "published form is label, index, score, file without a header"
            )
        names = table.column(named).to_pylist()
        scores = table.column(place["score"]).to_pylist() if "score" in place else [None] * len(names)
    kept = [i for i, name in enumerate(names) if name is not None and str(name).strip()]
    return [str(names[i]).strip() for i in kept], np.array([_number(scores[i]) for i in kept], dtype=np.float64)


def compare_flag_list(table: pa.Table, scores: Path, *, confidence: float) -> FlagListMatch:
    """Join with the file of scores; an image counts once on either side. O(n) time and memory in names.

    By file name without folders, as data sets are unpacked anywhere; by the whole name where file names occur several times.
    """
    names, own = read_flag_list(table)
    scored = pq.read_table(scores, columns=["id", "log_odds", "flag"])
    ids = [None if name is None else str(name) for name in scored.column("id").to_pylist()]
    whole = {name for name in ids if name is not None}
    key = str if len({_file_name(name) for name in whole}) < len(whole) else _file_name
    found = zip(ids, scored.column("log_odds").to_pylist(), scored.column("flag").to_pylist(), strict=True)
    here = {key(name): (float(log_odds), bool(flag)) for name, log_odds, flag in found if name is not None}
    listed = {key(name): score for name, score in zip(names, own.tolist(), strict=True)}
    matched = sorted(listed.keys() & here.keys())
    both = sum(here[name][1] for name in matched)
    flagged = sum(flag for _, flag in here.values())
    neither = len(here) - flagged - len(matched) + both
    agreement = overlap([neither, flagged - both, len(matched) - both, both], ("prompts", "list"), confidence=confidence)
    pairs = np.array([(here[name][0], listed[name]) for name in matched]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    correlation = (
        spearman(pairs[:, 0], pairs[:, 1], confidence=confidence)
        if len(pairs)
        else undefined("no matched image has two scores")
    )
    return FlagListMatch(len(listed), len(matched), agreement, correlation)


def _file_name(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
