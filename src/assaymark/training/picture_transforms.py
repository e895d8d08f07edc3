"""Crops and colour changes of a batch whose parameters are given for each picture: affine grids and broadcasting, no loop.

All of them work in [0, 1], before normalisation: colour changes clamp to it, and would destroy the dark half of pictures that
were already centred.
"""

from __future__ import annotations

import torch

__all__ = ["contrasted", "cropped", "flipped", "grey_of", "greyed", "hue_turned", "rolled", "saturated"]

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


def cropped(images: torch.Tensor, boxes: torch.Tensor, *, mirrored: torch.Tensor | None = None) -> torch.Tensor:
    """Boxes of the pictures, resized to their full size (bilinear), some of them mirrored left to right on the way.

    Parameters
    ----------
    images : float tensor, shape (n, c, h, w)
    boxes : tensor, shape (n, 4)
        Top, left, height and width in pixels, not rounded; inside the picture.
    mirrored : tensor of bool, shape (n,), optional

    Notes
    -----
    A box is never larger than what it becomes, so that nothing has to be smoothed before it is sampled.
    """
    height, width = images.shape[2:]
    top, left, tall, wide = boxes.to(images.dtype).unbind(dim=1)
    across = wide / width
    if mirrored is not None:
        across = torch.where(mirrored, -across, across)
    zero = torch.zeros_like(top)
    row_x = torch.stack([across, zero, (2 * left + wide) / width - 1], dim=1)
    row_y = torch.stack([zero, tall / height, (2 * top + tall) / height - 1], dim=1)
    grid = torch.nn.functional.affine_grid(torch.stack([row_x, row_y], dim=1), list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def flipped(images: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Those pictures, shape (n, c, h, w), mirrored left to right for which the flag, shape (n,), is set."""
    return torch.where(_each(which), images.flip(3), images)


def rolled(images: torch.Tensor, down: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Each picture, shape (n, c, h, w), moved by whole pixels, shape (n,); what leaves on one side enters on the other."""
    n, _, height, width = images.shape
    rows = (torch.arange(height, device=images.device) - down[:, None]) % height  # (n, h)
    columns = (torch.arange(width, device=images.device) - right[:, None]) % width  # (n, w)
    which = torch.arange(n, device=images.device)
    # Three index tensors around the slice: torch puts their shape (n, h, w) first and the channels last.
    return images[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def grey_of(images: torch.Tensor) -> torch.Tensor:
    """Brightness of each pixel, shape (n, 1, h, w), of pictures with one or three channels."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(_GREY, device=images.device, dtype=images.dtype)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True)


def greyed(images: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Those pictures without colour for which the flag, shape (n,), is set."""
    return torch.where(_each(which), grey_of(images).expand_as(images), images)


def contrasted(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Distance of each pixel from the mean brightness of its picture, times a factor, shape (n,), and clamped to [0, 1]."""
    middle = grey_of(images).mean(dim=(2, 3), keepdim=True)
    return (middle + (images - middle) * _each(factors)).clamp(0.0, 1.0)


def saturated(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Distance of each pixel from its own grey, times a factor, shape (n,), and clamped to [0, 1]."""
    grey = grey_of(images)
    return (grey + (images - grey) * _each(factors)).clamp(0.0, 1.0)


def hue_turned(images: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Hue moved around the colour circle, saturation and value (of HSV) as they were.

    Parameters
    ----------
    images : float tensor, shape (n, 3, h, w), in [0, 1]
    turns : tensor, shape (n,)
        Parts of a full circle: 1/3 makes red green.
    """
    value, strongest = images.max(dim=1)
    chroma = value - images.amin(dim=1)
    red, green, blue = images.unbind(dim=1)
    safe = chroma.clamp(min=1e-12)
    from_red, from_green, from_blue = (green - blue) / safe, (blue - red) / safe + 2.0, (red - green) / safe + 4.0
    hue = torch.where(strongest == 0, from_red, torch.where(strongest == 1, from_green, from_blue))  # in sixths of the circle
    hue = hue + 6.0 * turns.to(images.dtype)[:, None, None]
    # A channel falls off linearly with the distance of the hue from its own: 0 beyond two sixths.
    places = [torch.remainder(offset + hue, 6.0) for offset in (5.0, 3.0, 1.0)]
    shares = [torch.minimum(place, 4.0 - place).clamp(0.0, 1.0) for place in places]
    return torch.stack([value - chroma * share for share in shares], dim=1)


def _each(numbers: torch.Tensor) -> torch.Tensor:
    return numbers[:, None, None, None]
