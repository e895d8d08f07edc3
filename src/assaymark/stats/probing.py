"""What a representation is good for: a linear probe, its strength of regularisation, and which rows it gets right."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.stats.checks import FloatArray

__all__ = ["PROBE_STRENGTHS", "probe_hits", "probe_strength"]

PROBE_STRENGTHS: tuple[float, ...] = tuple((10.0 ** np.arange(-4, 4)).tolist())
"""Inverse L2 strengths that a validation part chooses from."""


def probe_hits(
    train: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    test: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    *,
    strength: float = 1.0,
    steps: int = 500,
) -> npt.NDArray[np.bool_]:
    """Which test rows a logistic regression on standardised features gets right.

    Parameters
    ----------
    train, test : arrays, shapes (n, d) and (m, d)
    train_labels, test_labels : arrays, shapes (n,) and (m,)
    strength : float, > 0
        Inverse of the L2 penalty.
    steps : int
        Of L-BFGS, at most. Weak penalties on separable classes have no end: what the steps so far are worth is what counts.

    Returns
    -------
    bool array, shape (m,)
        With one class in training: whether the test row has it.

    Notes
    -----
    Deterministic. Features that do not vary in training are left out. O(n d) a step.
    """
    x, y, wanted = np.asarray(train, np.float64), np.asarray(train_labels), np.asarray(test_labels)
    if len(np.unique(y)) < 2:
        return np.asarray(wanted == (y[0] if len(y) else None))
    ((_, predicted),) = _predictions(x, y, np.asarray(test, np.float64), strengths=(strength,), steps=steps)
    return np.asarray(predicted == wanted)


def _predictions(
    x: FloatArray, y: npt.NDArray[Any], test: FloatArray, *, strengths: Iterable[float], steps: int
) -> Iterator[tuple[float, npt.NDArray[Any]]]:
    """Labels that are told by each strength; every fit starts from the one before it, which is most of the way."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    scaled, asked = scaler.transform(x), scaler.transform(test)
    model: Any = LogisticRegression(max_iter=steps, warm_start=True)
    for strength in strengths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=strength).fit(scaled, y)
        yield strength, model.predict(asked)


def probe_strength(
    train: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    validation: npt.ArrayLike,
    validation_labels: npt.ArrayLike,
    *,
    steps: int = 500,
) -> float:
    """The strength of `PROBE_STRENGTHS` with the most hits on a validation part; of equal ones the smallest.

    Parameters
    ----------
    train, validation : arrays, shapes (n, d) and (m, d)
    train_labels, validation_labels : arrays, shapes (n,) and (m,)
    """
    x, y = np.asarray(train, np.float64), np.asarray(train_labels)
    if len(np.unique(y)) < 2:
        return PROBE_STRENGTHS[0]
    found = _predictions(x, y, np.asarray(validation, np.float64), strengths=PROBE_STRENGTHS, steps=steps)
    hits = {strength: int((predicted == np.asarray(validation_labels)).sum()) for strength, predicted in found}
    return float(max(hits, key=hits.__getitem__))
