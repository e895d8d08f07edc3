"""What goes into the mixture: probabilities as they are, their log-odds, or probabilities calibrated network by network.

References
----------
.. [1] Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers.
.. [2] Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate multiclass probability estimates. KDD.
.. [3] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. Q. (2017). On calibration of modern neural networks. ICML.
"""

from __future__ import annotations

from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize_scalar

from assaymark.stats import Transform, clipped_logit, platt
from assaymark.stats.combination import TransformKind

__all__ = ["fit_transform"]

Floats = npt.NDArray[np.float64]


def fit_transform(F: Any, y: Any, *, kind: str, sample_weight: Any = None) -> tuple[Transform, ...]:
    """Fit a transform for each network, on rows that the network was not trained on.

    Parameters
    ----------
    F : array_like, shape (n, k)
        Probabilities; a row counts only for the networks that scored it.
    y : array_like, shape (n,), 0/1
    kind : "probability", "logit", "platt", "isotonic" or "temperature"
        "platt": two parameters by maximum likelihood with Platt's smoothed targets ([1]); "isotonic": pool adjacent violators
        ([2]); "temperature": one factor for the log-odds by maximum likelihood ([3]).

    Returns
    -------
    tuple of k `Transform`
        For `assaymark.stats.apply_transform`, column by column.

    Raises
    ------
    ValueError
        A kind that does not exist, shapes that do not fit, or a network without a score to calibrate it.
    InputError
        "platt" on rows of one class only.

    Notes
    -----
    O(n log n) for each network.
    """
    scores, labels = np.asarray(F, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if kind not in get_args(TransformKind):
        raise ValueError(f"transform {kind!r} is none of {', '.join(get_args(TransformKind))}")
    name = cast(TransformKind, kind)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores of shape {scores.shape} and labels of shape {labels.shape}: expected (n, k) and (n,)")
    if kind in ("probability", "logit"):
        return tuple(Transform(name) for _ in range(scores.shape[1]))
    weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    fitted = []
    for i, column in enumerate(scores.T):
        seen = np.isfinite(column)
        if not seen.any():
            raise ValueError(f"network {i} scored no row that could calibrate it")
        fitted.append(Transform(name, _parameters(kind, column[seen], labels[seen], weights[seen])))
    return tuple(fitted)


def _parameters(kind: str, p: Floats, y: Floats, weight: Floats) -> tuple[float, ...]:
    if kind == "platt":
        return tuple(platt(clipped_logit(p), y, sample_weight=weight))
    if kind == "temperature":
        return (_temperature(p, y, weight),)
    at, level = _isotonic(p, y, weight)
    return (*at.tolist(), *level.tolist())


def _temperature(p: Floats, y: Floats, weight: Floats) -> float:
    """T by bounded search over its logarithm: limited to [1/1000, 1000], where separated scores end up."""
    odds = clipped_logit(p)
    shares = weight / weight.sum()

    def loss(log_slope: float) -> float:
        eta = np.exp(log_slope) * odds
        return float(shares @ (np.logaddexp(0.0, eta) - y * eta))

    limit = np.log(1000.0)
    return float(np.exp(-minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-10}).x))


def _isotonic(p: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Ends of the constant pieces of the isotonic regression of y on p; equal scores count as one."""
    at, group = np.unique(p, return_inverse=True)
    mass = np.bincount(group, weights=weight)
    held = mass > 0
    means = np.bincount(group, weights=weight * y)[held] / mass[held]
    at = at[held]
    level = np.asarray(isotonic_regression(means, weights=mass[held]).x)
    same_left = np.r_[False, level[1:] == level[:-1]]
    same_right = np.r_[level[1:] == level[:-1], False]
    kept = ~(same_left & same_right)
    return at[kept], level[kept]
