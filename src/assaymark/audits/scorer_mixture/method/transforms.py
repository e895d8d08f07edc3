"""What goes into the mixture: probabilities as they are, their log-odds, or probabilities calibrated network by network.

References
----------
.. [1] Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers.
.. [2] Zadrozny, B. and Elkan, C. (2002). Transforming classifier scores into accurate multiclass probability estimates. KDD.
.. [3] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. Q. (2017). On calibration of modern neural networks. ICML.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize_scalar
from scipy.special import expit

from assaymark.audits.scorer_mixture.method.stacking import logistic

__all__ = ["TRANSFORMS", "Transform", "TransformKind", "apply_transform", "fit_transform", "log_odds"]

Floats = npt.NDArray[np.float64]
TransformKind = Literal["prob", "logit", "platt", "isotonic", "temperature"]
TRANSFORMS: tuple[str, ...] = get_args(TransformKind)

CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""


class Transform(NamedTuple):
    """A fitted transform of k scores.

    Attributes
    ----------
    kind : "prob", "logit", "platt", "isotonic" or "temperature"
    slopes, offsets : arrays, shape (k,)
        Platt: expit(slope * log-odds + offset); temperature: expit(slope * log-odds), slope = 1 / T. Else ones and zeros.
    knots, levels : tuples of k arrays
        Isotonic: calibrated probability at some scores, linear between them, constant outside. Empty otherwise.
    """

    kind: str
    slopes: Floats
    offsets: Floats
    knots: tuple[Floats, ...] = ()
    levels: tuple[Floats, ...] = ()


def log_odds(p: Any, *, clip: float = CLIP) -> Floats:
    """log(p / (1 - p)) with p kept `clip` away from 0 and 1; NaN stays NaN."""
    inside = np.clip(np.asarray(p, dtype=np.float64), clip, 1.0 - clip)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def fit_transform(F: Any, y: Any, *, kind: str, sample_weight: Any = None) -> Transform:
    """Fit a transform for each network, on rows that the network was not trained on.

    Parameters
    ----------
    F : array_like, shape (n, k)
        Probabilities; a row counts only for the networks that scored it.
    y : array_like, shape (n,), 0/1
    kind : one of `TRANSFORMS`
        "platt": two parameters by maximum likelihood with Platt's smoothed targets ([1]); "isotonic": pool adjacent violators
        ([2]); "temperature": one factor for the log-odds by maximum likelihood ([3]).

    Notes
    -----
    O(n log n) for each network.
    """
    scores, labels = np.asarray(F, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if kind not in TRANSFORMS:
        raise ValueError(f"transform {kind!r} is none of {', '.join(TRANSFORMS)}")
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores of shape {scores.shape} and labels of shape {labels.shape}: expected (n, k) and (n,)")
    k = scores.shape[1]
    slopes, offsets = np.ones(k), np.zeros(k)
    if kind in ("prob", "logit"):
        return Transform(kind, slopes, offsets)
    weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    knots: list[Floats] = []
    levels: list[Floats] = []
    for i in range(k):
        seen = np.isfinite(scores[:, i])
        if not seen.any():
            raise ValueError(f"network {i} scored no row that could calibrate it")
        column = scores[seen, i], labels[seen], weights[seen]
        if kind == "platt":
            slopes[i], offsets[i] = _platt(*column)
        elif kind == "temperature":
            slopes[i] = _inverse_temperature(*column)
        else:
            at, level = _isotonic(*column)
            knots.append(at)
            levels.append(level)
    return Transform(kind, slopes, offsets, tuple(knots), tuple(levels))


def apply_transform(F: Any, transform: Transform) -> Floats:
    """Scores of shape (n, k) as the transform gives them; missing scores stay missing."""
    scores = np.asarray(F, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] != len(transform.slopes):
        raise ValueError(f"scores of shape {scores.shape} for a transform of {len(transform.slopes)} networks")
    if transform.kind == "prob":
        return scores
    if transform.kind == "logit":
        return log_odds(scores)
    if transform.kind == "isotonic":
        columns = [np.interp(scores[:, i], transform.knots[i], transform.levels[i]) for i in range(scores.shape[1])]
        return np.where(np.isnan(scores), np.nan, np.column_stack(columns))
    return np.asarray(expit(log_odds(scores) * transform.slopes + transform.offsets))


def _platt(p: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    # [1]: targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2) instead of 1 and 0, so that separated scores stay finite
    positive, negative = float(weight @ y), float(weight @ (1.0 - y))
    targets = np.where(y > 0.5, (positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0))
    fit = logistic(log_odds(p)[:, None], targets, sample_weight=weight, ridge=1e-10)
    return float(fit.weights[0]), fit.intercept


def _inverse_temperature(p: Floats, y: Floats, weight: Floats) -> float:
    """1 / T by bounded search over its logarithm: limited to [1/1000, 1000], where separated scores end up."""
    odds = log_odds(p)
    shares = weight / weight.sum()

    def loss(log_slope: float) -> float:
        eta = np.exp(log_slope) * odds
        return float(shares @ (np.logaddexp(0.0, eta) - y * eta))

    limit = np.log(1000.0)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-10}).x))


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
