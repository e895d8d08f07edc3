"""The settings that decide how a training ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from assaymark.errors import ConfigError, UnknownName
from assaymark.training.schedule import SCHEDULES

__all__ = ["OPTIMISERS", "Settings"]

OPTIMISERS = ("adamw", "adamw-fused", "sgd")


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the result; kept in checkpoints, so that a training is not continued under other settings."""

    steps: int
    optimiser: str
    lr: float
    weight_decay: float
    momentum: float
    schedule: str
    clip: float | None
    seed: int
    precision: str
    validate_every: int
    patience: int | None
    data: str
    warmup: float = 0.0
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"a training needs at least one step, not {self.steps}")
        if self.optimiser not in OPTIMISERS:
            raise UnknownName("optimiser", self.optimiser, OPTIMISERS)
        if self.schedule not in SCHEDULES:
            raise UnknownName("schedule", self.schedule, SCHEDULES)
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"warmup is {self.warmup}; it is a share of the steps, from 0 to below 1")
        if self.warmup and self.schedule not in ("linear", "cosine"):
            raise ConfigError(f"warmup belongs to the schedules linear and cosine; {self.schedule} has none to set")
        if self.accumulate < 1:
            raise ConfigError(f"accumulate is {self.accumulate}; a step is made of at least one batch")
        if not self.lr > 0:
            raise ConfigError(f"the learning rate is {self.lr}; it must be over 0")

    def new_optimiser(self, module: Any) -> Any:
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if self.optimiser == "sgd":
            return torch.optim.SGD(trained, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        fused = self.optimiser == "adamw-fused" or None  # None leaves it to torch
        return torch.optim.AdamW(trained, lr=self.lr, weight_decay=self.weight_decay, fused=fused)
