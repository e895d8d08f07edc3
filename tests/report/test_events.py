"""Events on figures: where their lines stand, that their labels keep apart, and that old records do without."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from assaymark.report.drawing_curves import MOST_PERIODS, _named_places
from assaymark.report.events import Flag, flags, rows_of
from assaymark.report.figures import draw
from assaymark.report.series import panel
from assaymark.result import Column, Estimate, Figure, FigureKind, Result, Table

SVG = "{http://www.w3.org/2000/svg}"
RELEASES = (("2022-11", "ChatGPT"), ("2023-03", "GPT-4"), ("2023-07", "Llama 2"), ("2024-04", "Llama 3"), ("2024-05", "GPT-4o"))


def month(k: int) -> str:
    return f"{2022 + k // 12}-{k % 12 + 1:02d}"


def monthly(months: int = 34, *, without: tuple[int, ...] = (), groups: int = 3) -> Table:
    kept = [k for k in range(months) if k not in without]
    y = np.tile(np.linspace(0.02, 0.4, len(kept)), groups)
    values = {
        "x": [month(k) for k in kept] * groups,
        "y": y,
        "low": y - 0.02,
        "high": y + 0.02,
        "g": np.repeat(["Medium", "Quora", "Reddit"][:groups], len(kept)),
    }
    return Table.of("t", "T", values, _columns("label"))


def numbered() -> Table:
    values = {"x": np.arange(20.0), "y": np.linspace(0, 1, 20), "low": np.zeros(20), "high": np.ones(20), "g": ["a"] * 20}
    return Table.of("t", "T", values, _columns("number"))


def _columns(x: Any) -> list[Column]:
    limits = [Column("low", "low", of="y"), Column("high", "high", of="y")]
    return [Column("x", x, "X"), Column("y", "share", "Y"), *limits, Column("g", "label")]


def figure(kind: FigureKind = "lines", events: tuple[tuple[str, str], ...] = RELEASES, **more: Any) -> Figure:
    return Figure("f", "T", kind, "t", "x", "y", "low", "high", "g", events=events, **more)


def words(svg: str) -> list[str]:
    return ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("kind", ["lines", "points", "bars"])
def test_events_are_named_once_on_categories_and_numbers(kind: FigureKind) -> None:
    shown = words(draw(figure(kind), {"t": monthly(20)}))
    assert [name for _, name in RELEASES[:3]] == [word for word in shown if word in dict(RELEASES).values()], (
        "those after the last month are left out"
    )
    svg = draw(figure(kind, (("3", "third"), ("-1", "before"), ("19.5", "after"), ("soon", "no number"))), {"t": numbered()})
    assert "third" in words(svg) and not {"before", "after", "no number"} & set(words(svg))


@pytest.mark.parametrize("kind", ["intervals", "heatmap", "histogram"])
def test_other_kinds_draw_none(kind: FigureKind) -> None:
    assert "ChatGPT" not in words(draw(figure(kind), {"t": monthly()}))


def test_the_line_of_an_event_stands_at_its_month() -> None:
    table = monthly(groups=1)
    (flag,) = flags(panel(figure(events=(("2022-11", "ChatGPT"),)), table))
    assert flag.at == 10.0
    svg = draw(figure(events=(("2022-01", "first"), ("2024-10", "last"))), {"t": table})
    dotted = re.findall(r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+) [\d.]+ \n" clip-path[^>]*stroke-dasharray: 0\.8', svg)
    line = re.search(r'<path d="M ([\d.]+) [\d.]+ \nL [^"]*L ([\d.]+) [\d.]+ \n" clip-path[^>]*stroke: #0072b2', svg)
    assert line is not None and len(dotted) == 2
    assert sorted(float(start) for start, _ in dotted) == pytest.approx(sorted(map(float, line.groups())))


def test_a_month_without_posts_lies_between_its_neighbours() -> None:
    (flag,) = flags(panel(figure(events=(("2022-11", "ChatGPT"),)), monthly(without=(10,))))
    assert flag.at == 9.5
    shuffled = dataclasses.replace(monthly(4, groups=1), data=monthly(4, groups=1).data.take([2, 0, 3, 1]))
    assert flags(panel(figure(events=(("2022-02x", "no place among unordered names"),)), shuffled)) == []


def test_labels_never_overlap_and_no_line_crosses_one() -> None:
    rng = np.random.default_rng(0)
    for trial in range(60):
        picked = rng.choice(100, size=int(rng.integers(2, 9)), replace=False)
        events = tuple((month(int(k)), "m" * int(rng.integers(3, 30))) for k in picked)
        shown = panel(figure(events=events), monthly(100, groups=1))
        found = flags(shown)
        assert len(found) == len(events) and rows_of(shown) <= len(events)
        for one in found:
            for other in found:
                if one is not other and one.row == other.row:
                    assert _start(one) >= _stop(other) or _start(other) >= _stop(one), trial
                if other.row > one.row and not (one.leftwards or other.leftwards):
                    assert not _start(one) + 1e-9 < 0.05 + 0.9 * other.at / 99 < _stop(one), trial


def _start(flag: Flag) -> float:
    return 0.05 + 0.9 * flag.at / 99 - flag.leftwards * 0.0097 * len(flag.label)


def _stop(flag: Flag) -> float:
    return _start(flag) + 0.0097 * len(flag.label)


def test_one_month_alone_and_hostile_labels() -> None:
    events = (("2022-01", "<script>\u202e$\\frac$"), ("2022-01", "x" * 500))
    svg = draw(figure(events=events), {"t": monthly(1)})
    assert "<script>" not in svg and any("…" in word for word in words(svg))
    assert [flag.at for flag in flags(panel(figure(events=events), monthly(1)))] == [0.0, 0.0]


def test_months_below_the_axis_divide_the_year() -> None:
    assert _named_places([month(k) for k in range(12)]) == list(range(12))
    for months, step in [(34, 2), (50, 3), (100, 6), (200, 12), (400, 24)]:
        labels = [month(k) for k in range(1, months + 1)]
        named = [labels[place] for place in _named_places(labels)]
        assert len(named) <= MOST_PERIODS and len(named) in (months // step, months // step + 1)
        assert all((12 * int(name[:4]) + int(name[5:]) - 1) % step == 0 for name in named)
    assert len(_named_places([f"c{k}" for k in range(100)])) == 25


def test_events_survive_json_and_old_records_have_none() -> None:
    result = Result("a", "A", {"e": Estimate(0.5, 0.4, 0.6, 10, "m")}, {"t": monthly()}, (figure(),))
    record = result.to_json()
    tables = {"t": result.tables["t"].data}
    assert Result.from_json(json.loads(json.dumps(record)), tables).figures == result.figures
    del record["figures"][0]["events"]
    assert Result.from_json(record, tables).figures[0].events == ()
