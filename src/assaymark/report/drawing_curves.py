"""Figures over a numeric axis: lines with bands, points with intervals, histograms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assaymark.report.canvas import COLOURS, DASHES, MARKERS, draw_references, finish_legend, format_axis, legend_name
from assaymark.report.events import ROW_POINTS, draw_events, rows_of
from assaymark.report.series import MOST_GROUPS, MOST_POINTS, Group, Panel
from assaymark.report.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = npt.NDArray[np.int64]
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")

__all__ = ["draw_histogram", "draw_lines", "draw_points", "error_lengths", "height"]

MOST_PERIODS = 18
"""Names of months that fit below the axis."""


def height(shown: Panel) -> float:
    """Inches that the drawing needs: more where events are named above it."""
    rows = rows_of(shown) if shown.figure.kind in ("lines", "points", "bars") else 0
    return 3.7 + rows * ROW_POINTS / 72


def error_lengths(group: Group, rows: npt.NDArray[np.bool_] | Rows) -> npt.NDArray[np.float64]:
    """Distances from the value to its limits, shape (2, n_rows); zero where a limit is absent or on the wrong side."""
    lengths = np.stack([group.y[rows] - group.low[rows], group.high[rows] - group.y[rows]])
    return np.where(np.isfinite(lengths) & (lengths > 0), lengths, 0.0)


def draw_lines(axes: Axes, shown: Panel) -> None:
    """One line per group, with a band from low to high; a gap where a value is undefined."""
    groups = shown.groups[:MOST_GROUPS]
    for index, group in enumerate(groups):
        at = _across(group, shown)
        rows = _thinned(np.argsort(at, kind="stable"))
        few = len(rows) <= 40
        axes.plot(
            at[rows],
            group.y[rows],
            color=COLOURS[index],
            linestyle=DASHES[index],
            linewidth=1.7,
            marker=MARKERS[index] if few else None,
            markersize=3.6,
            label=legend_name(group, groups),
        )
        if shown.intervals and np.isfinite(group.y[rows]).sum() == 1:
            # A band needs two points: the interval of a single one is a line.
            lengths = error_lengths(group, rows)
            axes.errorbar(at[rows], group.y[rows], yerr=lengths, fmt="none", ecolor=COLOURS[index], elinewidth=1.2, capsize=2.5)
        elif shown.intervals:
            axes.fill_between(at[rows], group.low[rows], group.high[rows], color=COLOURS[index], alpha=0.18, linewidth=0)
    _finish(axes, shown)


def draw_points(axes: Axes, shown: Panel) -> None:
    """One mark per row, with a line from low to high where the figure has limits."""
    groups = shown.groups[:MOST_GROUPS]
    for index, group in enumerate(groups):
        at = _across(group, shown)
        rows = _thinned(np.flatnonzero(np.isfinite(at) & np.isfinite(group.y)))
        axes.errorbar(
            at[rows],
            group.y[rows],
            yerr=error_lengths(group, rows) if shown.intervals else None,
            fmt=MARKERS[index],
            color=COLOURS[index],
            markersize=4.0 if len(rows) < 200 else 2.2,
            markeredgewidth=0,
            alpha=0.9 if len(rows) < 200 else 0.5,
            elinewidth=1.0,
            label=legend_name(group, groups),
        )
    _finish(axes, shown)


def draw_histogram(axes: Axes, shown: Panel) -> None:
    """Bins as given (`x`, `y`), or 30 bins of the raw values of `x` when the figure names no `y`."""
    groups = shown.groups[:MOST_GROUPS]
    for index, group in enumerate(groups):
        rows = _binned(group, shown)
        if not len(rows):
            continue
        edges, counts = _bins(group, rows, shown)
        name, colour = legend_name(group, groups), COLOURS[index]
        if len(groups) == 1:
            axes.stairs(counts, edges, fill=True, alpha=0.85, color=colour, label=name)
        else:
            axes.stairs(counts, edges, linewidth=1.6, linestyle=DASHES[index], color=colour, label=name)
        if shown.intervals and shown.figure.y:
            middle = (edges[:-1] + edges[1:]) / 2
            axes.errorbar(middle, counts, yerr=error_lengths(group, rows), fmt="none", ecolor=COLOURS[index], elinewidth=1.0)
    draw_references(axes, shown.figure.reference, vertical=True)
    y_axis = shown.y_axis if shown.figure.y else shown.y_axis._replace(title=shown.figure.y_title or "Rows", kind="count")
    _axes(axes, shown, y_axis=y_axis)


def _bins(group: Group, rows: Rows, shown: Panel) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Edges, shape (n + 1,), and counts, shape (n,)."""
    if not shown.figure.y:
        every = np.concatenate([g.x[np.isfinite(_across(g, shown))] for g in shown.groups])
        space = np.geomspace if shown.figure.log_x else np.linspace
        low, high = every.min(), every.max()
        counts, edges = np.histogram(group.x[rows], bins=space(low, high, 31) if high > low else 1)
        return edges, counts.astype(np.float64)
    at = _across(group, shown)[rows]
    gaps = np.diff(at) if len(at) > 1 else np.array([1.0])
    edges = np.concatenate([[at[0] - gaps[0] / 2], (at[:-1] + at[1:]) / 2, [at[-1] + gaps[-1] / 2]])
    return edges, np.nan_to_num(group.y[rows])


