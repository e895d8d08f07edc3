"""Random numbers that belong to an item: functions of its id, the number of the draw and a seed, computed for a batch at once.

A generator hands out numbers in the order in which it is asked, so what an item gets depends on its batch. Here every number
is a hash of what it is for (counter-based, [1]): two models see the same view of an item, in whatever batches and order.

References
----------
.. [1] Salmon et al. Parallel random numbers: as easy as 1, 2, 3. SC 2011. The hash is the finaliser of splitmix64 (Steele,
   Lea, Flood. Fast splittable pseudorandom number generators. OOPSLA 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["KeyedDraws", "item_keys"]

_TWO_64 = 1 << 64


def _signed(value: int) -> int:
    """The 64 bits of a whole number as torch's signed type reads them; its products and sums wrap around."""
    value %= _TWO_64
    return value - _TWO_64 if value >= _TWO_64 >> 1 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def item_keys(ids: Sequence[str] | npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """64-bit keys of items.

    Parameters
    ----------
    ids : sequence of n str, or array of n whole numbers
        Numbers are keys already: nearby ones give unrelated draws.

    Returns
    -------
    array, shape (n,), int64
    """
    if isinstance(ids, np.ndarray) and np.issubdtype(ids.dtype, np.integer):
        return ids.astype(np.int64)
    digests = b"".join(blake2b(str(one).encode(), digest_size=8).digest() for one in ids)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


class KeyedDraws:
    """What is drawn for n items. A slot (a whole number from 0) says what a number is for; equal slots give equal numbers.

    Parameters
    ----------
    keys : tensor of int64, shape (n,)
        As `item_keys` gives them, on the device of the draws.
    draw, seed : int
    """

    def __init__(self, keys: torch.Tensor, *, draw: int, seed: int) -> None:
        state = _mixed(keys + _GOLDEN)
        state = _mixed(state + _signed((seed + 1) * _GOLDEN))
        self._state = _mixed(state + _signed((draw + 1) * _GOLDEN))

    def uniform(self, *, first: int, count: int) -> torch.Tensor:
        """Of `count` slots from the first: shape (n, count), float32 in [0, 1)."""
        # 24 bits: what float32 holds, so that 1 is never reached by rounding.
        return (self._bits(first, count) >> 40 & 0xFFFFFF).to(torch.float32) * 2.0**-24

    def normal(self, *, first: int, count: int) -> torch.Tensor:
        """Standard normal, of `count` slots: shape (n, count), float32, at most 6.7 in size (Box and Muller)."""
        half = (count + 1) // 2
        bits = self._bits(first, half)
        radius = (((bits >> 32 & 0xFFFFFFFF).to(torch.float32) + 0.5) * 2.0**-32).log_().mul_(-2.0).clamp_(min=0.0).sqrt_()
        angle = (bits & 0xFFFFFFFF).to(torch.float32) * (2.0 * math.pi * 2.0**-32)
        return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]

    def _bits(self, first: int, count: int) -> torch.Tensor:
        slots = torch.arange(first + 1, first + 1 + count, device=self._state.device)
        return _mixed(self._state[:, None] + slots * _GOLDEN)


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    """A permutation of 64-bit numbers in which every bit depends on every bit. The masks make signed shifts logical."""
    bits = (bits ^ (bits >> 30 & 0x3FFFFFFFF)) * _FIRST
    bits = (bits ^ (bits >> 27 & 0x1FFFFFFFFF)) * _SECOND
    return bits ^ (bits >> 31 & 0x1FFFFFFFF)
