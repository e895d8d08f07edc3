"""Every quantifier on resamples of the labelled items and of the stream, without building a resample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats.checks import FloatArray
from assaymark.stats.prevalence.binned import IntArray, LabelledBins, regrouped
from assaymark.stats.prevalence.detector import LINEAR, Detector, Setting, detector_of, shares
from assaymark.stats.prevalence.rates import Rate

__all__ = ["Draws", "redraw"]

# the stream is resampled on this many groups of bins where they fit: a drawn bin costs far more than anything done with it
DRAWN_BINS = 256
_BLOCK_ITEMS = 1 << 19
_FEW_ITEMS = 4


class Draws(NamedTuple):
    """Arrays (resamples, cells) by method: `clipped` to [0, 1], for a cell on its own, and `free` of the methods in `LINEAR`.

    Where a point is at 0 or 1 the clipped draws are of the fitted stream, the free ones of the stream as it was seen.
    """

    clipped: dict[str, FloatArray]
    free: dict[str, FloatArray]


class _Stream(NamedTuple):
    """What a cell is drawn from: a histogram and the share called positive, and how many items are drawn."""

    histogram: npt.NDArray[Any]  # (bins,)
    called: float
    items: int


def redraw(
    labelled: LabelledBins,
    cells: IntArray,
    points: Mapping[str, FloatArray],
    methods: Sequence[str],
    setting: Setting,
    *,
    both: bool,
    rng: np.random.Generator,
    resamples: int,
) -> Draws:
    """Draws (resamples, cells) of each method that has points; NaN for the others and for cells without items."""
    draws = {method: np.full((resamples, len(cells)), np.nan) for method in points}
    free = {method: np.full((resamples, len(cells)), np.nan) for method in points if method in LINEAR}
    streams = [_observed(counts, setting) for counts in cells]
    needs_detector = any(method != "cc" for method in methods)
    fixed = detector_of(labelled, setting) if needs_detector else None
    block = max(1, _BLOCK_ITEMS // cells.shape[1])
    for start in range(0, resamples, block):
        rows = slice(start, min(start + block, resamples))
        count = rows.stop - rows.start
        detector = _drawn_detector(labelled, setting, count, rng) if fixed and both else fixed
        for cell, stream in enumerate(streams):
            if stream.items == 0:
                continue
            drawn = _drawn(stream, methods, detector, setting, count, rng)
            for method in methods:
                if method in LINEAR:
                    free[method][rows, cell] = drawn[method]
                end = float(points[method][cell])
                if fixed and method not in ("cc", "pcc") and end in (0.0, 1.0):
                    fitted = _fitted(method, end, labelled, fixed.posterior[0], stream.items, setting)
                    drawn |= _drawn(fitted, [method], detector, setting, count, rng)
                draws[method][rows, cell] = np.clip(drawn[method], 0.0, 1.0)
    return Draws(draws, free)


def _observed(counts: npt.NDArray[Any], setting: Setting) -> _Stream:
    items = int(counts.sum())
    called = int(counts[setting.first_called :].sum())
    return _Stream(counts, Rate(called, items).error_share, items)


def _fitted(method: str, end: float, labelled: LabelledBins, posterior: FloatArray, items: int, setting: Setting) -> _Stream:
    """The stream as the method's own model has it when one class alone is left: the line it would have to lie on.

    That is the labelled items of the class; for EMQ, which knows the classes by the posterior alone, all labelled items weighed
    by their posterior of it.
    """
    if method != "emq":
        part = labelled.positive if end else labelled.negative
        called = int(part[setting.first_called :].sum()) / int(part.sum())
        return _Stream(part, Rate(called * items, items).error_share, items)
    weight = (labelled.negative + labelled.positive) * (posterior if end else 1.0 - posterior)
    return _Stream(weight, 0.0, items)


def _drawn_detector(labelled: LabelledBins, setting: Setting, rows: int, rng: np.random.Generator) -> Detector:
    """The detector as each resample of the labelled items, drawn within each class, has it."""
    found = detector_of(LabelledBins(*(_multinomial(part, int(np.sum(part)), rows, rng) for part in labelled)), setting)
    fpr, tpr = (
        _seen_rate(drawn, _observed(part, setting), rows, rng) for drawn, part in zip(found.rates, labelled, strict=True)
    )
    return found._replace(rates=(fpr, tpr))


def _seen_rate(drawn: FloatArray, seen: _Stream, rows: int, rng: np.random.Generator) -> FloatArray:
    """A rate of exactly 0 or 1 would be the same in all resamples although a few items say little (see `Rate`)."""
    if np.ptp(drawn) > 0 or drawn[0] not in (0.0, 1.0):
        return drawn
    return np.asarray(rng.binomial(seen.items, seen.called, size=rows) / seen.items)


def _multinomial(counts: npt.NDArray[Any], items: int, rows: int, rng: np.random.Generator) -> IntArray:
    """Resamples (rows, bins) of so many items; only occupied bins are drawn."""
    occupied = np.flatnonzero(counts)
    if items <= _FEW_ITEMS * occupied.size and counts.dtype.kind == "i":
        # the bin of each item, then items by number: cheaper than a binomial variate for each bin
        bin_of = np.repeat(np.arange(counts.size), counts)
        picks = bin_of[rng.integers(0, bin_of.size, size=(rows, items), dtype=np.uint32)]
        picks += np.arange(rows)[:, None] * counts.size
        return np.bincount(picks.ravel(), minlength=rows * counts.size).reshape(rows, counts.size)
    found = np.zeros((rows, counts.size), dtype=np.int64)
    found[:, occupied] = rng.multinomial(items, counts[occupied] / counts.sum(), size=rows)
    return found


def _drawn(
    stream: _Stream,
    methods: Sequence[str],
    detector: Detector | None,
    setting: Setting,
    rows: int,
    rng: np.random.Generator,
) -> dict[str, FloatArray]:
    """One cell: draws (rows,) by method."""
    bins = stream.histogram.size
    groups = DRAWN_BINS if bins > DRAWN_BINS and bins % DRAWN_BINS == 0 else bins
    called = rng.binomial(stream.items, stream.called, size=rows) / stream.items
    counts = np.empty((rows, 0), dtype=np.float64)
    posterior: FloatArray | None = None
    if any(method not in ("cc", "acc") for method in methods):
        coarse = regrouped(stream.histogram, groups)
        counts = _multinomial(coarse, stream.items, rows, rng).astype(np.float64)
    if detector is not None and any(method in ("pcc", "pacc", "emq") for method in methods):
        total = regrouped(detector.posterior * stream.histogram, groups)
        posterior = np.where(coarse > 0, total / np.where(coarse > 0, coarse, 1.0), 0.5)
    return {
        method: shares(method, counts, detector, setting, called=called, posterior=posterior, clip=False) for method in methods
    }
