"""Statistics of next-token distributions, position by position, in chunks that bound the memory (torch).

The vocabulary is large: logits of 4,096 positions over 50,000 tokens are 0.8 GB in float32. They are made for a chunk of
positions at a time, and what is kept of each is five numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Sampling", "chunk_length", "position_scores"]

CHUNK_BYTES = 64_000_000
_ARRAYS = 5  # of the size of the logits, alive at the same time


def chunk_length(vocabulary: int, samples: int = 0) -> int:
    """Positions whose arrays, over the vocabulary or the samples, take 64 MB together; at least 1."""
    return max(1, CHUNK_BYTES // (4 * _ARRAYS * max(vocabulary, samples)))


class _Distributions(NamedTuple):
    """log p and q of a chunk, each of shape (positions, vocabulary)."""

    log_p: Any
    q: Any


def position_scores(
    targets: Any, logits_of: Callable[[slice], tuple[Any, Any]], *, chunk: int, sampling: Sampling | None = None
) -> npt.NDArray[np.float32]:
    """Log-probability, rank, entropy, expected log-probability and its variance at every position.

    Parameters
    ----------
    targets : tensor of int64, shape (n,)
        The tokens that are there.
    logits_of : callable
        A slice of the positions to the float32 logits of the scoring model and of the reference (None: the same model), each
        of shape (positions, vocabulary).
    chunk : int
        Positions at a time.
    sampling : Sampling, optional
        Fed with the distributions of each chunk.

    Returns
    -------
    array, shape (5, n)

    Notes
    -----
    O(n V): the rank is a count of larger logits, not a place in a sorted list.
    """
    import torch

    scores = torch.empty((5, len(targets)), device=targets.device)
    for start in range(0, len(targets), chunk):
        rows = slice(start, min(start + chunk, len(targets)))
        columns, found = _chunk_scores(targets[rows], *logits_of(rows))
        scores[:, rows] = columns
        if sampling is not None:
            sampling.add(rows, found)
    return np.asarray(scores.cpu().numpy(), dtype=np.float32)


def _chunk_scores(targets: Any, logits: Any, reference: Any) -> tuple[Any, _Distributions]:
    import torch

    chosen = logits.gather(1, targets[:, None])
    scratch = torch.gt(logits, chosen, out=torch.empty_like(logits))  # as numbers: a sum of truth values is ten times slower
    rank = 1 + scratch.sum(dim=1)
    log_p = torch.log_softmax(logits, dim=1)
    q = log_p.exp()
    entropy = -torch.mul(q, log_p, out=scratch).sum(dim=1)
    expected = -entropy
    if reference is not None:
        q = torch.softmax(reference, dim=1)
        expected = torch.mul(q, log_p, out=scratch).sum(dim=1)
    around = torch.sub(log_p, expected[:, None], out=scratch)  # the mean taken off first: no difference of large squares
    variance = around.square_().mul_(q).sum(dim=1)
    columns = torch.stack([log_p.gather(1, targets[:, None])[:, 0], rank, entropy, expected, variance])
    return columns, _Distributions(log_p, q)


class Sampling:
    """Mean log-likelihood of texts whose token is drawn from q_t at every position (the sampling form of Fast-DetectGPT).

    Parameters
    ----------
    offsets : array, shape (n_texts + 1,)
        Where the positions of each text start.
    samples : int
    generators : sequence of numpy Generators
        One a text; it draws the samples of the positions in their order, so that neither chunks nor batches matter.

    Notes
    -----
    A draw is an inverse distribution function at a uniform number: O(samples log V) a position.
    """

    def __init__(self, offsets: npt.NDArray[np.int64], samples: int, generators: Sequence[np.random.Generator]) -> None:
        self._offsets, self._samples, self._generators = offsets, samples, generators
        self._sums = np.zeros((len(generators), samples))

    def add(self, rows: slice, found: _Distributions) -> None:
        """Draw at the positions `rows`, which follow those of the last call."""
        import torch

        first = int(np.searchsorted(self._offsets, rows.start, side="right")) - 1
        for text in range(first, len(self._generators)):
            start, stop = max(rows.start, int(self._offsets[text])), min(rows.stop, int(self._offsets[text + 1]))
            if start >= rows.stop:
                break
            here = slice(start - rows.start, stop - rows.start)
            below = found.q[here].double().cumsum(dim=1)
            drawn = self._generators[text].random((stop - start, self._samples))
            places = torch.as_tensor(drawn, device=below.device) * below[:, -1:]
            tokens = torch.searchsorted(below, places, right=True).clamp_(max=below.shape[1] - 1)
            self._sums[text] += found.log_p[here].gather(1, tokens).double().sum(dim=0).cpu().numpy()

    def summary(self) -> npt.NDArray[np.float64]:
        """`assaymark.models.token_columns.SAMPLED_COLUMNS` of each text; shape (n_texts, 2), NaN without positions."""
        tokens = np.diff(self._offsets)
        means = self._sums / np.maximum(tokens, 1)[:, None]
        rows = np.column_stack([means.mean(axis=1), means.std(axis=1, ddof=1)])
        rows[tokens == 0] = np.nan
        return rows
