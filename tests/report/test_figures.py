"""Drawings: every kind draws what its table says, always the same, and never fails on poor data."""

from __future__ import annotations

import math
import re
import warnings
import xml.etree.ElementTree as ET
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from assaymark.report.figures import caption, draw, inline
from assaymark.result import Column, Figure, FigureKind, Table

SVG = "{http://www.w3.org/2000/svg}"
KINDS = [kind for kind in get_args(FigureKind) if kind != "picture"]


def table(values: dict[str, Any], *, x: str = "label", y: str = "number") -> Table:
    kinds = {"x": x, "y": y, "g": "label"}
    limits = {"low": "low", "high": "high"}
    columns = [Column(n, limits[n], of="y") if n in limits else Column(n, kinds[n], n.upper()) for n in values]  # type: ignore[arg-type]
    return Table.of("t", "T", values, columns)


def full(rows: int = 6, *, x: str = "label") -> Table:
    y = np.linspace(0.1, 0.6, rows)
    values = {
        "x": np.arange(rows) if x != "label" else [f"c{i}" for i in range(rows)],
        "y": y,
        "low": y - 0.05,
        "high": y + 0.05,
        "g": ["a", "b"] * (rows // 2),
    }
    return table(values, x=x, y="share")


def words(svg: str) -> list[str]:
    return ["".join(e.itertext()).strip() for e in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("x", ["label", "number"])
@pytest.mark.parametrize(("log", "group"), [(False, "g"), (True, "")])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_and_draws_the_same(kind: FigureKind, group: str, log: bool, x: str) -> None:
    figure = Figure(
        "f",
        "Title & co",
        kind,
        "t",
        "x",
        "y",
        "low",
        "high",
        group,
        log_x=log,
        log_y=log,
        reference=((0.3, "limit"),),
        caption="C",
    )
    svg = draw(figure, {"t": full(x=x)})
    if x == "number" and group:
        assert svg == draw(figure, {"t": full(x=x)})
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img" and root.get("aria-label", "").startswith("Title & co")
    assert root.get("viewBox") and root.get("width") is None
    assert "no data" not in svg and "<dc:date>" not in svg and "http://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg)
    assert "xmlns" not in inline(svg)[:600]
    if kind != "heatmap":
        assert "limit" in words(svg)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "values",
    [
        {"x": [], "y": [], "low": [], "high": []},
        {"x": ["a", "b"], "y": [math.nan, math.nan], "low": [math.nan] * 2, "high": [math.nan] * 2},
        {"x": ["a", "b"], "y": [math.inf, -math.inf], "low": [math.nan] * 2, "high": [math.nan] * 2},
        {"x": ["a"], "y": ["text"], "low": [0.0], "high": [0.0]},
    ],
    ids=["empty", "nan", "inf", "text"],
)
def test_nothing_to_draw_is_an_empty_frame(kind: FigureKind, values: dict[str, Any]) -> None:
    svg = draw(Figure("f", "T", kind, "t", "x", "y", "low", "high"), {"t": table(values)})
    assert words(svg)[0].startswith("no data: ")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("x", "y"), [([0.0], 0.0), ([2.0, 2.0, 2.0], None), ([None, 1.0, 2.0], 1.0), ([-1.0, 0.0, 1e9], -3.0)])
def test_constant_null_and_extreme_columns_do_not_fail(kind: FigureKind, x: list[float | None], y: float | None) -> None:
    values = {"x": x, "y": [y] + [0.5] * (len(x) - 1), "low": [None] * len(x), "high": [y] + [0.7] * (len(x) - 1)}
    for log in (False, True):
        for raw in ("y", "") if kind == "histogram" else ("y",):
            ET.fromstring(
                draw(
                    Figure("f", "T", kind, "t", "x", raw, "low", "high", log_x=log, log_y=log), {"t": table(values, x="number")}
                )
            )


def test_a_missing_column_or_table_is_said() -> None:
    assert "no column 'z'" in words(draw(Figure("f", "T", "bars", "t", "z", "y"), {"t": full()}))[0]
    assert "no table" in words(draw(Figure("f", "T", "bars", "t", "x", "y"), {}))[0]


def test_hostile_labels_stay_text() -> None:
    labels = [
        "<script>alert(1)</script>",
        '"><img onerror=x>',
        "]]>",
        "$\\frac{1}{0}$ \\bad",
        "\u202eabc\x00",
        "x" * 10_000,
        "漢字 عربى 👩‍👧 é",
        "_hidden",
    ]
    values = {"x": labels, "y": range(len(labels)), "g": labels}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in KINDS:
            svg = draw(
                Figure(
                    "<f>",
                    labels[0],
                    kind,
                    "t",
                    "x",
                    "y",
                    group="g",
                    x_title=labels[3],
                    y_title=labels[0],
                    reference=((1, labels[0]),),
                    caption=labels[1],
                ),
                {"t": table(values)},
            )
            root = ET.fromstring(svg)
            assert not [e for e in root.iter() if e.tag.lower().endswith(("script", "img"))]
            assert len(svg) < 300_000
            if kind != "heatmap":
                assert "$\\frac{1}{0}$ \\bad" in words(svg)
                assert "_hidden" in words(svg), "matplotlib drops labels that begin with an underscore"


