"""The ways in which dates are written: one pattern each, read for a whole column at once.

A form says what its fields are; what a slash date means (month or day first) is decided by the caller, for a whole column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["SLASH", "Read", "forms_of", "read_form", "slash_fields"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SLASH = "slash"
"""The one form whose first two numbers can be read in two ways."""

_ZONE = r" ?(?P<zone>[A-Za-z]{1,4}|[+-]\d{2}:?\d{2}|[+-]\d{2})?"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
_TIME = _CLOCK + r"(?: ?(?P<half>[AaPp][Mm]))?" + _ZONE
_WEEKDAY = r"(?:[A-Za-z]{3,9},? )?"
_YEAR = r"(?:(?P<year>\d{4})|(?P<short>\d{2}))"

_FORMS: dict[str, str] = {
    "iso": rf"(?P<year>\d{{4}})[-/](?P<month>\d{{1,2}})[-/](?P<day>\d{{1,2}})(?:[T ]{_TIME})?",
    "epoch": r"(?P<number>(?:\d{9,13}|\d{15,19})(?:\.\d*)?|\d(?:\.\d+)?[eE]\+?\d{1,2})",
    SLASH: rf"(?P<first>\d{{1,2}})[/-](?P<middle>\d{{1,2}})(?:[/-](?P<year>\d{{4}})|/(?P<short>\d{{2}}))(?:,? {_TIME})?",
    "dotted": rf"(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.{_YEAR}(?:,? {_TIME})?",
    "rfc 2822": rf"{_WEEKDAY}(?P<day>\d{{1,2}})[ -](?P<name>[A-Za-z]{{3,9}})[ -](?P<year>\d{{4}})(?:,? {_TIME})?",
    "twitter": rf"[A-Za-z]{{3}} (?P<name>[A-Za-z]{{3}}) +(?P<day>\d{{1,2}}) {_CLOCK}{_ZONE} (?P<year>\d{{4}})",
    "month name": rf"{_WEEKDAY}(?P<name>[A-Za-z]{{3,9}})\.? (?P<day>\d{{1,2}}),? (?P<year>\d{{4}})(?:,? {_TIME})?",
    "compact": r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})(?:T?(?P<hour>\d{2})(?P<minute>\d{2})(?P<second>\d{2})"
    r"(?P<zone>Z|[+-]\d{4})?)?",
}
"""Name to pattern, the commonest first; no text fits two of them."""

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_NAMES = {name: k for k, month in enumerate(_MONTHS, 1) for name in (month, month[:3])} | {"sept": 9}
_ZONES = {
    **dict.fromkeys(("Z", "UT", "UTC", "GMT"), 0), "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360,
    "PST": -480, "PDT": -420,
}  # fmt: skip
"""Minutes ahead of UTC of the zones that RFC 2822 (section 4.3) names."""

_EPOCHS = ((1e8, 1e10, 1e6), (1e11, 1e13, 1e3), (1e14, 1e16, 1.0), (1e17, 1e19, 1e-3))
"""From, below, microseconds a unit: seconds, milli-, micro- and nanoseconds of 1973 to 2286. The ranges do not touch, so that
the size of a number says its unit; a number between them (such as a bare year) is no date."""


class Read(NamedTuple):
    """Texts of one form: microseconds since 1970 in UTC, whether such a moment exists, and whether a zone was missing."""

    microseconds: Ints
    valid: Mask
    zoneless: Mask


def forms_of(values: pa.Array) -> Iterator[tuple[str, Ints]]:
    """Name of each form that occurs, with the places of the texts written so; what fits no form is not named."""
    left = np.arange(len(values))
    for name, pattern in _FORMS.items():
        if not len(left):
            return
        hit = pc.fill_null(pc.match_substring_regex(values, _whole(pattern)), False).to_numpy(zero_copy_only=False)
        if hit.any():
            yield name, left[hit]
            left = left[~hit]
            values = values.filter(pa.array(~hit)) if len(left) else values


def slash_fields(values: pa.Array) -> tuple[Ints, Ints]:
    """First and second number of slash dates."""
    fields = pc.extract_regex(values, r"^\s*(?P<first>\d{1,2})[/-](?P<middle>\d{1,2})")
    return _numbers(fields.field("first")), _numbers(fields.field("middle"))


def read_form(name: str, values: pa.Array, *, day_first: bool = False) -> Read:
    """Moments of texts that are all of the form `name`.

    Notes
    -----
    O(n), without a loop over rows. Years of two digits are 1969 to 2068 (POSIX). Digits below a microsecond are cut off.
    """
    if name == "iso" and (quick := _iso(values)) is not None:
        return quick
    fields = pc.extract_regex(values, _whole(_FORMS[name]))
    found = {field.name: fields.field(field.name) for field in fields.type}
    if name == "epoch":
        return _epoch(found["number"])
    if name == SLASH:
        day, month = ("first", "middle") if day_first else ("middle", "first")
        found |= {"day": found[day], "month": found[month]}
    return _moment(found, len(values))


def _iso(values: pa.Array) -> Read | None:
    """Moments through Arrow's own parser, ten times as fast; none where it refuses a text, or only some have zones."""
    for kind, zoneless in ((pa.timestamp("us"), True), (pa.timestamp("us", "UTC"), False)):
        try:
            micro = values.cast(kind).cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            continue
        return Read(micro, np.ones(len(micro), bool), np.full(len(micro), zoneless))
    return None


