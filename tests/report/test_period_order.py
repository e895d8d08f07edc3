"""Periods on an axis follow time, whatever group names them first."""

from __future__ import annotations

import pytest

from assaymark.report.series import panel
from assaymark.result import Column, Figure, Table

FIGURE = Figure("curve", "Curve", "lines", table="t", x="period", y="share", group="platform")


def table(first: list[str], second: list[str]) -> Table:
    periods = [*first, *second]
    values = {
        "platform": ["A"] * len(first) + ["B"] * len(second),
        "period": periods,
        "share": [float(i) for i in range(len(periods))],
    }
    return Table.of("t", "T", values, (Column("platform", "label"), Column("period", "label"), Column("share", "number")))


@pytest.mark.parametrize(
    ("early", "middle", "late"),
    [("2016-09", "2016-10", "2017-02"), ("2016-W09", "2016-W37", "2017-W01"), ("2016-09-08", "2016-09-17", "2016-10-01")],
)
def test_a_month_that_only_the_second_group_has_is_in_its_place(early: str, middle: str, late: str) -> None:
    shown = panel(FIGURE, table([early, late], [middle, late]))
    assert shown.categories == [early, middle, late]
    assert [group.place.tolist() for group in shown.groups] == [[0, 2], [1, 2]]
    assert [group.y.tolist() for group in shown.groups] == [[0.0, 1.0], [2.0, 3.0]]


def test_other_categories_keep_the_order_of_the_table() -> None:
    shown = panel(FIGURE, table(["short", "long"], ["medium"]))
    assert shown.categories == ["short", "long", "medium"]
    assert [group.place.tolist() for group in shown.groups] == [[0, 1], [2]]
