"""Cross-entropy of pairs of prompts and its gradient in closed form, for many pairs on the same embeddings at once.

With two rows the softmax is a sigmoid of a_i.w, w = c (p_1 - p_0). With g = c sum_i weight_i (s_i - y_i) a_i the gradient is
dP_1 = (I - p_1 p_1^T) g / |P_1| and dP_0 = -(I - p_0 p_0^T) g / |P_0|; the projection comes from p_k = P_k / |P_k|.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.scoring import LOGIT_SCALE, unit_prompts, unit_rows

__all__ = [
    "PromptState",
    "checked_labels",
    "initial_rows",
    "prompt_gradient",
    "prompt_state",
    "residual_and_loss",
    "row_gradient",
    "unit_embeddings",
]

Floats = npt.NDArray[np.float64]


class PromptState(NamedTuple):
    """Prompts of J problems: unit rows p, shape (J, 2, d); lengths, (J, 2, 1); directions w, (d, J)."""

    p: Floats
    length: Floats
    w: Floats


def prompt_state(P: Floats, logit_scale: float) -> PromptState:
    """What a step needs of prompt rows of shape (J, 2, d)."""
    length = np.linalg.norm(P, axis=2, keepdims=True)
    p = P / length
    return PromptState(p, length, np.ascontiguousarray(logit_scale * (p[:, 1] - p[:, 0]).T))


def row_gradient(state: PromptState, g: Floats) -> Floats:
    """Gradient with respect to P from g = c sum_i weight_i (s_i - y_i) a_i, shape (J, d)."""
    G = np.stack([-g, g], axis=1)
    return np.asarray((G - np.sum(G * state.p, axis=2, keepdims=True) * state.p) / state.length)


def residual_and_loss(z: Floats, y: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted s - y, shape (n, J), and the weighted cross-entropy of each column, from one exponential per entry."""
    # in place: fresh arrays of this size cost more than the arithmetic on them
    small = np.abs(z)
    np.exp(np.negative(small, out=small), out=small)
    loss = np.log1p(small)
    loss += np.maximum(z, 0.0)
    loss -= y * z
    small += 1.0
    np.reciprocal(small, out=small)  # sigmoid(|z|)
    residual = np.where(z >= 0, small, 1.0 - small)
    residual -= y
    residual *= weight
    return residual, np.einsum("ij,ij->j", weight, loss)


def prompt_gradient(V: Any, y: Any, P: Any, *, logit_scale: float = LOGIT_SCALE) -> Floats:
    """Gradient of the mean cross-entropy with respect to the prompt rows, in closed form (see the module).

    Parameters
    ----------
    V : array_like, shape (n, d); rows are divided by their length
    y : array_like, shape (n,), 0/1 or bool
    P : array_like, shape (2, d)

    Returns
    -------
    float64 array, shape (2, d). O(n d).
    """
    images, labels, prompts = unit_embeddings(V), checked_labels(y, len(V)), initial_rows(P, unit=False)
    state = prompt_state(prompts[None], logit_scale)
    residual, _ = residual_and_loss(images @ state.w, labels[:, None], np.full((len(labels), 1), 1.0 / len(labels)))
    return np.asarray(row_gradient(state, logit_scale * (images.T @ residual).T)[0])


def unit_embeddings(V: Any) -> Floats:
    """Rows of unit length in float64; ValueError where a row has no direction."""
    images = unit_rows(V)
    if images.invalid.any():
        raise ValueError(f"{int(images.invalid.sum())} embeddings are zero or not finite: leave them out before tuning")
    return images.rows.astype(np.float64)


def checked_labels(y: Any, n: int) -> Floats:
    """`n` labels as 0.0 and 1.0; ValueError for anything else."""
    labels = np.asarray(y)
    if labels.shape != (n,) or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"y: expected {n} labels, 0 or 1")
    return labels.astype(np.float64)


def initial_rows(P0: Any, *, unit: bool = True) -> Floats:
    """Two prompt rows, scaled to unit length or as they are."""
    rows = unit_prompts(P0)
    if len(rows) != 2:
        raise ValueError("tuning takes two prompt rows; a neutral row is for zero-shot rating only")
    return rows if unit else np.asarray(P0, dtype=np.float64)
