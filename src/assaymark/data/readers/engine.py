"""The engine and its data source: the only place, with `data.scan`, that touches daft.

Telemetry of daft and of ray, and their progress bars, are switched off before the first import.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.readers.base import MALFORMED, Part, Unreadable
from assaymark.errors import EngineError, MissingExtra, SchemaError, nearest

if TYPE_CHECKING:
    from assaymark.data.dataset import Dataset

__all__ = ["QUIET", "choose_engine", "import_daft", "source_frame", "unreadable_in"]

QUIET = {
    "SCARF_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "1",
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "RAY_TQDM": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
MARK = "assaymark-unreadable:"

_chosen: list[str] = []


def import_daft() -> Any:
    """daft, with its telemetry off whatever the environment said before."""
    os.environ.update(QUIET)
    # The engine also logs what it raises; without a handler that would go to the terminal, above the one line that matters.
    logger = logging.getLogger("daft_local_execution")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    import daft

    return daft


def choose_engine(engine: str) -> Any:
    """Prepare daft for "local", "ray" or "ray://host:port", and return it.

    Raises
    ------
    EngineError
        Unknown engine, unreachable cluster, or another engine than the one this process already uses (daft takes one runner a
        process).
    MissingExtra
        Ray is not installed.
    """
    if engine not in ("local", "ray") and not re.fullmatch(r"ray://[^/\s]+:\d+", engine):
        hint = nearest(engine.partition(":")[0], ["local", "ray"])
        raise EngineError(f"unknown engine {engine!r}{hint}; known: local, ray, ray://HOST:PORT")
    if _chosen and _chosen[0] != engine:
        raise EngineError(f"this process already runs on the engine {_chosen[0]!r}; start {engine!r} in a process of its own")
    daft = import_daft()
    if not _chosen:
        (_start_native if engine == "local" else _start_ray)(daft, engine)
        _chosen.append(engine)
    return daft


def _start_native(daft: Any, engine: str) -> None:
    try:
        daft.set_runner_native()
    except Exception as error:
        raise EngineError(
            f"daft already runs on another engine in this process, {engine!r} cannot be started: {error}"
        ) from None


def _start_ray(daft: Any, engine: str) -> None:
    try:
        import ray
    except ImportError:
        raise MissingExtra("cluster", f"the engine {engine!r}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=UserWarning)  # of an unreachable head: the error says it
            _connect(ray, engine)
        daft.set_runner_ray(noop_if_initialized=True)
    except Exception as error:
        raise EngineError(f"the engine {engine!r} cannot be started: {str(error)[:300]}") from None


def _connect(ray: Any, engine: str) -> None:
    if ray.is_initialized():
        return
    address = engine if "://" in engine else None
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    ray.init(address=address, runtime_env={"env_vars": QUIET}, log_to_driver=False, logging_level="error", **local)


def unreadable_in(error: BaseException) -> Unreadable | None:
    """The broken file behind an error of a query; engines hand errors on as text, which they trim
    and wrap, so the file is named by a mark in it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, Unreadable):
            return seen
        match = re.search(MARK + r"([\w=-]+);", str(seen))
        if match:
            return Unreadable(base64.urlsafe_b64decode(match[1]).decode("utf-8", "surrogateescape"))
        seen = seen.__cause__ or seen.__context__
    return None


def sampled_mask(sample: npt.NDArray[np.int64], first: int, rows: int) -> npt.NDArray[np.bool_]:
    """Which of the rows [first, first + rows) are in the sorted `sample`."""
    mask = np.zeros(rows, bool)
    low, high = np.searchsorted(sample, [first, first + rows])
    mask[sample[low:high] - first] = True
    return mask


def source_frame(
    dataset: Dataset, parts: Sequence[Part], concepts: Sequence[str], samples: Mapping[int, npt.NDArray[np.int64]] | None
) -> Any:
    """Lazy daft frame of some parts: the concepts, then `shard`, `row`, `defects` and, with samples, `sampled`."""
    daft = import_daft()
    from daft.io.source import DataSource, DataSourceTask
    from daft.recordbatch import RecordBatch

    fields = [("shard", pa.int32()), ("row", pa.int64()), ("defects", pa.uint8())]
    arrow = pa.schema([*dataset.schema(concepts), *fields, *([("sampled", pa.bool_())] if samples is not None else [])])
    schema = daft.Schema.from_pyarrow_schema(arrow)

    class ReadPart(DataSourceTask):  # type: ignore[misc]
        def __init__(self, part: Part, sample: npt.NDArray[np.int64] | None) -> None:
            self.part, self.sample = part, sample

        @property
        def schema(self) -> Any:
            return schema

        async def read(self) -> AsyncIterator[Any]:
            try:
                for batch in dataset.batches(self.part, concepts):
                    arrays = _columns(batch, self.part.shard.index, self.sample, len(concepts))
                    table = pa.RecordBatch.from_arrays(arrays, schema=arrow)
                    yield RecordBatch.from_arrow_record_batches([table], arrow)
            except (Unreadable, SchemaError) as error:
                broken = error if isinstance(error, Unreadable) else Unreadable.of(self.part.shard.path, error)
                packed = base64.urlsafe_b64encode(str(broken.args[0]).encode("utf-8", "surrogateescape")).decode()
                raise RuntimeError(f"{MARK}{packed};") from None

    class Shards(DataSource):  # type: ignore[misc]
        @property
        def name(self) -> str:
            return "assaymark"

        @property
        def schema(self) -> Any:
            return schema

        async def get_tasks(self, pushdowns: Any) -> AsyncIterator[Any]:
            for part in parts:
                yield ReadPart(part, None if samples is None else samples.get(part.shard.index))

    return Shards().read()


def _columns(batch: Any, shard: int, sample: npt.NDArray[np.int64] | None, width: int) -> list[pa.Array]:
    """Concept columns followed by the columns that every frame has."""
    rows, first = batch.table.num_rows, batch.first
    defects = np.zeros(rows, np.uint8) if batch.defects is None else batch.defects
    arrays = [
        *batch.table.columns[:width],
        pa.array(np.full(rows, shard, np.int32)),
        pa.array(np.arange(first, first + rows)),
        pa.array(defects),
    ]
    if sample is not None:
        arrays.append(pa.array(sampled_mask(sample, first, rows) & ((defects & MALFORMED) == 0)))
    return arrays
