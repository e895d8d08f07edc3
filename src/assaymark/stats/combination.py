"""Several scorers as one: transforms of single scores, and the rules that combine them.

References
----------
.. [1] Al-Shabi, M., Connie, T. and Teoh, A. B. J. (2016). Adult content recognition from images using a mixture of
   convolutional neural networks. arXiv:1612.09506, M(x): a weighted sum of network outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from assaymark.errors import UnknownName
from assaymark.stats.checks import FloatArray

__all__ = ["RULES", "Rule", "Transform", "apply_transform", "clipped_logit", "combine_scores"]

Rule = Literal["linear", "average", "majority", "max", "geometric"]
RULES: tuple[str, ...] = get_args(Rule)
CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""

TransformKind = Literal["probability", "logit", "platt", "temperature", "isotonic"]


@dataclass(frozen=True, slots=True)
class Transform:
    """What is done to the score of one member before it is combined.

    `parameters`: none for "probability" and "logit"; (slope, offset) on the log-odds for "platt"; (T,) for "temperature"; the
    knots followed by their values for "isotonic" (linear between, constant outside).
    """

    kind: TransformKind
    parameters: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "parameters": list(self.parameters)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Transform:
        return cls(record["kind"], tuple(float(value) for value in record["parameters"]))


def clipped_logit(scores: Any) -> FloatArray:
    """Log-odds of scores kept within [CLIP, 1 - CLIP]; NaN stays NaN."""
    p = np.clip(np.asarray(scores, dtype=np.float64), CLIP, 1.0 - CLIP)
    return np.asarray(np.log(p) - np.log1p(-p))


def apply_transform(scores: Any, transform: Transform) -> FloatArray:
    """Transformed scores, shape (n,); NaN stays NaN.

    Raises
    ------
    ValueError
        For a kind that does not exist, or the wrong number of parameters.
    """
    values = np.asarray(scores, dtype=np.float64)
    kind, parameters = transform.kind, transform.parameters
    if kind == "probability" and not parameters:
        return values
    if kind == "logit" and not parameters:
        return clipped_logit(values)
    if kind == "platt" and len(parameters) == 2:
        return _sigmoid(parameters[0] * clipped_logit(values) + parameters[1])
    if kind == "temperature" and len(parameters) == 1:
        return _sigmoid(clipped_logit(values) / parameters[0])
    if kind == "isotonic" and len(parameters) >= 2 and len(parameters) % 2 == 0:
        knots, heights = np.split(np.asarray(parameters), 2)
        return np.where(np.isnan(values), np.nan, np.interp(values, knots, heights))
    raise ValueError(f"no transform {kind!r} with {len(parameters)} parameters")


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
    return _sigmoid(clipped_logit(members).mean(axis=1))


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


def _sigmoid(values: FloatArray) -> FloatArray:
    from scipy.special import expit

    return np.asarray(expit(values))
