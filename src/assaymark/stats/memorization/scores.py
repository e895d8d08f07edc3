"""From the distance between views to SSLMem, and the items at both ends of a ranking.

References
----------
.. [1] Wang et al. Memorization in Self-Supervised Learning Improves Downstream Generalization. ICLR 2024, arXiv 2401.12233.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.stats.checks import FloatArray

__all__ = ["DISTANCE_BOUND", "Extremes", "extremes", "ssl_memorization"]

DISTANCE_BOUND = 2.0
"""Largest distance of two directions, and so of |SSLMem|."""


class Extremes(NamedTuple):
    """Rows of the items with the highest and with the lowest scores, falling and rising."""

    most: npt.NDArray[np.int64]
    least: npt.NDArray[np.int64]


def ssl_memorization(align_f: npt.ArrayLike, align_g: npt.ArrayLike) -> FloatArray:
    """SSLMem before normalisation: alignment loss of the reference minus that of the encoder ([1], eq. 2).

    Parameters
    ----------
    align_f, align_g : arrays of one shape
        Mean distance of views under the encoder, which was trained on the item, and the reference, which was not.

    Returns
    -------
    array of that shape, in [-2, 2]
        Above 0: the encoder aligns the item better than it would without having seen it.
    """
    return np.asarray(align_g, np.float64) - np.asarray(align_f, np.float64)


def extremes(raw: npt.ArrayLike, *, size: int) -> Extremes:
    """The `size` items with the highest and the lowest scores, never more than half of them each.

    Items without a score are in neither. O(n log n).
    """
    values = np.asarray(raw, np.float64)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    size = min(size, len(order) // 2)
    return Extremes(order[::-1][:size], order[:size])
