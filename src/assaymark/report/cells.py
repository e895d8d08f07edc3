"""Tables as rows of formatted cells: the kind of a column decides how it reads, and an interval is one cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from assaymark.report.text import format_p_value, humanise, shorten, visible
from assaymark.result import Column, ColumnKind, Table, Unit, format_number

__all__ = ["Cell", "Heading", "TableView", "format_value", "view_table"]

FIRST_ROWS = 50
MOST_ROWS = 2_000
CELL_CHARACTERS = 200
ABSENT = "–"
NUMERIC: frozenset[ColumnKind] = frozenset({"count", "number", "share", "points", "p_value", "low", "high"})
_UNITS: dict[ColumnKind, Unit] = {"share": "share", "points": "percentage points", "count": "count"}


class Heading(NamedTuple):
    """Title of a shown column; `numeric` aligns it right, `interval` says that its cells carry limits."""

    title: str
    numeric: bool
    interval: bool


class Cell(NamedTuple):
    """What is shown; the `limits` beside it; the key to sort by (empty for an absent value, which sorts last)."""

    text: str
    limits: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class TableView:
    """A table ready to be laid out.

    Attributes
    ----------
    shown, folded : list of rows
        The first rows, and those behind "show the rest".
    total : int
        Rows of the table; `left_out` of them are in neither list.
    """

    name: str
    title: str
    description: str
    headings: list[Heading]
    shown: list[list[Cell]]
    folded: list[list[Cell]]
    total: int

    @property
    def left_out(self) -> int:
        return self.total - len(self.shown) - len(self.folded)


class _Shown(NamedTuple):
    column: Column
    low: str
    high: str


def view_table(table: Table, *, first: int = FIRST_ROWS, most: int = MOST_ROWS) -> TableView:
    """Format the first `most` rows; `x`, and its limits `x_low` and `x_high`, become one column `value (low to high)`."""
    columns = _shown_columns(table)
    reasons = next((c.name for c in table.columns if c.name.endswith("reason") and c.kind in ("text", "label")), "")
    rows = [[_cell(row, shown, reasons) for shown in columns] for row in table.data.slice(0, most).to_pylist()]
    return TableView(
        name=table.name,
        title=table.title or humanise(table.name),
        description=table.description,
        headings=[_heading(shown) for shown in columns],
        shown=rows[:first],
        folded=rows[first:],
        total=len(table),
    )


def _shown_columns(table: Table) -> list[_Shown]:
    """The columns but for limits whose value is shown too: these go into the cell of the value when both are there."""
    limits = {(c.kind, c.of): c.name for c in table.columns if c.of}
    pairs = {of for _, of in limits if ("low", of) in limits and ("high", of) in limits}
    return [
        _Shown(c, limits[("low", c.name)], limits[("high", c.name)])
        if c.name in pairs
        else _Shown(_unlimited(c, table), "", "")
        for c in table.columns
        if c.of not in pairs
    ]


def _unlimited(column: Column, table: Table) -> Column:
    """A limit that stands alone takes the kind of the column it limits, so that it is formatted like it."""
    if not column.of:
        return column
    kind = next(c.kind for c in table.columns if c.name == column.of)
    return Column(column.name, kind, column.title)


def _heading(shown: _Shown) -> Heading:
    title = shown.column.title or humanise(shown.column.name)
    return Heading(title, shown.column.kind in NUMERIC, bool(shown.low))


def _cell(row: dict[str, Any], shown: _Shown, reasons: str) -> Cell:
    value, kind = row[shown.column.name], shown.column.kind
    if _absent(value):
        return Cell("undefined" if kind in NUMERIC and row.get(reasons) else ABSENT)
    text = format_value(value, kind)
    low, high = row.get(shown.low), row.get(shown.high)
    limits = "" if _absent(low) or _absent(high) else f"{format_value(low, kind)} to {format_value(high, kind)}"
    return Cell(text, limits, f"{float(value):.17g}" if kind in NUMERIC and _number(value) else text)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, str)


def format_value(value: Any, kind: ColumnKind) -> str:
    """One value as its kind is read: 0.0030 of kind share as `0.30 %`, a p-value as `< 0.001`, a flag as yes or no."""
    if _absent(value):
        return ABSENT
    if kind == "flag":
        return "yes" if value else "no"
    if kind in NUMERIC and _number(value):
        if kind == "p_value":
            return format_p_value(float(value))
        return format_number(float(value), _UNITS.get(kind, "number"))
    return shorten(visible(str(value)), CELL_CHARACTERS)
