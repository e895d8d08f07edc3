"""Figures drawn from their tables, as SVG: `draw(figure, tables)`.

What the columns of a figure mean, by kind:

==========  ===============================================================================================
bars        `x` categories (or numbers), `y` height, optional `low`, `high`, `group`
intervals   `x` categories, `y` value with `low`, `high` (a forest plot), optional `group`
lines       `x` numbers (or ordered categories), `y`, optional band `low`, `high`, optional `group`
points      like lines, without the line
histogram   `x` bins and `y` counts; or `x` raw values and no `y`; optional `group`
heatmap     `x` columns, `group` rows, `y` the value of each cell
picture     `artifact`, a file in the folder `pictures`
==========  ===============================================================================================

Bars, lines and points also show `events`: labelled lines at values of `x`.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assaymark.errors import InputError
from assaymark.report.series import Panel, left_out, panel
from assaymark.report.text import shorten, visible
from assaymark.result import Figure, Table

__all__ = ["caption", "draw", "inline"]

MOST_KEPT = 200
"""Drawings kept in memory: a run saves each figure as a file and puts it into its report, and drawing takes longest there."""


class _Drawn(NamedTuple):
    table: weakref.ref[Table]  # whether the table is still the one that was drawn
    svg: str


_DRAWN: dict[tuple[Figure, str, int], _Drawn] = {}


def draw(figure: Figure, tables: Mapping[str, Table], *, pictures: Path | None = None) -> str:
    """One `<svg>` element, deterministic, without any reference to the outside.

    A figure whose columns are missing or hold no finite number gives an empty frame that says "no data" and why.

    Parameters
    ----------
    figure : Figure
    tables : mapping of name to Table
        Must hold `figure.table`; redacted already where that is wanted.
    pictures : Path, optional
        Folder of the artifacts that figures of kind "picture" show.
    """
    if figure.kind == "picture":
        return _draw_picture(figure, pictures)
    table = tables.get(figure.table)
    if table is None:
        return _draw_empty(figure, f"there is no table {figure.table!r}")
    key = figure, caption(figure, tables), id(table)
    kept = _DRAWN.get(key)
    if kept is not None and kept.table() is table:
        return kept.svg
    svg = _draw_table(figure, table, tables)
    if len(_DRAWN) >= MOST_KEPT:
        _DRAWN.pop(next(iter(_DRAWN)))
    _DRAWN[key] = _Drawn(weakref.ref(table), svg)
    return svg


def _draw_table(figure: Figure, table: Table, tables: Mapping[str, Table]) -> str:
    try:
        shown = panel(figure, table)
    except LookupError as error:
        return _draw_empty(figure, str(error.args[0]))
    reason = _nothing_to_draw(shown)
    return _draw_empty(figure, reason) if reason else _draw_panel(shown, caption(figure, tables))


def caption(figure: Figure, tables: Mapping[str, Table]) -> str:
    """The figure's caption, and what of its table was not drawn."""
    return " ".join(part for part in (figure.caption, left_out(figure, tables)) if part)


def inline(svg: str) -> str:
    """`svg` without namespace declarations, which HTML does not need: the page then holds no `http:` at all."""
    head, closing, rest = svg.partition(">")
    for declaration in (' xmlns="http://www.w3.org/2000/svg"', ' xmlns:xlink="http://www.w3.org/1999/xlink"'):
        head = head.replace(declaration, "")
    return head + closing + rest


def _nothing_to_draw(shown: Panel) -> str:
    """Why there is nothing to draw; empty when there is something."""
    figure = shown.figure
    if not any(len(group.place) for group in shown.groups):
        return "the table has no rows"
    raw = figure.kind == "histogram" and not figure.y
    values = np.concatenate([group.x if raw else group.y for group in shown.groups])
    if not np.isfinite(values).any():
        return "no row has a defined value"
    if (figure.log_x if raw else figure.log_y) and not (values[np.isfinite(values)] > 0).any():
        return "no value is above zero, and the axis is logarithmic"
    if shown.numeric_x and figure.kind not in ("heatmap", "intervals"):
        x = np.concatenate([group.x for group in shown.groups])
        if not (np.isfinite(x) & np.isfinite(values) & ((x > 0) | (not figure.log_x))).any():
            return "no row has both coordinates"
    return ""


def _draw_panel(shown: Panel, description: str) -> str:
    from assaymark.report import drawing_categories, drawing_curves
    from assaymark.report.canvas import drawing, to_svg

    drawers = {
        "bars": drawing_categories.draw_bars,
        "intervals": drawing_categories.draw_intervals,
        "heatmap": drawing_categories.draw_heatmap,
        "lines": drawing_curves.draw_lines,
        "points": drawing_curves.draw_points,
        "histogram": drawing_curves.draw_histogram,
    }
    height = (
        drawing_categories.height(shown)
        if shown.figure.kind in ("bars", "intervals", "heatmap")
        else drawing_curves.height(shown)
    )
    with drawing(height, salt=f"{shown.figure.table}/{shown.figure.name}") as (figure, axes):
        drawers[shown.figure.kind](axes, shown)
        return to_svg(figure, title=shown.figure.title, description=description)


def _draw_empty(figure: Figure, reason: str) -> str:
    """An empty frame, so that the reader sees that a picture belongs here and why it is not there."""
    why, title = shorten(visible(reason), 90), shorten(visible(figure.title), 200)
    words = f"no data: {why}"
    return (
        f'<svg role="img" aria-label="{escape(title)}. {escape(words)}" viewBox="0 0 500 150" '
        'xmlns="http://www.w3.org/2000/svg"><title>' + escape(title) + "</title>"
        '<rect x="1" y="1" width="498" height="148" rx="6" fill="white" stroke="#8592a0" stroke-dasharray="5 4"/>'
        '<text x="250" y="79" text-anchor="middle" font-family="system-ui, sans-serif" font-size="11" fill="#52606d">'
        f"{escape(words)}</text></svg>"
    )


def _draw_picture(figure: Figure, pictures: Path | None) -> str:
    from assaymark.report.pictures import embed_picture

    if pictures is None or not figure.artifact:
        return _draw_empty(figure, "the picture is in the run folder")
    try:
        picture = embed_picture(pictures / figure.artifact, root=pictures)
    except InputError as error:
        return _draw_empty(figure, str(error))
    label = escape(visible(". ".join(part.rstrip(".") for part in (figure.title, figure.caption) if part)))
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {picture.width} {picture.height}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(visible(figure.title))}</title>'
        f'<image width="{picture.width}" height="{picture.height}" href="{picture.uri}"/></svg>'
    )
