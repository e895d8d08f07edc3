"""The measuring unit of a data-set audit: a `Probe` reads batches, its states merge in any order, the end state is read off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa

__all__ = ["Batch", "Probe", "State", "add_states"]

T = TypeVar("T")

State = Mapping[str, Any]
"""Mergeable partial answer: names to numpy arrays (any numeric dtype), ints, floats, or `{str: int}` counters.

It must stay small whatever the number of rows (counts, histograms, bounded samples, sufficient statistics)."""


class Batch:
    """Rows of one shard under *concept* names (`text`, `url`, `tag`, ...), with work shared between probes.

    `once` computes a derived value at most once per batch, so that ten probes that all need the lexicon hits of the texts
    pay for one scan.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._shared: dict[Hashable, Any] = {}

    @property
    def rows(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, concept: str) -> bool:
        return concept in self._table.column_names

    def column(self, concept: str) -> pa.Array:
        """One contiguous Arrow array."""
        key = ("column", concept)
        return self.once(key, lambda: self._contiguous(concept))

    def _contiguous(self, concept: str) -> pa.Array:
        column = self._table.column(concept)
        return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])

    def numbers(self, concept: str) -> np.ndarray:
        """float64 array, NaN where null."""
        return self.once(
            ("numbers", concept), lambda: self.column(concept).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        )

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]  # type: ignore[no-any-return]


class Probe(ABC):
    """One mergeable measurement. Instances are pickled to workers: keep only settings and compiled tables in them.

    `columns` are the concepts it cannot do without (the scan refuses or the audit leaves the probe out); `optional` ones are
    projected where the data set has them. `combine` must be associative and commutative; the default adds.
    """

    name: ClassVar[str]
    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @abstractmethod
    def aggregate(self, batch: Batch) -> State: ...

    def combine(self, states: Sequence[State]) -> State:
        return add_states(states)

    @abstractmethod
    def finalize(self, state: State) -> Any:
        """The typed answer (a NamedTuple or dataclass) read off the merged state."""
        ...


def add_states(states: Sequence[State]) -> dict[str, Any]:
    """Entry-wise sum of arrays, numbers and counters over states that hold the same names."""
    if not states:
        return {}
    total: dict[str, Any] = {}
    for name, first in states[0].items():
        values = [state[name] for state in states]
        if isinstance(first, Mapping):
            counts: dict[str, int] = {}
            for value in values:
                for key, count in value.items():
                    counts[key] = counts.get(key, 0) + count
            total[name] = counts
        elif isinstance(first, np.ndarray):
            total[name] = np.sum(np.stack(values), axis=0, dtype=first.dtype)
        else:
            total[name] = sum(values)
    return total
