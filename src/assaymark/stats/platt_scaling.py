"""From scores that rank to probabilities that can be read: sigmoid(slope * l + offset), fitted on labelled rows.

References
----------
.. [1] Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers, 61-74.
.. [2] Lin, H.-T., Lin, C.-J. and Weng, R. (2007). A note on Platt's probabilistic outputs. Machine Learning 68, 267-276.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from assaymark.errors import InputError
from assaymark.stats.checks import FloatArray, finite_vector, two_classes

__all__ = ["Platt", "platt"]

_STEPS = 100
_SMALL_GRADIENT = 1e-10
_SMALL_STEP = 1e-12


class Platt(NamedTuple):
    """Calibrated log-odds are slope * l + offset."""

    slope: float
    offset: float

    def apply(self, log_odds: Any) -> FloatArray:
        """Calibrated log-odds, float64 of the same shape; NaN stays NaN."""
        return np.asarray(self.slope * np.asarray(log_odds, dtype=np.float64) + self.offset)


def platt(log_odds: Any, labels: Any, *, scale: bool = True, sample_weight: Any = None) -> Platt:
    """Slope and offset of least cross-entropy against Platt's targets ([1]).

    Parameters
    ----------
    log_odds : array_like, shape (n,), finite
        Or any other score that rises with the class; of rows that fitted nothing else.
    labels : array_like, shape (n,), 0/1 or bool
    scale : bool
        False holds the slope at 1 and fits the offset alone, which moves the threshold and keeps all distances.
    sample_weight : array_like, shape (n,), >= 0, optional
        Rows count as often; so do the class sizes in the targets.

    Returns
    -------
    Platt
        The slope is negative where the score falls with the class, and 1 where the scores do not vary.

    Raises
    ------
    InputError
        Scores, labels or weights that are missing or negative, or rows (of positive weight) of one class only.

    Notes
    -----
    The targets (n_1 + 1) / (n_1 + 2) and 1 / (n_0 + 2) keep the fit finite where the classes separate. O(n) per step, some ten
    steps.

    Examples
    --------
    >>> platt([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1], scale=False)
    Platt(slope=1.0, offset=0.0)
    """
    margin, positive = two_classes(log_odds, labels)
    weight = np.ones(margin.size) if sample_weight is None else finite_vector(sample_weight, "sample_weight")
    if weight.shape != margin.shape:
        raise ValueError(f"{margin.size} scores but {weight.size} weights")
    if (weight < 0).any():
        raise InputError(f"sample_weight: {int((weight < 0).sum())} are negative")
    ones, zeros = float(weight[positive].sum()), float(weight[~positive].sum())
    if not ones or not zeros:
        raise InputError("a calibration needs rows of both classes")
    held = weight > 0
    target = np.where(positive, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    columns = margin[held], target[held], weight[held]
    return _slope_and_offset(*columns) if scale else Platt(1.0, _offset(*columns))


def _sigmoid(z: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _offset(margin: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    """Root of sum w sigmoid(l + b) = sum w target, which rises with b: a bracket cannot run away where sigmoids saturate."""
    from scipy.optimize import brentq

    def excess(b: float) -> float:
        return float(weight @ (_sigmoid(margin + b) - target))

    reach = float(np.abs(margin).max()) + 40.0
    return float(brentq(excess, -reach, reach, xtol=1e-12))


def _loss(fit: FloatArray, columns: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    z = fit @ columns
    return float(weight @ (np.logaddexp(0.0, z) - target * z))


def _slope_and_offset(margin: FloatArray, target: FloatArray, weight: FloatArray) -> Platt:
    """Newton's method with halved steps ([2]) on standardised scores, which keeps the 2 x 2 system well conditioned."""
    total = float(weight.sum())
    centre = float(weight @ margin) / total
    spread = float(np.sqrt(weight @ (margin - centre) ** 2 / total))
    if spread <= 1e-12 * max(abs(centre), np.finfo(float).tiny):
        return Platt(1.0, _offset(margin, target, weight))
    columns = np.stack([(margin - centre) / spread, np.ones_like(margin)])
    fit = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        s = _sigmoid(fit @ columns)
        gradient = columns @ (weight * (s - target))
        if np.abs(gradient).max() < _SMALL_GRADIENT * total:
            break
        curvature = (columns * (weight * s * (1 - s))) @ columns.T + 1e-12 * total * np.eye(2)
        step, before = np.linalg.solve(curvature, gradient), _loss(fit, columns, target, weight)
        while np.abs(step).max() > _SMALL_STEP and _loss(fit - step, columns, target, weight) > before:
            step = step / 2
        fit = fit - step
    return Platt(float(fit[0] / spread), float(fit[1] - fit[0] * centre / spread))
