"""Figures over categories: bars, intervals (a forest plot) and heat maps. Categories run down the page, so that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assaymark.report.canvas import COLOURS, INK, MARKERS, draw_references, finish_legend, format_axis, legend_name, tick_text
from assaymark.report.drawing_curves import error_lengths
from assaymark.report.drawing_curves import height as curve_height
from assaymark.report.events import draw_events, draw_events_across
from assaymark.report.series import MOST_CATEGORIES, MOST_GROUPS, Group, Panel
from assaymark.report.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_bars", "draw_heatmap", "draw_intervals", "height"]


def height(shown: Panel) -> float:
    """Inches that the categories (of a heat map: the rows) need."""
    figure = shown.figure
    if figure.kind == "bars" and shown.numeric_x:
        return curve_height(shown)
    rows = min(len(shown.categories), MOST_CATEGORIES)
    series = min(len(shown.groups), MOST_GROUPS)
    legend = 0.25 * (series > 1 or bool(figure.reference))
    if figure.kind == "heatmap":
        return 1.5 + 0.3 * min(len(shown.groups), MOST_CATEGORIES)
    return 0.95 + legend + rows * (0.2 + 0.1 * series if figure.kind == "bars" else 0.16 + 0.13 * series)


def draw_bars(axes: Axes, shown: Panel) -> None:
    """Bars from zero, with intervals where the figure has limits; upright when `x` is numeric."""
    if shown.numeric_x:
        _draw_upright(axes, shown)
        return
    groups = shown.groups[:MOST_GROUPS]
    thickness = 0.78 / len(groups)
    for index, group in enumerate(groups):
        rows = _drawable(group, log=shown.figure.log_y)
        at = group.place[rows] + (index - (len(groups) - 1) / 2) * thickness
        axes.barh(
            at,
            group.y[rows],
            height=thickness * 0.92,
            color=COLOURS[index],
            label=legend_name(group, groups),
            linewidth=0,
            alpha=0.85,
        )
        if shown.intervals:
            axes.errorbar(
                group.y[rows], at, xerr=error_lengths(group, rows), fmt="none", ecolor=INK, elinewidth=1.0, capsize=2.0
            )
    draw_events_across(axes, shown)
    _finish(axes, shown)
    if not shown.figure.log_y:
        _start_at_zero(axes)


def _draw_upright(axes: Axes, shown: Panel) -> None:
    groups = shown.groups[:MOST_GROUPS]
    values = np.unique(np.concatenate([group.x[np.isfinite(group.x)] for group in groups]))
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    thickness = 0.8 * step / len(groups)
    for index, group in enumerate(groups):
        rows = _drawable(group, log=shown.figure.log_y) & np.isfinite(group.x)
        at = group.x[rows] + (index - (len(groups) - 1) / 2) * thickness
        axes.bar(
            at,
            group.y[rows],
            width=thickness * 0.95,
            color=COLOURS[index],
            label=legend_name(group, groups),
            linewidth=0,
            alpha=0.85,
        )
        if shown.intervals:
            axes.errorbar(
                at, group.y[rows], yerr=error_lengths(group, rows), fmt="none", ecolor=INK, elinewidth=1.0, capsize=2.0
            )
    draw_references(axes, shown.figure.reference, vertical=False)
    format_axis(axes.xaxis, shown.x_axis)
    format_axis(axes.yaxis, shown.y_axis, log=shown.figure.log_y)
    axes.grid(visible=False, axis="x")
    finish_legend(axes, above=draw_events(axes, shown))


def draw_intervals(axes: Axes, shown: Panel) -> None:
    """A forest plot: a mark at the value, a line from low to high."""
    groups = shown.groups[:MOST_GROUPS]
    step = 0.62 / len(groups)
    for index, group in enumerate(groups):
        rows = _drawable(group, log=shown.figure.log_y)
        at = group.place[rows] + (index - (len(groups) - 1) / 2) * step
        axes.errorbar(
            group.y[rows],
            at,
            xerr=error_lengths(group, rows) if shown.intervals else None,
            fmt=MARKERS[index],
            color=COLOURS[index],
            markersize=4.5,
            elinewidth=1.6,
            capsize=2.5,
            label=legend_name(group, groups),
        )
    _finish(axes, shown)


def draw_heatmap(axes: Axes, shown: Panel) -> None:
    """Cells coloured by value and labelled with it; cells without a value are grey and hold a dash."""
    rows, columns = shown.groups[:MOST_CATEGORIES], shown.categories[:MOST_CATEGORIES]
    values = np.full((len(rows), len(columns)), np.nan)  # (group, category)
    for index, group in enumerate(rows):
        kept = group.place < len(columns)
        values[index, group.place[kept]] = group.y[kept]
    axes.set_facecolor("#eef1f4")
    axes.imshow(
        np.ma.masked_invalid(values), cmap="Blues", aspect="auto", interpolation="nearest", vmin=min(0.0, np.nanmin(values))
    )
    _write_cells(axes, values, shown)
    axes.set_xticks(range(len(columns)), [shorten(c, 18, counted=False) for c in columns])
    if len(columns) > 4 or max(map(len, columns)) > 12:
        axes.tick_params(axis="x", rotation=35)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(len(rows)), [shorten(group.name or shown.y_axis.title, 28, counted=False) for group in rows])
    axes.set_xlabel(shown.x_axis.title)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_cells(axes: Axes, values: np.ndarray, shown: Panel) -> None:
    if values.shape[1] > 12:
        return
    text = tick_text(shown.y_axis.kind)
    dark = 0.4 * min(0.0, np.nanmin(values)) + 0.6 * np.nanmax(values)
    unit = {"share": " %", "points": " pp"}.get(shown.y_axis.kind, "")
    digits = 1 if unit else 3
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            axes.text(column, row, "–", ha="center", va="center", fontsize=8, color=INK)
            continue
        words = f"{100 * value:.{digits}f}{unit}" if unit else text(float(f"{value:.{digits}g}"), None)
        colour = "white" if value > dark and value > 0 else INK
        axes.text(column, row, words, ha="center", va="center", fontsize=8, color=colour)


def _finish(axes: Axes, shown: Panel) -> None:
    labels = shown.categories[:MOST_CATEGORIES]
    draw_references(axes, shown.figure.reference, vertical=True)
    format_axis(axes.xaxis, shown.y_axis, log=shown.figure.log_y)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    _mark_undefined(axes, shown)
    finish_legend(axes)


def _mark_undefined(axes: Axes, shown: Panel) -> None:
    """Say it where a category has no value in any group, so that a gap is not read as zero."""
    places = range(min(len(shown.categories), MOST_CATEGORIES))
    defined = {int(p) for group in shown.groups for p in group.place[_drawable(group, log=shown.figure.log_y)]}
    for place in set(places) - defined:
        axes.text(
            0.008,
            place,
            "undefined",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            style="italic",
            color="#52606d",
            backgroundcolor="white",
        )


def _start_at_zero(axes: Axes) -> None:
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.0) if low < -0.06 * (high - low) else 0.0, high)


def _drawable(group: Group, *, log: bool) -> np.ndarray:
    """Rows to draw: within the first categories, with a value that the axis can hold."""
    return (group.place < MOST_CATEGORIES) & np.isfinite(group.y) & ((group.y > 0) | (not log))
