"""What is done to an item before an encoder sees it, as one frozen value: written beside what was trained with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any

from assaymark.errors import ConfigError, UnknownName

__all__ = ["AUGMENTATIONS", "AugmentationSpec", "augmentation"]


@dataclass(frozen=True, slots=True)
class AugmentationSpec:
    """Changes in the order of these fields; what is 0 or None is left out.

    Attributes
    ----------
    crop_scale : (float, float), optional
        Share of the area that a crop keeps, drawn evenly; it is resized to the full size (RandomResizedCrop).
    crop_ratio : (float, float)
        Width by height of a crop, drawn evenly on a logarithmic scale.
    flip : float
        Probability of a mirrored picture.
    brightness, contrast, saturation : float
        A factor is drawn from [max(0, 1 - x), 1 + x]. With `hue` in this order, which is drawn anew in torchvision.
    hue : float in [0, .5]
        Largest turn, as a part of the colour circle.
    jitter : float
        Probability of the four changes of colour together.
    grey : float
        Probability of a picture without colour.
    roll : int
        Largest shift in pixels, up or down and left or right, around the edges.
    drop : float
        Probability that a coordinate (of a picture: a pixel of a channel) becomes 0.
    noise : float
        Standard deviation of what is added to each coordinate. Pictures are clamped to [0, 1] afterwards, vectors are not.
    """

    name: str = "own"
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter: float = 1.0
    grey: float = 0.0
    roll: int = 0
    drop: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "grey", "drop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augmentation {self.name}: {name} is {getattr(self, name)}; it is a probability")
        for name in ("brightness", "contrast", "saturation", "roll", "noise"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"augmentation {self.name}: {name} is {getattr(self, name)}; it must be at least 0")
        if not 0 <= self.hue <= 0.5:
            raise ConfigError(f"augmentation {self.name}: hue is {self.hue}; it must be from 0 to 0.5")
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ConfigError(f"augmentation {self.name}: crop_scale is {self.crop_scale}; it must rise within (0, 1]")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ConfigError(f"augmentation {self.name}: crop_ratio is {self.crop_ratio}; it must be over 0 and rise")

    @property
    def colours(self) -> bool:
        """Changes colours."""
        return bool(self.jitter) and any((self.brightness, self.contrast, self.saturation, self.hue))

    @property
    def pictures_only(self) -> bool:
        """Cannot be done to vectors."""
        return self.crop_scale is not None or bool(self.flip or self.grey or self.roll) or self.colours

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `augmentation` reads it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @property
    def digest(self) -> str:
        """Hash of what it does, whatever it is called: 16 hexadecimal digits."""
        content = {name: value for name, value in self.as_dict().items() if name != "name"}
        return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=8).hexdigest()


_CROP = (0.08, 1.0)  # the default of torchvision's RandomResizedCrop

_JITTERED: dict[str, Any] = {
    "flip": 0.5,
    "brightness": 0.8,
    "contrast": 0.8,
    "saturation": 0.8,
    "hue": 0.2,
    "jitter": 0.8,
    "grey": 0.2,
}
_STRONGER: dict[str, Any] = {
    "flip": 0.5,
    "brightness": 0.9,
    "contrast": 0.9,
    "saturation": 0.9,
    "hue": 0.1,
    "jitter": 0.9,
    "grey": 0.1,
}

AUGMENTATIONS: Mapping[str, AugmentationSpec] = {
    spec.name: spec
    for spec in (
        AugmentationSpec(name="none"),
        AugmentationSpec("simclr", _CROP, **_JITTERED),  # public code of Wang et al. (NeurIPS 2024): SimCLR without blur
        AugmentationSpec("unitmem", _CROP, **_STRONGER),  # their script for UnitMem
        AugmentationSpec("clip", (0.9, 1.0)),  # the training crop of OpenCLIP
        AugmentationSpec("crop-flip", (0.2, 1.0), flip=0.5),  # masked autoencoders (He et al., CVPR 2022)
        AugmentationSpec("shift", roll=1, noise=0.1),
        AugmentationSpec("vector", drop=0.4, noise=0.3),
    )
}


def augmentation(given: str | Mapping[str, Any] | AugmentationSpec) -> AugmentationSpec:
    """An augmentation by its name, or from its parameters as `AugmentationSpec.as_dict` gives them.

    Raises
    ------
    UnknownName
        No augmentation has this name, or no parameter does.
    """
    if isinstance(given, AugmentationSpec):
        return given
    if isinstance(given, str):
        if given not in AUGMENTATIONS:
            raise UnknownName("augmentation", given, AUGMENTATIONS)
        return AUGMENTATIONS[given]
    known = {field.name for field in fields(AugmentationSpec)}
    for name in given:
        if name not in known:
            raise UnknownName("parameter of an augmentation", name, known)
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return AugmentationSpec(**values)
