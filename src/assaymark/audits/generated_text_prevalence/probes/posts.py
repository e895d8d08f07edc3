"""What a post says, parsed once for all probes: when and where it stands, whether it can be counted, and its probability."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.dates import DateFormat, PeriodUnit, parse_dates, period_codes
from assaymark.data.hashing import Coded, coded, hash_column
from assaymark.data.probe import Batch

__all__ = ["LAST_UNDATED", "REASONS", "Parsed", "PostRules", "count_words"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REASONS = ("no date", "date that cannot be read", "date in the future", "no text", "too short", "no score")
"""Why a post is not counted; the first that holds."""

LAST_UNDATED = REASONS.index("date in the future")
"""The last reason that leaves a post without a period."""

_AHEAD = 86_400_000_000  # microseconds: a day, since clocks and zones differ


class Parsed(NamedTuple):
    """A batch of posts.

    Attributes
    ----------
    reason : int8 array, shape (n,)
        Index in `REASONS`, -1 for a post that is counted.
    period : int64 array, shape (n,)
        Code of the period (see `data.dates`); meaningless where there is no date.
    platform : Coded
    probability : float64 array, shape (n,)
        NaN for a post that is not counted.
    key : uint64 array, shape (n,)
        Hash of what the post is (id, else text): decides about samples.
    """

    reason: npt.NDArray[np.int8]
    period: Ints
    platform: Coded
    probability: Floats
    key: npt.NDArray[np.uint64]

    @property
    def counted(self) -> Ints:
        """Positions of the posts that are counted."""
        return np.flatnonzero(self.reason < 0)


@dataclass(frozen=True)
class PostRules:
    """How a batch becomes `Parsed`; the same for all probes of a scan. Pickled to workers: settings only.

    Attributes
    ----------
    dates : how created_at is written in this input.
    detector : columns by name to probabilities; None where no detector can count.
    scores : columns that the detector reads.
    has : concepts of `posts` that the input has.
    """

    dates: DateFormat
    unit: PeriodUnit
    min_words: int
    detector: Callable[[Mapping[str, Floats]], Floats] | None
    scores: tuple[str, ...]
    has: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """What every probe of posts reads."""
        text = ("text",) if "text" in self.has and (self.min_words or not {"id"} & self.has) else ()
        named = tuple(name for name in ("platform", "id") if name in self.has)
        return ("created_at", *text, *named, *self.scores)

    @property
    def unnamed_platform(self) -> str:
        """How posts without a platform are called."""
        return "no platform" if "platform" in self.has else "all posts"

    def parse(self, batch: Batch) -> Parsed:
        """The batch under these rules, computed once for all probes."""
        return batch.once(("posts", id(self)), lambda: self._parse(batch))

    def _parse(self, batch: Batch) -> Parsed:
        written = batch.column("created_at")
        parsed = parse_dates(written, format=self.dates)
        absent = pc.is_null(written).to_numpy(zero_copy_only=False) | (_length(written) == 0)
        limit = int(datetime.now(UTC).timestamp() * 1e6) + _AHEAD
        period = np.where(parsed.valid, period_codes(parsed.microseconds, self.unit), 0)
        probability = np.full(batch.rows, np.nan)
        if self.detector is not None:
            probability = np.asarray(self.detector({name: batch.numbers(name) for name in self.scores}), np.float64)
        empty, short = self._too_short(batch)
        cases = [absent, ~parsed.valid, parsed.microseconds > limit, empty, short, ~np.isfinite(probability)]
        reason = np.select(cases, list(range(len(REASONS))), -1).astype(np.int8)
        platform = coded(batch.column("platform")) if "platform" in self.has else Coded(np.zeros(batch.rows, np.int64), {})
        return Parsed(reason, period, platform, np.where(reason < 0, probability, np.nan), self._keys(batch))

    def _too_short(self, batch: Batch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        none = np.zeros(batch.rows, dtype=bool)
        if "text" not in batch:
            return none, none
        texts = pc.fill_null(batch.column("text"), "")
        empty = _length(pc.utf8_trim_whitespace(texts)) == 0
        return empty, (batch.once("words", lambda: count_words(texts)) < self.min_words) if self.min_words else none

    def _keys(self, batch: Batch) -> npt.NDArray[np.uint64]:
        named = next((name for name in ("id", "text") if name in batch), "created_at")
        return hash_column(batch.column(named))


def _length(column: pa.Array) -> Ints:
    lengths: Ints = pc.fill_null(pc.binary_length(column.cast(pa.large_string())), 0).to_numpy(zero_copy_only=False)
    return lengths


def count_words(texts: pa.Array) -> Ints:
    """Runs of characters that are no white space, for each text."""
    counts: Ints = pc.count_substring_regex(texts, r"\S+").to_numpy(zero_copy_only=False)
    return counts
