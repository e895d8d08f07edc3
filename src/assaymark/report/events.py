"""Labelled lines at moments or categories of the horizontal axis: what happened when.

The labels stand like flags above the axes, in as few rows as they fit into, so that they cover neither data nor one another.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from assaymark.report.canvas import INK
from assaymark.report.series import Panel
from assaymark.report.text import shorten, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ROW_POINTS", "Flag", "draw_events", "draw_events_across", "flags", "rows_of"]

ROW_POINTS: Final = 10.0
"""Height of a row of labels."""

_SIZE: Final = 7.5
_AXES_INCHES: Final = 6.0
_CHARACTER: Final = 0.56 * _SIZE / 72 / _AXES_INCHES  # width of a character as a share of the axes
_GAP: Final = 0.012
_MARGIN: Final = 0.05  # that matplotlib leaves on either side of the data
MOST_EVENTS: Final = 24
LABEL_CHARACTERS: Final = 32


class Flag(NamedTuple):
    """An event: where it lies on the axis, its label, the row of the label from below, and whether that stands left of it."""

    at: float
    label: str
    row: int
    leftwards: bool


class _Placed(NamedTuple):
    line: float
    start: float
    stop: float
    row: int


def flags(shown: Panel) -> list[Flag]:
    """Events within the drawn range, from left to right.

    A category that is not there lies between its neighbours where the categories are in order: a month without a post.
    """
    places = _places(shown)
    if not places:
        return []
    low, high = _span(shown)
    wide: list[tuple[bool, float, float, str]] = []
    for at, label in sorted(places)[:MOST_EVENTS]:
        line = _MARGIN + (1 - 2 * _MARGIN) * ((at - low) / (high - low) if high > low else 0.5)
        leftwards = line + len(label) * _CHARACTER + _GAP > 1.0
        wide.append((leftwards, line if leftwards else -line, at, label))
    # A label hides no line when those that come before it, seen the way that it points, are placed above it.
    placed: list[_Placed] = []
    found: list[Flag] = []
    for leftwards, key, at, label in sorted(wide):
        line, width = abs(key), len(label) * _CHARACTER + _GAP
        start, stop = (line - width, line) if leftwards else (line, line + width)
        row = next(r for r in range(MOST_EVENTS + 1) if _free(r, line, start, stop, placed))
        placed.append(_Placed(line, start, stop, row))
        found.append(Flag(at, label, row, leftwards))
    return sorted(found)


def rows_of(shown: Panel) -> int:
    """Rows of labels above the axes."""
    return max((flag.row + 1 for flag in flags(shown)), default=0)


def _free(row: int, line: float, start: float, stop: float, placed: list[_Placed]) -> bool:
    """Whether a label fits into a row, with no line through a label. Above all the others it always may stand."""
    if row > max((other.row for other in placed), default=-1):
        return True
    for other in placed:
        if other.row == row and start < other.stop and other.start < stop:
            return False
        if other.row < row and other.start <= line < other.stop:
            return False
        if other.row > row and start < other.line < stop:
            return False
    return True


def _span(shown: Panel) -> tuple[float, float]:
    if not shown.numeric_x:
        return 0.0, float(len(shown.categories) - 1)
    x = np.concatenate([group.x[np.isfinite(group.x) & np.isfinite(group.y)] for group in shown.groups])
    if shown.figure.log_x:
        x = x[x > 0]
    return (float(x.min()), float(x.max())) if len(x) else (math.nan, math.nan)


def _places(shown: Panel) -> list[tuple[float, str]]:
    low, high = _span(shown)
    ordered = shown.categories == sorted(shown.categories)
    places = []
    for value, label in shown.figure.events:
        at = _number(value) if shown.numeric_x else _category(value, shown.categories, ordered)
        if low <= at <= high and (at > 0 or not shown.figure.log_x or not shown.numeric_x):
            places.append((at, shorten(" ".join(visible(label).split()), LABEL_CHARACTERS, counted=False)))
    return places


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _category(value: str, categories: list[str], ordered: bool) -> float:
    if value in categories:
        return float(categories.index(value))
    return bisect.bisect(categories, value) - 0.5 if ordered else math.nan


def draw_events(axes: Axes, shown: Panel) -> float:
    """Upright lines with their flags; the height in points that the flags take above the axes."""
    found = flags(shown)
    for flag in found:
        axes.axvline(flag.at, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1.4)
        foot = {"xy": (flag.at, 1.0), "xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
        height = 2.5 + ROW_POINTS * flag.row
        line = {"arrowstyle": "-", "color": INK, "linewidth": 0.8, "linestyle": (0, (1, 1.5)), "shrinkA": 0.0, "shrinkB": 0.0}
        axes.annotate("", xytext=(0.0, height + 6.5), arrowprops=line, annotation_clip=False, **foot)
        axes.annotate(
            flag.label,
            xytext=(-2.5 if flag.leftwards else 2.5, height),
            ha="right" if flag.leftwards else "left",
            va="bottom",
            fontsize=_SIZE,
            color=INK,
            annotation_clip=False,
            **foot,
        )
    return ROW_POINTS * rows_of(shown)


def draw_events_across(axes: Axes, shown: Panel) -> None:
    """Level lines before the category of each event, where categories run down the page."""
    for flag in flags(shown):
        place = math.ceil(flag.at) - 0.5
        axes.axhline(place, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1.4)
        axes.text(
            0.995,
            place,
            flag.label,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=_SIZE,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
