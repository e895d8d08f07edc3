"""Many scores of one item into one: the fixed rules, and the weighted sum.

References
----------
.. [1] Kittler, J., Hatef, M., Duin, R. P. W. and Matas, J. (1998). On combining classifiers. IEEE PAMI 20, 226-239.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from assaymark.errors import UnknownName
from assaymark.stats.checks import FloatArray

__all__ = ["RULES", "Rule", "combine_scores"]

Rule = Literal["linear", "average", "majority", "max", "geometric"]
RULES: tuple[str, ...] = get_args(Rule)

CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""


def combine_scores(
    scores: Any, rule: str, *, weights: Any = None, intercept: float = 0.0, threshold: float = 0.5
) -> FloatArray:
    """One score per item from the scores of k members.

    Parameters
    ----------
    scores : array_like, shape (n, k), k >= 1
        Probabilities; any finite numbers for "linear", "average" and "max".
    rule : one of `RULES`
        "linear": `scores @ weights + intercept`; "average": mean; "majority": share of members at or above `threshold`;
        "max": largest; "geometric": the probability whose log-odds are the mean of the members' log-odds.
    weights : array_like, shape (k,)
        For "linear" only.

    Returns
    -------
    array, shape (n,), float64
        NaN where any member's score is missing: a missing score is never a zero.

    Raises
    ------
    UnknownName
        The rule is none of `RULES`.
    ValueError
        Shapes that do not fit, or "linear" without weights.
    """
    if rule not in RULES:
        raise UnknownName("rule", rule, RULES)
    members = np.asarray(scores, dtype=np.float64)
    if members.ndim != 2 or not members.shape[1]:
        raise ValueError(f"scores of shape {members.shape}: expected (items, members)")
    if rule == "linear":
        return _linear(members, weights, intercept)
    if rule == "average":
        return np.asarray(members.mean(axis=1))
    if rule == "max":
        return np.asarray(members.max(axis=1))
    if rule == "majority":
        votes = (members >= threshold).mean(axis=1)
        return np.where(np.isnan(members).any(axis=1), np.nan, votes)
    inside = np.clip(members, CLIP, 1.0 - CLIP)
    log_odds = (np.log(inside) - np.log1p(-inside)).mean(axis=1)
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def _linear(members: FloatArray, weights: Any, intercept: float) -> FloatArray:
    if weights is None:
        raise ValueError("the rule 'linear' needs one weight for each member")
    vector = np.asarray(weights, dtype=np.float64)
    if vector.shape != (members.shape[1],):
        raise ValueError(f"{members.shape[1]} members but weights of shape {vector.shape}")
    missing = np.isnan(members).any(axis=1)
    # einsum sums each row in the same order however many rows there are; a matrix product may not
    total = np.einsum("nk,k->n", members, vector) + intercept
    return np.where(missing, np.nan, total)
