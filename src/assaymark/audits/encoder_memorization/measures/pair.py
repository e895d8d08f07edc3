"""The two encoders of an audit: those that were given, or a pair that is trained here on the sets of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import EncoderMemorizationConfig
from assaymark.errors import ModelError
from assaymark.result import Artifact

__all__ = ["Pair", "encoders_of"]


class Pair(NamedTuple):
    """Models, the table that says who is in which set, and what is handed on."""

    encoder: Any
    reference: Any
    split: Any
    artifacts: Sequence[Artifact] = ()
    notes: Sequence[str] = ()


def encoders_of(dataset: Any, split: Any, config: EncoderMemorizationConfig, context: Context) -> Pair:
    """The given models; without any, a pair that is trained.

    Raises
    ------
    ModelError
        A reference without an encoder.
    """
    encoder, reference = context.model("encoder"), context.model("reference")
    if encoder is None and reference is not None:
        raise ModelError("a reference was given without the encoder that it is compared with: add --model encoder=SPEC")
    if encoder is None:
        raise ModelError("no encoder was given: --model encoder=SPEC")
    notes = [note for model in (encoder, reference) if model is not None for note in model.notes]
    return Pair(encoder, reference, split, notes=notes)
