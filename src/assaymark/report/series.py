"""The columns that a figure draws, as arrays: labels, numbers with NaN for what is absent, and the groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.report.cells import NUMERIC
from assaymark.report.text import humanise, shorten, visible
from assaymark.result import ColumnKind, Figure, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MOST_CATEGORIES", "MOST_GROUPS", "MOST_POINTS", "Axis", "Group", "Panel", "left_out", "panel"]

MOST_CATEGORIES = 25
MOST_GROUPS = 7
MOST_POINTS = 2_000
LABEL_CHARACTERS = 34
_PERIOD = re.compile(r"\d{4}-(\d\d(-\d\d)?|W\d\d)")
TITLE_CHARACTERS = 90

Floats = npt.NDArray[np.float64]


class Axis(NamedTuple):
    """What an axis says: its title, and the kind of column that decides how its ticks read."""

    title: str
    kind: ColumnKind


class Group(NamedTuple):
    """One series. `place` is the index of the category of each row; `x` is NaN where the column is not numeric.

    All arrays have shape (n_rows_of_the_group,).
    """

    name: str
    place: npt.NDArray[np.int64]
    x: Floats
    y: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Panel:
    """Everything one drawing needs.

    Attributes
    ----------
    categories : list of str
        Distinct values of `x` in the order of the table, periods (2016-09, 2016-W37, 2016-09-17) of several groups in that of
        time; masked terms that read alike stay apart.
    groups : list of Group
        In the order of the table; one nameless group when the figure has none.
    """

    figure: Figure
    x_axis: Axis
    y_axis: Axis
    categories: list[str]
    groups: list[Group]

    @property
    def numeric_x(self) -> bool:
        return self.x_axis.kind in NUMERIC

    @property
    def intervals(self) -> bool:
        return bool(self.figure.low and self.figure.high)


def panel(figure: Figure, table: Table) -> Panel:
    """Read the columns that `figure` names.

    Raises
    ------
    LookupError
        When the table lacks a column that the figure names.
    """
    kinds = {column.name: column.kind for column in table.columns}
    figure = _settled(figure, kinds)
    titles = {column.name: column.title for column in table.columns}
    for name in filter(None, (figure.x, figure.y, figure.low, figure.high, figure.group)):
        if name not in kinds:
            raise LookupError(f"table {table.name!r} has no column {name!r}")
    labels = _labels(table, figure.x) if figure.x else [""] * len(table)
    names = _labels(table, figure.group) if figure.group else [""] * len(table)
    categories, place = _categories(labels, names)
    columns = [_numbers(table, name) for name in (figure.x, figure.y, figure.low, figure.high)]
    order: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        order.setdefault(name, []).append(row)
    groups = [Group(name, place[rows], *(column[rows] for column in columns)) for name, rows in order.items()]
    return Panel(
        figure,
        _axis(figure.x_title or titles.get(figure.x, "") or humanise(figure.x), kinds.get(figure.x, "label")),
        _axis(figure.y_title or titles.get(figure.y, "") or humanise(figure.y), kinds.get(figure.y, "number")),
        [shorten(label, LABEL_CHARACTERS, counted=False) for label in categories],
        groups,
    )


def _axis(title: str, kind: ColumnKind) -> Axis:
    return Axis(shorten(" ".join(visible(title).split()), TITLE_CHARACTERS, counted=False), kind)


def _settled(figure: Figure, kinds: Mapping[str, ColumnKind]) -> Figure:
    """The figure with its value in `y`, whichever of two columns it was given in, and its logarithm on the value axis."""
    y_numeric = kinds.get(figure.y) in NUMERIC
    if figure.kind == "heatmap" and not y_numeric and kinds.get(figure.group) in NUMERIC:
        return replace(figure, y=figure.group, group=figure.y, y_title="")
    if figure.kind not in ("bars", "intervals"):
        return figure
    if figure.kind == "intervals" and not y_numeric and kinds.get(figure.x) in NUMERIC:
        figure = replace(figure, x=figure.y, y=figure.x, x_title=figure.y_title, y_title=figure.x_title)
    categorical = figure.kind == "intervals" or kinds.get(figure.x) not in NUMERIC
    return replace(figure, log_y=figure.log_x or figure.log_y, log_x=False) if categorical else figure


def _labels(table: Table, name: str) -> list[str]:
    values = table.data.column(name).to_pylist()
    return ["–" if v is None else " ".join(visible(_plain(v)).split()) or "(empty)" for v in values]


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(table: Table, name: str) -> Floats:
    """The column as floats, shape (n_rows,); NaN where null, infinite, or where the column is not of numbers."""
    import pyarrow as pa

    if not name:
        return np.full(len(table), np.nan)
    column: pa.ChunkedArray = table.data.column(name)
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        return np.full(len(table), np.nan)
    numbers = np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _categories(labels: list[str], groups: list[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Distinct labels, and the index of each row's one. A label met again within a group is another category."""
    places: dict[tuple[str, int], int] = {}
    met: dict[tuple[str, str], int] = {}
    place = np.empty(len(labels), dtype=np.int64)
    for row, key in enumerate(zip(labels, groups, strict=True)):
        met[key] = met.get(key, 0) + 1
        place[row] = places.setdefault((key[0], met[key]), len(places))
    found = [label for label, _ in places]
    if len(set(groups)) > 1 and all(_PERIOD.fullmatch(label) for label in found):
        # A table that is ordered by group names a month late where the first group has no row for it.
        order = sorted(range(len(found)), key=found.__getitem__)
        return [found[old] for old in order], np.argsort(np.array(order, dtype=np.int64), kind="stable")[place]
    return found, place


def left_out(figure: Figure, tables: Mapping[str, Table]) -> str:
    """What the drawing does not show, for its caption: `The first 25 of 312 categories are drawn.`; empty when all is."""
    table = tables.get(figure.table)
    if figure.kind == "picture" or table is None:
        return ""
    try:
        shown = panel(figure, table)
    except LookupError:
        return ""
    parts = []
    categorical = figure.kind in ("intervals", "heatmap") or (figure.kind == "bars" and not shown.numeric_x)
    if categorical and len(shown.categories) > MOST_CATEGORIES:
        parts.append(f"The first {MOST_CATEGORIES} of {len(shown.categories):,} categories are drawn.")
    most = MOST_CATEGORIES if figure.kind == "heatmap" else MOST_GROUPS
    if len(shown.groups) > most:
        parts.append(f"The first {most} of {len(shown.groups):,} groups are drawn.")
    if figure.kind in ("lines", "points") and any(len(group.y) > MOST_POINTS for group in shown.groups):
        parts.append(f"Of longer series every so many-th row is drawn, {MOST_POINTS:,} rows in all.")
    return " ".join(parts)
