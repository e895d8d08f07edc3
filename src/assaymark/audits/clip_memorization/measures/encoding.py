"""A dual encoder as this room uses it: pixels of pictures, embeddings of augmented pixels, embeddings of captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError
from assaymark.models.layer_patterns import same_architecture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Encoder", "check_pair"]

Floats = npt.NDArray[np.float32]
SIDE = 224
"""Pixels of a view for a model that does not take pixels itself and gets pictures of 8 bits instead."""


class Encoder:
    """Views of pictures and captions under one model.

    A model that records activations takes augmented pixels as they are; for any other, views become pictures of 8 bits again,
    which it resizes and embeds like all pictures.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.dimension = model, int(model.dimension)
        self.fingerprint, self.logit_scale = str(model.fingerprint), float(model.logit_scale)
        self.takes_pixels = "records-activations" in getattr(model, "capabilities", ()) or hasattr(model, "layers")

    def pixels(self, images: Sequence[Image]) -> Any:
        """Float tensor, shape (n, 3, height, width), in [0, 1]."""
        import torch

        if self.takes_pixels:
            return self.model.raw_pixels(images)
        small = [np.asarray(image.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32) for image in images]
        return (
            torch.from_numpy(np.stack(small).transpose(0, 3, 1, 2).copy() / 255.0) if small else torch.zeros(0, 3, SIDE, SIDE)
        )

    def embed_pixels(self, pixels: Any) -> Floats:
        """Unit rows, shape (n, dimension)."""
        if not self.takes_pixels:
            return np.asarray(self.model.embed_images(_pictures(pixels)), dtype=np.float32)
        found: list[Any] = []
        name = self.model.layers[-1].name
        self.model.record(pixels, [name], lambda _, output: found.append(output.float().flatten(1).cpu().numpy()))
        rows = np.asarray(found[0], dtype=np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def embed_images(self, images: Sequence[Image]) -> Floats:
        """Unit rows of pictures without augmentation."""
        return np.asarray(self.model.embed_images(list(images)), dtype=np.float32).reshape(len(images), self.dimension)

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """Unit rows; NaN where a text holds nothing to embed. Equal texts are asked about once."""
        unique = list(dict.fromkeys(texts))
        place = {text: row for row, text in enumerate(unique)}
        rows = np.asarray(self.model.embed_texts(unique), dtype=np.float32).reshape(len(unique), self.dimension)
        return rows[[place[text] for text in texts]]


def _pictures(pixels: Any) -> list[Any]:
    import PIL.Image

    bytes_ = (pixels.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [PIL.Image.fromarray(one) for one in bytes_]


def check_pair(f: Encoder, g: Encoder) -> None:
    """Refuse two models that cannot be trainings of one architecture.

    Raises
    ------
    ModelError
        Naming the first difference; or one model for both roles.
    """
    if f.fingerprint == g.fingerprint:
        raise ModelError(
            f"model and reference are the same ({f.model.spec}): a reference is trained without the candidates; "
            "leave it out to get the measures of a single model"
        )
    if f.dimension != g.dimension:
        raise ModelError(
            f"model and reference differ in architecture: they embed into {f.dimension} and {g.dimension} numbers; give the "
            "same training twice, with and without the candidates"
        )
    for tower in ("layers", "text_layers"):
        own, other = (getattr(one.model, tower, ()) for one in (f, g))
        if own and other:
            same_architecture(own, other)
