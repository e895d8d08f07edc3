"""Cross-entropy on labels: the control that self-supervised encoders are compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from assaymark.training.objectives.encoder_training import EncoderTraining

__all__ = ["Supervised"]


class Supervised(EncoderTraining):
    """An encoder under a linear head, trained on one view and its label."""

    views = 1
    labelled = True

    def __init__(self, encoder: Any, *, dimension: int, classes: int, **normalisation: Any) -> None:
        super().__init__(encoder, **normalisation)
        self.head = nn.Linear(dimension, classes)

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        pixels, labels = batch[:2]
        return torch.nn.functional.cross_entropy(self.head(self.represented(pixels)), labels)
