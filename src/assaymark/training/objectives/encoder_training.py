"""What all objectives of encoders have in common: a module that holds the encoder and turns views of a batch into a loss."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import nn

__all__ = ["EncoderTraining", "own_loss", "perceptron"]


class EncoderTraining(nn.Module, ABC):
    """An encoder and what its objective needs beside it; all state is in parameters and buffers, so that checkpoints hold it.

    Parameters
    ----------
    encoder : torch module, (n, ...) -> (n, dimension)
    mean, std : sequence of float, optional
        Per channel, of pixels in [0, 1]; views come in unnormalised and are normalised here, after the augmentation.

    Attributes
    ----------
    encoder : torch module
        What is taken out after the training.
    views : int
        How many views of each row `forward` takes.
    labelled : bool
        It takes labels as well, shape (n,), behind the views.
    """

    views: ClassVar[int] = 2
    labelled: ClassVar[bool] = False

    def __init__(self, encoder: Any, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self._normalised = mean is not None
        if mean is not None and std is not None:
            self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
            self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1] as the encoder wants them."""
        return (pixels - self.mean) / self.std if self._normalised else pixels

    def represented(self, pixels: torch.Tensor) -> torch.Tensor:
        """Representations of views, shape (n, dimension)."""
        return self.encoder(self.normalised(pixels))

    @abstractmethod
    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The mean loss of a batch of views (and labels)."""
        ...

    def after_step(self, step: int, *, steps: int) -> None:
        """Called by the loop after update number `step` of `steps`, counted from 1."""


def own_loss(module: Any, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The objective of a module that computes its loss itself: to be given to `train`."""
    return module(batch)


def perceptron(widths: Sequence[int], *, normalise: bool = False, bias: bool = True) -> nn.Sequential:
    """Linear layers with ReLU between them, and with batch normalisation before each ReLU where asked for."""
    layers: list[nn.Module] = []
    for given, wanted in itertools.pairwise(widths[:-1]):
        layers.append(nn.Linear(given, wanted, bias=not normalise))
        if normalise:
            layers.append(nn.BatchNorm1d(wanted))
        layers.append(nn.ReLU())
    layers.append(nn.Linear(widths[-2], widths[-1], bias=bias))
    return nn.Sequential(*layers)