def _binned(group: Group, shown: Panel) -> Rows:
    """Rows with a place on the axis, from left to right; of bins at one place the last."""
    at = _across(group, shown)
    rows = np.flatnonzero(np.isfinite(at))
    if not shown.figure.y:
        return rows
    rows = rows[np.argsort(at[rows], kind="stable")]
    return rows[np.append(np.diff(at[rows]) > 0, True)] if len(rows) else rows


def _across(group: Group, shown: Panel) -> npt.NDArray[np.float64]:
    """Where the rows lie on the horizontal axis: the numbers of `x`, or the indices of its categories."""
    at = group.x.copy() if shown.numeric_x else group.place.astype(np.float64)
    if shown.figure.log_x:
        at[~(at > 0)] = np.nan
    return at


def _thinned(rows: Rows) -> Rows:
    if len(rows) <= MOST_POINTS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MOST_POINTS).astype(np.int64)]


def _finish(axes: Axes, shown: Panel) -> None:
    draw_references(axes, shown.figure.reference, vertical=False)
    _axes(axes, shown, y_axis=shown.y_axis, above=draw_events(axes, shown))


def _axes(axes: Axes, shown: Panel, *, y_axis: object, above: float = 0.0) -> None:
    figure = shown.figure
    if shown.numeric_x:
        format_axis(axes.xaxis, shown.x_axis, log=figure.log_x)
    else:
        _name_places(axes, shown)
    format_axis(axes.yaxis, y_axis, log=figure.log_y)  # type: ignore[arg-type]
    finish_legend(axes, above=above)


def _named_places(categories: list[str]) -> list[int]:
    """Categories named below the axis: every so many-th when there are more than fit; of months those that divide a year."""
    if len(categories) > MOST_PERIODS and all(_MONTH.fullmatch(name) for name in categories):
        months = [12 * int(name[:4]) + int(name[5:]) - 1 for name in categories]
        for step in (2, 3, 6, 12, 24, 60):
            places = [place for place, month in enumerate(months) if month % step == 0]
            if 0 < len(places) <= MOST_PERIODS:
                return places
    return list(range(0, len(categories), -(-len(categories) // 25)))


def _name_places(axes: Axes, shown: Panel) -> None:
    """Category names below the axis."""
    places = _named_places(shown.categories)
    axes.set_xticks(places, [shorten(shown.categories[p], 18, counted=False) for p in places])
    if len(places) > 5:
        axes.tick_params(axis="x", rotation=35)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlabel(shown.x_axis.title)
