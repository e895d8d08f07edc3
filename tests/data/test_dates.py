"""Dates of posts: every form against Python's own parsers, one decision for a column, and periods in UTC."""

from __future__ import annotations

import datetime as dt
import pickle
import time
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assaymark.data.dataset import Dataset, open_input
from assaymark.data.dates import (
    DateFormat,
    PeriodUnit,
    detect_format,
    is_after,
    moment,
    parse_dates,
    period_codes,
    period_label,
    period_start,
)
from assaymark.errors import ConfigError, SchemaError

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
MOMENTS = st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2200, 1, 1), timezones=ZONES)


def micro(moment: dt.datetime) -> int:
    return (moment.astimezone(dt.UTC) - EPOCH) // dt.timedelta(microseconds=1)


def read(*texts: str | None) -> list[str | None]:
    parsed = parse_dates(pa.array(texts, pa.string()))
    moments = [EPOCH + dt.timedelta(microseconds=int(m)) for m in parsed.microseconds]
    return [f"{m:%Y-%m-%d %H:%M:%S.%f}" if ok else None for m, ok in zip(moments, parsed.valid, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-01-31", "2022-01-31 00:00:00.000000"),
        ("2022-01-31T23:59:59Z", "2022-01-31 23:59:59.000000"),
        ("2022-01-31 23:59:59 UTC", "2022-01-31 23:59:59.000000"),
        ("2022-01-31T23:30:00-02:00", "2022-02-01 01:30:00.000000"),
        ("2022-02-01T00:30:00.1234567+0200", "2022-01-31 22:30:00.123456"),
        ("2022-02-01 00:30+02", "2022-01-31 22:30:00.000000"),
        ("  2022/1/5 4:05 ", "2022-01-05 04:05:00.000000"),
        ("2022-01-05 12:05:09 AM", "2022-01-05 00:05:09.000000"),
        ("1/31/22 9:05", "2022-01-31 09:05:00.000000"),
        ("1/31/2022", "2022-01-31 00:00:00.000000"),
        ("31/1/2022 21:05:06", "2022-01-31 21:05:06.000000"),
        ("1/31/1999 9:05 PM", "1999-01-31 21:05:00.000000"),
        ("31-01-2022", "2022-01-31 00:00:00.000000"),
        ("1/31/69", "1969-01-31 00:00:00.000000"),
        ("31.1.2022 07:08", "2022-01-31 07:08:00.000000"),
        ("Wed, 02 Oct 2002 13:00:00 GMT", "2002-10-02 13:00:00.000000"),
        ("Wed, 02 Oct 2002 13:00:00 -0800", "2002-10-02 21:00:00.000000"),
        ("2 Oct 2002 13:00 EST", "2002-10-02 18:00:00.000000"),
        ("Wed Oct 10 20:19:24 +0000 2018", "2018-10-10 20:19:24.000000"),
        ("Wed Oct  3 20:19:24 2018", "2018-10-03 20:19:24.000000"),
        ("October 3, 2018", "2018-10-03 00:00:00.000000"),
        ("Wednesday, Oct. 3, 2018 8:19 pm", "2018-10-03 20:19:00.000000"),
        ("20220131", "2022-01-31 00:00:00.000000"),
        ("20220131235959", "2022-01-31 23:59:59.000000"),
        ("1640995200", "2022-01-01 00:00:00.000000"),
        ("1640995200.5", "2022-01-01 00:00:00.500000"),
        ("1.6409952e+09", "2022-01-01 00:00:00.000000"),
        ("1640995200250", "2022-01-01 00:00:00.250000"),
        ("1640995200250001", "2022-01-01 00:00:00.250001"),
        ("2020-02-29", "2020-02-29 00:00:00.000000"),
        ("2016-12-31T23:59:60Z", "2017-01-01 00:00:00.000000"),
    ],
)
def test_every_form(text: str, expected: str) -> None:
    assert read(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        *("2021-02-29", "2022-13-01", "2022-00-10", "2022-01-32", "2022-01-01T24:01:00", "2022-01-01 10:61", "0/0/2022"),
        *("2022-01-01 13:00 AM", "2022-01-01 00:00 XYZ", "2022-01-01T00:00+25:00", "13/13/2022", "32.1.2022", "01-02-03"),
        *("yesterday", "2022", "12345", "-1640995200", "Wed, 02 Foo 2002 13:00:00 GMT", "2022-01-01 and more", "nan"),
    ],
)
def test_what_is_no_date_is_counted_and_never_guessed(text: str) -> None:
    parsed = parse_dates(pa.array([text, "2022-01-01", "", None, "  "]))
    assert parsed.valid.tolist() == [False, True, False, False, False]
    assert (parsed.bad, parsed.empty, parsed.assumed_utc) == (1, 3, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(MOMENTS, min_size=1, max_size=8))
