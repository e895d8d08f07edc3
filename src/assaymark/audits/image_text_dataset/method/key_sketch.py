"""A bounded, mergeable sample of distinct keys: how many different ones, and how often they repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from assaymark.result import Estimate, undefined

__all__ = ["Duplicates", "KeySketch", "Multiplicity", "duplicates"]

Keys = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


def _mix(keys: Keys) -> Keys:
    """Bijection of the 64-bit integers that spreads weak hashes evenly (the finaliser of splitmix64)."""
    mixed = keys ^ (keys >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _levels(keys: Keys) -> npt.NDArray[np.int64]:
    """Leading zero bits of the mixed keys: a key is in the sample of level L iff its own level is at least L."""
    mixed = _mix(keys)
    # frexp gives the bit length exactly only below 2**53, hence the two halves.
    high = (mixed >> np.uint64(32)).astype(np.float64)
    low = (mixed & np.uint64(0xFFFFFFFF)).astype(np.float64)
    length = np.where(high > 0, 32 + np.frexp(high)[1], np.frexp(low)[1])
    return 64 - length.astype(np.int64)


@dataclass(frozen=True, eq=False)
class KeySketch:
    """Adaptive hash-threshold sample of keys with the exact number of rows of each kept key.

    A key is kept while its (mixed) 64-bit hash lies below 2**(64 - level); the level rises, halving the sample, whenever
    more than `capacity` keys are kept. Because the level is the smallest one at which the keys of *all* merged rows fit, the
    sketch depends on the rows alone: merging is associative, commutative and equal to one pass.

    Attributes
    ----------
    keys : uint64 array, shape (n_kept,), ascending
    counts : int64 array, shape (n_kept,)
        Rows that carry each kept key, over all merged batches (exact).
    level : int
        Keys are kept with probability 2**-level; 0 means that nothing was ever dropped.
    rows : int
        All rows seen, kept or not.
    capacity : int
        Most keys kept.

    References
    ----------
    P. Flajolet, "On adaptive sampling", Computing 43 (1990): 2**level * n_kept is an unbiased count of distinct keys with
    relative standard error about 1.2 / sqrt(capacity).
    """

    keys: Keys
    counts: Counts
    level: int
    rows: int
    capacity: int

    @classmethod
    def of(cls, keys: npt.ArrayLike, *, capacity: int = 1 << 16) -> KeySketch:
        """Sketch of one batch of 64-bit hashes, one per row. O(n log n)."""
        if capacity < 1:
            raise ValueError("a sketch keeps at least one key")
        distinct, counts = np.unique(np.asarray(keys, dtype=np.uint64), return_counts=True)
        return cls._fit(distinct, counts.astype(np.int64), 0, int(counts.sum()), capacity)

    @classmethod
    def _fit(cls, keys: Keys, counts: Counts, level: int, rows: int, capacity: int) -> KeySketch:
        levels = _levels(keys)
        kept_at = np.bincount(levels, minlength=65)[::-1].cumsum()[::-1]  # kept_at[L]: keys whose own level is >= L
        while kept_at[level] > capacity and level < 64:
            level += 1
        kept = levels >= level
        return cls(keys[kept], counts[kept], level, rows, capacity)

    @classmethod
    def merge(cls, sketches: Iterable[KeySketch]) -> KeySketch:
        """One sketch of all rows of `sketches` (of equal capacity). O(total kept keys * log)."""
        parts = list(sketches)
        if not parts:
            raise ValueError("nothing to merge")
        if len({part.capacity for part in parts}) > 1:
            raise ValueError("sketches of different capacity do not merge")
        keys, inverse = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
        counts = np.zeros(len(keys), dtype=np.int64)
        np.add.at(counts, inverse, np.concatenate([part.counts for part in parts]))
        # A key counted only from some parts (dropped by the others) lies below the highest level, and _fit removes it.
        level = max(part.level for part in parts)
        return cls._fit(keys, counts, level, sum(part.rows for part in parts), parts[0].capacity)

    def state(self) -> dict[str, Any]:
        """Plain arrays and numbers, for transport; `KeySketch.restore` is the way back."""
        return {"keys": self.keys, "counts": self.counts, "level": self.level, "rows": self.rows, "capacity": self.capacity}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> KeySketch:
        keys, counts = np.asarray(state["keys"], np.uint64), np.asarray(state["counts"], np.int64)
        return cls(keys, counts, int(state["level"]), int(state["rows"]), int(state["capacity"]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeySketch):
            return NotImplemented
        same = (self.level, self.rows, self.capacity) == (other.level, other.rows, other.capacity)
        return same and np.array_equal(self.keys, other.keys) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]

    @property
    def exact(self) -> bool:
        return self.level == 0

    def distinct(self, *, least: int = 1, most: int | None = None, confidence: float = 0.95) -> Estimate:
        """Number of distinct keys carried by at least `least` (and at most `most`) rows.

        Exact, with a zero-width interval, when no key was ever dropped; else the unbiased count scaled by the sampling rate,
        with exact Poisson limits narrowed by the share that was seen.
        """
        chosen = self.counts >= least if most is None else (self.counts >= least) & (self.counts <= most)
        kept = int(chosen.sum())
        if self.exact:
            return Estimate(kept, kept, kept, self.rows, "exact count", "count")
        rate = 2.0**-self.level
        tail = (1 - confidence) / 2
        narrow = np.sqrt(1 - rate)
        value = kept / rate
        poisson_low = chi2.ppf(tail, 2 * kept) / 2 / rate if kept else 0.0
        poisson_high = chi2.ppf(1 - tail, 2 * kept + 2) / 2 / rate
        low = max(kept, value - narrow * (value - poisson_low))
        high = value + narrow * (poisson_high - value)
        ceiling = max(kept, self.rows // least)  # that many keys of `least` rows fit into the rows seen
        low, value, high = (float(min(x, ceiling)) for x in (low, value, high))
        method = f"hash sample 1/{2**self.level}, Poisson {confidence:.0%}"
        return Estimate(value, min(low, value), max(high, value), self.rows, method, "count")

    def largest(self, count: int = 20) -> tuple[Keys, Counts]:
        """The kept keys with the most rows, most first (ties: smaller key first); all keys only while `exact`."""
        order = np.lexsort((self.keys, -self.counts))[:count]
        return self.keys[order], self.counts[order]


@dataclass(frozen=True, slots=True)
class Multiplicity:
    """How many distinct keys occur at least `rows` times."""

    rows: int
    keys: Estimate


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Repetition of one key (URL, TEXT, both, a content hash) over a table.

    `redundant` is the share of rows that de-duplication would remove (1 - distinct / rows); `repeated` the share of rows
    whose key occurs more than once. `largest` are row counts of single keys; they are a sample unless `exact`.
    """

    distinct: Estimate
    redundant: Estimate
    repeated: Estimate
    multiplicities: tuple[Multiplicity, ...]
    largest: tuple[int, ...]
    exact: bool


