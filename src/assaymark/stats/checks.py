"""What every statistic asks of its arguments, and how a method names its confidence."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, InputError

__all__ = ["FloatArray", "Limits", "counts_within", "finite_vector", "normal_quantile", "percent", "two_classes"]

FloatArray = npt.NDArray[np.float64]


class Limits(NamedTuple):
    """Lower and upper limits, arrays of one shape; NaN where undefined."""

    low: FloatArray
    high: FloatArray


def normal_quantile(confidence: float) -> float:
    """Two-sided standard normal quantile z of a confidence in (0, 1); 1.959964 for 0.95."""
    if not 0.0 < confidence < 1.0:
        raise ConfigError(f"confidence {confidence!r} is not between 0 and 1: write 0.95, not 95")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)


def percent(confidence: float) -> str:
    """`"95 %"`, as method names end."""
    normal_quantile(confidence)
    return f"{100 * confidence:g} %"


def finite_vector(values: Any, name: str = "values") -> FloatArray:
    """`values` as a one-dimensional float64 array without NaN or infinity.

    Raises
    ------
    InputError
        When a value is missing or infinite; the message names the first position.
    ValueError
        When the array is not one-dimensional.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InputError(
            f"{name}: {bad.size} of {array.size} values are missing or infinite, the first at position {bad[0]}; "
            "count them as skipped and leave them out"
        )
    return array


def counts_within(successes: Any, trials: Any, *, name: str = "successes") -> tuple[FloatArray, FloatArray]:
    """Broadcast counts as float64 arrays, with 0 <= successes <= trials checked.

    Raises
    ------
    InputError
        When a count is negative, missing, or larger than its trials.
    """
    k, n = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    wrong = np.flatnonzero(~((k >= 0) & (k <= n) & np.isfinite(n)).ravel())
    if wrong.size:
        at = int(wrong[0])
        raise InputError(f"{name}: {k.ravel()[at]:g} of {n.ravel()[at]:g} trials (entry {at}) is not a count between 0 and n")
    return k, n


def two_classes(scores: Any, labels: Any) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Finite scores and boolean labels of one length; labels are bools or exactly 0 and 1.

    Raises
    ------
    InputError
        When a score is not finite or a label is neither 0 nor 1.
    ValueError
        When the lengths differ.
    """
    score = finite_vector(scores, "scores")
    label = np.asarray(labels)
    if label.shape != score.shape:
        raise ValueError(f"{score.shape} scores but {label.shape} labels")
    if label.dtype != np.bool_:
        positive = label == 1
        if not np.all(positive | (label == 0)):
            raise InputError("labels: expected only 0 and 1 (or booleans); map the classes first")
        label = positive
    return score, label
