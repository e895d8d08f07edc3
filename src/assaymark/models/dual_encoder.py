"""CLIP and SigLIP in the transformers layout: images and texts in one space."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.models.checkpoint import Checkpoint
from assaymark.models.image_pixels import (
    limit_aspect,
    load_image_processor,
    pixel_tensor,
)
from assaymark.models.processed_images import ProcessedImageAdapter
from assaymark.models.text_recording import GivenTexts, RecordsTextLayers
from assaymark.models.torch_adapter import (
    clean_text,
    import_transformers,
    load_config,
    load_tokenizer,
    load_weights,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["DualEncoder", "limit_aspect"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently

Array = npt.NDArray[np.float32]


class _Parts(NamedTuple):
    tokenizer: Any
    image_processor: Any
    model: Any
    text_length: int


class _Tokens(NamedTuple):
    """Arguments of the text tower, and which of their tokens are of the text."""

    arguments: dict[str, Any]
    mask: Any


class DualEncoder(RecordsTextLayers, ProcessedImageAdapter):
    """Unit-norm embeddings of images and texts.

    Capabilities embeds-images, embeds-texts, trains-images, records-activations (the image tower) and
    records-text-activations; the representation of a tower is what its projection gives, before it is scaled to norm 1.
    `logit_scale` is exp(model.logit_scale), by which cosines are multiplied before a softmax (CLIP) or sigmoid (SigLIP).
    CLIP texts are padded to the longest of the batch, which its causal attention ignores; SigLIP was trained on texts padded
    to the full length and without a mask, so it gets them that way.
    """

    purpose = "dual encoder"

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(())
        config = load_config(import_transformers("vision", f"dual encoder {self.spec}"), checkpoint)
        self._kind = str(config.model_type)
        self._cut: set[bytes] = set()
        self.dimension = int(config.projection_dim if self._kind == "clip" else config.text_config.projection_size)
        self.logit_scale = math.exp(checkpoint.scalar("logit_scale"))
        self.fingerprint = checkpoint.fingerprint(f"dual-encoder {VERSION}")

    def embed_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, dimension), unit norm. Any PIL mode; transparency is dropped."""
        batches = self._batches(images)
        return np.concatenate([self._image_batch(batch) for batch in batches] or [self._nothing()])

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Shape (n, dimension), unit norm. Texts are cut at the length of the text tower."""
        cleaned = [clean_text(text) for text in texts]
        return np.concatenate([self._text_batch(batch) for batch in self._batches(cleaned)] or [self._nothing()])

    def feature_module(self) -> Any:
        """A copy of the image tower with its projection, with gradients."""
        return copy.deepcopy(_image_tower(self._loaded().model)).cpu()

    def _nothing(self) -> Array:
        return np.empty((0, self.dimension), dtype=np.float32)

    def _image_batch(self, images: Sequence[Image]) -> Array:
        import torch

        _, image_processor, model, _ = self._loaded()
        pixels = pixel_tensor(image_processor, images)
        with torch.inference_mode():
            features = model.get_image_features(pixel_values=pixels.to(model.device))
        return _unit_rows(features)

    def _text_batch(self, texts: Sequence[str]) -> Array:
        import torch

        with torch.inference_mode():
            features = self._loaded().model.get_text_features(**self._tokens(texts).arguments)
        return _unit_rows(features)

    def _tokens(self, texts: Sequence[str]) -> _Tokens:
        """What the text tower takes for texts, on its device; those that had to be cut are remembered."""
        tokenizer, _, model, length = self._loaded()
        padding = "max_length" if self._kind == "siglip" else "longest"
        tokens = tokenizer(list(texts), padding=padding, truncation=True, max_length=length, return_tensors="pt")
        self._remember([text for text, e in zip(texts, tokens.encodings or (), strict=False) if e.overflowing], length)
        names = ("input_ids", "attention_mask") if self._kind == "clip" else ("input_ids",)
        given = {name: tokens[name].to(model.device) for name in names}
        return _Tokens(given, tokens["attention_mask"].to(model.device))

    def _remember(self, cut: Sequence[str], length: int) -> None:
        """Keep a note of how many different texts had to be cut, as hashes."""
        self._cut |= {blake2b(text.encode(), digest_size=8).digest() for text in cut}
        about = f"different texts longer than the {length} tokens that it reads, which were cut"
        if cut:
            self.notes = (*(note for note in self.notes if not note.startswith(about)), f"{about}: {len(self._cut)}")

    def _recorded_module(self) -> Any:
        return _image_tower(self._loaded().model)

    def _given_texts(self, texts: Sequence[str]) -> GivenTexts:
        given = self._tokens([clean_text(text) for text in texts])
        return GivenTexts(_text_tower(self._loaded().model), given.arguments, given.mask)

    def _untrained(self, transformers: Any) -> Any:
        return _image_tower(self._outline(transformers))

    def _text_sketch(self) -> tuple[Any, Any]:
        import torch

        transformers = import_transformers("vision", f"dual encoder {self.spec}")
        model = self._outline(transformers)
        tokenizer = load_tokenizer(transformers, self._checkpoint, self._checkpoint.present())
        return _text_tower(model), {"input_ids": torch.zeros(2, _text_length(tokenizer, model.config), dtype=torch.long)}

    def _outline(self, transformers: Any) -> Any:
        return transformers.AutoModel.from_config(load_config(transformers, self._checkpoint))

    def _load(self, folder: Path, device: str) -> _Parts:
        from assaymark.models.state_dicts import non_finite_note

        transformers = import_transformers("vision", f"dual encoder {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        image_processor = load_image_processor(transformers, self.spec, folder)
        model = load_weights(transformers.AutoModel, self._checkpoint, folder, device)
        self.notes = tuple(dict.fromkeys((*self.notes, *non_finite_note(model.state_dict()))))
        return _Parts(tokenizer, image_processor, model, _text_length(tokenizer, model.config))


def _text_length(tokenizer: Any, config: Any) -> int:
    return int(min(tokenizer.model_max_length, config.text_config.max_position_embeddings))


def _image_tower(model: Any) -> Any:
    from assaymark.models.image_features import ProjectedImages

    return ProjectedImages(model.vision_model, getattr(model, "visual_projection", None))


def _text_tower(model: Any) -> Any:
    from assaymark.models.image_features import ProjectedTexts

    return ProjectedTexts(model.text_model, getattr(model, "text_projection", None))


def _unit_rows(features: Any) -> Array:
    """Rows scaled to norm 1. Feature methods answer with a tensor or, since transformers 5, with an output that holds it."""
    vectors = getattr(features, "pooler_output", features).float()
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    return np.asarray(vectors.cpu().numpy(), dtype=np.float32)
