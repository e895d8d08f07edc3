"""What the scorer says of a row, and which rows that flags: shared by all probes of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import logit

from assaymark.data.probe import Batch

__all__ = ["COLUMNS", "LABELS", "Classes", "FlagRule", "ScoredRows", "changes", "hash_strings", "mixed_keys", "named_codes"]

LABELS = ("log_odds", "decision", "official", "state", "key_a", "key_b", "nsfw")
"""What the scorer answers for each row: the log-odds of its score; whether row 1 wins among unit prompts, and among the prompts
as stored; a code of `scoring.REASONS`; two 24-bit halves of a content hash, exact in float32; the score of the model nsfw."""

COLUMNS = tuple(f"q16.{label}" for label in LABELS)

Keys = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]


class ScoredRows(NamedTuple):
    """All rows of a batch.

    log_odds : float32, NaN where a row has no score
    known : bool, rows with a score
    flagged, decision, official : bool, False where not known
    key : uint64, content hash: equal pictures and equal embeddings share it
    nsfw : float32, NaN where there is no such score
    shard, row : int64
    """

    log_odds: npt.NDArray[np.float32]
    known: Flags
    flagged: Flags
    decision: Flags
    official: Flags
    key: Keys
    nsfw: npt.NDArray[np.float32]
    shard: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]


class Classes(NamedTuple):
    """Distinct class names of a batch and their rows; a row without a class has code 0, whose name is empty and key 0."""

    names: list[str]
    keys: Keys
    codes: npt.NDArray[np.int64]


def hash_strings(values: pa.Array) -> Keys:
    """64-bit hash of each string (SipHash with a fixed key), equal on every machine."""
    return np.asarray(pd.util.hash_array(values.to_numpy(zero_copy_only=False), categorize=False), dtype=np.uint64)


def mixed_keys(a: Keys, b: Keys) -> Keys:
    """One well-spread key from two (the finaliser of SplitMix64 over their sum)."""
    with np.errstate(over="ignore"):
        z = a * np.uint64(0x9E3779B97F4A7C15) + b
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


@dataclass(frozen=True)
class FlagRule:
    """Flagged: the offensive prompt wins, and the score is at least the threshold, that of the row's class where it has one."""

    threshold: float
    class_thresholds: tuple[tuple[str, float], ...] = ()

    def rows(self, batch: Batch) -> ScoredRows:
        """The batch as the scorer left it, computed once for all probes."""
        return batch.once("scored rows", lambda: self._rows(batch))

    def _rows(self, batch: Batch) -> ScoredRows:
        log_odds = _floats(batch, "q16.log_odds")
        known = np.isfinite(log_odds)
        decision, official = (known & (_floats(batch, f"q16.{name}") > 0.5) for name in ("decision", "official"))
        key_a, key_b = (np.nan_to_num(_floats(batch, f"q16.key_{part}")).astype(np.uint64) for part in "ab")
        shard, row = (batch.column(name).to_numpy(zero_copy_only=False).astype(np.int64) for name in ("shard", "row"))
        with np.errstate(divide="ignore", invalid="ignore"):
            flagged = decision & (log_odds >= self._limits(batch))
        key = mixed_keys(key_a, key_b)
        return ScoredRows(log_odds, known, flagged, decision, official, key, _floats(batch, "q16.nsfw"), shard, row)

    def _limits(self, batch: Batch) -> npt.NDArray[np.float32] | np.float32:
        """Log-odds from which a row is flagged."""
        general = np.float32(logit(self.threshold))
        if not self.class_thresholds or "label" not in batch:
            return general
        own = dict(self.class_thresholds)
        classes = self.classes(batch)
        limits = np.array([logit(own[name]) if name in own else general for name in classes.names], dtype=np.float32)
        return np.asarray(limits[classes.codes])

    def classes(self, batch: Batch) -> Classes:
        """Class of each row."""
        return batch.once("classes", lambda: named_codes(batch.column("label") if "label" in batch else None, batch.rows))


def named_codes(column: pa.Array | None, rows: int) -> Classes:
    """Distinct values of a text column and their codes; null and empty are code 0."""
    if column is None:
        return Classes([""], np.zeros(1, np.uint64), np.zeros(rows, np.int64))
    encoded = pc.fill_null(column.cast(pa.string()), "").dictionary_encode()
    values = encoded.dictionary.to_pylist()
    names = ["", *(value for value in values if value)]
    place = {name: code for code, name in enumerate(names)}
    codes = np.array([place[value] for value in values], dtype=np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
    keys = hash_strings(pa.array(names, pa.string()))
    keys[0] = 0
    return Classes(names, keys, np.asarray(codes, np.int64))


def changes(values: npt.NDArray[Any]) -> Flags:
    """Where a value differs from the one before; True at the first."""
    return np.concatenate([np.ones(min(len(values), 1), bool), values[1:] != values[:-1]])


def _floats(batch: Batch, name: str) -> npt.NDArray[np.float32]:
    return np.asarray(batch.column(name).cast(pa.float32()).to_numpy(zero_copy_only=False), dtype=np.float32)
