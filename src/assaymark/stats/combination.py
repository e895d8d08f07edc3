"""Several scorers as one: transforms of single scores, and the rules that combine them.

References
----------
.. [1] Al-Shabi, M., Connie, T. and Teoh, A. B. J. (2016). Adult content recognition from images using a mixture of
   convolutional neural networks. arXiv:1612.09506, M(x): a weighted sum of network outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from assaymark.stats.checks import FloatArray

__all__ = ["RULES", "Transform", "apply_transform", "clipped_logit", "combine_scores"]

RULES = ("linear", "average", "majority", "max", "geometric")
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
) -> npt.NDArray[np.float64]:
    """One score for each row of member scores.

    Parameters
    ----------
    scores : array_like, shape (n, k)
    rule : "linear" (scores @ weights + intercept, [1]), "average", "max", "geometric" (probability of the mean log-odds),
        "majority" (share of members at or above `threshold`)
    weights : array_like, shape (k,), for "linear"

    Returns
    -------
    array, shape (n,), float64; NaN where a member's score is missing.

    Notes
    -----
    O(n k).
    """
    columns = np.asarray(scores, dtype=np.float64)
    if rule == "linear":
        combined = columns @ np.asarray(weights, dtype=np.float64) + intercept
    elif rule == "average":
        combined = columns.mean(axis=1)
    elif rule == "max":
        combined = columns.max(axis=1)
    elif rule == "geometric":
        combined = _sigmoid(clipped_logit(columns).mean(axis=1))
    elif rule == "majority":
        combined = (columns >= threshold).mean(axis=1)
    else:
        raise ValueError(f"rule {rule!r} is none of {', '.join(RULES)}")
    return np.where(np.isnan(columns).any(axis=1), np.nan, combined)


def _sigmoid(values: FloatArray) -> FloatArray:
    from scipy.special import expit

    return np.asarray(expit(values))
