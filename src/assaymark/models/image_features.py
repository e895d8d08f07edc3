"""Torch modules from pixels (or tokens) to one vector an item: what stands before the head of a vision model.

Imports torch: to be imported where a model is loaded, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from assaymark.errors import ModelError
from assaymark.models.torch_adapter import load_part

__all__ = [
    "EncodedTexts",
    "PooledBackbone",
    "ProjectedImages",
    "ProjectedTexts",
    "WithoutHead",
    "feature_dimension",
    "unit_rows",
]

_SIDE = 224  # pixels, where a configuration states no image size


class WithoutHead(nn.Module):
    """An image classifier whose last linear layer is taken off and kept as `head`.

    Every `...ForImageClassification` ends in a linear layer to its labels: `head(features)` are the logits. What comes before
    differs by family (a class token, a mean over patches, a pooled map) and is left as it was trained.
    """

    def __init__(self, model: Any, spec: str) -> None:
        super().__init__()
        name, head = _last_linear(model, spec)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, nn.Identity())
        self.body = model
        self.head = head

    def forward(self, pixel_values: Any) -> Any:
        return self.body(pixel_values=pixel_values).logits


def _last_linear(model: Any, spec: str) -> tuple[str, nn.Linear]:
    labels = int(model.config.num_labels)
    linear = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    if not linear or linear[-1][1].out_features != labels:
        raise ModelError(f"model {spec}: {type(model).__name__} does not end in a linear layer to its {labels} labels")
    return linear[-1]


class PooledBackbone(nn.Module):
    """A vision model without a head: the class token, or the map pooled over space.

    The dense layer with tanh that some class-token models put behind the token belonged to their pre-training and is missing
    from many checkpoints, so the token itself is used.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if getattr(getattr(model, "pooler", None), "dense", None) is not None:
            model.pooler = None
        self.body = model
        self.masks = getattr(getattr(model, "config", None), "model_type", "") == "vit_mae"
        if self.masks:
            model.config.mask_ratio = 0.0

    def forward(self, pixel_values: Any) -> Any:
        outputs = self.body(pixel_values=pixel_values, **self._unmasked(pixel_values))
        pooled = getattr(outputs, "pooler_output", None)
        if pooled is None:
            hidden = outputs.last_hidden_state  # (n, tokens, d) or (n, d, height, width)
            pooled = hidden[:, 0] if hidden.ndim == 3 else hidden.mean(dim=(2, 3))
        return pooled.flatten(1)

    def _unmasked(self, pixel_values: Any) -> dict[str, Any]:
        """Masked autoencoders shuffle their patches by the noise that they are given: rising noise leaves them in order."""
        if not self.masks:
            return {}
        patches = self.body.embeddings.patch_embeddings.num_patches
        return {"noise": torch.arange(patches, device=pixel_values.device, dtype=torch.float32).expand(len(pixel_values), -1)}


class ProjectedImages(nn.Module):
    """The image tower of a dual encoder with its projection, where it has one."""

    def __init__(self, vision_model: Any, projection: Any = None) -> None:
        super().__init__()
        self.vision_model = vision_model
        self.projection = nn.Identity() if projection is None else projection

    def forward(self, pixel_values: Any) -> Any:
        return self.projection(self.vision_model(pixel_values=pixel_values).pooler_output)


class ProjectedTexts(nn.Module):
    """The text tower of a dual encoder with its projection, where it has one of its own."""

    def __init__(self, text_model: Any, projection: Any = None) -> None:
        super().__init__()
        self.text_model = text_model
        self.projection = nn.Identity() if projection is None else projection

    def forward(self, input_ids: Any, attention_mask: Any = None) -> Any:
        return self.projection(self.text_model(input_ids=input_ids, attention_mask=attention_mask).pooler_output)


class EncodedTexts(nn.Module):
    """The text side of an open_clip model: token ids, shape (n, tokens), to embeddings that are not scaled to norm 1."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Any) -> Any:
        return self.model.encode_text(tokens)


def feature_dimension(spec: str, config: Any, build: Callable[[], Any]) -> int:
    """Width of the features of the module that `build` makes, without its weights: shapes are computed on the meta device."""
    side = getattr(config, "image_size", None) or getattr(getattr(config, "vision_config", None), "image_size", None) or _SIDE
    height, width = (side, side) if isinstance(side, int) else (int(side[0]), int(side[1]))
    channels = int(getattr(config, "num_channels", None) or 3)

    def measure() -> int:
        with torch.device("meta"), torch.no_grad():
            return int(build().eval()(torch.empty(1, channels, height, width)).shape[-1])

    return load_part(spec, "architecture", measure)


def unit_rows(features: Any) -> Any:
    """Rows scaled to norm 1, as float32 on the CPU; rows of zeros stay zero."""
    vectors = features.float()
    return (vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)).cpu().numpy()