def test_forms_with_zones_agree_with_python(moments: list[dt.datetime]) -> None:
    expected = [micro(m) for m in moments]
    seconds = [e // 1_000_000 * 1_000_000 for e in expected]
    writers = {
        "iso": ([m.isoformat() for m in moments], expected),
        "spaced": ([m.isoformat(sep=" ").replace("+", " +") for m in moments], expected),
        "rfc 2822": ([format_datetime(m) for m in moments], seconds),
        "twitter": ([m.strftime("%a %b %d %H:%M:%S %z %Y") for m in moments], seconds),
        "epoch": ([str(e // 1_000_000) for e in expected], seconds),
        "milliseconds": ([str(e // 1_000) for e in expected], [e // 1_000 * 1_000 for e in expected]),
    }
    for name, (texts, wanted) in writers.items():
        parsed = parse_dates(pa.array(texts))
        assert parsed.microseconds.tolist() == wanted, name
        assert parsed.valid.all() and parsed.assumed_utc == 0, name
    mixed = [writers[name][0][k % len(moments)] for k, name in enumerate(writers)]
    assert parse_dates(pa.array(mixed)).microseconds.tolist() == [
        writers[name][1][k % len(moments)] for k, name in enumerate(writers)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2068, 12, 31)), min_size=1, max_size=8), st.booleans())
def test_slash_dates_agree_with_python(moments: list[dt.datetime], day_first: bool) -> None:
    pattern = "%d/%m/%y %H:%M" if day_first else "%m/%d/%y %H:%M"
    texts = [m.strftime(pattern) for m in moments]
    parsed = parse_dates(pa.array(texts), format=DateFormat("day first" if day_first else "month first", decided=True))
    wanted = [micro(m.replace(second=0, microsecond=0, tzinfo=dt.UTC)) for m in moments]
    assert parsed.microseconds.tolist() == wanted
    explicit = parse_dates(pa.array(texts), format=pattern)
    assert explicit.microseconds.tolist() == wanted and explicit.assumed_utc == len(texts)


def test_the_order_of_slash_dates_is_decided_once_for_a_column() -> None:
    assert detect_format(pa.array(["1/2/2022", "3/4/2022"])) == DateFormat("month first", forms=("slash",))
    assert detect_format(pa.array(["1/2/2022"]), day_first=True).order == "day first"
    assert detect_format(pa.array(["1/2/2022", "3/14/2022"]), day_first=True) == DateFormat(
        "month first", decided=True, forms=("slash",)
    )
    seen = detect_format(pa.array(["1/2/2022", "13/4/2022"]))
    assert (seen.order, seen.decided) == ("day first", True)
    assert pickle.loads(pickle.dumps(seen)) == seen and hash(seen) == hash(pickle.loads(pickle.dumps(seen)))
    batch = parse_dates(pa.array(["1/2/2022", "3/14/2022", "5/5/2022"]), format=seen)
    assert [period_label(int(c)) for c in period_codes(batch.microseconds[batch.valid])] == ["2022-02", "2022-05"]
    assert (batch.bad, batch.ambiguous) == (1, 0)


def test_an_assumed_order_is_counted_where_it_matters() -> None:
    parsed = parse_dates(pa.array(["1/2/2022", "5/5/2022", "2022-01-01"]))
    assert (parsed.ambiguous, parsed.assumed_utc, parsed.bad) == (1, 3, 0)
    assert "assumption" in parsed.format.sentence
    assert "assumption" not in parse_dates(pa.array(["2022-01-01"])).format.sentence


def test_contradictory_slash_dates_are_all_refused_and_the_others_are_read() -> None:
    parsed = parse_dates(pa.array(["13/1/2022", "1/13/2022", "1/2/2022", "2022-01-01"]))
    assert parsed.valid.tolist() == [False, False, False, True] and parsed.bad == 3
    assert "none of them is read" in parsed.format.sentence


def test_stored_types_and_repeated_values() -> None:
    when = dt.datetime(2022, 2, 1, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    for column, zoneless in [
        (pa.array([when] * 2, pa.timestamp("ns", "Europe/Berlin")), 0),
        (pa.array([dt.datetime(2022, 1, 31, 23, 30)] * 2), 2),
        (pa.array([micro(when) // 1_000_000] * 2), 0),
        (pa.array([micro(when) / 1e6] * 2), 0),
        (pa.array([str(micro(when))] * 2).dictionary_encode(), 0),
        (pa.chunked_array([["2022-01-31T23:30Z"], ["2022-01-31T23:30Z"]]), 0),
    ]:
        parsed = parse_dates(column)
        assert parsed.microseconds.tolist() == [micro(when)] * 2 and parsed.assumed_utc == zoneless
    repeated = pa.array(["1/31/2022", "no date", None] * 4_000)
    parsed = parse_dates(repeated)
    assert (parsed.valid.sum(), parsed.bad, parsed.empty, parsed.assumed_utc) == (4_000, 4_000, 4_000, 4_000)
    assert len(parse_dates(pa.array([], pa.string())).valid) == 0
    with pytest.raises(SchemaError, match="holds no dates"):
        parse_dates(pa.array([[1]]))
    with pytest.raises(ConfigError, match="no pattern of strptime"):
        parse_dates(pa.array(["2022"]), format="%Q")


def test_a_zone_moves_a_post_into_another_month() -> None:
    parsed = parse_dates(pa.array(["2022-02-01T00:30:00+02:00", "2022-01-31T22:30:00-02:00", "2022-01-31 23:59"]))
    assert [period_label(int(c)) for c in period_codes(parsed.microseconds)] == ["2022-01", "2022-02", "2022-01"]


@settings(max_examples=200, deadline=None)
@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)), st.sampled_from(["month", "week", "day"]))
def test_periods_agree_with_the_calendar(when: dt.datetime, unit: PeriodUnit) -> None:
    (code,) = period_codes(np.array([micro(when.replace(tzinfo=dt.UTC))]), unit)
    year, week, _ = when.isocalendar()
    assert (
        period_label(int(code), unit)
        == {
            "month": f"{when:%Y-%m}",
            "week": f"{year}-W{week:02d}",
            "day": f"{when:%Y-%m-%d}",
        }[unit]
    )
    start, following = period_start([code, code + 1], unit)
    assert start <= micro(when.replace(tzinfo=dt.UTC)) < following
    assert period_codes(np.array([start, following - 1, following]), unit).tolist() == [code, code, code + 1]


def test_labels_sort_as_their_periods() -> None:
    for unit in ("month", "week", "day"):
        labels = [period_label(code, unit) for code in range(400)]  # type: ignore[arg-type]
        assert labels == sorted(set(labels))
    with pytest.raises(ValueError, match="unknown period"):
        period_codes(np.array([0]), "year")  # type: ignore[arg-type]


def test_moments_of_settings_and_dates_after_them() -> None:
    cut = moment("2022-11-30")
    assert cut == micro(dt.datetime(2022, 11, 30, tzinfo=dt.UTC))
    for text in ("soon", "3/4/2022", ""):
        with pytest.raises(ConfigError, match="is no date"):
            moment(text)
    parsed = parse_dates(pa.array(["2022-11-30", "2022-12-01", "x"]))
    assert is_after(parsed, cut).tolist() == [False, True, False]
    assert is_after(parsed, dt.datetime(2022, 12, 1, tzinfo=dt.UTC)).tolist() == [False, False, False]


def test_a_million_dates_are_read_in_about_a_second() -> None:
    seconds = np.random.default_rng(0).integers(1_600_000_000, 1_730_000_000, 1_000_000)
    texts = pc.binary_join_element_wise(pa.array(seconds).cast(pa.timestamp("s")).cast(pa.string()), pa.scalar("Z"), "")
    start = time.perf_counter()
    parsed = parse_dates(texts)
    assert time.perf_counter() - start < 4, "a loop over rows would take longer"
    assert (parsed.microseconds == seconds * 1_000_000).all()


@pytest.mark.shared_data
def test_real_tweets_are_all_dated(shared_data: Path) -> None:
    """Published by FiveThirtyEight: m/d/yy H:M, 2009 to 2017."""
    for name in ("BarackObama", "realDonaldTrump"):
        opened = open_input("posts", shared_data / "tweets_538" / f"{name}.csv", name="tweets")
        assert isinstance(opened, Dataset)
        parsed = parse_dates(opened.read().column(opened.mapping["created_at"]))
        assert parsed.bad == 0 and parsed.valid.mean() > 0.99 and parsed.ambiguous == 0
        assert (parsed.format.order, parsed.format.decided) == ("month first", True)
        labels = {period_label(int(c)) for c in np.unique(period_codes(parsed.microseconds[parsed.valid]))}
        assert min(labels) >= "2007-01" and max(labels) <= "2017-12"
