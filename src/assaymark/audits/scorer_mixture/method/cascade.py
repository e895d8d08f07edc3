"""Ask the cheap networks first, and stop when those that are left cannot change the decision.

Scores lie in [0, 1], so what is left of the weighted sum lies between the sum of the negative and that of the positive weights
that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import mean, wilson
from assaymark.stats.combination import combine_scores

__all__ = ["Cascade", "CascadeRun", "CostPoint", "cost_accuracy_curve", "plan_cascade", "run_cascade"]

Floats = npt.NDArray[np.float64]

ROUNDING = 1e-12
"""Early stops keep this distance from the threshold, relative to the weights: sums in another order differ by less."""


class Cascade(NamedTuple):
    """A mixture with the order in which its networks are asked.

    Attributes
    ----------
    weights : array, shape (k,); intercept, threshold : float
    costs : array, shape (k,), >= 0
    order : array of int
        Networks by rising cost (equal costs: larger weight first); those of weight 0 are never asked.
    """

    weights: Floats
    intercept: float
    threshold: float
    costs: Floats
    order: npt.NDArray[np.int64]


class CascadeRun(NamedTuple):
    """What a cascade did.

    Attributes
    ----------
    decisions : bool array, shape (n,)
    asked : int array, shape (n,)
        Networks asked for each row.
    cost : array, shape (n,)
    mean_cost : Estimate
    full_cost : float
        Cost of asking every network of the mixture.
    """

    decisions: npt.NDArray[np.bool_]
    asked: npt.NDArray[np.int64]
    cost: Floats
    mean_cost: Estimate
    full_cost: float


class CostPoint(NamedTuple):
    """One point of the trade between cost and accuracy; at slack 0 the decisions are those of the full mixture."""

    slack: float
    mean_cost: Estimate
    accuracy: Estimate
    changed: Estimate


def plan_cascade(weights: Any, *, costs: Any, threshold: float = 0.5, intercept: float = 0.0) -> Cascade:
    """Order the networks of a mixture by cost."""
    beta, price = np.asarray(weights, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if beta.ndim != 1 or price.shape != beta.shape or not (np.isfinite(price).all() and np.all(price >= 0)):
        raise ValueError("a cascade needs one cost >= 0 for each network")
    order = np.lexsort((-np.abs(beta), price))
    return Cascade(beta, float(intercept), float(threshold), price, order[beta[order] != 0.0])


def run_cascade(scores: Any, cascade: Cascade, *, slack: float = 0.0, expected: Any = 0.5) -> CascadeRun:
    """Decide every row with as few networks as needed.

    Parameters
    ----------
    scores : array_like, shape (n, k), in [0, 1]
        All scores; the cascade reads the columns it would have asked for.
    slack : float in [0, 1]
        0: decisions identical to the full evaluation. Above: the bounds on what is left are drawn that far towards what is
        expected of it, so that rows stop earlier and some decisions change; at 1 the first network decides.
    expected : float or array, shape (k,)
        Expected scores, used with slack only.

    Notes
    -----
    A loop over networks, vectorised over the rows that are still open; O(n k) at most.
    """
    given = np.asarray(scores, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != len(cascade.weights):
        raise ValueError(f"scores of shape {given.shape} for a cascade of {len(cascade.weights)} networks")
    if not (np.all(given >= 0.0) and np.all(given <= 1.0)):
        raise ValueError("a cascade needs complete scores in [0, 1]: its bounds come from that range")
    low, high = _remaining(cascade, slack, np.broadcast_to(np.asarray(expected, dtype=np.float64), cascade.weights.shape))
    margin = 0.0 if slack > 0 else ROUNDING * (np.abs(cascade.weights).sum() + abs(cascade.intercept) + abs(cascade.threshold))
    n, last = len(given), len(cascade.order)
    partial, asked = np.full(n, cascade.intercept), np.zeros(n, dtype=np.int64)
    decisions, still = np.zeros(n, dtype=bool), np.arange(n)
    for step in range(last + 1):
        if step:
            network = cascade.order[step - 1]
            partial[still] += cascade.weights[network] * given[still, network]
            asked[still] = step
        if step == last:
            # the sum in the order of the full evaluation: equal decisions to the last bit
            whole = combine_scores(given[still], "linear", weights=cascade.weights, intercept=cascade.intercept)
            decisions[still] = whole >= cascade.threshold
            break
        if slack > 0 and step == 0:
            continue
        yes = partial[still] + low[step] >= cascade.threshold + margin
        no = partial[still] + high[step] < cascade.threshold - margin
        decisions[still[yes]] = True
        still = still[~(yes | no)]
        if not still.size:
            break
    spent = np.concatenate([[0.0], np.cumsum(cascade.costs[cascade.order])])
    cost = spent[asked]
    return CascadeRun(decisions, asked, cost, mean(cost), float(spent[-1]))


def _remaining(cascade: Cascade, slack: float, expected: Floats) -> tuple[Floats, Floats]:
    """Bounds on the weighted sum of the networks not yet asked, after 0, 1, ... of them; shape (asked + 1,) each."""
    if not 0.0 <= slack <= 1.0:
        raise ValueError("slack lies between 0 and 1")
    beta = cascade.weights[cascade.order]
    middle = beta * expected[cascade.order]
    bounds = []
    for end in (np.minimum(beta, 0.0), np.maximum(beta, 0.0)):
        each = (1.0 - slack) * end + slack * middle
        bounds.append(np.append(np.cumsum(each[::-1])[::-1], 0.0))
    return bounds[0], bounds[1]


def cost_accuracy_curve(
    scores: Any, y: Any, cascade: Cascade, *, slacks: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), expected: Any = 0.5
) -> tuple[CostPoint, ...]:
    """Mean cost and accuracy as rows are allowed to stop earlier; `changed` is the share of decisions that differ."""
    labels = np.asarray(y) > 0.5
    full = combine_scores(scores, "linear", weights=cascade.weights, intercept=cascade.intercept) >= cascade.threshold
    points = []
    for slack in slacks:
        run = run_cascade(scores, cascade, slack=slack, expected=expected)
        right, changed = int((run.decisions == labels).sum()), int((run.decisions != full).sum())
        points.append(CostPoint(float(slack), run.mean_cost, wilson(right, len(labels)), wilson(changed, len(labels))))
    return tuple(points)
