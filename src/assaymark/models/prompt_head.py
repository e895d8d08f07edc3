"""`prompt:prompts.safetensors` - tuned prompts as a scorer of stored embeddings and, with an encoder, of pictures.

`prompt:FILE?encoder=hf:org/name` names the encoder; without it the one that the file was tuned for is opened. `key=NAME`
chooses an array of an `.npz`, `threshold=0.5` and `logit_scale=100` stand in for what the file says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError
from assaymark.models.prompt_files import PromptSet, load_prompts
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["EncodedPromptHead", "PromptHead", "open_prompt_head"]

VERSION = 1
BLOCK = 16_384  # rows that are widened and multiplied at a time
OPTIONS = ("encoder", "key", "threshold", "logit_scale")

Array = npt.NDArray[np.float32]


class PromptHead:
    """Probability "inappropriate" of unit-norm embeddings (capability scores-embeddings): one dot product each.

    The two prompts are normalised here; with rows of different length the larger one would win more often than it should.
    """

    multi_label = True
    labels = ("inappropriate",)
    cheap = ("scores-embeddings",)

    def __init__(self, spec: ModelSpec, prompts: PromptSet) -> None:
        self.spec, self.prompts = spec.text, prompts
        self.dimension = prompts.dimension
        self.decision = prompts.decision(prompts.threshold)
        self.fingerprint = f"{prompts.fingerprint}-{VERSION}"
        self.notes: tuple[str, ...] = ()

    def score_embeddings(self, embeddings: Array) -> Array:
        """Shape (n, 1), in [0, 1]; NaN for rows without a direction."""
        from scipy.special import expit, softmax

        rows = np.asarray(embeddings)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            made_for = f" ({self.prompts.encoder})" if self.prompts.encoder else ""
            raise ModelError(
                f"model {self.spec}: embeddings of {rows.shape[-1]} numbers, but the prompts have {self.dimension}; they rate "
                f"only embeddings of the encoder they were made for{made_for}"
            )
        unit = self.prompts.prompts / np.linalg.norm(self.prompts.prompts, axis=1, keepdims=True)
        scores = np.empty((len(rows), 1), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK].astype(np.float32)
            logits = self.prompts.logit_scale * (block @ unit.T)  # (block, 2 or 3)
            positive = expit(logits[:, 1] - logits[:, 0]) if len(unit) == 2 else softmax(logits, axis=1)[:, 1]
            scores[start : start + len(block), 0] = positive
        return scores


class EncodedPromptHead(PromptHead):
    """Prompts with their encoder: scores pictures too (capability scores-images)."""

    def __init__(self, spec: ModelSpec, prompts: PromptSet, encoder: Any) -> None:
        super().__init__(spec, prompts)
        self.encoder = encoder
        note = prompts.check_encoder(fingerprint=encoder.fingerprint, dimension=int(encoder.dimension), name=encoder.spec)
        self.notes = (note,) if note else ()
        self.fingerprint = f"{self.fingerprint}-{encoder.fingerprint}"

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, 1), in [0, 1]."""
        return self.score_embeddings(self.encoder.embed_images(images))


def open_prompt_head(spec: ModelSpec, loading: Loading) -> PromptHead:
    """The prompts of a file, with their encoder where one is named or known.

    Raises
    ------
    ModelError
        Another encoder than the prompts were tuned for, or one that does not embed images.
    """
    from assaymark.models.opening import open_model

    spec.check_options(OPTIONS)
    prompts = load_prompts(spec.path(), key=spec.options.get("key", ""))
    threshold = spec.number("threshold", prompts.threshold)
    if not 0 <= threshold <= 1:
        raise ConfigError(f"model {spec.text}: threshold={threshold:g} is not between 0 and 1")
    prompts = replace(prompts, threshold=threshold, logit_scale=spec.number("logit_scale", prompts.logit_scale))
    named = spec.options.get("encoder") or prompts.encoder_source or prompts.encoder
    if not named:
        return PromptHead(spec, prompts)
    try:
        encoder = open_model(named, device=loading.device, batch_size=loading.batch_size, base=spec.base)
    except ModelError as error:
        if "encoder" in spec.options:
            raise
        head = PromptHead(spec, prompts)
        head.notes = (f"the encoder of the prompts cannot be opened, so they score stored embeddings only ({error})",)
        return head
    if not hasattr(encoder, "embed_images"):
        raise ModelError(f"model {spec.text}: its encoder {named} does not embed images")
    return EncodedPromptHead(spec, prompts, encoder)
