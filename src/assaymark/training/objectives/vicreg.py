"""VICReg: two views agree, each output varies, and no two outputs say the same."""

from __future__ import annotations

from typing import Any

import torch

from assaymark.training.objectives.encoder_training import EncoderTraining, perceptron

__all__ = ["VicReg", "vicreg_loss"]

_STABLE = 1e-4


def vicreg_loss(
    first: torch.Tensor, second: torch.Tensor, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> torch.Tensor:
    """Weighted sum of mean squared distance, hinge on the standard deviations, and squared covariances (eq. 6 of [1]).

    Parameters
    ----------
    first, second : tensors, shape (n, d), n >= 2
        Projections of two views of n items.
    invariance, variance, covariance : float
        25, 25 and 1 in [1]. They belong to its public code, which is followed here: it takes the mean of the squared distance
        over the d outputs where eq. 5 takes the sum, and halves the variance term.

    Notes
    -----
    O(n d^2).

    References
    ----------
    .. [1] Bardes, Ponce, LeCun. VICReg: Variance-invariance-covariance regularization. ICLR 2022.
    """
    distance = (first - second).pow(2).mean()
    spread = (_hinge(first) + _hinge(second)) / 2
    shared = _shared(first) + _shared(second)
    return invariance * distance + variance * spread + covariance * shared


def _hinge(z: torch.Tensor) -> torch.Tensor:
    """How far the standard deviations of outputs are below 1, on average (eq. 1)."""
    return torch.relu(1.0 - (z.var(dim=0) + _STABLE).sqrt()).mean()


def _shared(z: torch.Tensor) -> torch.Tensor:
    """Sum of squared covariances of different outputs, by their number (eq. 4)."""
    centred = z - z.mean(dim=0)
    squares = (centred.T @ centred / (len(z) - 1)).pow(2)
    return (squares.sum() - squares.diagonal().sum()) / z.shape[1]


class VicReg(EncoderTraining):
    """An expander of three layers, four times as wide as the representation; 8,192 to 2,048 in [1]."""

    def __init__(self, encoder: Any, *, dimension: int, projection: int | None = None, **normalisation: Any) -> None:
        super().__init__(encoder, **normalisation)
        wide = projection or 4 * dimension
        self.expander = perceptron([dimension, wide, wide, wide], normalise=True, bias=False)

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        first, second = (self.expander(self.represented(view)) for view in batch[:2])
        return vicreg_loss(first, second)
