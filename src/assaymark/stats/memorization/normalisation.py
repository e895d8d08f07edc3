"""Ways to bring raw leave-out scores into a fixed range. The raw scores are what is stored; these are views of them.

References
----------
.. [1] Wang et al. Captured by Captions: On Memorization and its Mitigation in CLIP Models. ICLR 2025, arXiv 2502.07830.
.. [2] Wang et al. Memorization in Self-Supervised Learning Improves Downstream Generalization. ICLR 2024, arXiv 2401.12233.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from assaymark.errors import ConfigError
from assaymark.stats.checks import FloatArray

__all__ = ["Normalisation", "Scale", "normalisation_scale", "normalised_scores"]

Normalisation = Literal["range", "official_range", "bound", "minmax01", "none"]


class Scale(NamedTuple):
    """normalised = (raw - shift) / width; the width is NaN where nothing sets it or all scores are one."""

    shift: float
    width: float


def normalisation_scale(reference: Any, *, by: Normalisation = "range", bound: float = 1.0) -> Scale:
    """Shift and width by which scores are normalised, see `normalised_scores`.

    Parameters
    ----------
    reference : array_like, shape (n,)
        Scores that set the scale; NaN takes no part.

    Notes
    -----
    For intervals of normalised means that take the scale as known. O(n).
    """
    if by not in get_args(Normalisation):
        raise ConfigError(f"normalisation {by!r} is none of {', '.join(get_args(Normalisation))}")
    if by in ("none", "bound"):
        return Scale(0.0, bound if by == "bound" else 1.0)
    scores = np.asarray(reference, dtype=np.float64)
    scores = scores[np.isfinite(scores)]
    if not scores.size:
        return Scale(0.0, float("nan"))
    least, largest = float(scores.min()), float(scores.max())
    width = max(abs(least), abs(largest)) if by == "range" else largest - least
    return Scale(least if by == "minmax01" else 0.0, width if width > 0 else float("nan"))


def normalised_scores(raw: Any, *, by: Normalisation = "range", bound: float = 1.0, reference: Any = None) -> FloatArray:
    """Raw scores in a fixed range.

    Parameters
    ----------
    raw : array_like, shape (n,)
        NaN where an item could not be scored; it stays NaN and takes no part in the scale.
    by : str
        - "range": by the largest absolute value of `reference`, into [-1, 1]; 0 stays at 0.
        - "official_range": by largest minus smallest value of `reference`, as the code beside [2] does; 0 stays at 0, and one
          side may be much shorter than 1.
        - "minmax01": into [0, 1], the smallest value of `reference` at 0.
        - "bound": by the largest value that the definition allows, `bound`: the only one that can be compared between runs.
        - "none": as they are.
    bound : float, > 0
        Theoretical limit of |raw|: 6 for CLIPMem, 2 for distances of unit vectors.
    reference : array_like, optional
        Scores that set the scale: all scored sets for "range" ([1]), the candidates for "official_range" ([2]); default: `raw`.

    Returns
    -------
    array, shape (n,)
        All NaN where the scale is 0 or nothing sets it.

    Notes
    -----
    O(n). One outlier shrinks all other scores under every way but "bound" and "none".
    """
    values = np.asarray(raw, dtype=np.float64)
    shift, width = normalisation_scale(values if reference is None else reference, by=by, bound=bound)
    return (values - shift) / width
