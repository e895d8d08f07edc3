"""Partial answers of a query: all probes on the rows of one morsel, and the merging of such answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.probe import Batch, Probe, State
from assaymark.data.readers.base import DECODED, MALFORMED, NOT_A_NUMBER
from assaymark.data.scoring import Scorer, split_scores
from assaymark.data.state import decode_state, encode_state

__all__ = ["COUNTS", "aggregate_rows", "combine_packed", "pack"]

COUNTS = "\x00counts"
"""Name of the bookkeeping among the states; no probe can be called that."""


def pack(states: Sequence[State | None]) -> dict[str, bytes]:
    """One binary field a state: the counts, then the probes in order; empty where there were no rows."""
    return {f"s{k}": b"" if state is None else encode_state(state) for k, state in enumerate(states)}


def aggregate_rows(table: pa.Table, probes: Mapping[str, Probe], scorers: Sequence[Scorer]) -> list[State | None]:
    """Counts, then the state of each probe, for the rows of one morsel (which may span shards)."""
    defects = table["defects"].to_numpy()
    shard, row = table["shard"].to_numpy(), table["row"].to_numpy()
    where = (int(shard[0]), int(row[0])) if len(shard) else (-1, -1)
    bad = (defects & MALFORMED) > 0
    counts = {"rows": int((~bad).sum()), "malformed": int(bad.sum())}
    counts |= {"decoded": int(((defects & DECODED) > 0).sum()), "not_numbers": int(((defects & NOT_A_NUMBER) > 0).sum())}
    header: State = {**counts, "order": [[*where]]}
    if bad.any():
        table, shard = table.filter(pa.array(~bad)), shard[~bad]
    states: list[list[State]] = [[] for _ in probes]
    for piece in _by_shard(table.drop_columns(["defects"]), shard):
        batch = Batch(_with_scores(piece, scorers))
        for kept, probe in zip(states, probes.values(), strict=True):
            kept.append(probe.aggregate(batch))
    merged = [_merge(probe, kept) for probe, kept in zip(probes.values(), states, strict=True)]
    return [header, *merged]


def _by_shard(table: pa.Table, shard: npt.NDArray[np.int32]) -> Iterator[pa.Table]:
    """Rows of one shard at a time: probes are promised that."""
    if not len(shard):
        return
    if (shard == shard[0]).all():
        yield table
        return
    for index in np.unique(shard):
        yield table.filter(pa.array(shard == index))


def _with_scores(table: pa.Table, scorers: Sequence[Scorer]) -> pa.Table:
    for scorer in scorers:
        packed = table[f"\x00{scorer.name}"].combine_chunks()
        packed = packed.combine_chunks() if isinstance(packed, pa.ChunkedArray) else packed
        table = table.drop_columns([f"\x00{scorer.name}"])
        for name, column in split_scores(scorer, packed).items():
            table = table.append_column(name, column)
    return table


def _merge(probe: Probe, states: Sequence[State]) -> State | None:
    return None if not states else states[0] if len(states) == 1 else probe.combine(states)


def combine_packed(columns: Mapping[str, list[bytes]], probes: Mapping[str, Probe]) -> list[State | None]:
    """Merge partial states in the order of their first rows, so that rounding does not depend on which thread was first."""
    headers = [decode_state(value) for value in columns["s0"]]
    order = sorted(range(len(headers)), key=lambda k: min(headers[k]["order"]))
    total: State = {name: sum(header[name] for header in headers) for name in ("rows", "malformed", "decoded", "not_numbers")}
    total = {**total, "order": [min(min(header["order"]) for header in headers)]}
    merged: list[State | None] = [total]
    for k, probe in enumerate(probes.values(), start=1):
        merged.append(_merge(probe, [decode_state(columns[f"s{k}"][i]) for i in order if columns[f"s{k}"][i]]))
    return merged