def test_bars_and_marks_lie_where_the_numbers_are() -> None:
    """Read back the drawing: bar lengths are proportional to the values, from zero."""
    svg = draw(Figure("f", "T", "bars", "t", "x", "y"), {"t": table({"x": ["a", "b", "c"], "y": [1.0, 2.0, 4.0]})})
    rectangles = [e for e in ET.fromstring(svg).iter(f"{SVG}path") if "fill: #0072b2" in e.get("style", "")]
    lengths = []
    for path in rectangles:
        numbers = [float(v) for v in re.findall(r"-?\d+(?:\.\d+)?", path.get("d", ""))]
        lengths.append(max(numbers[::2]) - min(numbers[::2]))
    assert np.allclose(np.array(lengths) / lengths[0], [1, 2, 4], rtol=1e-3)


def test_masked_terms_that_read_alike_stay_apart() -> None:
    svg = draw(
        Figure("f", "T", "intervals", "t", "x", "y", "low", "high"),
        {"t": table({"x": ["s***"] * 3, "y": [1.0, 2, 3], "low": [0.5, 1, 2], "high": [2.0, 3, 4]})},
    )
    assert words(svg).count("s***") == 3


def test_categories_without_a_value_say_so() -> None:
    svg = draw(Figure("f", "T", "bars", "t", "x", "y"), {"t": table({"x": ["a", "b"], "y": [1.0, None]})})
    assert words(svg).count("undefined") == 1


def test_what_is_left_out_is_in_the_caption() -> None:
    many = table({"x": [f"c{i}" for i in range(312)], "y": range(312)})
    figure = Figure("f", "T", "bars", "t", "x", "y", caption="C.")
    assert caption(figure, {"t": many}) == "C. The first 25 of 312 categories are drawn."
    svg = draw(figure, {"t": many})
    assert "c24" in words(svg) and "c25" not in words(svg)
    groups = table({"x": range(20), "y": range(20), "g": [f"g{i}" for i in range(20)]}, x="number")
    assert caption(Figure("f", "T", "lines", "t", "x", "y", group="g"), {"t": groups}) == "The first 7 of 20 groups are drawn."


def test_long_series_are_thinned() -> None:
    long = table({"x": np.arange(50_000), "y": np.sin(np.arange(50_000))}, x="number")
    for kind in ("lines", "points"):
        figure = Figure("f", "T", kind, "t", "x", "y")  # type: ignore[arg-type]
        assert len(draw(figure, {"t": long})) < 400_000
        assert "2,000 rows in all" in caption(figure, {"t": long})


def test_heat_map_takes_its_value_from_either_column() -> None:
    values = {"x": ["a", "b"], "y": ["r", "r"], "g": [0.25, 0.5]}
    columns = [Column("x", "label"), Column("y", "label"), Column("g", "share")]
    t = {"t": Table.of("t", "T", values, columns)}
    one = words(draw(Figure("f", "T", "heatmap", "t", "x", "y", group="g"), t))
    two = words(draw(Figure("f", "T", "heatmap", "t", "x", "g", group="y"), t))
    assert "25.0 %" in one and "25.0 %" in two and "r" in one and "r" in two


def test_raw_values_are_binned() -> None:
    values = table({"x": np.random.default_rng(0).normal(size=1_000)}, x="number")
    for log in (False, True):
        assert "no data" not in draw(Figure("f", "T", "histogram", "t", "x", log_x=log), {"t": values})


def test_pictures_are_embedded_or_said_to_be_absent(tmp_path) -> None:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.png")
    svg = draw(Figure("f", "T", "picture", artifact="a.png"), {}, pictures=tmp_path)
    image = next(ET.fromstring(svg).iter(f"{SVG}image"))
    assert image.get("href", "").startswith("data:image/png;base64,")
    assert "no data" in draw(Figure("f", "T", "picture", artifact="../a.png"), {}, pictures=tmp_path / "run")
    assert "no data" in draw(Figure("f", "T", "picture", artifact="a.png"), {})


def test_the_interval_of_a_single_point_of_a_line_is_drawn() -> None:
    one = {"x": [1.0], "y": [0.5], "low": [0.2], "high": [0.8]}
    with_limits = draw(Figure("f", "T", "lines", "t", "x", "y", "low", "high"), {"t": table(one, x="number")})
    without = draw(Figure("f", "T", "lines", "t", "x", "y"), {"t": table(one, x="number")})
    assert with_limits.count("LineCollection") == without.count("LineCollection") + 1
