"""The gate grammar: every form it takes, every mistake it names, and that nothing unknown ever holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assaymark.errors import PlanError
from assaymark.gates import OPERATORS, bind, evaluate, parse_gate
from assaymark.record import StepRecord
from assaymark.result import Estimate, Result, undefined


def step(step_id: str, status: str = "done", error: str = "", **estimates: Estimate) -> StepRecord:
    named = {name.replace("__", "."): estimate for name, estimate in estimates.items()}
    result = Result("toy", "Toy", named) if status == "done" else None
    return StepRecord(step_id, "toy", "audit", status, result, error)  # type: ignore[arg-type]


SHARE = Estimate(0.003, 0.0029, 0.0031, 3_200_000, "Wilson 95 %", "share")
RATIO = Estimate(12.0, 8.0, 20.0, 100, "log", "ratio")
DATA = step("data", hate_content_rate__any=SHARE, ratio=RATIO, empty=undefined("no rows"))
OTHER = step("other", x=RATIO)


@pytest.mark.parametrize(
    ("text", "path", "field", "operator", "threshold"),
    [
        ("data.hate_content_rate.any.high < 0.5%", "data.hate_content_rate.any", "high", "<", 0.005),
        ("data.tag-audit.recall.low>60%", "data.tag-audit.recall", "low", ">", 0.6),
        ("  a.b   <=   2 pp ", "a.b", "value", "<=", 0.02),
        ("a.b==1e-3", "a.b", "value", "==", 0.001),
        ("a.b >= -1.5E+2", "a.b", "value", ">=", -150.0),
        ("a.b.n >= 1000", "a.b", "n", ">=", 1000.0),
        ("a.b.value > +.5", "a.b", "value", ">", 0.5),
        ("a.b.low.value > 5.", "a.b.low", "value", ">", 5.0),
        ("unsafe@100.école > 0", "unsafe@100.école", "value", ">", 0.0),
        ("a.b < 0.3%", "a.b", "value", "<", 0.003),
        ("a.b < 0.07pp", "a.b", "value", "<", 0.0007),
    ],
)
def test_forms(text: str, path: str, field: str, operator: str, threshold: float) -> None:
    gate = parse_gate(text)
    assert (gate.path, gate.field, gate.operator, gate.threshold) == (path, field, operator, threshold)
    assert gate.text == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no comparison"),
        ("a.b", "no comparison"),
        ("a.b 0.5", "no comparison"),
        ("a.b < 1 < 2", "more than one comparison"),
        ("a.b != 1", "'!='"),
        ("a.b = 1", "'='"),
        ("a.b =< 1", "'=<'"),
        ("a.b <> 1", "'<>'"),
        ("a.b < = 1", "more than one comparison"),
        ("< 1", "no estimate"),
        ("a b < 1", "column 3"),
        ("a..b < 1", "empty"),
        (".a < 1", "empty"),
        ("a. < 1", "empty"),
        ("high < 1", "of which estimate"),
        ("a.b <", "nothing"),
        ("a.b < five", "'five'"),
        ("a.b < nan", "'nan'"),
        ("a.b < inf", "'inf'"),
        ("a.b < 1_000", "'1_000'"),
        ("a.b < 1,5", "'1,5'"),
        ("a.b < 1 000", "'1 000'"),
        ("a.b < 1 0%", "'1 0%'"),
        ("a.b < %", "'%'"),
        ("a.b < 1%%", "'1%%'"),
        ("a.b < 1 % %", "not a number"),
        ("a.b < 1e", "'1e'"),
        ("a.b < 1e9999", "too large"),
        ("a.b < 1e99999", "'1e99999'"),
        ("a.b < --1", "'--1'"),
        ("a.b < .", "'.'"),
        ("a.b < 1.2.3", "'1.2.3'"),
        ("a.b < ٣", "not a number"),
        ("a.b < __import__('os')", "not a number"),
        ("a.b.n > 5%", "n is a count"),
    ],
)
def test_mistakes_are_named(text: str, says: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_gate(text)
    assert says in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        gate = parse_gate(text)
    except PlanError:
        return
    assert math.isfinite(gate.threshold)
    assert gate.operator in OPERATORS


@given(st.decimals(-1000, 1000, allow_nan=False, places=4), st.sampled_from(sorted(OPERATORS)))
def test_percent_is_exactly_a_hundredth(number, operator) -> None:
    plain, percent = parse_gate(f"a.b{operator}{number:f}"), parse_gate(f"a.b {operator} {number:f} %")
    assert percent.threshold == float(number / 100)
    assert plain.threshold == float(number)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("data.hate_content_rate.any < 0.5%", True),
        ("data.hate_content_rate.any.low < 0.29%", False),
        ("data.hate_content_rate.any.low <= 0.29%", True),
        ("data.hate_content_rate.any.high > 0.31%", False),
        ("data.hate_content_rate.any.high >= 0.31%", True),
        ("data.hate_content_rate.any == 0.3%", True),
        ("data.hate_content_rate.any.n >= 3200000", True),
        ("data.hate_content_rate.any.n < 3200000", False),
        ("data.ratio < 15", True),
        ("other.x.high == 20", True),
    ],
)
def test_comparison(text: str, holds: bool) -> None:
    record = evaluate(parse_gate(text), [DATA, OTHER])
    assert record.holds is holds
    assert record.reason == ""
    assert record.estimate is not None


@pytest.mark.parametrize("sign", sorted(OPERATORS))
@pytest.mark.parametrize("field", ["value", "low", "high", "n"])
def test_undefined_never_holds(sign: str, field: str) -> None:
    record = evaluate(parse_gate(f"data.empty.{field} {sign} 0"), [DATA, OTHER])
    assert not record.holds
    assert "no rows" in record.reason


@pytest.mark.parametrize("status", ["failed", "skipped", "pending"])
def test_failed_step_never_holds(status: str) -> None:
    record = evaluate(parse_gate("data.x > -1e9"), [step("data", status, "server is down"), OTHER])
    assert not record.holds
    assert status in record.reason
    assert "server is down" in record.reason


def test_unknown_estimate_does_not_hold_and_names_the_nearest() -> None:
    record = evaluate(parse_gate("data.hate_content_rate.ani < 1"), [DATA, OTHER])
    assert not record.holds
    assert "hate_content_rate.any" in record.reason


def test_bare_percentage_of_a_share_does_not_hold() -> None:
    """`high < 5` against a share would hold for every data set; it is answered with the mend instead."""
    record = evaluate(parse_gate("data.hate_content_rate.any.high < 5"), [DATA, OTHER])
    assert not record.holds
    assert "5%" in record.reason
    assert evaluate(parse_gate("data.hate_content_rate.any < 1"), [DATA, OTHER]).holds


def test_unknown_step_names_the_nearest_before_anything_runs() -> None:
    with pytest.raises(PlanError, match=r"unknown step 'dta'.*'data'"):
        bind(parse_gate("dta.x < 1"), ["data", "other"])
    with pytest.raises(PlanError, match="is a step"):
        bind(parse_gate("data < 1"), ["data", "other"])


def test_longest_step_prefix_wins() -> None:
    assert bind(parse_gate("a.b.c < 1"), ["a", "a.b"]) == ("a.b", ("c",))
    assert bind(parse_gate("a.x.c < 1"), ["a", "a.b"]) == ("a", ("x.c",))


def test_one_step_run_may_leave_the_step_out() -> None:
    for text in ("ratio < 15", "data.ratio < 15"):
        assert evaluate(parse_gate(text), [DATA]).holds
    same = step("data", data__x=RATIO)
    assert evaluate(parse_gate("data.x < 15"), [same]).holds
    assert evaluate(parse_gate("data.data.x < 15"), [same]).holds
