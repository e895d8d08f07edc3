"""Dates of posts: from whatever text a file holds to microseconds in UTC, and on to months, weeks and days.

A scan meets a column batch by batch, but whether `3/4/2022` is in March or in April must not change on the way: `detect_format`
decides once, from a sample, and `parse_dates` applies the decision everywhere and counts what it cannot read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.date_forms import SLASH, Read, forms_of, read_form, slash_fields
from assaymark.errors import ConfigError, SchemaError

__all__ = [
    "DateFormat",
    "ParsedDates",
    "PeriodUnit",
    "detect_format",
    "is_after",
    "moment",
    "parse_dates",
    "period_codes",
    "period_label",
    "period_start",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

Order = Literal["month first", "day first", "contradictory"]
PeriodUnit = Literal["month", "week", "day"]

DAY = 86_400_000_000
"""Microseconds of a day."""

_FIRST = -719_162 * DAY
"""The year 1 in UTC: what lies before it, as 0001-01-01 east of Greenwich, is a placeholder and no date."""

_LOOK = 4_096
"""Values that tell whether a column repeats itself enough for reading each distinct one once."""


@dataclass(frozen=True, slots=True)
class DateFormat:
    """How a column of dates is read; picklable.

    Attributes
    ----------
    order : str
        Of slash dates. "contradictory": some values can only have the month first, others only the day; none of the slash dates
        is read then, because for most of them nobody could say which.
    decided : bool
        Whether some value shows the order (a number above 12); else it is an assumption.
    pattern : str
        A pattern of `strptime` that all dates follow; everything else is moot then.
    forms : tuple of str
        Forms that the sample holds, for the report. Dates of other forms are read as well.
    """

    order: Order = "month first"
    decided: bool = False
    pattern: str = ""
    forms: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """How dates were read, for the notes of a report."""
        if self.pattern:
            return f"Dates are read as {self.pattern}."
        text = f"Dates are written in these forms: {', '.join(self.forms)}." if self.forms else "No date can be read."
        if SLASH not in self.forms:
            return text
        if self.order == "contradictory":
            return f"{text} Slash dates have the month first in some rows and the day first in others; none of them is read."
        why = "as some of them show" if self.decided else "which is an assumption, as no value shows it"
        return f"{text} Slash dates have the {self.order}, {why}."


class ParsedDates(NamedTuple):
    """A column of dates.

    Attributes
    ----------
    microseconds : array of int64, shape (n,)
        Since 1970-01-01 in UTC; 0 where there is no date.
    valid : array of bool, shape (n,)
    bad, empty : int
        Texts that are no date; values that are missing or blank.
    assumed_utc : int
        Dates without a zone, read as UTC.
    ambiguous : int
        Slash dates that could be read both ways, where no value of the column shows the order.
    format : DateFormat
    """

    microseconds: Ints
    valid: Mask
    bad: int
    empty: int
    assumed_utc: int
    ambiguous: int
    format: DateFormat


def detect_format(sample: pa.Array | pa.ChunkedArray, *, format: str = "auto", day_first: bool = False) -> DateFormat:
    """Decide how the dates of an input are read.

    Parameters
    ----------
    sample : values of the column, of any type; the larger and the more spread, the surer is the order of slash dates
    format : "auto", or a pattern of `strptime` that is taken as it is
    day_first : order of slash dates where no value shows it

    Raises
    ------
    SchemaError
        The column is of a type that holds no dates.
    """
    if format != "auto":
        return DateFormat(pattern=format)
    values = _text(sample)
    return _decide(values, dict(forms_of(values)), day_first)


def _decide(values: pa.Array, found: Mapping[str, Ints], day_first: bool) -> DateFormat:
    assumed: Order = "day first" if day_first else "month first"
    if SLASH not in found:
        return DateFormat(assumed, forms=tuple(found))
    first, middle = slash_fields(values.take(pa.array(found[SLASH])))
    day, month = bool(((first > 12) & (middle <= 12)).any()), bool(((middle > 12) & (first <= 12)).any())
    order: Order = "contradictory" if day and month else "day first" if day else "month first" if month else assumed
    return DateFormat(order, day or month, forms=tuple(found))


def parse_dates(
    column: pa.Array | pa.ChunkedArray, *, format: str | DateFormat = "auto", day_first: bool = False
) -> ParsedDates:
    """Moments of a column of dates.

    ISO 8601 with or without zone, clock and fraction; m/d/y and d/m/y (see `DateFormat`), d.m.y; RFC 2822; Twitter's; names of
    months in English; Unix time in seconds to nanoseconds; stored timestamps. What has no zone is taken as UTC, and counted.

    Parameters
    ----------
    column : text, numbers, timestamps or dates
    format : "auto" (decide from this column alone), a decision of `detect_format`, or a pattern of `strptime`
    day_first : see `detect_format`

    Raises
    ------
    SchemaError
        The column is of a type that holds no dates.
    ConfigError
        The pattern is none.

    Notes
    -----
    O(n), without a loop over rows: about a second for 10^6 different texts, and less where they repeat.
    """
    values, back = _distinct(_text(column))
    decided = format if isinstance(format, DateFormat) else DateFormat(pattern="" if format == "auto" else format)
    if decided.pattern:
        read, either = _by_pattern(values, decided.pattern)
    else:
        found = dict(forms_of(values))
        decided = _decide(values, found, day_first) if format == "auto" else decided
        read, either = _by_form(values, found, decided)
    known = read.valid & (read.microseconds >= _FIRST)
    read = Read(np.where(known, read.microseconds, 0), known, read.zoneless)
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), True).to_numpy(zero_copy_only=False)
    if back is not None:
        read = Read(read.microseconds[back], read.valid[back], read.zoneless[back])
        either, blank = either[back], blank[back]
    return ParsedDates(
        read.microseconds,
        read.valid,
        bad=int((~read.valid & ~blank).sum()),
        empty=int(blank.sum()),
        assumed_utc=int((read.valid & read.zoneless).sum()),
        ambiguous=int((read.valid & either).sum()),
        format=decided,
    )


def _text(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.dictionary_decode())
    if pa.types.is_boolean(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise SchemaError(f"a column of type {kind} holds no dates")
    return column.cast(pa.large_string())


def _distinct(values: pa.Array) -> tuple[pa.Array, Ints | None]:
    """Values to read, and the place of each row among them; none where reading every row is cheaper."""
    head = values.slice(0, _LOOK)
    if len(values) <= _LOOK or pc.count_distinct(head).as_py() > len(head) // 2:
        return values, None
    encoded = values.dictionary_encode(null_encoding="encode")
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _by_form(values: pa.Array, found: Mapping[str, Ints], decided: DateFormat) -> tuple[Read, Mask]:
    """Moments, and which of them another order of day and month would change."""
    micro = np.zeros(len(values), np.int64)
    valid, zoneless, either = (np.zeros(len(values), bool) for _ in range(3))
    for name, places in found.items():
        if name == SLASH and decided.order == "contradictory":
            continue
        texts = values if len(places) == len(values) else values.take(pa.array(places))
        micro[places], valid[places], zoneless[places] = read_form(name, texts, day_first=decided.order == "day first")
        if name == SLASH and not decided.decided:
            first, middle = slash_fields(texts)
            either[places] = (first <= 12) & (middle <= 12) & (first != middle)
    return Read(micro, valid, zoneless), either


def _by_pattern(values: pa.Array, pattern: str) -> tuple[Read, Mask]:
    import pandas as pd

    try:
        read = pd.to_datetime(values.to_pandas().str.strip(), format=pattern, utc=True, errors="coerce")
    except ValueError as error:
        raise ConfigError(
            f"the date format {pattern!r} is no pattern of strptime: {error}; an example: %d/%m/%Y %H:%M"
        ) from None
    valid = read.notna().to_numpy()
    micro = np.where(valid, read.dt.tz_localize(None).to_numpy().astype("M8[us]").astype(np.int64), 0)
    return Read(micro, valid, np.full(len(values), "%z" not in pattern and "%Z" not in pattern)), np.zeros(len(values), bool)


def moment(text: str) -> int:
    """Microseconds of one date of a setting (a cut-off, a release), in UTC unless it names a zone.

    Raises
    ------
    ConfigError
        The text is no date, or one that can be read in two ways.
    """
    parsed = parse_dates(pa.array([text], pa.large_string()))
    if not parsed.valid[0] or parsed.ambiguous:
        raise ConfigError(f"{text!r} is no date; write it as 2022-11-30")
    return int(parsed.microseconds[0])


def is_after(parsed: ParsedDates, limit: int | dt.datetime) -> Mask:
    """Dates later than a moment (microseconds, or a datetime with a zone): those that lie in the future, say."""
    if isinstance(limit, dt.datetime):
        if limit.tzinfo is None:
            raise ValueError("a moment needs a zone")
        limit = int((limit - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1))
    after: Mask = parsed.valid & (parsed.microseconds > limit)
    return after


def period_codes(microseconds: Ints, unit: PeriodUnit = "month") -> Ints:
    """The period in UTC that each moment falls into; consecutive periods have consecutive codes.

    Parameters
    ----------
    microseconds : array of int64, shape (n,)
    unit : "month" (since January 1970), "week" (ISO 8601, from Monday; 0 holds 1970-01-01) or "day" (since 1970-01-01)

    Returns
    -------
    array of int64, shape (n,)
    """
    _known(unit)
    days = np.floor_divide(np.asarray(microseconds, np.int64), DAY)
    if unit == "month":
        return days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    return np.floor_divide(days + 3, 7) if unit == "week" else days  # 1970-01-01 was a Thursday


def period_start(codes: npt.ArrayLike, unit: PeriodUnit = "month") -> Ints:
    """First moment of each period in microseconds: the inverse of `period_codes`."""
    _known(unit)
    code = np.asarray(codes, np.int64)
    if unit == "month":
        return code.astype("M8[M]").astype("M8[us]").astype(np.int64)
    return (code * 7 - 3 if unit == "week" else code) * DAY


def period_label(code: int, unit: PeriodUnit = "month") -> str:
    """`2022-01`, `2022-W05` or `2022-01-31`; labels of one unit sort as their periods do."""
    first = dt.date(1970, 1, 1) + dt.timedelta(days=int(period_start(code, unit)) // DAY)
    year, week, _ = first.isocalendar()
    return {"month": f"{first:%Y-%m}", "week": f"{year:04d}-W{week:02d}", "day": first.isoformat()}[unit]


def _known(unit: str) -> None:
    if unit not in get_args(PeriodUnit):
        raise ValueError(f"unknown period {unit!r}; known: {', '.join(get_args(PeriodUnit))}")
