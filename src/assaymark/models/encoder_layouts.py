"""Layouts of the image encoders that are trained here: what a file has to say so that its weights find their places.

Imports no torch; the networks themselves are in `assaymark.models.encoder_architectures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from assaymark.errors import ConfigError, UnknownName

__all__ = [
    "LAYOUTS",
    "EncoderLayout",
    "PerceptronLayout",
    "ResNet9Layout",
    "TimmLayout",
    "VisionTransformerLayout",
    "encoder_layout",
    "layout_facts",
]


class UnknownLayoutName(UnknownName, ConfigError):
    """An architecture, or one of its options, that does not exist."""


@dataclass(frozen=True, slots=True)
class ResNet9Layout:
    """Eight 3 x 3 convolutions in three stages behind a first one, two of them with a residual sum ([1], CIFAR encoder).

    Channels are width, 2, 2 + 2 (residual), 4, 8 and 8 + 8 (residual) times it: the published width is 32. Every stage halves
    the map, so that 32 pixels end in 2 x 2; a maximum over what is left is the representation.

    References
    ----------
    .. [1] Wang, Dziedzic, Backes, Boenisch. Localizing memorization in SSL vision encoders. NeurIPS 2024.
    """

    architecture: ClassVar[str] = "resnet9"
    input_size: int = 32
    width: int = 32

    def __post_init__(self) -> None:
        if self.width < 1 or self.input_size < 16:
            raise ConfigError(f"resnet9 takes a width of 1 or more and 16 pixels or more (four poolings), not {self}")

    @property
    def dimension(self) -> int:
        return 8 * self.width


@dataclass(frozen=True, slots=True)
class VisionTransformerLayout:
    """A plain vision transformer (ViT); the defaults are the ViT-tiny for 32 pixels of [1]: 256 tokens and a class token.

    `pooling` makes the representation: "cls" takes the class token, "mean" the mean over the others. Weights have the names of
    the timm library, which those of MAE, DINO and DeiT have too.

    References
    ----------
    .. [1] Wang, Dziedzic, Backes, Boenisch. Localizing memorization in SSL vision encoders. NeurIPS 2024.
    """

    architecture: ClassVar[str] = "vit"
    input_size: int = 32
    patch: int = 2
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: int = 4
    pooling: str = "cls"

    def __post_init__(self) -> None:
        if min(self.patch, self.width, self.depth, self.heads, self.mlp_ratio) < 1:
            raise ConfigError(f"patch, width, depth, heads and mlp_ratio of vit must be at least 1, not {self}")
        if self.width % self.heads or self.input_size % self.patch or self.input_size < self.patch:
            raise ConfigError(f"heads must divide the width of vit, and patch its input_size, not {self}")
        if self.pooling not in ("cls", "mean"):
            raise ConfigError(f"pooling of vit is {self.pooling!r}; it must be cls or mean")

    @property
    def dimension(self) -> int:
        return self.width

    @property
    def tokens(self) -> int:
        """Patches of a picture, without the class token."""
        return (self.input_size // self.patch) ** 2


@dataclass(frozen=True, slots=True)
class PerceptronLayout:
    """Linear layers with ReLU behind each, on flattened pictures or, where `inputs` says how many numbers, on vectors."""

    architecture: ClassVar[str] = "mlp"
    input_size: int = 8
    widths: tuple[int, ...] = (256, 256, 256, 64)
    inputs: int = 0

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1 or self.input_size < 1 or self.inputs < 0:
            raise ConfigError(f"mlp takes one or more widths and an input_size, all of 1 or more, not {self}")

    @property
    def dimension(self) -> int:
        return self.widths[-1]

    @property
    def given(self) -> int:
        """Numbers an item."""
        return self.inputs or 3 * self.input_size**2


@dataclass(frozen=True, slots=True)
class TimmLayout:
    """A network of the timm library without its head, by its name there: the ResNets of solo-learn, SimSiam, DINO, VICReg.

    Needs that library, also to know its dimension.
    """

    architecture: ClassVar[str] = "timm"
    input_size: int = 224
    name: str = "resnet18"

    def __post_init__(self) -> None:
        if self.input_size < 1:
            raise ConfigError(f"timm takes an input_size of 1 or more, not {self}")

    @property
    def dimension(self) -> int:
        from assaymark.models.encoder_architectures import timm_width

        return timm_width(self.name)


EncoderLayout = ResNet9Layout | VisionTransformerLayout | PerceptronLayout | TimmLayout

LAYOUTS: dict[str, type[EncoderLayout]] = {
    layout.architecture: layout for layout in (ResNet9Layout, VisionTransformerLayout, PerceptronLayout, TimmLayout)
}
"""Name of an architecture to its layout. The one list that a new architecture extends."""


def encoder_layout(architecture: str, options: Mapping[str, Any]) -> EncoderLayout:
    """The layout of an architecture; options may be texts, as in a model spec (`widths` with commas).

    Raises
    ------
    ConfigError
        Unknown architecture or option, or a value out of range.
    """
    if architecture not in LAYOUTS:
        raise UnknownLayoutName("architecture of an encoder", architecture, LAYOUTS)
    layout = LAYOUTS[architecture]
    defaults = {field.name: field.default for field in fields(layout)}
    for name in options:
        if name not in defaults:
            raise UnknownLayoutName(f"option of the encoder {architecture}", name, defaults)
    return layout(**{name: _value(name, value, defaults[name]) for name, value in options.items()})


def _value(name: str, value: Any, default: Any) -> Any:
    """An option in the type of its default."""
    try:
        if isinstance(default, tuple):
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(int(part) for part in parts)
        return type(default)(value)
    except (TypeError, ValueError):
        raise ConfigError(f"option {name} of an encoder is {value!r}; it must be like {default!r}") from None


def layout_facts(layout: EncoderLayout) -> dict[str, Any]:
    """What a file keeps of a layout: `encoder_layout` reads it back."""
    return {"architecture": layout.architecture, "options": asdict(layout)}