def _share_left(counted: Estimate, rows: int, confidence: float) -> Estimate:
    """1 - counted / rows, limits turned round."""
    assert counted.value is not None and counted.low is not None and counted.high is not None
    value, low, high = (1 - x / rows for x in (counted.value, counted.high, counted.low))
    return Estimate(value, max(0.0, low), min(1.0, high), rows, counted.method, "share")


def duplicates(
    sketch: KeySketch, *, thresholds: tuple[int, ...] = (2, 3, 5, 10, 100, 1000), top: int = 20, confidence: float = 0.95
) -> Duplicates:
    """Duplicate rates read off a sketch.

    The estimates stay unbiased with heavy hitters (one caption carried by a million rows), because they scale *numbers of
    keys* and take the number of rows as known; scaling rows of sampled keys would not.
    """
    distinct = sketch.distinct(confidence=confidence)
    if sketch.rows < 2:
        nothing = undefined("fewer than two rows carry this key, so none can repeat another", n=sketch.rows, unit="share")
        return Duplicates(distinct, nothing, nothing, (), (), sketch.exact)
    single = sketch.distinct(least=1, most=1, confidence=confidence)
    ladder = tuple(Multiplicity(rows, sketch.distinct(least=rows, confidence=confidence)) for rows in thresholds)
    largest = tuple(int(count) for count in sketch.largest(top)[1])
    redundant, repeated = (_share_left(count, sketch.rows, confidence) for count in (distinct, single))
    return Duplicates(distinct, redundant, repeated, ladder, largest, sketch.exact)
