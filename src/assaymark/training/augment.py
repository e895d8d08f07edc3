"""Random crops, flips and colour changes of a batch, drawn from a seeded generator and computed on the batch's device.

The draws are a few numbers per picture and come from numpy, so that a CPU and a GPU see the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from assaymark.training.picture_transforms import flipped, grey_of

__all__ = ["Augmentation", "colour_jitter", "horizontal_flip", "random_crop"]


def random_crop(images: torch.Tensor, rng: np.random.Generator, *, padding: int) -> torch.Tensor:
    """Each picture moved by up to `padding` pixels a side, what comes in from outside being its mirrored edge.

    Parameters
    ----------
    images : tensor, shape (n, c, h, w), of any type; `padding` < h, w
    rng : numpy Generator

    Returns
    -------
    tensor of the same shape and type
    """
    n, _, height, width = images.shape
    top, left = (torch.from_numpy(rng.integers(-padding, padding + 1, size=n)).to(images.device) for _ in range(2))
    y = _mirrored(torch.arange(height, device=images.device) + top[:, None], height)  # (n, h)
    x = _mirrored(torch.arange(width, device=images.device) + left[:, None], width)  # (n, w)
    which = torch.arange(n, device=images.device)
    # Three index tensors around the slice: torch puts their shape (n, h, w) first and the channels last.
    return images[which[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def horizontal_flip(images: torch.Tensor, rng: np.random.Generator, *, probability: float = 0.5) -> torch.Tensor:
    """Each picture, shape (n, c, h, w), mirrored left to right with the given probability."""
    return flipped(images, torch.from_numpy(rng.random(len(images)) < probability).to(images.device))


def colour_jitter(
    images: torch.Tensor, rng: np.random.Generator, *, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2
) -> torch.Tensor:
    """Brightness, contrast and saturation of each picture times factors from 1 - x to 1 + x, in this order.

    Parameters
    ----------
    images : float tensor, shape (n, 3, h, w), in [0, 1]
    rng : numpy Generator
    brightness, contrast, saturation : float in [0, 1]

    Returns
    -------
    tensor of the same shape, in [0, 1]
    """
    draws = 1.0 + rng.uniform(-1.0, 1.0, size=(3, len(images))) * np.array([[brightness], [contrast], [saturation]])
    bright, contrasted, saturated = torch.from_numpy(draws).to(images.device, images.dtype)[:, :, None, None, None]
    images = images * bright
    middle = grey_of(images).mean(dim=(2, 3), keepdim=True)
    images = middle + (images - middle) * contrasted
    grey = grey_of(images)
    return (grey + (images - grey) * saturated).clamp(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The usual three on the first tensor of a batch; 0 or False leaves one out. To be given to `train(..., augment=...)`.

    Pictures are uint8 or in [0, 1]; they are float32 in [0, 1] afterwards.
    """

    padding: int = 4
    flip: bool = True
    jitter: float = 0.2

    def __call__(self, batch: tuple[torch.Tensor, ...], rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        images, *rest = batch
        if self.padding:
            images = random_crop(images, rng, padding=self.padding)
        if self.flip:
            images = horizontal_flip(images, rng)
        if not images.is_floating_point():
            images = images.float() / 255.0
        if self.jitter:
            images = colour_jitter(images, rng, brightness=self.jitter, contrast=self.jitter, saturation=self.jitter)
        return (images, *rest)


def _mirrored(positions: torch.Tensor, length: int) -> torch.Tensor:
    """Positions outside [0, length) reflected at the edge pixels."""
    positions = positions.abs()
    return torch.where(positions >= length, 2 * (length - 1) - positions, positions)
