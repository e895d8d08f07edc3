"""Share of a mixture from per-item log-probabilities under two sources, as for words or sentences.

References
----------
.. [1] Liang, W. et al. (2024). Monitoring AI-modified content at scale: a case study on the impact of ChatGPT on AI conference
   peer reviews. ICML (distributional GPT quantification, eq. 4).
.. [2] Self, S. and Liang, K.-Y. (1987). Asymptotic properties of maximum likelihood estimators under nonstandard conditions.
   JASA 82, 605-610.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from assaymark.errors import InputError
from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray, finite_vector, normal_quantile, percent
from assaymark.stats.prevalence.concave import log_mixture_slopes, maximise_share

__all__ = ["mixture_mle"]

# beyond this the ratio of two probabilities is as good as infinite, and its square still a number
_MOST_LOG_RATIO = 300.0
_HALVINGS = 60


def mixture_mle(log_p_human: Any, log_p_machine: Any, weights: Any = None, *, confidence: float = 0.95) -> Estimate:
    """Share a that maximises sum_i w_i log((1 - a) P_human(x_i) + a P_machine(x_i)) ([1]), with its profile interval.

    Parameters
    ----------
    log_p_human, log_p_machine : array_like, shape (n,), finite
        Natural log-probability of item i under each source. Smooth the sources first, so that none is -inf.
    weights : array_like, shape (n,), >= 0, optional
        How often item i occurred (counts of distinct words or sentences): they count as independent items.

    Returns
    -------
    Estimate
        Unit "share"; n is the total weight. The interval holds every a in [0, 1] whose log-likelihood is within z^2 / 2 of the
        largest: no normality needed, and at 0 or 1 it keeps its width and is on the safe side ([2]). It takes both sources for
        known: resample the corpora behind them for their share of the error. Undefined without items, or where both sources
        give every item the same probability.

    Notes
    -----
    The log-likelihood is concave; Newton's method for the point, bisection for the limits. O(n) a step.
    """
    human, machine = finite_vector(log_p_human, "log_p_human"), finite_vector(log_p_machine, "log_p_machine")
    weight = np.ones(human.size) if weights is None else finite_vector(weights, "weights")
    if not human.shape == machine.shape == weight.shape:
        raise ValueError(f"{human.size} and {machine.size} log-probabilities but {weight.size} weights")
    if (weight < 0).any():
        raise InputError(f"weights: {int((weight < 0).sum())} are negative; a weight is 0 or more")
    method, n = f"mixture MLE, profile likelihood {percent(confidence)}", int(weight.sum())
    gain = np.expm1(np.clip(machine - human, -_MOST_LOG_RATIO, _MOST_LOG_RATIO))
    if not weight.any():
        return undefined("no items", n=n, method=method, unit="share")
    told = (gain != 0) & (weight > 0)
    if not told.any():
        return undefined("both sources give every item the same probability", n=n, method=method, unit="share")
    slopes = log_mixture_slopes(weight[told], 1.0 / gain[told])
    point = float(maximise_share(slopes, np.array([0.5]))[0])
    drop = 0.5 * normal_quantile(confidence) ** 2
    low, high = (_limit(point, end, drop, gain[told], weight[told]) for end in (0.0, 1.0))
    return Estimate(point, low, high, n, method, "share")


def _log_likelihood(a: float, gain: FloatArray, weight: FloatArray) -> float:
    with np.errstate(divide="ignore"):
        return float(weight @ np.log1p(a * gain))


def _limit(point: float, end: float, drop: float, gain: FloatArray, weight: FloatArray) -> float:
    """Where the log-likelihood has fallen by `drop` between the point and an end of [0, 1]; the end where it does not."""
    least = _log_likelihood(point, gain, weight) - drop
    if _log_likelihood(end, gain, weight) >= least:
        return end
    inside, outside = point, end
    for _ in range(_HALVINGS):
        middle = 0.5 * (inside + outside)
        if _log_likelihood(middle, gain, weight) >= least:
            inside = middle
        else:
            outside = middle
    return inside
