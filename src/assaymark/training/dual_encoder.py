"""Training of dual encoders in the layout of transformers' CLIP models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from assaymark.training.loop import train
from assaymark.training.objectives.clip import contrastive_loss, masked_tokens, similarities
from assaymark.training.order import Batches
from assaymark.training.outcome import TrainingOutcome

__all__ = ["fit_dual_encoder", "pair_loss"]


def fit_dual_encoder(
    model: Any,
    batches: Batches,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    text_noise: float = 0.0,
    renormalise: bool = False,
    token_masking: float = 0.0,
    blank: int = 0,
    kept: Sequence[int] = (),
    lr: float = 3e-3,
    weight_decay: float = 0.01,
    schedule: str = "one-cycle",
    **settings: Any,
) -> TrainingOutcome:
    """Train both towers with the contrastive objective.

    Parameters
    ----------
    model : CLIPModel of transformers, or what answers like one
    batches : Batches
        Of tuples (pixels (n, 3, side, side), uint8 or in [0, 1]; token ids (m, length); attention mask (m, length); matches
        (n, m), bool: which captions fit which pictures), as `PairBatches` gives them.
    mean, std : three floats
        Of normalised pixels.
    text_noise, renormalise
        See `objectives.clip.similarities`.
    token_masking : float
        Share of the tokens replaced by the token `blank` in every step; tokens in `kept` stay.
    **settings
        Of `training.train`.
    """

    def objective(model: Any, batch: Any) -> Any:
        pixels, ids, mask, matches = batch
        ids = masked_tokens(ids, share=token_masking, blank=blank, kept=kept)
        return pair_loss(
            model, (pixels, ids, mask, matches), mean=mean, std=std, text_noise=text_noise, renormalise=renormalise
        )

    return train(model, objective, batches, lr=lr, weight_decay=weight_decay, schedule=schedule, **settings)


def pair_loss(
    model: Any,
    batch: tuple[torch.Tensor, ...],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    text_noise: float = 0.0,
    renormalise: bool = False,
) -> torch.Tensor:
    """Contrastive loss of one batch, as `fit_dual_encoder` describes it."""
    pixels, ids, mask, matches = batch
    scaled = pixels if pixels.is_floating_point() else pixels.float() / 255.0
    centre, spread = (torch.tensor(values, device=pixels.device)[:, None, None] for values in (mean, std))
    found = model(input_ids=ids, attention_mask=mask, pixel_values=(scaled - centre) / spread)
    scale = getattr(model, "module", model).logit_scale  # of several processes, the model is inside a wrapper
    logits = similarities(found.image_embeds, found.text_embeds, scale, text_noise=text_noise, renormalise=renormalise)
    return contrastive_loss(logits, matches=matches)
