"""Formatting by kind, intervals as one cell, scales of the strips, hidden characters."""

from __future__ import annotations

import math

import pytest

from assaymark.report.cells import format_value, view_table
from assaymark.report.provenance import format_seconds, view_provenance, withheld
from assaymark.report.strips import group_estimates, nice_ceiling
from assaymark.report.text import format_p_value, humanise, shorten, visible
from assaymark.result import Column, Estimate, Provenance, Table, undefined


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.003, "share", "0.30 %"),
        (1, "share", "100.0 %"),
        (0.0004, "p_value", "< 0.001"),
        (0.004, "p_value", "0.0040"),
        (0.25, "p_value", "0.250"),
        (3_200_000, "count", "3,200,000"),
        (True, "flag", "yes"),
        (False, "flag", "no"),
        (None, "share", "–"),
        (math.nan, "number", "–"),
        (math.inf, "number", "∞"),
        ("n/a", "count", "n/a"),
        (12, "label", "12"),
    ],
)
def test_a_kind_decides_how_a_value_reads(value: object, kind: str, text: str) -> None:
    assert format_value(value, kind) == text  # type: ignore[arg-type]


def test_an_interval_is_one_cell_found_by_what_it_limits() -> None:
    values = {"rate": [0.5, None], "bottom": [0.4, None], "top": [0.6, None], "reason": ["", "too few rows"]}
    columns = [
        Column("rate", "share", "Rate"),
        Column("bottom", "low", of="rate"),
        Column("top", "high", of="rate"),
        Column("reason", "text"),
    ]
    view = view_table(Table.of("t", "T", values, columns))
    assert [h.title for h in view.headings] == ["Rate", "Reason"]
    assert view.headings[0].interval and view.headings[0].numeric
    assert (view.shown[0][0].text, view.shown[0][0].limits) == ("50.0 %", "40.0 % to 60.0 %")
    assert view.shown[1][0].text == "undefined" and view.shown[1][0].key == ""


def test_a_lonely_limit_keeps_its_column_and_takes_the_kind() -> None:
    view = view_table(
        Table.of("t", "T", {"x": [0.5], "x_high": [0.6]}, [Column("x", "share"), Column("x_high", "high", of="x")])
    )
    assert [cell.text for cell in view.shown[0]] == ["50.0 %", "60.0 %"]


def test_keys_sort_like_the_numbers() -> None:
    numbers = [1e-9, 0.30000000000000004, 12, 3e6]
    view = view_table(Table.of("t", "T", {"x": numbers}, [Column("x", "number")]))
    assert [float(row[0].key) for row in view.shown] == numbers


@pytest.mark.parametrize(
    ("value", "ceiling"), [(0, 0), (0.0031, 0.004), (0.047, 0.05), (1, 1), (1.01, 1.5), (35.3, 40), (99, 100), (0.3, 0.3)]
)
def test_scales_end_at_round_numbers(value: float, ceiling: float) -> None:
    assert nice_ceiling(value) == pytest.approx(ceiling)


def test_strips_place_values_on_the_scale_of_their_family() -> None:
    estimates = {
        "rate.a": Estimate(0.1, 0.05, 0.2, 10, "m", "share"),
        "rate.b": Estimate(0.4, 0.3, 0.5, 10, "m", "share"),
        "rate.c": undefined("too few", unit="share"),
        "ratio": Estimate(2.0, 0.5, math.inf, 10, "m", "ratio"),
        "gap": Estimate(-0.02, -0.04, 0.01, 10, "m", "percentage points"),
    }
    rate, ratio, gap = group_estimates(estimates)
    assert (rate.title, rate.low, rate.high) == ("Rate", "0 %", "50 %")
    assert [row.dot for row in rate.rows] == [20.0, 80.0, None]
    assert (rate.rows[0].left, rate.rows[0].width) == (10.0, 30.0)
    assert rate.rows[2].number == "undefined" and rate.rows[2].interval == "too few"
    assert ratio.neutral == 50.0 and ratio.rows[0].open_right and ratio.rows[0].left + ratio.rows[0].width == 100.0
    assert (gap.low, gap.high, gap.neutral) == ("-4 pp", "1 pp", 80.0)


def test_one_constant_estimate_has_a_scale() -> None:
    (group,) = group_estimates({"x": Estimate(0.0, 0.0, 0.0, 5, "exact", "count")})
    assert group.rows[0].dot == 0.0 and group.rows[0].width == 0.0


def test_text_that_hides_is_written_out() -> None:
    assert visible("a\u202eb\x00c\u200b") == "a⟨U+202E⟩b⟨U+0000⟩c⟨U+200B⟩"
    assert visible("👩\u200d👧 tab\tline\n") == "👩\u200d👧 tab\tline\n"
    visible("\ud800").encode()
    assert shorten("x" * 20, 5) == "xxxxx… (15 more characters)" and shorten("abc", 3) == "abc"
    assert (
        humanise("hate_content_rate.any") == "Hate content rate · any"
        and humanise("roc_auc") == "ROC AUC"
        and humanise("") == ""
    )
    assert format_p_value(0.05) == "0.050"


def test_provenance_holds_no_secret() -> None:
    made = Provenance(
        "a",
        "1",
        0,
        inputs={"p": {"source": "https://jane:pw@h.org/x.parquet?sig=1#f", "api_key": "sk-1"}},
        settings={"token_limit": 5},
    )
    text = str(view_provenance(made))
    assert "https://h.org/x.parquet" in text and "token_limit" in text and "'5'" in text
    assert not any(secret in text for secret in ("jane", "pw@", "sig=1", "sk-1"))
    assert withheld({"a": [{"password": "x"}], "n": 3}) == {"a": [{"password": "(withheld)"}], "n": 3}


@pytest.mark.parametrize(("seconds", "text"), [(0, ""), (0.31, "0.3 s"), (41, "41 s"), (600, "10 min"), (11_640, "3 h 14 min")])
def test_durations(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
