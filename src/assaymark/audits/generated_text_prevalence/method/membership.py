"""Probability that a post is machine-written from its score and from what else is known of it (platform, time, topic, author).

A calibrated score says how much more probable the post is under machines than under people. What is probable beforehand differs
between months, topics and authors, and has to come from the stream itself: it is estimated as a logistic function of what is
known of a post, by maximum likelihood of the mixture. Without any of that it is EMQ ([1]), the share of the whole stream.

References
----------
.. [1] Saerens, M., Latinne, P. and Decaestecker, C. (2002). Adjusting the outputs of a classifier to new a priori
   probabilities. Neural Computation 14, 21-41.
.. [2] Jordan, M. I. and Jacobs, R. A. (1994). Hierarchical mixtures of experts and the EM algorithm. Neural Computation 6,
   181-214 (a logistic prior fitted by EM).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Membership", "memberships"]

Floats = npt.NDArray[np.float64]
RIDGE = 1.0
"""Penalty on the slopes of standardised columns: a month without any machine-written post would have no finite one."""

LARGEST_RATIO = 1e6
MOST_FITTED = 20_000
"""Posts that the prior is fitted to: its coefficients are then known far better than a post's own probability."""

_ROUNDS = 200
_STEADY = 10  # rounds after which the curvature changes little and is taken anew at every tenth round only


class Membership(NamedTuple):
    """`probability` (n,) of each post given its score, `prior` (n,) before its score is seen; `converged` within 200 rounds.

    `weights` (k + 1,) of the prior, intercept first, are a start for the same posts under slightly other ratios.
    """

    probability: Floats
    prior: Floats
    converged: bool
    weights: Floats


def memberships(
    likelihood_ratio: Floats, design: Floats, *, start: Floats | None = None, tolerance: float = 1e-4
) -> Membership:
    """EM for the mixture with a logistic prior ([2]).

    Parameters
    ----------
    likelihood_ratio : array, shape (n,), >= 0
        Density of the score under machines over that under people; of a calibrated probability s at prior p0, it is
        s / (1 - s) * (1 - p0) / p0.
    design : array, shape (n, k)
        What is known of each post, without an intercept. Rows are in random order: the first `MOST_FITTED` fit the prior.

    start : array, shape (k + 1,), optional
        Weights of an earlier answer.

    Notes
    -----
    Each round is one step of penalised IRLS in place of the full logistic fit (generalised EM): O(n k^2) in the first rounds
    and in every tenth, else O(n k).
    """
    ratio = np.clip(np.asarray(likelihood_ratio, np.float64), 1.0 / LARGEST_RATIO, LARGEST_RATIO)
    columns = np.asarray(design, np.float64)
    spread = columns.std(axis=0)
    scaled = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    x = np.column_stack([np.ones(len(ratio)), scaled])
    penalty = np.diag(np.append(0.0, np.full(columns.shape[1], RIDGE)))
    beta = np.append(-2.0, np.zeros(columns.shape[1])) if start is None else np.asarray(start, np.float64)
    every, x = x, x[:MOST_FITTED]
    prior, converged = _logistic(x @ beta), False
    inverse = np.eye(x.shape[1])
    for number in range(_ROUNDS):
        probability = _posterior(prior, ratio[: len(x)])
        if number < _STEADY or number % _STEADY == 0:
            weight = np.maximum(prior * (1.0 - prior), 1e-6)
            inverse = np.linalg.inv((x * weight[:, None]).T @ x + penalty + 1e-9 * np.eye(x.shape[1]))
        step = inverse @ (x.T @ (probability - prior) - penalty @ beta)
        # A month without machines pulls its coefficient out a long way; small steps keep IRLS from jumping over the maximum.
        step *= min(1.0, 2.0 / max(float(np.abs(x @ step).max(initial=0.0)), 1e-12))
        beta = beta + step
        before, prior = prior, _logistic(x @ beta)
        if np.abs(prior - before).max(initial=0.0) < tolerance:
            converged = True
            break
    prior = _logistic(every @ beta)
    return Membership(_posterior(prior, ratio), prior, converged, beta)


def _logistic(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0))))


def _posterior(prior: Floats, ratio: Floats) -> Floats:
    weighed = prior * ratio
    return np.asarray(weighed / (weighed + 1.0 - prior))
