"""Which rows a step sees: a function of seed and step alone, so that a training can be continued anywhere."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from assaymark.errors import ConfigError

__all__ = ["Batches", "TensorBatches", "epoch_order", "micro_batches", "process_part", "step_seed"]

_MASK = (1 << 64) - 1


class Batches(Protocol):
    """What `train` reads. `at` must be a pure function: a continued training asks for any step again, in any order."""

    @property
    def steps_per_epoch(self) -> int: ...

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Any:
        """Batch of a step (from 0): tensors, or tuples, lists and mappings of them. Of `world` equal parts number `rank`."""
        ...


def epoch_order(rows: int, *, epoch: int, seed: int) -> npt.NDArray[np.int64]:
    """Permutation of `rows` rows, another one in each epoch; the same for equal arguments on every machine."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def step_seed(seed: int, step: int, *, rank: int = 0) -> int:
    """Seed in [0, 2^63) for what is drawn inside one step on one process: splitmix64 of the three numbers.

    Nearby arguments give unrelated seeds. A generator would do the same, but costs more than a small step's optimiser.
    """
    state = seed & _MASK
    for part in (step, rank):
        state = (state + 0x9E3779B97F4A7C15 * (part + 1)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def micro_batches(step: int, *, per_epoch: int, together: int) -> range:
    """Numbers of the batches of a step that takes `together` of them; no step reaches into the next epoch."""
    epoch, place = divmod(step, math.ceil(per_epoch / together))
    first = epoch * per_epoch
    return range(first + place * together, first + min((place + 1) * together, per_epoch))


def process_part(rows: npt.NDArray[np.int64], *, rank: int, world: int) -> npt.NDArray[np.int64]:
    """Every `world`-th row of a batch, repeated from its start where rows do not divide evenly.

    Unequal parts would weigh unequally in the mean of the gradients.
    """
    return rows if world == 1 else np.resize(rows, math.ceil(len(rows) / world) * world)[rank::world]


class TensorBatches:
    """Rows of tensors in memory, in a new seeded order each epoch.

    Parameters
    ----------
    *tensors : tensor, shape (n, ...)
        Batches are tuples of their rows, in this order.
    size : int
        Rows in a batch, over all processes together.
    seed : int
    drop_last : bool
        Leave out the smaller batch at the end of an epoch (other rows each time), where the objective depends on the size.

    Notes
    -----
    Several processes share a batch as `process_part` says.
    """

    def __init__(self, *tensors: torch.Tensor, size: int, seed: int, drop_last: bool = False) -> None:
        rows = {len(tensor) for tensor in tensors}
        if len(rows) != 1:
            raise ValueError(f"tensors of one length are needed, not of lengths {sorted(rows)}")
        self._rows = rows.pop()
        if self._rows == 0:
            raise ConfigError("there are no rows to train on")
        if size < 1:
            raise ConfigError(f"the batch size is {size}; it must be at least 1")
        self._tensors, self._seed = tensors, seed
        self._size = min(size, self._rows)
        self.steps_per_epoch = self._rows // self._size if drop_last else math.ceil(self._rows / self._size)
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def rows_at(self, step: int, *, rank: int = 0, world: int = 1) -> npt.NDArray[np.int64]:
        """Row numbers of a batch, shape (at most size,)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self._rows, epoch=epoch, seed=self._seed)
        return process_part(self._order[place * self._size : (place + 1) * self._size], rank=rank, world=world)

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[torch.Tensor, ...]:
        rows = torch.from_numpy(self.rows_at(step, rank=rank, world=world))
        return tuple(tensor[rows] for tensor in self._tensors)
