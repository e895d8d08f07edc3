"""Networks of the image encoders that are trained here: a ResNet9, a plain vision transformer and a perceptron.

Each takes normalised pixels to a representation, and has `layout` and `dimension`. Imports torch: to be imported where a model
is made or loaded, not before.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from assaymark.models.encoder_layouts import (
    EncoderLayout,
    PerceptronLayout,
    ResNet9Layout,
    TimmLayout,
    VisionTransformerLayout,
    encoder_layout,
)

__all__ = ["Perceptron", "ResNet9", "VisionTransformer", "build_encoder", "new_encoder", "timm_width"]

_SPREAD = 0.02  # standard deviation of a transformer's first weights, positions and class token


def new_encoder(architecture: str, *, seed: int, **options: Any) -> Any:
    """An untrained encoder in training mode; equal seeds give equal weights, and global generators stay as they are.

    Parameters
    ----------
    architecture : {"resnet9", "vit", "mlp", "timm"}
        Its options are the fields of its layout, see `assaymark.models.encoder_layouts`.
    seed : int

    Returns
    -------
    torch module, pixels (n, 3, input_size, input_size), normalised, -> representation (n, dimension)

    Raises
    ------
    ConfigError
        Unknown architecture or option, or a value out of range.

    Examples
    --------
    >>> new_encoder("resnet9", seed=0, width=4).dimension
    32
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_encoder(encoder_layout(architecture, options))


def build_encoder(layout: EncoderLayout) -> Any:
    """The network of a layout, its weights drawn from the global generator."""
    if isinstance(layout, ResNet9Layout):
        return ResNet9(layout)
    if isinstance(layout, TimmLayout):
        return _timm_network(layout)
    return VisionTransformer(layout) if isinstance(layout, VisionTransformerLayout) else Perceptron(layout)


def _timm_network(layout: TimmLayout) -> Any:
    from assaymark.models.timm_classifier import timm_library
    from assaymark.models.torch_adapter import load_part

    timm = timm_library(f"the architecture {layout.name}")
    name = f"timm/{layout.name}"
    published = load_part(name, "architecture", lambda: timm.models.get_pretrained_cfg(layout.name, allow_unregistered=False))
    # Networks with a table of positions are built for one size; others take pictures of any.
    size = {"img_size": layout.input_size} if getattr(published, "fixed_input_size", False) else {}
    module = load_part(name, "architecture", lambda: timm.create_model(layout.name, pretrained=False, num_classes=0, **size))
    module.layout, module.dimension = layout, int(module.num_features)
    return module


@lru_cache(maxsize=32)
def timm_width(name: str) -> int:
    """Width of what a timm network gives without its head; made on the meta device, so that no weights are drawn."""
    with torch.device("meta"):
        return int(_timm_network(TimmLayout(name=name)).dimension)


class ResNet9(nn.Module):
    """See `ResNet9Layout`; (n, 3, h, w) -> (n, 8 width)."""

    def __init__(self, layout: ResNet9Layout) -> None:
        super().__init__()
        self.layout, self.dimension = layout, layout.dimension
        width = layout.width
        self.body = nn.Sequential(
            OrderedDict(
                prep=_Convolution(3, width),
                prep_pool=nn.MaxPool2d(2),
                layer1=_Convolution(width, 2 * width),
                layer1_pool=nn.MaxPool2d(2),
                layer1_residual=_Residual(2 * width),
                layer2=_Convolution(2 * width, 4 * width),
                layer2_pool=nn.MaxPool2d(2),
                layer3=_Convolution(4 * width, 8 * width),
                layer3_pool=nn.MaxPool2d(2),
                layer3_residual=_Residual(8 * width),
            )
        )
        self.pool = nn.AdaptiveMaxPool2d(1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.pool(self.body(pixels)).flatten(1)


class _Convolution(nn.Sequential):
    """3 x 3 convolution, batch normalisation, ReLU. No bias: the normalisation takes the mean away again."""

    def __init__(self, given: int, wanted: int) -> None:
        convolution = nn.Conv2d(given, wanted, 3, padding=1, bias=False)
        super().__init__(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(wanted), relu=nn.ReLU()))


class _Residual(nn.Module):
    """x plus two convolutions of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = _Convolution(channels, channels), _Convolution(channels, channels)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels + self.second(self.first(pixels))


class VisionTransformer(nn.Module):
    """See `VisionTransformerLayout`; (n, 3, h, w) -> (n, width).

    `forward` is `represent(encode(embed(pixels)))`. Masked autoencoders take the steps one by one: `embed` gives all patches
    as tokens, some of them go through `encode`, and a decoder of their own reads what comes out.
    """

    def __init__(self, layout: VisionTransformerLayout) -> None:
        super().__init__()
        self.layout, self.dimension = layout, layout.dimension
        self.patch_embed = _Patches(layout)
        self.cls_token = nn.Parameter(torch.randn(1, 1, layout.width) * _SPREAD)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + layout.tokens, layout.width) * _SPREAD)
        self.blocks = nn.ModuleList(_Block(layout) for _ in range(layout.depth))
        self.norm = nn.LayerNorm(layout.width, eps=1e-6)
        self.apply(_start)

    def embed(self, pixels: Tensor) -> Tensor:
        """Patches in reading order with their positions, without the class token: shape (n, tokens, width)."""
        return self.patch_embed(pixels) + self.pos_embed[:, 1:]

    def encode(self, tokens: Tensor) -> Tensor:
        """Some or all of the tokens of `embed`, shape (n, t, width), to (n, 1 + t, width): the class token comes first."""
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def represent(self, encoded: Tensor) -> Tensor:
        """Encoded tokens, shape (n, 1 + t, width), to (n, width): the first, or the mean of the others."""
        return encoded[:, 0] if self.layout.pooling == "cls" else encoded[:, 1:].mean(dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.represent(self.encode(self.embed(pixels)))


class _Patches(nn.Module):
    """Pixels to one vector a patch."""

    def __init__(self, layout: VisionTransformerLayout) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, layout.width, layout.patch, stride=layout.patch)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).flatten(2).transpose(1, 2)


class _Block(nn.Module):
    """Attention and perceptron, each behind a normalisation and added to what came in."""

    def __init__(self, layout: VisionTransformerLayout) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(layout.width, eps=1e-6) for _ in range(2))
        self.attn = _Attention(layout.width, layout.heads)
        hidden = layout.mlp_ratio * layout.width
        parts = OrderedDict(fc1=nn.Linear(layout.width, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, layout.width))
        self.mlp = nn.Sequential(parts)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, width = tokens.shape
        queries, keys, values = self.qkv(tokens).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (n, heads, t, d)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return self.proj(mixed.transpose(1, 2).reshape(n, t, width))


def _start(part: nn.Module) -> None:
    """Small normal weights and no bias in linear layers, as vision transformers start."""
    if isinstance(part, nn.Linear):
        nn.init.trunc_normal_(part.weight, std=_SPREAD)
        nn.init.zeros_(part.bias)


class Perceptron(nn.Module):
    """See `PerceptronLayout`; (n, ...) -> (n, widths[-1])."""

    def __init__(self, layout: PerceptronLayout) -> None:
        super().__init__()
        self.layout, self.dimension = layout, layout.dimension
        given = (layout.given, *layout.widths)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (wide, wider) in enumerate(zip(given, layout.widths, strict=False)):
            parts[f"linear{number}"] = nn.Linear(wide, wider)
            parts[f"relu{number}"] = nn.ReLU()
        self.body = nn.Sequential(parts)

    def forward(self, items: Tensor) -> Tensor:
        return self.body(items.flatten(1))
