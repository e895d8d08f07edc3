"""The NT-Xent objective beside pytorch-metric-learning's, forward and backward: equal, and how long a step takes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch

from assaymark.training.objectives.nt_xent import nt_xent_loss
from benchmarks import Row, Target, best_seconds

SIZES, DIMENSION, TEMPERATURE = (100, 256), 64, 0.5
PEER = "peer: pytorch-metric-learning NTXentLoss"


def run(quick: bool = False) -> list[Row]:
    """All rows of the table."""
    return [row for size in (SIZES[:1] if quick else SIZES) for row in loss_rows(size, quick=quick)]


def loss_rows(size: int, *, quick: bool) -> list[Row]:
    generator = torch.Generator().manual_seed(size)
    views = torch.randn(2 * size, DIMENSION, generator=generator)
    peer = peer_loss(size)

    def step(loss: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        given = views.clone().requires_grad_()
        value = loss(given)
        value.backward()
        assert given.grad is not None
        return value.detach(), given.grad

    def ours(given: torch.Tensor) -> torch.Tensor:
        return nt_xent_loss(given[:size], given[size:], temperature=TEMPERATURE)

    repeats = 2 if quick else 5
    seconds = best_seconds(lambda: step(ours), repeats=repeats)
    said = f"{size} items, two views of {DIMENSION} numbers; {PEER if peer is not None else 'the peer is not installed'}"
    if peer is None:
        return [Row(f"NT-Xent, {size} items", seconds, None, "s", said)]
    mine, theirs = step(ours), step(peer)
    largest = max(float((one - other).abs().max()) for one, other in zip(mine, theirs, strict=True))
    fidelity = None if quick else Target("ours", "<=", 1e-6)
    return [
        Row(f"NT-Xent and its gradient, {size} items", seconds, best_seconds(lambda: step(peer), repeats=repeats), "s", said),
        Row(f"largest difference, {size} items", largest, None, "", "of the loss and of its gradient", fidelity),
    ]


def peer_loss(size: int) -> Callable[[torch.Tensor], torch.Tensor] | None:
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        return None
    from pytorch_metric_learning.losses import NTXentLoss

    loss, items = NTXentLoss(temperature=TEMPERATURE), torch.arange(size).repeat(2)
    return lambda given: loss(given, items)
