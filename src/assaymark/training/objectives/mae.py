"""Masked autoencoding: a vision transformer sees a quarter of the patches, and a small decoder fills in the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from assaymark.errors import ConfigError
from assaymark.training.objectives.encoder_training import EncoderTraining

__all__ = ["MaskedAutoencoder", "Masking", "masked_error", "patches_of", "random_masking"]


class Masking(NamedTuple):
    """Which of t patches are seen.

    Attributes
    ----------
    seen : tensor of int64, shape (n, t_seen)
        Their places.
    places : tensor of int64, shape (n, t)
        Where each patch stands among the seen ones followed by the hidden ones.
    hidden : tensor of float, shape (n, t)
        1 for a hidden patch.
    """

    seen: torch.Tensor
    places: torch.Tensor
    hidden: torch.Tensor


def random_masking(n: int, patches: int, *, share: float, device: Any = None) -> Masking:
    """Hide a share of the patches of each of n pictures, drawn from torch's generator of the device.

    Parameters
    ----------
    share : float
        Rounded so that int(patches (1 - share)) are seen; at least one.
    """
    order = torch.rand(n, patches, device=device).argsort(dim=1)
    places = order.argsort(dim=1)
    seen = max(int(patches * (1 - share)), 1)
    return Masking(order[:, :seen], places, (places >= seen).float())


def patches_of(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Pixels of each patch in reading order: (n, c, h, w) to (n, t, side^2 c)."""
    n, channels, height, width = pixels.shape
    grid = pixels.view(n, channels, height // side, side, width // side, side)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, side * side * channels)


def masked_error(predicted: torch.Tensor, wanted: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the hidden patches: mean((predicted - wanted)^2 hidden) / mean(hidden) ([1], section 3).

    Parameters
    ----------
    predicted, wanted : tensors, shape (n, t, d)
    hidden : tensor, shape (n, t)

    References
    ----------
    .. [1] He et al. Masked autoencoders are scalable vision learners. CVPR 2022.
    """
    return ((predicted - wanted).pow(2) * hidden[:, :, None]).mean() / hidden.mean()


class MaskedAutoencoder(EncoderTraining):
    """An encoder that works on tokens, and a decoder of `depth` blocks on all of them ([1], section 3).

    Parameters
    ----------
    encoder : torch module
        With `embed` (pixels to tokens), `encode` (tokens, class token added in front) and `layout.patch`.
    share : float
        Of hidden patches.
    width, depth, heads : int
        Of the decoder.
    """

    views = 1

    def __init__(
        self,
        encoder: Any,
        *,
        dimension: int,
        share: float = 0.75,
        width: int = 64,
        depth: int = 1,
        heads: int = 4,
        **normalisation: Any,
    ) -> None:
        if not (hasattr(encoder, "embed") and hasattr(encoder, "encode")):
            raise ConfigError("objective mae needs an encoder that works on patches; use architecture vit")
        super().__init__(encoder, **normalisation)
        self._share, self._side = share, int(encoder.layout.patch)
        self.widen = nn.Linear(dimension, width)
        self.blank = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 1 + int(encoder.layout.tokens), width) * 0.02)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.decoder = nn.TransformerEncoder(block, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.paint = nn.Linear(width, 3 * self._side**2)

    def forward(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        pixels = self.normalised(batch[0])
        tokens = self.encoder.embed(pixels)
        masking = random_masking(len(tokens), tokens.shape[1], share=self._share, device=tokens.device)
        predicted = self._filled_in(self.encoder.encode(_at(tokens, masking.seen)), masking)
        return masked_error(predicted, patches_of(pixels, self._side), masking.hidden)

    def _filled_in(self, encoded: torch.Tensor, masking: Masking) -> torch.Tensor:
        tokens = self.widen(encoded)
        blanks = self.blank.expand(len(tokens), masking.hidden.shape[1] + 1 - tokens.shape[1], -1)
        patches = _at(torch.cat([tokens[:, 1:], blanks], dim=1), masking.places)
        tokens = torch.cat([tokens[:, :1], patches], dim=1) + self.positions
        return self.paint(self.decoder(tokens)[:, 1:])


def _at(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))
