"""Sentence encoders in the transformers layout (`BertModel`, `MPNetModel`, ...), with what sentence-transformers put beside it.

The library sentence-transformers itself is not used: of a large dependency with a trainer, losses and evaluators, and with a
loader that imports classes which a folder names, an audit would need the pooling of token vectors, which is a few lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.sentence_modules import read_modules
from assaymark.models.torch_adapter import (
    TorchAdapter,
    clean_text,
    import_transformers,
    load_config,
    load_tokenizer,
    load_weights,
    longest_input,
    position_limit,
)

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["SentenceEncoder"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently

Array = npt.NDArray[np.float32]


class _Parts(NamedTuple):
    tokenizer: Any
    model: Any
    inputs: tuple[str, ...]
    layers: list[Callable[[Any], Any]]
    longest: int
    batch_size: int


class SentenceEncoder(TorchAdapter):
    """Unit-norm embeddings of texts (capability embeds-texts).

    Pooling, dense layers, longest input and lower case are those that the folder states; without a stated pooling it is the
    mean over the tokens, and a note says so. Prompts that a folder states are not added, and a note says so: which one fits
    depends on what a text is for. Embeddings are scaled to norm 1 also where the folder does not ask for it; cosines stay
    as they are.

    Texts are cut at the longest input, sorted by length and padded batch by batch; padding enters no pooling, and the order
    does not change the embeddings beyond 1e-5. Rows are NaN for texts without a token of their own: empty, white space,
    control characters that the tokenizer drops. `logit_scale` is 1: folders state none.

    Of a model with a decoder (T5) the encoder is used alone.
    """

    logit_scale = 1.0

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(())
        transformers = import_transformers("language", f"sentence encoder {self.spec}")
        config = load_config(transformers, checkpoint)
        hidden = getattr(config, "hidden_size", None)
        if hidden is None or (config.is_encoder_decoder and not _has_encoder(transformers, config)):
            raise ModelError(f"model {self.spec}: {config.model_type} is no text encoder, whose token vectors could be pooled")
        self._modules = read_modules(checkpoint.folder, spec=self.spec, hidden=int(hidden))
        self.dimension = self._modules.dimension(int(hidden))
        self.notes = self._modules.notes
        self.fingerprint = checkpoint.fingerprint(f"sentence-encoder {VERSION}", parts=self._modules.files)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Shape (n, dimension), unit norm; NaN rows for texts without a token of their own."""
        cleaned = [clean_text(text) for text in texts]
        if self._modules.lower_case:
            cleaned = [text.lower() for text in cleaned]
        vectors = np.full((len(cleaned), self.dimension), np.nan, dtype=np.float32)
        order = [row for row in sorted(range(len(cleaned)), key=lambda row: len(cleaned[row])) if cleaned[row].strip()]
        size = self._loaded().batch_size if order else 1
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            vectors[rows] = self._embed([cleaned[row] for row in rows])
        return vectors

    def _embed(self, texts: list[str]) -> Array:
        import torch

        from assaymark.models.sentence_pooling import pool_tokens

        tokenizer, model, inputs, layers, longest, size = self._loaded()
        tokens = tokenizer(
            texts,
            padding=size > 1,
            padding_side="right",  # whatever the folder says: the first token is then the first column
            truncation=True,
            max_length=longest,
            return_attention_mask=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        own = (tokens["special_tokens_mask"] == 0).any(dim=1)  # (batch,)
        vectors = np.full((len(texts), self.dimension), np.nan, dtype=np.float32)
        if own.any():
            given = {name: tokens[name][own].to(model.device) for name in inputs if name in tokens}
            with torch.inference_mode():
                hidden = model(**given).last_hidden_state  # (batch, tokens, hidden)
                found = pool_tokens(hidden, given["attention_mask"], self._modules.pooling)
                for layer in layers:
                    found = layer(found)
                vectors[own.numpy()] = (found / found.norm(dim=-1, keepdim=True)).cpu().numpy()
        return vectors

    def _load(self, folder: Path, device: str) -> _Parts:
        from assaymark.models.sentence_pooling import sentence_layer

        transformers = import_transformers("language", f"sentence encoder {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        config = load_config(transformers, self._checkpoint)
        family = transformers.AutoModelForTextEncoding if _has_encoder(transformers, config) else transformers.AutoModel
        # The layer behind the first token belonged to pre-training; no pooling reads it, and many checkpoints lack it.
        model = load_weights(family, self._checkpoint, folder, device, optional=("pooler.",))
        accepted = inspect.signature(model.forward).parameters
        inputs = tuple(name for name in ("input_ids", "attention_mask", "token_type_ids") if name in accepted)
        layers = [sentence_layer(layer, folder, device, spec=self.spec) for layer in self._modules.layers]
        size = 1 if tokenizer.pad_token is None else self._loading.batch_size
        return _Parts(tokenizer, model, inputs, layers, self._longest(tokenizer, model.config), size)

    def _longest(self, tokenizer: Any, config: Any) -> int:
        """Tokens of a text that are read: a stated length takes the place of the tokenizer's, not of the position table's."""
        stated = self._modules.max_tokens
        return longest_input(tokenizer, config) if stated is None else min(stated, position_limit(config) or stated)


def _has_encoder(transformers: Any, config: Any) -> bool:
    """Whether the library has a class for the text encoder alone: that of T5, say, whose `AutoModel` has the decoder too."""
    return type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
