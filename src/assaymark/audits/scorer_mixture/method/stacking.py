"""Baselines beside least squares: logistic stacking, greedy selection, weights from single accuracies, the best single network.

References
----------
.. [1] Wolpert, D. H. (1992). Stacked generalization. Neural Networks 5, 241-259.
.. [2] Caruana, R., Niculescu-Mizil, A., Crew, G. and Ksikes, A. (2004). Ensemble selection from libraries of models. ICML.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from assaymark.audits.scorer_mixture.method.least_squares import Fit, fit_of, reduce_rows

__all__ = ["best_single", "greedy_selection", "log_loss_of", "logistic", "weighted_by_accuracy"]

Floats = npt.NDArray[np.float64]
Metric = Literal["log-loss", "accuracy"]

CLIP = 1e-6
MOST_STEPS = 100


class _Rows(NamedTuple):
    F: Floats
    y: Floats
    weight: Floats  # sums to 1


def _rows(F: Any, y: Any, sample_weight: Any) -> _Rows:
    scores, labels = np.asarray(F, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"scores of shape {scores.shape} and labels of shape {labels.shape}: expected (n, k) and (n,)")
    if not len(scores):
        raise ValueError("no rows to fit on")
    if not np.isfinite(scores).all():
        raise ValueError("scores are missing or infinite: impute them or fit by pattern, never as zeros")
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return _Rows(scores, labels, weight / weight.sum())


def logistic(F: Any, y: Any, *, intercept: bool = True, sample_weight: Any = None, ridge: float = 1e-6) -> Fit:
    """Logistic regression on log-odds (stacking, [1]) by Newton's method.

    Parameters
    ----------
    F : array_like, shape (n, k)
        Log-odds of the networks (`assaymark.stats.clipped_logit`).
    y : array_like, shape (n,)
        Labels in [0, 1].
    ridge : float > 0
        Penalty ridge / 2 ||beta||^2 beside the mean log-loss: keeps the weights finite when the classes are separated, and is
        far below the sampling error otherwise. The intercept is not penalised more than 1e-12.

    Returns
    -------
    Fit
        Its scores F @ weights + intercept are log-odds: cut them at 0.

    Notes
    -----
    O(n k^2) a step. Steps are halved until the penalised loss falls, so it converges from any start.
    """
    rows = _rows(F, y, sample_weight)
    X = np.column_stack([rows.F, np.ones(len(rows.y))]) if intercept else rows.F
    penalty = np.full(X.shape[1], ridge)
    if intercept:
        penalty[-1] = min(ridge, 1e-12)
    beta, converged = _newton(X, rows.y, rows.weight, penalty)
    fitted = X @ beta
    separated = bool(np.all(fitted[rows.y > 0.5] > 0) and np.all(fitted[rows.y <= 0.5] < 0))
    extra = "the classes are separated: the ridge alone holds the weights finite" if separated else ""
    if not converged:
        extra = f"{extra}; " * bool(extra) + f"no convergence in {MOST_STEPS} steps"
    fit = fit_of(reduce_rows(rows.F, rows.y, intercept=intercept), beta[: rows.F.shape[1]], extra=extra)
    return fit._replace(intercept=float(beta[-1]) if intercept else 0.0)


def _penalised(eta: Floats, y: Floats, weight: Floats, beta: Floats, penalty: Floats) -> float:
    # log(1 + exp(eta)) - y eta, without overflow
    return float(weight @ (np.logaddexp(0.0, eta) - y * eta) + 0.5 * penalty @ (beta * beta))


def _newton(X: Floats, y: Floats, weight: Floats, penalty: Floats) -> tuple[Floats, bool]:
    beta = np.zeros(X.shape[1])
    eta = X @ beta
    loss = _penalised(eta, y, weight, beta, penalty)
    for _ in range(MOST_STEPS):
        p = expit(eta)
        gradient = X.T @ (weight * (y - p)) - penalty * beta
        curvature = weight * np.maximum(p * (1.0 - p), 1e-12)
        step = np.linalg.lstsq((X.T * curvature) @ X + np.diag(penalty), gradient, rcond=None)[0]
        decrement = float(gradient @ step)
        if decrement < 1e-14:
            return beta, True
        size = 1.0
        while size > 1e-10:
            trial = beta + size * step
            trial_eta = X @ trial
            trial_loss = _penalised(trial_eta, y, weight, trial, penalty)
            if trial_loss <= loss - 1e-4 * size * decrement:
                break
            size /= 2.0
        else:
            return beta, True  # rounding hides any further descent
        beta, eta, loss = trial, trial_eta, trial_loss
    return beta, False


def log_loss_of(M: Any, y: Any, *, weight: Any = None) -> Floats:
    """Mean log-loss of each column of probabilities, clipped to [1e-6, 1 - 1e-6]; shape (columns,)."""
    p, labels = np.clip(np.asarray(M, dtype=np.float64), CLIP, 1.0 - CLIP), np.asarray(y, dtype=np.float64)
    shares = np.full(len(labels), 1.0 / len(labels)) if weight is None else np.asarray(weight) / np.sum(weight)
    return -np.asarray((shares * labels) @ np.log(p) + (shares * (1.0 - labels)) @ np.log1p(-p))


def _accuracies(M: Floats, rows: _Rows, threshold: float) -> Floats:
    return np.asarray(rows.weight @ ((threshold <= M) == (rows.y > 0.5)[:, None]))


def greedy_selection(
    F: Any,
    y: Any,
    *,
    rounds: int = 50,
    metric: Metric = "log-loss",
    threshold: float = 0.5,
    sample_weight: Any = None,
) -> Fit:
    """Ensemble selection with replacement ([2]): in each round the network that helps the running average most.

    Parameters
    ----------
    F : array_like, shape (n, k)
        Probabilities.
    rounds : int
        The best of all rounds is returned, so more rounds do no harm but time.
    metric : "log-loss" or "accuracy" at `threshold`

    Returns
    -------
    Fit
        Weights are counts / rounds: >= 0, sum 1. Ties go to the first network.

    Notes
    -----
    O(rounds n k).
    """
    rows = _rows(F, y, sample_weight)
    if rounds < 1:
        raise ValueError("at least one round")
    if metric not in ("log-loss", "accuracy"):
        raise ValueError(f"metric {metric!r} is neither 'log-loss' nor 'accuracy'")
    total, counts = np.zeros(len(rows.y)), np.zeros(rows.F.shape[1])
    best, best_loss = counts, np.inf
    for size in range(1, rounds + 1):
        trial = (total[:, None] + rows.F) / size
        if metric == "log-loss":
            losses = log_loss_of(trial, rows.y, weight=rows.weight)
        else:
            losses = 1.0 - _accuracies(trial, rows, threshold)
        chosen = int(np.argmin(losses))
        total = total + rows.F[:, chosen]
        counts = counts + (np.arange(len(counts)) == chosen)
        if losses[chosen] < best_loss - 1e-15:
            best, best_loss = counts / size, float(losses[chosen])
    return fit_of(reduce_rows(rows.F, rows.y, intercept=False), best)


def weighted_by_accuracy(F: Any, y: Any, *, threshold: float = 0.5, sample_weight: Any = None) -> Fit:
    """Weights proportional to each network's accuracy at `threshold`; they sum to 1. No interactions are fitted."""
    rows = _rows(F, y, sample_weight)
    accuracy = _accuracies(rows.F, rows, threshold)
    k = len(accuracy)
    weights = accuracy / accuracy.sum() if accuracy.sum() else np.full(k, 1.0 / k)
    return fit_of(reduce_rows(rows.F, rows.y, intercept=False), weights)


def best_single(F: Any, y: Any, *, threshold: float = 0.5, sample_weight: Any = None) -> Fit:
    """The network of highest accuracy on these rows, as one-hot weights; ties go to the first."""
    rows = _rows(F, y, sample_weight)
    weights = np.zeros(rows.F.shape[1])
    weights[int(np.argmax(_accuracies(rows.F, rows, threshold)))] = 1.0
    return fit_of(reduce_rows(rows.F, rows.y, intercept=False), weights)
