"""Rows of a release that carry the hash or the address of a row that was to be removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.audits.image_text_dataset.probes.sample import perceptual_hashes
from assaymark.data.probe import Batch, Probe

__all__ = ["EVIDENCE", "MOST_ROWS", "Candidates", "Evidence", "ManifestProbe", "near_hashes"]

Ints = npt.NDArray[np.int64]
EVIDENCE = ("sha256", "url", "phash")
"""What an entry of a removal manifest can be known by, strongest first."""
MOST_ROWS = 64
"""Rows kept for one hash or address: a placeholder picture may stand in millions of rows."""
PAIRS = 1 << 22
_COLUMNS = ("kind", "value", "shard", "row")


class Evidence(NamedTuple):
    """Distinct hashes and addresses that are looked for. sha256 in lower case, phash as numbers other than 0."""

    sha256: tuple[str, ...] = ()
    url: tuple[str, ...] = ()
    phash: tuple[int, ...] = ()


class Candidates(NamedTuple):
    """Rows with wanted evidence, sorted by kind, value, shard and row.

    Attributes
    ----------
    kind, value : int64 arrays, shape (n,)
        Position in `EVIDENCE`, and in the tuple of that kind.
    shard, row : int64 arrays, shape (n,)
        At most `MOST_ROWS` for each (kind, value): the first ones.
    counts : tuple of int64 arrays
        Of each kind and value: all rows that have it.
    known : int64 array, shape (3,)
        Rows of the release that carry each kind of evidence at all.
    """

    kind: Ints
    value: Ints
    shard: Ints
    row: Ints
    counts: tuple[Ints, ...]
    known: Ints


class ManifestProbe(Probe):
    name = "removal_check"
    optional = EVIDENCE

    def __init__(self, wanted: Evidence, *, distance: int = 3, most: int = MOST_ROWS) -> None:
        self.wanted, self.distance, self.most = wanted, distance, most
        self._targets = np.array(wanted.phash, dtype=np.uint64)

    def aggregate(self, batch: Batch) -> Mapping[str, Any]:
        known = np.zeros(len(EVIDENCE), dtype=np.int64)
        parts: dict[str, list[Ints]] = {name: [np.zeros(0, np.int64)] for name in _COLUMNS}
        counts = {}
        for kind, name in enumerate(EVIDENCE):
            rows, values = np.zeros(0, np.int64), np.zeros(0, np.int64)
            if name in batch:
                known[kind], rows, values = self._near(batch) if name == "phash" else self._exact(batch, name)
            counts[f"count|{name}"] = np.bincount(values, minlength=len(self.wanted[kind])).astype(np.int64)
            parts["kind"].append(np.full(len(rows), kind, dtype=np.int64))
            parts["value"].append(values)
            for place in ("shard", "row"):
                parts[place].append(batch.numbers(place)[rows].astype(np.int64))
        columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        return {**_first(columns, self.most), **counts, "known": known}

    def _exact(self, batch: Batch, name: str) -> tuple[int, Ints, Ints]:
        """Number of rows with a value, then rows and positions of the wanted values they hold."""
        column = batch.column(name).cast(pa.large_string())
        wanted = self.wanted.sha256 if name == "sha256" else self.wanted.url
        spelled = (*wanted, *(value.upper() for value in wanted)) if name == "sha256" else wanted
        found = pc.index_in(column, value_set=pa.array(spelled, pa.large_string()))
        rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
        filled = pc.sum(pc.fill_null(pc.not_equal(column, ""), False)).as_py() or 0
        return int(filled), rows, found.drop_null().to_numpy(zero_copy_only=False).astype(np.int64) % max(len(wanted), 1)

    def _near(self, batch: Batch) -> tuple[int, Ints, Ints]:
        hashes = perceptual_hashes(batch)
        rows = np.flatnonzero(hashes.known & (hashes.values != 0))
        place, values = near_hashes(hashes.values[rows], self._targets, distance=self.distance)
        return int(hashes.known.sum()), rows[place], values

    def combine(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        columns = {name: np.concatenate([np.asarray(state[name]) for state in states]) for name in _COLUMNS}
        added = (*(f"count|{name}" for name in EVIDENCE), "known")
        sums = {name: np.sum([state[name] for state in states], axis=0, dtype=np.int64) for name in added}
        return {**_first(columns, self.most), **sums}

    def finalize(self, state: Mapping[str, Any]) -> Candidates:
        counts = tuple(np.asarray(state[f"count|{name}"]) for name in EVIDENCE)
        kind, value, shard, row = (np.asarray(state[name]) for name in _COLUMNS)
        return Candidates(kind, value, shard, row, counts, np.asarray(state["known"]))


def _first(columns: Mapping[str, Ints], most: int) -> dict[str, Ints]:
    """The first `most` rows of each (kind, value), whatever order they come in."""
    order = np.lexsort([columns[name] for name in reversed(_COLUMNS)])
    kind, value = columns["kind"][order], columns["value"][order]
    starts = np.flatnonzero(np.concatenate([[True], (kind[1:] != kind[:-1]) | (value[1:] != value[:-1])])[: len(order)])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    kept = order[rank < most]
    return {name: columns[name][kept] for name in _COLUMNS}


def near_hashes(hashes: npt.NDArray[np.uint64], targets: npt.NDArray[np.uint64], *, distance: int) -> tuple[Ints, Ints]:
    """Positions (in hashes, in targets) of all pairs of 64-bit hashes that differ in at most `distance` bits, exactly.

    Notes
    -----
    Cut into distance + 1 bands, two such hashes agree on one whole band, so only pairs that share a band are compared:
    for random hashes and 3 bits, 4 n m / 2**16 of the n m pairs.
    """
    if not len(hashes) or not len(targets):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bands = [_band(targets, bits) for bits in np.array_split(np.arange(64), distance + 1)]
    block = max(1, PAIRS // len(targets))
    found = [
        _near_block(hashes[i : i + block], targets, bands, distance) + i * len(targets) for i in range(0, len(hashes), block)
    ]
    pairs = np.concatenate(found)
    return pairs // len(targets), pairs % len(targets)


class _Band(NamedTuple):
    """Some neighbouring bits of the targets, sorted, and the target each belongs to."""

    shift: np.uint64
    mask: np.uint64
    bits: npt.NDArray[np.uint64]
    target: Ints


def _band(targets: npt.NDArray[np.uint64], bits: npt.NDArray[np.int64]) -> _Band:
    shift, mask = np.uint64(bits[0]), np.uint64((1 << len(bits)) - 1)
    values = (targets >> shift) & mask
    order = np.argsort(values, kind="stable")
    return _Band(shift, mask, values[order], order)


def _near_block(hashes: npt.NDArray[np.uint64], targets: npt.NDArray[np.uint64], bands: Sequence[_Band], distance: int) -> Ints:
    """Sorted distinct position * len(targets) + target."""
    found = []
    for band in bands:
        own = (hashes >> band.shift) & band.mask
        low = np.searchsorted(band.bits, own, side="left")
        size = np.searchsorted(band.bits, own, side="right") - low
        place = np.repeat(np.arange(len(hashes)), size)
        within = np.arange(len(place)) - np.repeat(np.cumsum(size) - size, size)
        target = band.target[np.repeat(low, size) + within]
        near = np.bitwise_count(hashes[place] ^ targets[target]) <= distance
        found.append(place[near] * len(targets) + target[near])
    return np.asarray(np.unique(np.concatenate(found)), dtype=np.int64)
