"""Estimates as rows of dots and intervals on one scale per group, drawn by the style sheet alone (no script, no picture)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from assaymark.report.text import humanise, interval_text
from assaymark.result import Estimate, Unit, format_number

__all__ = ["EstimateGroup", "EstimateRow", "group_estimates", "nice_ceiling"]

NEUTRAL: Mapping[Unit, float] = {"ratio": 1.0, "percentage points": 0.0}


class EstimateRow(NamedTuple):
    """One estimate. Positions are percent of the strip; None when undefined."""

    name: str
    label: str
    estimate: Estimate
    number: str
    interval: str
    dot: float | None
    left: float
    width: float
    open_left: bool
    open_right: bool


@dataclass(frozen=True, slots=True)
class EstimateGroup:
    """Estimates that share a scale from `low` to `high` (formatted); `neutral` is the place of "no difference", if shown."""

    title: str
    low: str
    high: str
    neutral: float | None
    rows: tuple[EstimateRow, ...]


def group_estimates(estimates: Mapping[str, Estimate]) -> list[EstimateGroup]:
    """Group by the first part of the name and by unit; those alone of their kind come together by unit."""
    families: dict[tuple[str, Unit], list[str]] = {}
    for name, estimate in estimates.items():
        families.setdefault((name.partition(".")[0], estimate.unit), []).append(name)
    merged: dict[tuple[str, Unit], list[str]] = {}
    for (family, unit), names in families.items():
        merged.setdefault((family if len(names) > 1 else "", unit), []).extend(names)
    return [_group(family, unit, names, estimates) for (family, unit), names in merged.items()]


def _group(family: str, unit: Unit, names: list[str], estimates: Mapping[str, Estimate]) -> EstimateGroup:
    low, high = _scale([estimates[name] for name in names], unit)
    neutral = NEUTRAL.get(unit)
    rows = tuple(_row(name, name.removeprefix(f"{family}.") if family else name, estimates[name], low, high) for name in names)
    return EstimateGroup(
        title=humanise(family) if family else "",
        low=_end(low, unit),
        high=_end(high, unit),
        neutral=None if neutral is None else 100 * (neutral - low) / (high - low),
        rows=rows,
    )


def _row(name: str, label: str, estimate: Estimate, low: float, high: float) -> EstimateRow:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return EstimateRow(name, humanise(label), estimate, "undefined", estimate.reason, None, 0.0, 0.0, False, False)

    def place(x: float) -> float:
        return round(100 * min(max((x - low) / (high - low), 0.0), 1.0), 2)

    left, right = place(estimate.low), place(estimate.high)
    return EstimateRow(
        name,
        humanise(label),
        estimate,
        format_number(estimate.value, estimate.unit),
        interval_text(estimate),
        place(estimate.value),
        left,
        round(right - left, 2),
        estimate.low < low,
        estimate.high > high,
    )


def _end(value: float, unit: Unit) -> str:
    """An end of the scale is a round number and reads as one: `6 %`, not `6.00 %`."""
    if unit in ("share", "percentage points"):
        return f"{100 * value:.6g} {'%' if unit == 'share' else 'pp'}"
    return format_number(value, unit)


def _scale(estimates: Iterable[Estimate], unit: Unit) -> tuple[float, float]:
    """From zero (or a round number below it) to a round number above all; infinite limits do not stretch it."""
    ends = [x for e in estimates for x in (e.value, e.low, e.high) if x is not None and math.isfinite(x)]
    lowest, highest = min([0.0, *ends]), max([NEUTRAL.get(unit, 0.0), *ends])
    low, high = 0.0 - nice_ceiling(-lowest), nice_ceiling(highest)
    if unit in ("share", "probability"):
        low, high = max(low, 0.0), min(high, 1.0)
    return (low, high) if high > low else (low, low + 1.0)


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10 times a power of ten that is not below `value`; 0 for 0."""
    if value <= 0:
        return 0.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    steps = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
    return next((s * magnitude for s in steps if s * magnitude >= value * (1 - 1e-12)), 10.0 * magnitude)
