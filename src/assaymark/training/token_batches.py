"""Texts as token sequences of unequal length: which of them a step sees, padded to the longest among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from assaymark.errors import ConfigError
from assaymark.training.order import epoch_order, process_part

__all__ = ["TokenBatches", "length_grouped", "padded", "sequence_outputs"]

_POOL = 50  # batches that are sorted by length together; the number of transformers' length-grouped sampler
Ints = npt.NDArray[np.int64]


def padded(sequences: Sequence[npt.ArrayLike]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, padded with 0 behind their end to the longest sequence, and the mask of what is real.

    Returns
    -------
    ids, mask : tensors, shape (n, longest), int64 and bool
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    lengths = np.array([len(array) for array in arrays])
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[mask] = np.concatenate(arrays) if arrays else 0
    return torch.from_numpy(ids), torch.from_numpy(mask)


def length_grouped(order: Ints, lengths: Ints, *, size: int, rng: np.random.Generator) -> list[Ints]:
    """A seeded order of rows cut into batches of rows of similar length, the batches themselves in random order.

    Runs of 50 batches of the order are sorted by length and cut, so that an epoch holds other batches than the last one; then
    all batches are shuffled, so that lengths do not come in waves. Padding is a few percent instead of most of the tokens.

    Parameters
    ----------
    order : array, shape (n,)
        Permutation of the rows.
    lengths : array, shape (n,)
        Of each row.
    size : int
        Rows in a batch; one batch may have fewer.

    Returns
    -------
    list of ceil(n / size) arrays, each row in one of them

    Notes
    -----
    O(n log n).
    """
    batches = []
    for start in range(0, len(order), size * _POOL):
        pool = order[start : start + size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + size] for first in range(0, len(pool), size)]
    return [batches[place] for place in rng.permutation(len(batches))]


class TokenBatches:
    """Token sequences with their targets, in a new seeded order each epoch, each batch padded to its own longest sequence.

    Parameters
    ----------
    tokens : sequence of n arrays of int, none empty
    *targets : tensor, shape (n, ...)
    size : int
        Sequences in a batch, over all processes together.
    seed : int
    by_length : bool
        Batches of sequences of similar length (`length_grouped`); False: any sequences together.

    Notes
    -----
    A batch is (ids, mask, *targets), see `padded`: what the module of a model with trains-texts takes. Its cost follows the
    real tokens.
    """

    def __init__(
        self, tokens: Sequence[npt.ArrayLike], *targets: torch.Tensor, size: int, seed: int, by_length: bool = True
    ) -> None:
        self._tokens = [np.asarray(sequence) for sequence in tokens]
        self._lengths = np.array([len(sequence) for sequence in self._tokens], dtype=np.int64)
        if any(len(target) != len(tokens) for target in targets):
            raise ValueError(f"{len(tokens)} sequences need as many targets, not {[len(target) for target in targets]}")
        if not len(tokens):
            raise ConfigError("there are no texts to train on")
        if self._lengths.min() == 0:
            raise ConfigError(f"text {int(self._lengths.argmin())} has no tokens; leave empty texts out")
        if size < 1:
            raise ConfigError(f"the batch size is {size}; it must be at least 1")
        self._targets, self._seed, self._by_length = targets, seed, by_length
        self._size = min(size, len(tokens))
        self.steps_per_epoch = math.ceil(len(tokens) / self._size)
        self._epoch, self._batches = -1, list[Ints]()

    def rows_at(self, step: int, *, rank: int = 0, world: int = 1) -> Ints:
        """Row numbers of a batch, shape (at most size,)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._cut(epoch)
        return process_part(self._batches[place], rank=rank, world=world)

    def _cut(self, epoch: int) -> list[Ints]:
        order = epoch_order(len(self._tokens), epoch=epoch, seed=self._seed)
        if self._by_length:
            rng = np.random.default_rng([self._seed, epoch, 1])  # not the generator that drew the order
            return length_grouped(order, self._lengths, size=self._size, rng=rng)
        return [order[start : start + self._size] for start in range(0, len(order), self._size)]

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[torch.Tensor, ...]:
        rows = self.rows_at(step, rank=rank, world=world)
        picked = torch.from_numpy(rows)
        return (*padded([self._tokens[row] for row in rows]), *(target[picked] for target in self._targets))


def sequence_outputs(module: Any, tokens: Sequence[npt.ArrayLike], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
    """Outputs of a module (ids, mask) -> (n, k) in evaluation mode, in the order of the sequences, longest batches first.

    Parameters
    ----------
    module : torch module
        Its training mode is as before afterwards.
    tokens : sequence of n >= 1 arrays of int

    Returns
    -------
    array, shape (n, k), float32
    """
    device, was_training = next(module.parameters()).device, module.training
    order = np.argsort([-len(np.atleast_1d(sequence)) for sequence in tokens], kind="stable")
    module.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            ids, mask = padded([tokens[row] for row in order[start : start + batch_size]])
            parts.append(module(ids.to(device), mask.to(device)).float().cpu().numpy())
    module.train(was_training)
    outputs = np.concatenate(parts)
    placed = np.empty_like(outputs)
    placed[order] = outputs
    return placed
