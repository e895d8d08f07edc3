"""Text classifiers in the transformers layout (`...ForSequenceClassification`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.models.checkpoint import Checkpoint
from assaymark.models.torch_adapter import (
    TorchAdapter,
    clean_text,
    import_transformers,
    indexed_labels,
    load_config,
    load_tokenizer,
    load_weights,
    longest_input,
)

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["TextClassifier"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently


class _Parts(NamedTuple):
    tokenizer: Any
    model: Any
    longest: int
    batch_size: int


class TextClassifier(TorchAdapter):
    """Probabilities of a sequence classifier (capability scores-texts).

    The labels follow `id2label` by index, whatever the order in the file. Outputs go through a sigmoid when `problem_type` is
    multi_label_classification or there is one output, else through a softmax. Models whose config.json does not state the
    problem type can be corrected in the spec: `hf:org/name?multi_label=true`.

    Texts are cut at the model's longest input, sorted by length and padded batch by batch; the order does not change the
    scores beyond 1e-5. Empty and white-space texts are not scored: their rows are NaN.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("multi_label",))
        config = load_config(import_transformers("language", f"text classifier {self.spec}"), checkpoint)
        self.labels = indexed_labels(self.spec, config)
        stated = config.problem_type == "multi_label_classification"
        self.multi_label = len(self.labels) == 1 or checkpoint.spec.flag("multi_label", stated)
        if len(self.labels) == 1:
            self.notes = (f"{self.spec} has a single output; its sigmoid is read as the probability of {self.labels[0]!r}",)
        self.fingerprint = checkpoint.fingerprint(f"text-classifier {VERSION} multi_label={self.multi_label}")

    def score_texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Shape (n, n_labels), in [0, 1]; NaN rows for empty texts."""
        cleaned = [clean_text(text) for text in texts]
        scores = np.full((len(cleaned), len(self.labels)), np.nan, dtype=np.float32)
        order = [row for row in sorted(range(len(cleaned)), key=lambda row: len(cleaned[row])) if cleaned[row].strip()]
        size = self._loaded().batch_size if order else 1
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            scores[rows] = self._probabilities([cleaned[row] for row in rows])
        return scores

    def _probabilities(self, texts: list[str]) -> npt.NDArray[np.float32]:
        import torch

        tokenizer, model, longest, size = self._loaded()
        tokens = tokenizer(texts, padding=size > 1, truncation=True, max_length=longest, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            logits = model(**tokens).logits.float()  # (batch, n_labels)
            probabilities = torch.sigmoid(logits) if self.multi_label else torch.softmax(logits, dim=-1)
        return np.asarray(probabilities.cpu().numpy(), dtype=np.float32)

    def _load(self, folder: Path, device: str) -> _Parts:
        transformers = import_transformers("language", f"text classifier {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        model = load_weights(transformers.AutoModelForSequenceClassification, self._checkpoint, folder, device)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        # Heads of decoders read the last token that is no padding. Lending them the end token as padding would hide a real
        # end of text, so a model without padding gets its texts one by one.
        size = 1 if tokenizer.pad_token is None else self._loading.batch_size
        return _Parts(tokenizer, model, longest_input(tokenizer, model.config), size)
