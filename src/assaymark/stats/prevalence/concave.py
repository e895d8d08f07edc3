"""Largest value of a concave function of a share in [0, 1], for many functions at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from assaymark.stats.checks import FloatArray

__all__ = ["Slopes", "affine_ratio", "log_mixture_slopes", "maximise_share"]

_STEPS = 80
_SMALL_STEP = 1e-7
# keeps 1 / (c + a d) finite where a mixture has no mass at an end of [0, 1]
_LEAST_MASS = 1e-12
_BELOW_MINUS_ONE = -1.0 - 1e-15


class Slopes(NamedTuple):
    """First and second derivative, shapes (...)."""

    first: FloatArray
    second: FloatArray


def maximise_share(slopes: Callable[[FloatArray], Slopes], start: FloatArray) -> FloatArray:
    """Where each of many concave functions of a in [0, 1] is largest.

    Parameters
    ----------
    slopes : callable
        Derivatives at shares of shape (...); the function is concave, so the first derivative falls.
    start : array, shape (...), in [0, 1]
        Guesses.

    Returns
    -------
    array, shape (...)
        0 where the slope at 0 is not positive, 1 where the slope at 1 is not negative, NaN where a slope is NaN.

    Notes
    -----
    Newton's method; a step that leaves the bracket of the root is replaced by its middle. Five to eight evaluations as a rule;
    the last step is below 1e-7, and a Newton step of that size leaves an error far below it.
    """
    low, high = np.zeros_like(start), np.ones_like(start)
    at_low, at_high = slopes(low).first, slopes(high).first
    ends = np.where(at_low <= 0, 0.0, np.where(at_high >= 0, 1.0, np.nan))
    inner = (at_low > 0) & (at_high < 0)
    a = np.clip(start, 1e-3, 1.0 - 1e-3)
    for _ in range(_STEPS):
        first, second = slopes(a)
        low, high = np.where(first > 0, a, low), np.where(first > 0, high, a)
        with np.errstate(invalid="ignore", divide="ignore"):
            newton = a - first / second
        # at the root itself the Newton step is 0 and a is an end of the bracket
        moved = np.where((newton >= low) & (newton <= high), newton, 0.5 * (low + high))
        done = np.abs(moved - a)[inner] < _SMALL_STEP
        a = moved
        if done.all():
            break
    return np.where(inner, a, ends)


def affine_ratio(at_zero: FloatArray, at_one: FloatArray) -> FloatArray:
    """c / d of a mixture density c + a d with c its value at a = 0 and c + d at a = 1; infinite where the two are equal.

    d log(c + a d) / da is then 1 / (a + c / d), one addition and one division.
    """
    c = np.maximum(at_zero, _LEAST_MASS)
    d = np.maximum(at_one, _LEAST_MASS) - c
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(d == 0, np.inf, c / np.where(d == 0, 1.0, d)))


def log_mixture_slopes(weight: FloatArray, ratio: FloatArray) -> Callable[[FloatArray], Slopes]:
    """Derivatives of sum_b w_b log(c_b + a d_b), concave in a, from `affine_ratio`; weight and ratio broadcast to (..., b)."""
    # a ratio rounded to -1 would put the pole at a = 1 with the wrong sign
    ratio = np.where(ratio < 0, np.minimum(ratio, _BELOW_MINUS_ONE), ratio)

    def slopes(a: FloatArray) -> Slopes:
        u = ratio + a[..., None]
        np.reciprocal(u, out=u)
        first = np.einsum("...b,...b->...", weight, u)
        np.multiply(u, u, out=u)
        return Slopes(first, -np.einsum("...b,...b->...", weight, u))

    return slopes
