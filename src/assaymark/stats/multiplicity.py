"""Adjusted p values for many tests at once.

References
----------
.. [1] Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate. JRSS B 57, 289-300.
.. [2] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scand. J. Statistics 6, 65-70.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assaymark.errors import InputError
from assaymark.stats.checks import FloatArray

__all__ = ["benjamini_hochberg", "holm"]


def _checked(p: Any) -> FloatArray:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"p values: expected one dimension, got shape {values.shape}")
    wrong = np.flatnonzero((values < 0) | (values > 1))
    if wrong.size:
        raise InputError(f"p values: {values[wrong[0]]:g} at position {wrong[0]} is not between 0 and 1")
    return values


def benjamini_hochberg(p: Any) -> FloatArray:
    """Step-up adjusted p values ([1]): rejecting those <= q keeps the false discovery rate at q.

    Parameters
    ----------
    p : array_like, shape (m,), in [0, 1]
        NaN marks a test that could not be made: it stays NaN and does not count in m.

    Returns
    -------
    array, shape (m,)
        Not below `p`, in the order of `p`, and with the same ranking.
    """
    values = _checked(p)
    adjusted = np.full_like(values, np.nan)
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    # m / rank >= 1 is computed first, so that rounding cannot bring a product below p
    scaled = values[order] * (made.size / np.arange(1, made.size + 1))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def holm(p: Any) -> FloatArray:
    """Step-down adjusted p values ([2]): rejecting those <= alpha keeps the family-wise error at alpha. NaN as above."""
    values = _checked(p)
    adjusted = np.full_like(values, np.nan)
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    scaled = values[order] * np.arange(made.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
