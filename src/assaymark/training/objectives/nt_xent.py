"""NT-Xent, the objective of SimCLR: a view is to be found again among all other views of a batch."""

from __future__ import annotations

from typing import Any

import torch

from assaymark.training.objectives.encoder_training import EncoderTraining, perceptron

__all__ = ["SimClr", "nt_xent_loss", "pairs_found"]


def nt_xent_loss(first: torch.Tensor, second: torch.Tensor, *, temperature: float = 0.5) -> torch.Tensor:
    """Mean cross-entropy of each view against its partner among the 2n - 1 others (eq. 1 of [1]).

    Parameters
    ----------
    first, second : tensors, shape (n, d)
        Projections of two views of n items, in the same order; of any length.
    temperature : float
        .5 in the public code of Wang et al. (NeurIPS 2024).

    Notes
    -----
    O(n^2 d). pytorch-metric-learning's NTXentLoss computes the same number from labels, and a test holds the two equal. It is
    no dependency here because it holds every positive pair against every negative one, O(n^3): 0.4 s instead of 1 ms for 128
    items. Under several processes the other views are those of one process.

    References
    ----------
    .. [1] Chen, Kornblith, Norouzi, Hinton. A simple framework for contrastive learning of visual representations. ICML 2020.
    """
    return torch.nn.functional.cross_entropy(_logits(first, second) / temperature, _partners(first))


def pairs_found(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Share of the 2n views whose nearest other view is their partner: the contrastive accuracy, by chance 1 / (2n - 1)."""
    return (_logits(first, second).argmax(dim=1) == _partners(first)).float().mean()


class SimClr(EncoderTraining):
    """An encoder trained by NT-Xent on projections dimension -> hidden -> projection ([1]; 64 in the code of Wang et al.)."""

    def __init__(
        self,
        encoder: Any,
        *,
        dimension: int,
        projection: int = 64,
        hidden: int | None = None,
        temperature: float = 0.5,
        **normalisation: Any,
    ) -> None:
        super().__init__(encoder, **normalisation)
        self.projector = perceptron([dimension, hidden or dimension, projection])
        self._temperature = temperature

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        first, second = self.projector(self.represented(torch.cat(batch[:2]))).chunk(2)
        return nt_xent_loss(first, second, temperature=self._temperature)


def _logits(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosines of all 2n views, each with itself left out: shape (2n, 2n)."""
    z = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    return (z @ z.T).fill_diagonal_(-torch.inf)


def _partners(first: torch.Tensor) -> torch.Tensor:
    n = len(first)
    return torch.arange(2 * n, device=first.device).roll(n)
