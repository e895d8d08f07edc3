"""What people's verdicts on the review queue say about all images: prevalence, and precision of what is flagged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.audits.image_offensiveness.measures.review import OTHER, Queue
from assaymark.audits.image_offensiveness.method.review import stratified_share
from assaymark.errors import InputError, SchemaError, nearest
from assaymark.result import Estimate, undefined

__all__ = ["BestScores", "Verdicts", "precision_of_best", "read_verdicts", "reviewed"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_YES, _NO = {"1", "1.0", "true", "yes", "offensive", "y"}, {"0", "0.0", "false", "no", "inoffensive", "n"}


class BestScores(NamedTuple):
    """The k highest scores and the class names of their images."""

    score: npt.NDArray[np.float64]
    classes: list[str]


class Verdicts(NamedTuple):
    """Reviewed rows: stratum, whether a person found the image offensive, how many rows it stands for, its score (NaN
    unknown).
    """

    stratum: Ints
    offensive: npt.NDArray[np.bool_]
    copies: Ints
    score: npt.NDArray[np.float64]
    flagged: npt.NDArray[np.bool_]
    blank: int


def read_verdicts(table: pa.Table, queue: Queue, *, prompts: str = "", data: str = "") -> Verdicts:
    """Verdicts with the stratum that each row was drawn for.

    Raises
    ------
    SchemaError
        A column of the queue is missing.
    InputError
        A score bin that is none of this audit's, a verdict that is neither yes nor no, or a queue that was drawn with other
        prompts or from other images (whose fingerprints are not `prompts` and `data`).
    """
    for column in ("score_bin", "verdict", *(("class",) if len(queue.classes) > 1 else ())):
        if column not in table.column_names:
            hint = nearest(column, table.column_names) or f"; columns: {', '.join(table.column_names)}"
            raise SchemaError(f"input 'verdicts': no column {column!r}{hint}; give back the review queue with its columns")
    if data and _named_in(table, "data") - {data}:
        raise InputError(
            "input 'verdicts': the queue was drawn from other images than those of input 'images'; give the images that it was "
            "drawn from, or have the new queue looked at"
        )
    if prompts and _named_in(table, "prompts") - {prompts}:
        raise InputError(
            "input 'verdicts': the queue was drawn with other prompts, which put the images into other strata; give the "
            "prompts that it was drawn with, or have the new queue looked at"
        )
    given = [_verdict(value, row) for row, value in enumerate(table.column("verdict").to_pylist(), 1)]
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
        code = classes.get(names[i] or "", classes.get(OTHER))
        if code is None and len(classes) > 1:
            raise InputError(
                f"input 'verdicts': row {i + 1}: its class is none of this audit's; give verdicts on the queue of an audit of "
                "the same images"
            )
        code = code or 0
        strata.append(bins[cell] * len(queue.classes) + code)
    return Verdicts(
        np.array(strata, dtype=np.int64),
        np.array([given[i] for i in rows.tolist()], dtype=bool),
        np.maximum(_numbers(table, "copies", rows, 1.0), 1).astype(np.int64),
        _numbers(table, "score", rows, np.nan),
        _numbers(table, "flagged", rows, 0.0) > 0,
        len(given) - len(rows),
    )


def _named_in(table: pa.Table, column: str) -> set[str]:
    """What a column of the queue says of where it comes from; nothing in tables without it."""
    return {str(value) for value in table.column(column).to_pylist() if value} if column in table.column_names else set()


def _verdict(value: Any, row: int) -> bool | None:
    text = "" if value is None else str(value).strip().lower()
    if not text or text == "nan":
        return None
    if text in _YES | _NO:
        return text in _YES
    raise InputError(
        f"input 'verdicts': row {row}: a verdict is 1 (offensive) or 0 (not), or empty where nobody looked; this is none"
    )


def _numbers(table: pa.Table, name: str, rows: Ints, missing: float) -> npt.NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(len(rows), missing)
    refusal = InputError(
        f"input 'verdicts': column {name!r} holds something that is no number; give it back as the queue had it"
    )
    try:
        values = table.column(name).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise refusal from None
    if np.isinf(values[rows]).any():
        raise refusal
    return np.asarray(np.nan_to_num(values[rows], nan=missing), dtype=np.float64)


def reviewed(queue: Queue, verdicts: Verdicts, *, threshold: float, confidence: float) -> Mapping[str, Estimate]:
    """Prevalence over all scored rows, and precision of those at or above the general threshold.

    An image stands for all rows with its content, so shares are weighted by copies, and the number of trials is the effective
    one, (sum m)^2 / sum m^2.
    """
    shape = len(queue.bins), len(queue.classes)
    m, k, squares = (np.zeros(queue.sizes.size) for _ in range(3))
    copies = verdicts.copies.astype(np.float64)
    np.add.at(m, verdicts.stratum, copies)
    np.add.at(k, verdicts.stratum, copies * verdicts.offensive)
    np.add.at(squares, verdicts.stratum, copies**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = np.where(squares > 0, m**2 / squares, 0.0)
    N, rows, found, trials = (np.asarray(x, np.float64).reshape(shape) for x in (queue.sizes, m, k, effective))
    above = queue.lower >= threshold - 1e-12
    return {
        "prevalence.reviewed": stratified_share(N, rows, found, effective=trials, confidence=confidence),
        "flagged.precision": stratified_share(
            N[above], rows[above], found[above], effective=trials[above], confidence=confidence
        ),
    }


def precision_of_best(queue: Queue, verdicts: Verdicts, best: BestScores, *, confidence: float) -> Estimate:
    """Share of offensive images among the k highest scores, from the reviewed ones among them, weighted by stratum.

    Strata were looked at at different rates; those of the k that nobody looked at join the largest reviewed one.
    """
    if not len(best.score):
        return undefined("there are no scored images", unit="share")
    cells = len(queue.bins) * len(queue.classes)
    code_of = {name: code for code, name in enumerate(queue.classes)}
    codes = np.array([code_of.get(name, code_of.get(OTHER, 0)) for name in best.classes], dtype=np.int64)
    bins = np.clip(np.searchsorted(queue.lower, best.score, side="right") - 1, 0, len(queue.bins) - 1)
    sizes = np.bincount(bins * len(queue.classes) + codes, minlength=cells)
    inside = verdicts.score >= best.score.min() - 1e-6
    trials = np.bincount(verdicts.stratum[inside], minlength=cells)
    if not trials.sum():
        return undefined(f"none of the {len(best.score)} highest scores was looked at", unit="share")
    found = np.bincount(verdicts.stratum[inside & verdicts.offensive], minlength=cells)
    return stratified_share(sizes[None], trials[None], found[None], confidence=confidence)
