"""Skin-colour rules on a table of labelled pixels: the fixed ones, and two classifiers learnt on half of the pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.scorer_mixture.measures.members import SKIN_RULES
from assaymark.audits.scorer_mixture.method.skin import fit_gaussian, fit_histogram, gaussian_skin, histogram_skin
from assaymark.data.hashing import mixed
from assaymark.errors import SchemaError, nearest

__all__ = ["RuleCounts", "judge_pixel_rules", "unusable_pixels"]

Bools = npt.NDArray[np.bool_]


LABELS = ("label", "skin", "class", "target")
"""Names of the label's column, in any case."""


class RuleCounts(NamedTuple):
    """Decisions of one rule on the test pixels."""

    rule: str
    true_positives: int
    positives: int
    true_negatives: int
    negatives: int


def judge_pixel_rules(table: pa.Table, *, skin: Sequence[str], seed: int) -> tuple[RuleCounts, ...]:
    """Every rule on the same test pixels.

    Parameters
    ----------
    table : columns B, G, R in 0 to 255, and label
    skin : label values that mean skin
    seed : which half of the colours is learnt from

    Notes
    -----
    Pixels are divided by their colour: the same colour never both teaches and tests, as it would in a random half of the pixels
    of a few photographs, where a learnt histogram need only remember.
    """
    rgb, is_skin = _pixels(table, skin)
    colour = (rgb.astype(np.uint64) << np.array([16, 8, 0], dtype=np.uint64)).sum(axis=1).astype(np.uint64)
    half = mixed(mixed(colour) ^ np.uint64(seed & 0xFFFFFFFF)) >> np.uint64(63)
    learn, test = half == 0, half == 1
    rules: dict[str, Callable[[Any], Bools]] = dict(SKIN_RULES)
    if is_skin[learn].any() and not is_skin[learn].all() and min(is_skin[learn].sum(), (~is_skin[learn]).sum()) >= 4:
        histogram, gaussian = fit_histogram(rgb[learn], is_skin[learn]), fit_gaussian(rgb[learn], is_skin[learn])
        rules |= {
            "bayes_histogram": lambda pixels: histogram_skin(pixels, histogram),
            "bayes_gaussian": lambda pixels: gaussian_skin(pixels, gaussian),
        }
    label = is_skin[test]
    counts = []
    for name, rule in rules.items():
        called = rule(rgb[test]) if test.any() else np.zeros(0, bool)
        right = called == label
        found = int((right & label).sum()), int(label.sum()), int((right & ~label).sum()), int((~label).sum())
        counts.append(RuleCounts(name, *found))
    return tuple(counts)


def unusable_pixels(table: pa.Table) -> int:
    """Rows that lack a colour or the label; they are left out."""
    return int(table.num_rows) - len(_pixels(table, ())[0])


def _pixels(table: pa.Table, skin: Sequence[str]) -> tuple[npt.NDArray[np.uint8], Bools]:
    columns = {name.casefold(): name for name in table.column_names}
    columns["label"] = next((columns[name] for name in LABELS if name in columns), "")
    columns = {name: column for name, column in columns.items() if column}
    for name in ("r", "g", "b", "label"):
        if name not in columns:
            raise SchemaError(
                f"input 'pixels': no column {name!r}{nearest(name, columns)}; columns: {', '.join(table.column_names)}; "
                "it takes B, G, R in 0 to 255, and label"
            )
    planes = np.column_stack([_numbers(table.column(columns[c]), columns[c]) for c in "rgb"])
    whole = np.isfinite(planes).all(axis=1) & table.column(columns["label"]).is_valid().to_numpy()
    if whole.any() and (planes[whole].min() < 0 or planes[whole].max() > 255):
        raise SchemaError("input 'pixels': colours lie between 0 and 255")
    wanted = {value.strip().casefold() for value in skin}
    text = [str(value).strip().casefold().removesuffix(".0") for value in table.column(columns["label"]).to_pylist()]
    return planes[whole].astype(np.uint8), np.array([value in wanted for value in text], dtype=bool)[whole]


def _numbers(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy())
    except pa.ArrowException:
        raise SchemaError(
            f"input 'pixels': column {name!r} holds something else than numbers: under one line of column "
            "names stand colours between 0 and 255"
        ) from None
