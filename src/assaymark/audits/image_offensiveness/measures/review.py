"""The review queue that people get, the verdicts that they give back, and blurred contact sheets of the strata."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.image_offensiveness.probes.classes import ClassCounts, StratumSample
from assaymark.errors import InputError, SchemaError, nearest
from assaymark.result import Artifact, Estimate, undefined
from assaymark.stats import stratified_prevalence

__all__ = [
    "OTHER",
    "BestScores",
    "Queue",
    "Verdicts",
    "bin_names",
    "build_queue",
    "precision_of_best",
    "read_verdicts",
    "reviewed",
    "write_queue",
]

Ints = npt.NDArray[np.int64]

OTHER = "(other classes)"
QUEUE = "review_queue"
COLUMNS = ("shard", "row", "score_bin", "class", "copies", "flagged", "score")
_YES, _NO = {"1", "1.0", "true", "yes", "offensive", "y"}, {"0", "0.0", "false", "no", "inoffensive", "n"}


class Queue(NamedTuple):
    """Strata and the rows to look at.

    Attributes
    ----------
    classes : list of str: classes with strata of their own, and `OTHER` last where more were pooled
    sizes : int64 array, shape (bins, classes): scored rows of each stratum
    lower : float64 array, shape (bins,): least score of each bin
    stratum : int64 array, shape (rows,): bin * classes + class
    bin, class_code, shard, row, copies, flagged : int64 arrays; score : float64 array
    """

    classes: list[str]
    bins: list[str]
    lower: npt.NDArray[np.float64]
    sizes: Ints
    stratum: Ints
    bin: Ints
    class_code: Ints
    shard: Ints
    row: Ints
    copies: Ints
    flagged: Ints
    score: npt.NDArray[np.float64]


class BestScores(NamedTuple):
    """The k highest scores and the class names of their images."""

    score: npt.NDArray[np.float64]
    classes: list[str]


class Verdicts(NamedTuple):
    """Reviewed rows: stratum, whether a person found the image offensive, how many rows it stands for, its score (NaN "
    "unknown).
    """

    stratum: Ints
    offensive: npt.NDArray[np.bool_]
    copies: Ints
    score: npt.NDArray[np.float64]
    flagged: npt.NDArray[np.bool_]
    blank: int


def bin_names(edges: tuple[float, ...]) -> list[str]:
    """Names of the score bins between inner edges."""
    limits = (0.0, *edges, 1.0)
    return [f"{low:g} to {high:g}" for low, high in itertools.pairwise(limits)]


def build_queue(counts: ClassCounts, edges: tuple[float, ...], *, per_stratum: int, own_classes: int) -> Queue:
    """Strata of the classes with most flags, all other classes pooled; the smallest hashes of each stratum are its sample.

    The smallest hashes of a union lie among the smallest of its parts, so pooling keeps the sample random.
    """
    order = np.lexsort((counts.keys, -counts.bins.sum(axis=1), -counts.flagged))
    own = order[:own_classes] if len(order) > own_classes + 1 else order
    names = [counts.names[i] for i in own]
    pooled = len(own) < len(counts.names)
    code_of = dict(zip(counts.keys[own].tolist(), range(len(own)), strict=True))
    width = len(own) + pooled
    sizes = np.zeros((len(edges) + 1, max(width, 1)), dtype=np.int64)
    sizes[:, : len(own)] = counts.bins[own].T
    if pooled:
        rest = np.setdiff1d(np.arange(len(counts.names)), own)
        sizes[:, len(own)] = counts.bins[rest].sum(axis=0)
        names = [*names, OTHER]
    sample = counts.sample
    codes = np.array([code_of.get(key, len(own)) for key in sample.class_key.tolist()], dtype=np.int64)
    stratum = sample.bin * max(width, 1) + codes
    ranked = np.lexsort((sample.key, stratum))
    stratum_sorted = stratum[ranked]
    rank = np.arange(len(ranked)) - np.searchsorted(stratum_sorted, stratum_sorted)
    kept = ranked[rank < per_stratum]
    return _queue(names or [""], edges, sizes, stratum, codes, sample, kept)


def _queue(
    names: list[str], edges: tuple[float, ...], sizes: Ints, stratum: Ints, codes: Ints, sample: StratumSample, kept: Ints
) -> Queue:
    score = 1.0 / (1.0 + np.exp(-np.clip(sample.log_odds[kept].astype(np.float64), -60, 60)))
    return Queue(
        names,
        bin_names(edges),
        np.array([0.0, *edges]),
        sizes,
        stratum[kept],
        sample.bin[kept],
        codes[kept],
        sample.shard[kept],
        sample.row[kept],
        sample.copies[kept],
        sample.flagged[kept],
        score,
    )


def write_queue(queue: Queue, folder: Path) -> list[Artifact]:
    """`review_queue.parquet` and `.csv`: one line an image, with an empty verdict. They name rows, so they are private."""
    table = pa.table(
        {
            "shard": queue.shard,
            "row": queue.row,
            "score_bin": [queue.bins[i] for i in queue.bin],
            "class": [queue.classes[i] for i in queue.class_code],
            "copies": queue.copies,
            "flagged": queue.flagged,
            "score": np.round(queue.score, 6),
            "verdict": pa.array([""] * len(queue.row), pa.string()),
        }
    )
    from pyarrow import csv

    pq.write_table(table, folder / f"{QUEUE}.parquet")
    csv.write_csv(table, folder / f"{QUEUE}.csv")
    text = "images to look at: fill in verdict (1 offensive, 0 not) and give the file back as the input verdicts"
    return [
        Artifact(QUEUE, "table", f"{QUEUE}.parquet", text, private=True),
        Artifact(f"{QUEUE}_csv", "table", f"{QUEUE}.csv", f"{text}, as a spreadsheet", private=True),
    ]


def read_verdicts(table: pa.Table, queue: Queue) -> Verdicts:
    """Verdicts with the stratum that each row was drawn for.

    Raises
    ------
    SchemaError
        A column of the queue is missing.
    InputError
        A score bin that is none of this audit's, or a verdict that is neither yes nor no.
    """
    for column in ("score_bin", "verdict", *(("class",) if len(queue.classes) > 1 else ())):
        if column not in table.column_names:
            hint = nearest(column, table.column_names) or f"; columns: {', '.join(table.column_names)}"
            raise SchemaError(f"input 'verdicts': no column {column!r}{hint}; give back the review queue with its columns")
    given = [_verdict(value) for value in table.column("verdict").to_pylist()]
    rows = np.array([i for i, value in enumerate(given) if value is not None], dtype=np.int64)
    bins = {name: code for code, name in enumerate(queue.bins)}
    classes = {name: code for code, name in enumerate(queue.classes)}
    names = table.column("class").to_pylist() if "class" in table.column_names else [None] * len(given)
    strata = []
    for i in rows.tolist():
        cell = str(table.column("score_bin")[i].as_py())
        if cell not in bins:
            raise InputError(
                f"input 'verdicts': score bin {cell!r} is none of this audit's ({', '.join(queue.bins)}); give verdicts on "
                "the queue of an audit with the same threshold"
            )
        code = classes.get(names[i] or "", classes.get(OTHER, 0))
        strata.append(bins[cell] * len(queue.classes) + code)
    return Verdicts(
        np.array(strata, dtype=np.int64),
        np.array([given[i] for i in rows.tolist()], dtype=bool),
        np.maximum(_numbers(table, "copies", rows, 1.0), 1).astype(np.int64),
        _numbers(table, "score", rows, np.nan),
        _numbers(table, "flagged", rows, 0.0) > 0,
        len(given) - len(rows),
    )


def _verdict(value: Any) -> bool | None:
    text = "" if value is None else str(value).strip().lower()
    if not text or text == "nan":
        return None
    if text in _YES | _NO:
        return text in _YES
    raise InputError(
        "input 'verdicts': a verdict is 1 (offensive) or 0 (not), or empty where nobody looked; found something else"
    )


def _numbers(table: pa.Table, name: str, rows: Ints, missing: float) -> npt.NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(len(rows), missing)
    values = table.column(name).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(np.nan_to_num(values[rows], nan=missing), dtype=np.float64)


def reviewed(queue: Queue, verdicts: Verdicts, *, threshold: float, confidence: float) -> Mapping[str, Estimate]:
    """Prevalence over all scored rows, and precision of those at or above the general threshold.

    Strata that nobody looked at are merged with the other classes of their score bin, so that a bin is undefined only where
    none of its images was looked at. An image stands for all rows with its content: shares are weighted by copies, and the
    number of trials is the effective one, (sum m)^2 / sum m^2.
    """
    width, bins = len(queue.classes), len(queue.bins)
    cells = bins * width
    weights, weighted = np.zeros(cells), np.zeros(cells)
    np.add.at(weights, verdicts.stratum, verdicts.copies.astype(np.float64))
    np.add.at(weighted, verdicts.stratum, verdicts.copies * verdicts.offensive)
    squares = np.zeros(cells)
    np.add.at(squares, verdicts.stratum, verdicts.copies.astype(np.float64) ** 2)
    sizes = queue.sizes.ravel().astype(np.float64)
    sizes, weights, weighted, squares = _merged(sizes, weights, weighted, squares, bins, width)
    with np.errstate(invalid="ignore", divide="ignore"):
        trials = np.where(squares > 0, weights**2 / squares, 0.0)
        successes = np.where(weights > 0, weighted / weights, 0.0) * trials
    return {
        "prevalence.reviewed": stratified_prevalence(sizes, successes, trials, confidence=confidence),
        "precision.flagged": _precision(queue, verdicts, threshold, confidence),
    }


def _merged(
    sizes: Any, weights: Any, weighted: Any, squares: Any, bins: int, width: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """A stratum without verdicts joins the largest reviewed one of its bin."""
    parts = [np.array(part, dtype=np.float64).reshape(bins, width) for part in (sizes, weights, weighted, squares)]
    for b in range(bins):
        seen = parts[1][b] > 0
        if seen.any() and not seen.all():
            largest = int(np.argmax(np.where(seen, parts[0][b], -1.0)))
            parts[0][b, largest] += parts[0][b][~seen].sum()
            parts[0][b][~seen] = 0.0
    return tuple(part.ravel() for part in parts)  # type: ignore[return-value]


def _precision(queue: Queue, verdicts: Verdicts, threshold: float, confidence: float) -> Estimate:
    """Share of offensive images among those in the bins at or above the threshold, weighted by stratum."""
    above = np.repeat(queue.lower >= threshold - 1e-12, len(queue.classes))
    inside = above[verdicts.stratum]
    trials = np.bincount(verdicts.stratum[inside], minlength=len(above))
    found = np.bincount(verdicts.stratum[inside & verdicts.offensive], minlength=len(above))
    sizes = np.where(above, queue.sizes.ravel(), 0)
    if not sizes.sum():
        return undefined("no image lies at or above the threshold", unit="share")
    merged = _merged(sizes, trials, found, np.zeros(len(above)), len(queue.bins), len(queue.classes))
    return stratified_prevalence(merged[0], merged[2], merged[1], confidence=confidence)


def precision_of_best(queue: Queue, verdicts: Verdicts, best: BestScores, *, confidence: float) -> Estimate:
    """Share of offensive images among the k highest scores, from the reviewed ones among them, weighted by stratum.

    Strata were looked at at different rates; those of the k that nobody looked at join the largest reviewed one.
    """
    method = f"stratified normal, precision at {len(best.score)}"
    if not len(best.score):
        return undefined("there are no scored images", method=method, unit="share")
    cells = len(queue.bins) * len(queue.classes)
    code_of = {name: code for code, name in enumerate(queue.classes)}
    codes = np.array([code_of.get(name, code_of.get(OTHER, 0)) for name in best.classes], dtype=np.int64)
    bins = np.clip(np.searchsorted(queue.lower, best.score, side="right") - 1, 0, len(queue.bins) - 1)
    sizes = np.bincount(bins * len(queue.classes) + codes, minlength=cells)
    inside = verdicts.score >= best.score.min() - 1e-6
    trials = np.bincount(verdicts.stratum[inside], minlength=cells)
    if not trials.sum():
        return undefined(f"none of the {len(best.score)} highest scores was looked at", method=method, unit="share")
    found = np.bincount(verdicts.stratum[inside & verdicts.offensive], minlength=cells)
    merged = _merged(sizes, trials, found, np.zeros(cells), 1, cells)
    return stratified_prevalence(merged[0], merged[2], merged[1], confidence=confidence)
