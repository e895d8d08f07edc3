"""Batches of pictures with captions: each picture once, with one of its captions, and who fits whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from assaymark.errors import ConfigError, UnknownName
from assaymark.training.order import TensorBatches

__all__ = ["CHOICES", "PairBatches", "Tokens"]

CHOICES = ("one", "round-robin", "random")
Tokens = Callable[[list[str]], tuple[torch.Tensor, torch.Tensor]]
"""Captions to token ids and attention mask, shape (n, longest) each."""
Ints = npt.NDArray[np.int64]


class PairBatches:
    """Distinct pictures, each with one of its captions.

    A caption may fit several pictures of a batch (many a picture is "happy"); `matches` says which, so that the objective does
    not push them apart. No picture is in a batch twice, however many captions it has.

    Parameters
    ----------
    pixels : tensor, shape (n, 3, side, side) or (n, variants, 3, side, side), uint8
        With variants of each picture, number epoch mod variants is seen, so that variety costs no steps.
    captions : sequence of n sequences of str, none empty
    tokens : callable
        See `Tokens`; called once, on all captions.
    choice : {"random", "round-robin", "one"}
        Which caption of a picture: drawn anew in every step, number epoch mod captions ([1], its several captions), the first.

    References
    ----------
    .. [1] Wang et al. Captured by captions: On memorization and its mitigation in CLIP models. ICLR 2025.
    """

    def __init__(
        self,
        pixels: torch.Tensor,
        captions: Sequence[Sequence[str]],
        *,
        tokens: Tokens,
        size: int,
        seed: int,
        choice: str = "random",
    ) -> None:
        if not all(captions) or len(captions) != len(pixels):
            raise ConfigError(f"{len(pixels)} pictures need as many lists of captions, and none of them empty")
        if choice not in CHOICES:
            raise UnknownName("choice of captions", choice, CHOICES)
        unique = {caption: i for i, caption in enumerate(dict.fromkeys(c for own in captions for c in own))}
        self._numbers = np.array([unique[caption] for own in captions for caption in own])
        self._starts = np.cumsum([0, *map(len, captions)])
        pictures = np.repeat(np.arange(len(captions)), np.diff(self._starts))
        self._captions = len(unique)
        self._pairs = np.unique(pictures * self._captions + self._numbers)
        self._ids, self._mask = tokens(list(unique))
        self._pixels, self._seed, self._choice = pixels, seed, choice
        # Contrast depends on the size of a batch, so the smaller one at the end is left out.
        self._rows = TensorBatches(pixels, size=size, seed=seed, drop_last=True)
        self.steps_per_epoch = self._rows.steps_per_epoch

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[Any, ...]:
        rows = self._rows.rows_at(step, rank=rank, world=world)
        chosen = self._numbers[self._starts[rows] + self._chosen(rows, step, rank)]
        matches = torch.from_numpy(self._fit(rows, chosen))
        pixels = self._pixels[torch.from_numpy(rows)]
        if pixels.ndim == 5:
            pixels = pixels[:, step // self.steps_per_epoch % pixels.shape[1]]
        return pixels, self._ids[chosen], self._mask[chosen], matches

    def _chosen(self, rows: Ints, step: int, rank: int) -> Ints:
        """Number of the caption among those of its picture."""
        count = self._starts[rows + 1] - self._starts[rows]
        if self._choice == "one":
            return np.zeros_like(count)
        if self._choice == "round-robin":
            return np.asarray(step // self.steps_per_epoch % count)
        draws = np.random.default_rng([self._seed, step, rank]).random(len(rows))
        return np.asarray((draws * count).astype(np.int64))

    def _fit(self, rows: Ints, captions: Ints) -> npt.NDArray[np.bool_]:
        keys = rows[:, None] * self._captions + captions[None, :]
        place = np.minimum(np.searchsorted(self._pairs, keys), len(self._pairs) - 1)
        return np.asarray(self._pairs[place] == keys)
