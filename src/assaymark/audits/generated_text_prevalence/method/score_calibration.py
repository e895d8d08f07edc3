"""From a detector's score to P(machine): logistic regression on labelled texts, which also learns the sign of the score.

References
----------
.. [1] Gehrmann, S., Strobelt, H. and Rush, A. (2019). GLTR: statistical detection and visualization of generated text. ACL.
.. [2] Platt, J. (1999). Probabilistic outputs for support vector machines. Advances in Large Margin Classifiers, 61-74.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import platt, roc_auc

__all__ = ["ScoreCalibration", "calibrate_score"]

Floats = npt.NDArray[np.float64]
RIDGE = 1.0
"""Penalty on the weights of standardised columns, the default of scikit-learn (C = 1)."""
_STEPS = 50


@dataclass(frozen=True)
class ScoreCalibration:
    """P(machine) = sigmoid(weights . score + offset).

    Attributes
    ----------
    weights : one for each column of the score
    offset : float
    prior : share of machine texts that the probabilities presume; 1/2 when the classes were balanced
    direction : 1 where a higher score says machine, -1 where it says human, 0 for a score of several columns
    auroc : of the calibrated score on the texts it was fitted on
    humans, machines : texts it was fitted on
    left_out : texts without a score
    """

    weights: tuple[float, ...]
    offset: float
    prior: float
    direction: int
    auroc: Estimate
    humans: int
    machines: int
    left_out: int

    def log_odds(self, scores: Any) -> Floats:
        """Calibrated log-odds, shape (n,), of scores, shape (n,) or (n, columns); NaN where one is missing or infinite."""
        columns = _columns(scores)
        if columns.shape[1] != len(self.weights):
            raise ValueError(f"a score of {columns.shape[1]} columns, but the calibration was fitted on {len(self.weights)}")
        found = np.full(len(columns), np.nan)
        defined = np.isfinite(columns).all(axis=1)
        # not a matrix product: its sums can depend on how many rows there are
        found[defined] = (columns[defined] * np.array(self.weights)).sum(axis=1) + self.offset
        return found

    def probability(self, scores: Any) -> Floats:
        """P(machine) of each text, shape (n,), in [0, 1]; NaN where a score is missing."""
        return _sigmoid(self.log_odds(scores))


def calibrate_score(scores: Any, labels: Any, *, balanced: bool = False) -> ScoreCalibration:
    """Fit the calibration of one score, or of a vector such as GLTR's, on labelled texts.

    Parameters
    ----------
    scores : array_like, shape (n,) or (n, columns)
        Of texts that nothing else was fitted on; texts with a missing score are left out and counted.
    labels : array_like, shape (n,), 0 human, 1 machine
    balanced : bool
        Give both classes half of the weight: probabilities then presume as many machine as human texts.

    Raises
    ------
    ValueError
        No texts with a score in one of the classes.

    Notes
    -----
    One column: Platt's targets keep slope and offset finite where the score separates the classes ([2]). Several columns:
    penalised likelihood on standardised columns, by Newton's method, which GLTR's collinear shares need. O(n columns^2) per
    step, some ten steps.
    """
    columns, machine = _columns(scores), np.asarray(labels) == 1
    if machine.shape != columns.shape[:1]:
        raise ValueError(f"{len(columns)} scores but labels of shape {machine.shape}")
    defined = np.isfinite(columns).all(axis=1)
    held, label = columns[defined], machine[defined]
    machines, humans = int(label.sum()), int((~label).sum())
    if not machines or not humans:
        raise ValueError(f"{humans} human and {machines} machine texts have a score: a calibration needs both")
    weight = np.where(label, label.size / (2.0 * machines), label.size / (2.0 * humans)) if balanced else np.ones(label.size)
    if held.shape[1] == 1:
        fit = platt(held[:, 0], label, sample_weight=weight)
        weights, offset = np.array([fit.slope]), fit.offset
        # without variation there is no direction to learn, and no slope to apply
        if np.ptp(held) == 0:
            weights, offset = np.zeros(1), fit.offset + fit.slope * float(held[0, 0])
    else:
        weights, offset = _penalised(held, label.astype(np.float64), weight)
    return ScoreCalibration(
        weights=tuple(float(w) for w in weights),
        offset=float(offset),
        prior=0.5 if balanced else machines / label.size,
        direction=int(np.sign(weights[0])) if len(weights) == 1 else 0,
        auroc=roc_auc((held * weights).sum(axis=1), label),
        humans=humans,
        machines=machines,
        left_out=int((~defined).sum()),
    )


def _columns(scores: Any) -> Floats:
    columns = np.asarray(scores, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2:
        raise ValueError(f"scores of shape {columns.shape}: expected (n,) or (n, columns)")
    return columns


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _penalised(columns: Floats, label: Floats, weight: Floats) -> tuple[Floats, float]:
    """Weights and offset on the original scale of min sum w loss + RIDGE / 2 |standardised weights|^2; the offset is free."""
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    spread = np.where(spread > 1e-12 * np.maximum(np.abs(centre), 1e-300), spread, np.inf)
    design = np.column_stack([(columns - centre) / spread, np.ones(len(columns))])
    penalty = np.append(np.full(columns.shape[1], RIDGE), 0.0)

    def loss(fit: Floats) -> float:
        z = design @ fit
        return float(weight @ (np.logaddexp(0.0, z) - label * z) + 0.5 * penalty @ fit**2)

    fit = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        p = _sigmoid(design @ fit)
        gradient = design.T @ (weight * (p - label)) + penalty * fit
        if np.abs(gradient).max() < 1e-9 * len(label):
            break
        curvature = (design.T * (weight * p * (1 - p))) @ design + np.diag(penalty + 1e-12)
        step, before = np.linalg.solve(curvature, gradient), loss(fit)
        while np.abs(step).max() > 1e-12 and loss(fit - step) > before:
            step = step / 2
        fit = fit - step
    weights = fit[:-1] / spread
    return weights, float(fit[-1] - weights @ centre)
