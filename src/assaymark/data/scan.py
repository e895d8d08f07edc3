"""One pass over a data set for any number of probes.

Files are taken in groups, and large files in pieces; each is one daft query whose only aggregate holds all probes, with no more
columns read than somebody asked for. States are merged as they come, so memory is bounded by a query, and a checkpoint after
each group lets a killed scan resume. The same queries run on the local engine and on a Ray cluster.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.checkpoint import Progressed, load_checkpoint, save_checkpoint
from assaymark.data.dataset import Dataset, Shard, left_out
from assaymark.data.partials import COUNTS, aggregate_rows, combine_packed, pack
from assaymark.data.probe import Batch, Probe
from assaymark.data.readers.base import Part
from assaymark.data.readers.engine import choose_engine, source_frame, unreadable_in
from assaymark.data.schema import missing_message
from assaymark.data.scoring import Sample, Scorer, draw, score_column
from assaymark.data.state import decode_state, digest, encode_state
from assaymark.errors import InputError, SchemaError
from assaymark.result import Flow

if TYPE_CHECKING:
    from assaymark.audit import Task

__all__ = ["Sample", "ScanOutcome", "Scorer", "scan"]

GROUP_ROWS, GROUP_BYTES = 100_000, 64 << 20
"""Rows and bytes of a group for each core: enough to keep it busy, few enough for the partial states to stay small."""

RAY_FACTOR = 64
"""A cluster works on this many times as much as one core at once."""


class ScanOutcome(NamedTuple):
    """Answers by probe name; `rows` is what the probes saw; `flow` accounts for all rows; `notes` is for the report.

    `files` accounts for the files where some were left out: of one that cannot be opened nobody knows how many rows it held.
    """

    @property
    def flows(self) -> tuple[Flow, ...]:
        return (self.flow,) if self.files is None else (self.flow, self.files)

    answers: dict[str, Any]
    rows: int
    flow: Flow
    failed: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()
    files: Flow | None = None


@dataclass
class _Pass:
    """What stays the same over all groups of a scan."""

    dataset: Dataset
    probes: dict[str, Probe]
    concepts: list[str]
    scorers: tuple[Scorer, ...]
    samples: dict[int, npt.NDArray[np.int64]] | None
    daft: Any
    ray: bool
    log: Callable[..., None]
    required: set[str] = field(default_factory=set)


def scan(
    dataset: Dataset,
    probes: Sequence[Probe],
    *,
    engine: str = "local",
    scorers: Sequence[Scorer] = (),
    sample: Sample | None = None,
    checkpoint: Path | None = None,
    task: Task | None = None,
    log: Callable[..., None] | None = None,
) -> ScanOutcome:
    """Run all probes over the data set in one pass.

    Parameters
    ----------
    dataset : Dataset
    probes : sequence of Probe, with distinct names
    engine : "local", "ray" or "ray://host:port"
    scorers : models to run on rows (on sampled rows only, with `sample`)
    sample : adds the bool column `sampled`
    checkpoint : folder; a scan that was killed continues there and ends with the same answers
    task : told about the rows that are done
    log : called as ``log(event, **facts)``

    Returns
    -------
    ScanOutcome
        Files that break while they are read are left out whole, named in `dataset.failed` and counted in the flow.

    Raises
    ------
    SchemaError
        A column that a probe or a scorer cannot do without is missing.
    InputError
        Every file turned out to be unreadable.
    """
    run = _prepare(dataset, probes, engine, tuple(scorers), sample, log or (lambda event, **facts: None))
    key = digest([dataset.fingerprint, [dataset.mapping[c] for c in run.concepts], list(probes), list(scorers), sample])
    progressed, reason = load_checkpoint(checkpoint, key) if checkpoint is not None else (Progressed(), "")
    if reason:
        run.log("checkpoint discarded", folder=str(checkpoint), reason=reason)
    elif progressed.done:
        run.log("scan resumed", shards_done=len(progressed.done), rows=progressed.counts["rows"])
    if task is not None and dataset.rows is not None:
        task.expect(dataset.rows)
    if task is not None:
        task.advance(progressed.counts["rows"] + progressed.counts["malformed"])
    shards = _complete(run, progressed)
    for group in _groups([shard for shard in shards if shard.index not in progressed.done], _cores(run)):
        seen = _add(run, group, progressed)
        if checkpoint is not None and progressed.states:
            save_checkpoint(checkpoint, key, progressed)
        if task is not None:
            task.advance(seen)
    return _outcome(run, progressed)


def _prepare(
    dataset: Dataset,
    probes: Sequence[Probe],
    engine: str,
    scorers: tuple[Scorer, ...],
    sample: Sample | None,
    log: Callable[..., None],
) -> _Pass:
    by_name = {probe.name: probe for probe in probes}
    if len(by_name) != len(probes):
        raise ValueError("two probes of one scan have the same name")
    scored = {column for scorer in scorers for column in scorer.columns}
    given = scored | {"shard", "row", "sampled"}
    needed = {c for probe in probes for c in probe.columns if c not in given}
    required = needed | {concept for scorer in scorers for concept in scorer.concepts}
    optional = {c for probe in probes for c in probe.optional if c in dataset} - given
    dataset.require(*sorted(required))
    daft = choose_engine(engine)
    samples = draw(sample, dataset) if sample is not None else None
    return _Pass(dataset, by_name, sorted(required | optional), scorers, samples, daft, engine != "local", log, required)


def _complete(run: _Pass, progressed: Progressed) -> list[Shard]:
    """Shards that have every required column; the others are failures of their own, not rows full of nulls."""
    complete = []
    for shard in run.dataset.shards:
        lacking = [c for c in sorted(run.required) if shard.columns and run.dataset.mapping[c] not in shard.columns]
        if lacking:
            progressed.failed[shard.path] = missing_message(lacking[0], shard.columns, shard.path, run.dataset.kind)
        elif shard.path not in progressed.failed:
            complete.append(shard)
    if run.dataset.shards and not complete and not progressed.done:
        raise SchemaError(next(iter(progressed.failed.values())))
    return complete


def _cores(run: _Pass) -> int:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return RAY_FACTOR if run.ray else here


def _groups(shards: Sequence[Shard], factor: int) -> Iterator[list[Shard]]:
    """Consecutive shards of about `factor` times `GROUP_ROWS` rows or `GROUP_BYTES` bytes."""
    group: list[Shard] = []
    rows = size = 0
    for shard in shards:
        more, bulk = shard.rows or 0, shard.size
        if group and (rows + more > GROUP_ROWS * factor or size + bulk > GROUP_BYTES * factor):
            yield group
            group, rows, size = [], 0, 0
        group.append(shard)
        rows, size = rows + more, size + bulk
    if group:
        yield group


def _add(run: _Pass, group: list[Shard], progressed: Progressed) -> int:
    """Merge the states of a group of shards; a shard that breaks is taken out and the rest is read again."""
    whole = {shard.index for shard in group}
    states: dict[str, Any] = {}
    while group:
        try:
            states = _read(run, group)
            break
        except Exception as error:
            broken = unreadable_in(error)
            if broken is None:
                raise
            run.log("file left out", path=broken.path, reason=broken.reason)
            progressed.failed[broken.path] = broken.reason
            left = [shard for shard in group if shard.path != broken.path]
            if len(left) == len(group):
                raise
            group = left
    counts = states.pop(COUNTS, None) or {}
    for name in progressed.counts:
        progressed.counts[name] += int(counts.get(name, 0))
    for name, state in states.items():
        old = progressed.states.get(name)
        progressed.states[name] = state if old is None else run.probes[name].combine([old, state])
    progressed.done |= whole
    pa.default_memory_pool().release_unused()  # or the pool's slack piles up from group to group
    return int(counts.get("rows", 0)) + int(counts.get("malformed", 0))


def _read(run: _Pass, group: Sequence[Shard]) -> dict[str, Any]:
    """Merged state by probe name of all rows of some shards.

    The engine holds the state of each batch of a query until its end, so a file of many row groups takes several queries.
    """
    merged: dict[str, Any] = {}
    pending: list[Part] = []
    rows = 0
    parts = [part for shard in group for part in run.dataset.reader.parts(shard)]
    for place, part in enumerate(parts, start=1):
        pending.append(part)
        rows += sum(part.shard.groups[part.start : part.stop])
        if rows < GROUP_ROWS * _cores(run) and place < len(parts):
            continue
        for name, state in _query(run, pending).items():
            old = merged.get(name)
            combine = _add_counts if name == COUNTS else run.probes[name].combine
            merged[name] = state if old is None else combine([old, state])
        pending, rows = [], 0
    return merged


def _add_counts(states: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {name: sum(int(state[name]) for state in states) for name in states[0] if name != "order"}


def _query(run: _Pass, parts: Sequence[Part]) -> dict[str, Any]:
    """One daft query over some parts; merged state by probe name."""
    daft, frame = run.daft, source_frame(run.dataset, parts, run.concepts, run.samples)
    plain = [*run.concepts, "shard", "row", "defects", *(["sampled"] if run.samples is not None else [])]
    for scorer in run.scorers:
        frame = frame.with_column(f"\x00{scorer.name}", _scoring(run, scorer))
    names = [*plain, *(f"\x00{scorer.name}" for scorer in run.scorers)]
    aggregate, clear = _aggregate(run, names)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=UserWarning)
            answer = frame.agg(aggregate(*(daft.col(name) for name in names)).alias("states")).to_pydict()["states"]
    finally:
        clear()
    if not answer or answer[0] is None:
        return {}
    return {name: decode_state(state) for name, state in decode_state(answer[0]).items()}


def _scoring(run: _Pass, scorer: Scorer) -> Any:
    """The scorer as a class of the engine, so that each worker loads its model once.

    Locally it runs in this process: the model is loaded once, and its counters stay visible to the caller.
    """
    daft = run.daft
    kind = daft.DataType.fixed_size_list(daft.DataType.float32(), len(scorer.labels))
    sampling = run.samples is not None

    class Score:
        @daft.method.batch(return_dtype=kind)  # type: ignore[untyped-decorator]
        def __call__(self, sampled: Any, *values: Any) -> Any:
            return score_column(scorer, [column.to_arrow() for column in values], sampled.to_arrow() if sampling else None)

    score = daft.cls(Score, use_process=False)()
    return score(daft.col("sampled" if sampling else "row"), *(daft.col(concept) for concept in scorer.concepts))


def _aggregate(run: _Pass, names: list[str]) -> tuple[Any, Callable[[], None]]:
    """All probes as one user-defined aggregate, and a function that empties it.

    The engine caches instances per worker thread by the identity of the class and of its arguments. A class of its own for each
    query keeps one query from meeting the probes of another; emptying it lets them go.
    """
    daft = run.daft
    holder: dict[str, Any] = {"probes": run.probes, "scorers": run.scorers}
    fields = {f"s{k}": daft.DataType.binary() for k in range(len(run.probes) + 1)}

    class Probes:
        def aggregate(self, *columns: Any) -> dict[str, bytes]:
            table = pa.table([column.to_arrow() for column in columns], names=names)
            return pack(aggregate_rows(table, holder["probes"], holder["scorers"]))

        def combine(self, states: Any) -> dict[str, bytes]:
            return pack(combine_packed({key: column.to_pylist() for key, column in states.items()}, holder["probes"]))

        def finalize(self, state: Any) -> bytes:
            present = {name: state[f"s{k}"] for k, name in enumerate([COUNTS, *holder["probes"]])}
            return encode_state({name: value for name, value in present.items() if value})

    return daft.udaf(return_dtype=daft.DataType.binary(), state=fields)(Probes)(), holder.clear


def _outcome(run: _Pass, progressed: Progressed) -> ScanOutcome:
    dataset, counts = run.dataset, progressed.counts
    dataset.failed.update(progressed.failed)
    if dataset.failed and not counts["rows"] and not counts["malformed"] and progressed.failed:
        path, reason = next(iter(progressed.failed.items()))
        reason = reason.removeprefix(f"{path}: ")
        if len(dataset.failed) == 1 and path == dataset.source:
            raise InputError(f"{path} cannot be read: {reason}")
        raise InputError(f"{dataset.source}: no file could be read to its end; the first, {path}: {reason}")
    lost = sum(shard.rows or 0 for shard in dataset.shards if shard.path in progressed.failed)
    failed = {reason: count for reason, count in (("malformed row", counts["malformed"]), ("unreadable file", lost)) if count}
    flow = Flow(dataset.source, counts["rows"] + sum(failed.values()), counts["rows"], {}, failed)
    answers = {}
    for name, probe in run.probes.items():
        state = progressed.states.get(name)
        answers[name] = probe.finalize(state if state is not None else probe.aggregate(_no_rows(run)))
    return ScanOutcome(answers, counts["rows"], flow, dict(dataset.failed), tuple(_notes(dataset, counts)), _files(dataset))


def _files(dataset: Dataset) -> Flow | None:
    """Where the files went, when not all were used."""
    if not dataset.failed:
        return None
    total = len({shard.path for shard in dataset.shards} | set(dataset.failed))
    left = len(dataset.failed)
    return Flow(dataset.source, total, total - left, {}, {"unreadable file": left}, unit="files")


def _no_rows(run: _Pass) -> Batch:
    """An empty batch with every column, for a data set without rows."""
    fields = [*run.dataset.schema(run.concepts), ("shard", pa.int32()), ("row", pa.int64())]
    fields += [("sampled", pa.bool_())] if run.samples is not None else []
    fields += [(name, pa.float32()) for scorer in run.scorers for name in scorer.columns]
    return Batch(pa.schema(fields).empty_table())


def _notes(dataset: Dataset, counts: Mapping[str, int]) -> Iterator[str]:
    yield from left_out(dataset.failed)
    sentences = {
        "decoded": "rows with bytes that are no UTF-8, which were replaced by U+FFFD",
        "not_numbers": "rows with something else in a column of numbers, which counts as missing",
        "malformed": "rows left out because they do not fit their file's format",
    }
    for defect, sentence in sentences.items():
        if counts[defect]:
            yield f"{sentence}: {counts[defect]:,}"
