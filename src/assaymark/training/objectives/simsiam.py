"""SimSiam: each view predicts the other, which stands still meanwhile."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from assaymark.training.objectives.encoder_training import EncoderTraining, perceptron

__all__ = ["SimSiam", "simsiam_loss"]


def simsiam_loss(predicted: tuple[torch.Tensor, torch.Tensor], projected: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean negative cosine of each prediction and the projection of the other view, in [-1, 1] (eq. 2 and 4 of [1]).

    Parameters
    ----------
    predicted, projected : two tensors each, shape (n, d)
        Of the first and the second view. No gradient flows into `projected`: without that the outputs collapse.

    References
    ----------
    .. [1] Chen, He. Exploring simple Siamese representation learning. CVPR 2021.
    """
    cosine = torch.nn.functional.cosine_similarity
    halves = [cosine(predicted[i], projected[1 - i].detach(), dim=1).mean() for i in (0, 1)]
    return -(halves[0] + halves[1]) / 2


class SimSiam(EncoderTraining):
    """Projector of three layers, predictor with a bottleneck of a quarter, both with batch normalisation ([1], section 3)."""

    def __init__(self, encoder: Any, *, dimension: int, projection: int = 64, **normalisation: Any) -> None:
        super().__init__(encoder, **normalisation)
        last = nn.BatchNorm1d(projection, affine=False)  # the public code of [1]: the predictor follows it
        self.projector = nn.Sequential(perceptron([dimension, projection, projection, projection], normalise=True), last)
        self.predictor = perceptron([projection, max(projection // 4, 1), projection], normalise=True)

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        # One view at a time: each is normalised by its own statistics, as in the paper.
        projected = self.projector(self.represented(batch[0])), self.projector(self.represented(batch[1]))
        return simsiam_loss((self.predictor(projected[0]), self.predictor(projected[1])), projected)
