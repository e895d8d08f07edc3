"""Do layers remember the same points? Overlap and rank correlation between layers ([1], section 4, in `method`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Agreement", "adjacent_agreement", "layer_agreement"]


class Agreement(NamedTuple):
    """Of two layers: positions of the layers, points looked at and shared among the highest, Kendall's tau and its p."""

    first: int
    second: int
    top: int
    shared: int
    tau: float
    p_value: float


def layer_agreement(scores: npt.ArrayLike, first: int, second: int, *, top: int = 100) -> Agreement:
    """Overlap of the `top` most memorized points of two layers, and Kendall's tau of all.

    Parameters
    ----------
    scores : array, shape (layers, n)
    top : int
        At most half of the points with a score in both, so that an overlap is no arithmetic necessity.

    Returns
    -------
    Agreement
        tau and p are NaN where one of the two does not vary.
    """
    from scipy.stats import kendalltau

    pair = np.asarray(scores, np.float64)[[first, second]]
    pair = pair[:, np.isfinite(pair).all(axis=0)]
    top = min(top, pair.shape[1] // 2)
    ranked = [set(np.argsort(-row, kind="stable")[:top].tolist()) for row in pair]
    if pair.shape[1] < 2 or (np.ptp(pair, axis=1) == 0).any():
        return Agreement(first, second, top, len(ranked[0] & ranked[1]), np.nan, np.nan)
    tau, p_value = kendalltau(*pair)
    return Agreement(first, second, top, len(ranked[0] & ranked[1]), float(tau), float(p_value))


def adjacent_agreement(scores: npt.ArrayLike, *, top: int = 100) -> list[Agreement]:
    """`layer_agreement` of each layer with the next, and of the first with the last.

    O(layers x n log n).
    """
    layers = len(np.asarray(scores))
    pairs = [(layer, layer + 1) for layer in range(layers - 1)] + ([(0, layers - 1)] if layers > 2 else [])
    return [layer_agreement(scores, *pair, top=top) for pair in pairs]
