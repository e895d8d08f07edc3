"""From log-odds that rank to log-odds that can be read: a shift, or a scale and a shift, fitted on labelled rows.

The logit scale of 100 makes scores saturate long before they are right that often. Platt's map sigmoid(scale * l + bias) keeps
the ranking and mends the numbers; with the scale held at 1 it only moves the threshold.

References
----------
.. [1] Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers, 61-74.
.. [2] Lin, H.-T., Lin, C.-J. and Weng, R. (2007). A note on Platt's probabilistic outputs. Machine Learning 68, 267-276.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit

__all__ = ["Calibration", "calibrate"]

Floats = npt.NDArray[np.float64]

_STEPS = 100
_SMALL_GRADIENT = 1e-10


class Calibration(NamedTuple):
    """Calibrated log-odds are scale * l + bias."""

    scale: float
    bias: float

    def apply(self, log_odds: Any) -> Floats:
        """Calibrated log-odds, float64 of the same shape."""
        return np.asarray(self.scale * np.asarray(log_odds, dtype=np.float64) + self.bias)


def calibrate(log_odds: Any, y: Any, *, scale: bool = True) -> Calibration:
    """Scale and bias of least cross-entropy against Platt's targets ([1]).

    Parameters
    ----------
    log_odds : array_like, shape (n,), finite
        Of rows that did not tune the prompts.
    y : array_like, shape (n,), 0/1 or bool
    scale : bool
        False fits the bias alone.

    Raises
    ------
    ValueError
        One class only, or log-odds that are not finite.

    Notes
    -----
    The targets (n_1 + 1) / (n_1 + 2) and 1 / (n_0 + 2) keep the fit finite where the classes separate. O(n) per step, some ten
    steps.
    """
    margin, positive = np.asarray(log_odds, dtype=np.float64), np.asarray(y) == 1
    if margin.ndim != 1 or margin.shape != positive.shape or not np.isfinite(margin).all():
        raise ValueError("calibration needs one finite log-odds for each label")
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        raise ValueError("calibration needs rows of both classes")
    target = np.where(positive, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    return _scale_and_bias(margin, target) if scale else Calibration(1.0, _bias(margin, target))


def _bias(margin: Floats, target: Floats) -> float:
    """Root of sum sigmoid(l + b) = sum target, which rises with b: bisection cannot run away where sigmoids are saturated."""
    reach = float(np.abs(margin).max()) + 40.0
    return float(brentq(lambda b: float(np.sum(expit(margin + b) - target)), -reach, reach, xtol=1e-12))


def _loss(fit: Floats, columns: Floats, target: Floats) -> float:
    z = fit @ columns
    return float(np.sum(np.logaddexp(0.0, z) - target * z))


def _scale_and_bias(margin: Floats, target: Floats) -> Calibration:
    """Newton's method with halved steps ([2]) on standardised log-odds, which keeps the 2 x 2 system well conditioned."""
    centre, spread = float(margin.mean()), float(margin.std()) or 1.0
    columns = np.stack([(margin - centre) / spread, np.ones_like(margin)])
    fit = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        s = expit(fit @ columns)
        gradient = columns @ (s - target)
        if np.abs(gradient).max() < _SMALL_GRADIENT * margin.size:
            break
        curvature = (columns * (s * (1 - s))) @ columns.T + 1e-12 * np.eye(2)
        step, before = np.linalg.solve(curvature, gradient), _loss(fit, columns, target)
        while np.abs(step).max() > 1e-12 and _loss(fit - step, columns, target) > before:
            step = step / 2
        fit = fit - step
    return Calibration(float(fit[0] / spread), float(fit[1] - fit[0] * centre / spread))
