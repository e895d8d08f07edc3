"""The torch side of trainable text classifiers: one module for all families, and a fresh head.

Imports torch: to be imported where a model is loaded, not before.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

__all__ = ["TokenClassifier", "draw_weights", "head_weights"]

_DEVIATION = 0.02  # of drawn weights, where config.json states none


class TokenClassifier(nn.Module):
    """A sequence classifier of transformers as (ids, mask) -> logits.

    What stands behind the end of a sequence becomes the model's padding token, by which decoders find the last word: they do
    not look at the mask. Longformer looks from its first token at all others, as it was published.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._global_attention = "global_attention_mask" in inspect.signature(model.forward).parameters

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits, shape (n, n_labels), for ids and mask, shape (n, longest) each."""
        given = {"input_ids": ids.masked_fill(~mask, self.model.config.pad_token_id), "attention_mask": mask.long()}
        if self._global_attention:
            given["global_attention_mask"] = torch.zeros_like(ids).index_fill_(1, ids.new_zeros(1), 1)
        logits: torch.Tensor = self.model(**given).logits
        return logits


def head_weights(model: Any) -> set[str]:
    """Names of the parameters that stand outside the encoder or decoder proper."""
    prefix = f"{model.base_model_prefix}."
    return {name for name, _ in model.named_parameters() if not name.startswith(prefix)}


def draw_weights(model: Any, names: Iterable[str], *, seed: int) -> None:
    """Fresh parameters as these families start: matrices normal with the model's own deviation, biases 0, scales 1."""
    chosen, generator = set(names), torch.Generator().manual_seed(seed)
    deviation = float(getattr(model.config, "initializer_range", None) or _DEVIATION)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in chosen:
                continue
            if parameter.ndim > 1:
                parameter.normal_(0.0, deviation, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
