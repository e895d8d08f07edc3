"""Which layers to fine-tune, prune or replace, by how much they memorize ([1], section 6, in `method`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["LAYER_CHOICES", "LayerChoice", "UnitChoice", "select_layers", "select_units"]

LayerChoice = Literal["most", "least", "last", "random"]
LAYER_CHOICES: tuple[LayerChoice, ...] = ("most", "least", "last", "random")
UnitChoice = Literal["highest", "lowest", "random"]


def select_layers(
    names: Sequence[str],
    scores: npt.ArrayLike,
    *,
    count: int,
    choice: LayerChoice = "most",
    rng: np.random.Generator | None = None,
) -> tuple[str, ...]:
    """Names of `count` layers, in forward order.

    Parameters
    ----------
    names : sequence of str, in forward order
    scores : array, shape (len(names),)
        LayerMem, Delta-LayerMem or mean UnitMem; a layer without one (the first has no delta) is neither most nor least.
    choice : {"most", "least", "last", "random"}
    rng : numpy Generator
        For "random".
    """
    values = np.asarray(scores, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if choice == "last":
        chosen = np.arange(len(names))[-count:]
    elif choice == "random":
        chosen = (rng or np.random.default_rng(0)).permutation(len(names))[:count]
    else:
        order = known[np.argsort(-values[known] if choice == "most" else values[known], kind="stable")]
        chosen = order[:count]
    return tuple(names[position] for position in sorted(chosen))


def select_units(
    unitmem: npt.ArrayLike, *, share: float, choice: UnitChoice, rng: np.random.Generator | None = None
) -> npt.NDArray[np.int64]:
    """Units to prune: a share of those that are alive, rounded down.

    Parameters
    ----------
    unitmem : array, shape (units,), NaN for dead units
    share : float in [0, 1]
    """
    values = np.asarray(unitmem, np.float64)
    alive = np.flatnonzero(np.isfinite(values))
    count = int(share * len(alive))
    if choice == "random":
        return np.sort((rng or np.random.default_rng(0)).permutation(alive)[:count])
    order = alive[np.argsort(-values[alive] if choice == "highest" else values[alive], kind="stable")]
    return np.sort(order[:count])
