"""Views of items: what the augmentation of a training makes of a batch, each view a function of item, draw and seed alone.

Used twice. A training draws two fresh views of each row in every step (`Views`). An audit asks for view k of an item (`views`)
and gives the very same one to every model and layer (common random numbers), whatever the batches and their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from assaymark.errors import InputError
from assaymark.training.augmentation_spec import AugmentationSpec
from assaymark.training.keyed_draws import KeyedDraws, item_keys
from assaymark.training.picture_transforms import contrasted, cropped, flipped, greyed, hue_turned, rolled, saturated

__all__ = ["Views", "views"]

_ATTEMPTS = 10
# Slots of the draws: an augmentation that leaves something out shifts nothing else.
_SCALE, _RATIO, _TOP, _LEFT, _FLIP, _JITTER, _COLOUR, _GREY, _DOWN, _RIGHT, _PARAMETERS = (
    0,
    10,
    20,
    21,
    22,
    23,
    24,
    28,
    29,
    30,
    31,
)
_DROP, _NOISE = 1 << 32, 2 << 32


def views(
    pixels: torch.Tensor, *, ids: Sequence[str] | npt.NDArray[np.integer], draw: int, seed: int, spec: AugmentationSpec
) -> torch.Tensor:
    """View number `draw` of each item, on the device of the pixels.

    Parameters
    ----------
    pixels : tensor, shape (n, 3 or 1, h, w), in [0, 1] or uint8; or vectors, shape (n, d)
        Not normalised.
    ids : sequence of n str, or array of n whole numbers
        As `keyed_draws.item_keys` takes them; hash once (`item_keys`) what is asked for many times.
    draw : int
        The two views of a pair are 2k and 2k + 1.
    seed : int
    spec : AugmentationSpec

    Returns
    -------
    tensor, float32, of the same shape; pictures in [0, 1]

    Raises
    ------
    InputError
        The augmentation is one of pictures, and these are vectors.

    Notes
    -----
    O(n x coordinates). On one machine a view is equal bit for bit in any batch; between a CPU and a GPU up to rounding.
    """
    keys = torch.from_numpy(item_keys(ids)).to(pixels.device)
    if len(keys) != len(pixels):
        raise ValueError(f"{len(keys)} ids for {len(pixels)} items")
    return _augmented(_unit_floats(pixels), KeyedDraws(keys, draw=draw, seed=seed), spec)


@dataclass(frozen=True, slots=True)
class Views:
    """Fresh views of the first tensor of a batch, in the place of that tensor; for `train(..., augment=Views(spec))`.

    Attributes
    ----------
    spec : AugmentationSpec
    count : int
        Views of each row: 2 make (pixels, labels) to (first views, second views, labels).
    """

    spec: AugmentationSpec
    count: int = 2

    def __call__(self, batch: tuple[torch.Tensor, ...], rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        pixels, *rest = batch
        pixels = _unit_floats(pixels)
        rows = len(pixels) * self.count
        draws = KeyedDraws(torch.arange(rows, device=pixels.device), draw=0, seed=int(rng.integers(1 << 62)))
        repeated = pixels.repeat(self.count, *(1,) * (pixels.ndim - 1)) if self.count > 1 else pixels
        return (*_augmented(repeated, draws, self.spec).chunk(self.count), *rest)


def _unit_floats(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.float() if pixels.is_floating_point() else pixels.float() / 255.0


def _augmented(items: torch.Tensor, draws: KeyedDraws, spec: AugmentationSpec) -> torch.Tensor:
    pictures = items.ndim == 4
    if spec.pictures_only:
        if not pictures or items.shape[1] not in (1, 3):
            given = tuple(items.shape[1:])
            raise InputError(f"augmentation {spec.name} is one of pictures with 1 or 3 channels, not of items of shape {given}")
        items = _picture_views(items, draws.uniform(first=0, count=_PARAMETERS), spec)
    flat = items.flatten(1)
    if spec.drop:
        flat = flat * (draws.uniform(first=_DROP, count=flat.shape[1]) >= spec.drop)
    if spec.noise:
        flat = flat + spec.noise * draws.normal(first=_NOISE, count=flat.shape[1])
    if pictures and spec.noise:
        flat = flat.clamp(0.0, 1.0)
    return flat.view(items.shape) if spec.drop or spec.noise else items


def _picture_views(images: torch.Tensor, u: torch.Tensor, spec: AugmentationSpec) -> torch.Tensor:
    """Everything that is drawn once a picture. `u` are uniform numbers, shape (n, 31), by slot."""
    mirrored = u[:, _FLIP] < spec.flip if spec.flip else None
    if spec.crop_scale is not None:
        images = cropped(images, _crop_boxes(u, spec, height=images.shape[2], width=images.shape[3]), mirrored=mirrored)
    elif mirrored is not None:
        images = flipped(images, mirrored)
    if spec.colours:
        images = torch.where((u[:, _JITTER] < spec.jitter)[:, None, None, None], _colours(images, u, spec), images)
    if spec.grey:
        images = greyed(images, u[:, _GREY] < spec.grey)
    if spec.roll:
        down, right = ((u[:, slot] * (2 * spec.roll + 1)).long() - spec.roll for slot in (_DOWN, _RIGHT))
        images = rolled(images, down, right)
    return images


def _crop_boxes(u: torch.Tensor, spec: AugmentationSpec, *, height: int, width: int) -> torch.Tensor:
    """Top, left, height and width, shape (n, 4): the first of ten attempts that fits; if none does, the whole picture.

    Sizes are not rounded to whole pixels, and the way out is not torchvision's centre crop; both matter for long pictures only.
    """
    assert spec.crop_scale is not None
    low, high = spec.crop_scale
    scale = low + (high - low) * u[:, _SCALE : _SCALE + _ATTEMPTS]
    least, most = (torch.tensor(ratio).log() for ratio in spec.crop_ratio)
    ratio = (least + (most - least) * u[:, _RATIO : _RATIO + _ATTEMPTS]).exp()
    area = height * width * scale
    wide, tall = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (wide <= width) & (tall <= height)
    first = fits.to(torch.uint8).argmax(dim=1, keepdim=True)
    found = fits.gather(1, first)[:, 0]
    wide = torch.where(found, wide.gather(1, first)[:, 0], float(width))
    tall = torch.where(found, tall.gather(1, first)[:, 0], float(height))
    return torch.stack([u[:, _TOP] * (height - tall), u[:, _LEFT] * (width - wide), tall, wide], dim=1)


def _colours(images: torch.Tensor, u: torch.Tensor, spec: AugmentationSpec) -> torch.Tensor:
    def factors(place: int, strength: float) -> torch.Tensor:
        low = max(0.0, 1.0 - strength)
        return low + (1.0 + strength - low) * u[:, _COLOUR + place]

    if spec.brightness:
        images = (images * factors(0, spec.brightness)[:, None, None, None]).clamp(0.0, 1.0)
    if spec.contrast:
        images = contrasted(images, factors(1, spec.contrast))
    if spec.saturation:
        images = saturated(images, factors(2, spec.saturation))
    if spec.hue and images.shape[1] == 3:
        images = hue_turned(images, spec.hue * (2.0 * u[:, _COLOUR + 3] - 1.0))
    return images