def _whole(pattern: str) -> str:
    return rf"^\s*(?:{pattern})\s*$"


def _numbers(column: pa.Array, absent: int = 0) -> Ints:
    filled = pc.if_else(pc.equal(column, ""), pa.scalar(str(absent), column.type), column)
    return np.array(filled.cast(pa.int64()).to_numpy(zero_copy_only=False))


def _epoch(numbers: pa.Array) -> Read:
    values = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)
    micro, valid = np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    for low, high, scale in _EPOCHS:
        here = (values >= low) & (values < high)
        micro[here] = np.rint(values[here] * scale).astype(np.int64)
        valid |= here
    return Read(micro, valid, np.zeros(len(values), bool))


def _moment(found: dict[str, pa.Array], rows: int) -> Read:
    """From the fields of a calendar date and, perhaps, a clock."""
    part = {name: _numbers(found[name]) for name in ("day", "month", "hour", "minute", "second") if name in found}
    zero = np.zeros(rows, np.int64)
    month = _looked_up(found["name"], _NAMES, fold=True)[0] if "name" in found else part["month"]
    year = _years(found)
    start, days = _month_start(year, month)
    day, minute, second = part["day"], part.get("minute", zero), part.get("second", zero)
    hour, valid = _hours(part.get("hour", zero), found.get("half"))
    valid &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= days) & (minute < 60) & (second <= 60)
    zoneless, minutes = np.ones(rows, bool), zero
    if "zone" in found:
        minutes, known = _looked_up(found["zone"], None)
        zoneless, valid = pc.equal(found["zone"], "").to_numpy(zero_copy_only=False), valid & known
    fraction = zero
    if "fraction" in found:
        fraction = _numbers(pc.utf8_slice_codeunits(pc.utf8_rpad(found["fraction"], 6, "0"), 0, 6))
    seconds = (((start + day - 1) * 24 + hour) * 60 + minute - minutes) * 60 + second
    return Read(np.where(valid, seconds * 1_000_000 + fraction, 0), valid, zoneless)


def _years(found: dict[str, pa.Array]) -> Ints:
    year = _numbers(found["year"], absent=-1)
    if "short" not in found:
        return year
    short = _numbers(found["short"])
    return np.where(year < 0, np.where(short < 69, 2000 + short, 1900 + short), year)


def _month_start(year: Ints, month: Ints) -> tuple[Ints, Ints]:
    """Days from 1970-01-01 to the first of a month, and the days that the month has."""
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    start, following = (m.astype("M8[M]").astype("M8[D]").astype(np.int64) for m in (months, months + 1))
    return start, following - start


def _hours(hour: Ints, half: pa.Array | None) -> tuple[Ints, Mask]:
    """Hours of the day from those of a clock of 24 or of twice 12."""
    if half is None:
        return hour, hour < 24
    word = pc.utf8_lower(half)
    afternoon, twelve = (pc.equal(word, "pm"), pc.not_equal(word, ""))
    late, halved = afternoon.to_numpy(zero_copy_only=False), twelve.to_numpy(zero_copy_only=False)
    return np.where(halved, hour % 12 + 12 * late, hour), np.where(halved, (hour >= 1) & (hour <= 12), hour < 24)


def _looked_up(words: pa.Array, table: dict[str, int] | None, *, fold: bool = False) -> tuple[Ints, Mask]:
    """The number of each word (0 where it has none), and whether it has one; without a table the words are zones."""
    encoded = words.dictionary_encode()
    distinct = [word.casefold() if fold else word for word in encoded.dictionary.to_pylist()]
    found = [_zone_minutes(word) if table is None else table.get(word) for word in distinct]
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    values = np.array([number or 0 for number in found], np.int64)
    known = np.array([number is not None for number in found], bool)
    return (values[codes], known[codes]) if len(found) else (np.zeros(0, np.int64), np.zeros(0, bool))


def _zone_minutes(word: str) -> int | None:
    """Minutes ahead of UTC; none for a zone that nobody can know."""
    if not word or word[0] not in "+-":
        return _ZONES.get(word.upper()) if word else 0
    digits = word[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    return None if hours > 15 or minutes > 59 else (60 * hours + minutes) * (-1 if word[0] == "-" else 1)
