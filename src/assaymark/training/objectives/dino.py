"""DINO: a student learns what its own slow average, the teacher, says of the other view."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from assaymark.training.objectives.encoder_training import EncoderTraining

__all__ = ["Dino", "dino_loss"]


def dino_loss(
    student: tuple[torch.Tensor, torch.Tensor],
    teacher: tuple[torch.Tensor, torch.Tensor],
    centre: torch.Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> torch.Tensor:
    """Cross-entropy of the student on one view against the teacher on the other, both ways (eq. 3 of [1]).

    Parameters
    ----------
    student, teacher : two tensors each, shape (n, k)
        Logits of the first and the second view; no gradient flows into the teacher's.
    centre : tensor, shape (k,)
        Taken from the teacher's logits, so that no output wins always.

    References
    ----------
    .. [1] Caron et al. Emerging properties in self-supervised vision transformers. ICCV 2021.
    """
    losses = []
    for i in (0, 1):
        wanted = ((teacher[1 - i].detach() - centre) / teacher_temperature).softmax(dim=1)
        losses.append(-(wanted * (student[i] / student_temperature).log_softmax(dim=1)).sum(dim=1).mean())
    return (losses[0] + losses[1]) / 2


class Dino(EncoderTraining):
    """Two global views; student and teacher with a head each. `encoder` is the teacher's, which is what [1] evaluates.

    Parameters
    ----------
    projection : int
        Outputs k that the two agree on; 65,536 in [1] for ImageNet.
    momentum : float
        Of the teacher's average at the start; it rises to 1 along a cosine ([1], section 3.1).
    centre_momentum : float

    Notes
    -----
    Teacher and centre are part of the module's state, so that a continued training continues them too. Under several processes
    the centre is that of the first one's part of the batches.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        dimension: int,
        projection: int = 256,
        hidden: int | None = None,
        bottleneck: int = 64,
        momentum: float = 0.996,
        centre_momentum: float = 0.9,
        **normalisation: Any,
    ) -> None:
        super().__init__(encoder, **normalisation)
        self.head = _head(dimension, hidden or dimension, bottleneck, projection)
        self.student, self.student_head = copy.deepcopy(encoder), copy.deepcopy(self.head)
        for parameter in (*self.encoder.parameters(), *self.head.parameters()):
            parameter.requires_grad_(False)
        self.register_buffer("centre", torch.zeros(projection))
        self._momentum, self._centre_momentum = momentum, centre_momentum

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        pixels = self.normalised(torch.cat(batch[:2]))
        student = self.student_head(self.student(pixels))
        with torch.no_grad():
            teacher = self.head(self.encoder(pixels))
        loss = dino_loss(_halves(student), _halves(teacher), self.centre)
        if self.training:
            self.centre.lerp_(teacher.mean(dim=0), 1.0 - self._centre_momentum)
        return loss

    def after_step(self, step: int, *, steps: int) -> None:
        """Move the teacher towards the student."""
        momentum = 1.0 - (1.0 - self._momentum) * (1.0 + math.cos(math.pi * (step - 1) / steps)) / 2.0
        with torch.no_grad():
            for slow, fast in ((self.encoder, self.student), (self.head, self.student_head)):
                torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1.0 - momentum)


def _halves(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = logits.chunk(2)
    return first, second


def _head(dimension: int, hidden: int, bottleneck: int, outputs: int) -> nn.Sequential:
    """Perceptron to a bottleneck on the unit sphere, and prototypes of unit length ([1], appendix C)."""
    prototypes = nn.utils.parametrizations.weight_norm(nn.Linear(bottleneck, outputs, bias=False))
    prototypes.parametrizations.weight.original0.data.fill_(1.0)
    prototypes.parametrizations.weight.original0.requires_grad_(False)
    return nn.Sequential(nn.Linear(dimension, hidden), nn.GELU(), nn.Linear(hidden, bottleneck), _UnitLength(), prototypes)


class _UnitLength(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(rows, dim=1)
