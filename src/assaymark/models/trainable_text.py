"""`hf:FOLDER?task=train` - language models in the transformers layout, as the start of a text classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.torch_adapter import (
    TorchAdapter,
    clean_text,
    import_transformers,
    load_config,
    load_part,
    load_tokenizer,
    longest_input,
)

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["TrainableText"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently

_AT_ONCE = 1_000  # texts in one call of the tokenizer, whose lists take ten times the memory of arrays


class TrainableText(TorchAdapter):
    """An encoder or a causal language model that a classifier of texts is trained from (capability trains-texts).

    Any family that transformers knows as `...ForSequenceClassification`, saved with another head, with none, or with one for
    other labels: the head is always drawn anew. This is the one place where weights may be missing from a checkpoint; those of
    the model below the head may not.

    A tokenizer without padding (GPT-2) gets its end token as padding, in training and in the saved classifier alike.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("task",))
        transformers = import_transformers("language", f"trainable text model {self.spec}")
        self._config = load_config(transformers, checkpoint)
        self.fingerprint = checkpoint.fingerprint(f"trainable-text {VERSION}")

    def encode_texts(self, texts: Sequence[str], *, max_tokens: int | None = None) -> list[npt.NDArray[np.int32]]:
        """Token ids with special tokens, cut at the smaller of `max_tokens` and the model's longest input."""
        tokenizer, longest = self._loaded(), self._longest(max_tokens)
        tokens: list[npt.NDArray[np.int32]] = []
        for start in range(0, len(texts), _AT_ONCE):
            cleaned = [clean_text(text) for text in texts[start : start + _AT_ONCE]]
            found = tokenizer(cleaned, truncation=True, max_length=longest, return_attention_mask=False)["input_ids"]
            tokens += [np.array(ids, dtype=np.int32) for ids in found]
        return tokens

    def classifier_module(self, labels: Sequence[str], *, seed: int) -> Any:
        """A fresh `TokenClassifier` with a head for `labels`; torch's global generators stay as they are."""
        import torch

        from assaymark.models.token_classifier import TokenClassifier, draw_weights, head_weights

        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise ConfigError(f"labels of a classifier must be two or more different names, not {list(labels)}")
        with torch.random.fork_rng(devices=[]):  # the library draws what it does not find, before we do
            model, unknown = self._weights(labels)
        head = head_weights(model)
        absent = sorted(name for name in unknown - head if "pooler." not in name)
        if absent:
            raise ModelError(
                f"model {self.spec}: the checkpoint lacks {len(absent)} weights of {type(model).__name__} below its head, such "
                f"as {absent[0]}; training cannot make up for them"
            )
        draw_weights(model, head | unknown, seed=seed)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = self._loaded().pad_token_id
        return TokenClassifier(model).eval()

    def save_classifier(self, module: Any, folder: Path, labels: Sequence[str], *, max_tokens: int | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer: `hf:FOLDER` then opens as a text classifier."""
        model, tokenizer = module.model, self._load(self._checkpoint.present(), "cpu")
        if model.config.num_labels != len(labels):
            raise ConfigError(f"a classifier of {model.config.num_labels} outputs cannot have the labels {list(labels)}")
        for name, value in _label_settings(labels).items():
            setattr(model.config, name, value)
        tokenizer.model_max_length = self._longest(max_tokens)
        folder.mkdir(parents=True, exist_ok=True)
        with _silent():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    def _longest(self, max_tokens: int | None) -> int:
        longest = longest_input(self._loaded(), self._config)
        return longest if max_tokens is None else min(max_tokens, longest)

    def _weights(self, labels: Sequence[str]) -> tuple[Any, set[str]]:
        """The classifier with all that the checkpoint holds, and the names of what it does not hold in the right shape."""
        transformers = import_transformers("language", f"trainable text model {self.spec}")
        with _silent():
            model, report = load_part(
                self.spec,
                "weights",
                lambda: transformers.AutoModelForSequenceClassification.from_pretrained(
                    self._checkpoint.present(),
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    dtype="float32",
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,
                    **_label_settings(labels),
                ),
            )
        unfit = {str(entry[0]) for entry in report.get("mismatched_keys") or ()}
        return model, {str(name) for name in report.get("missing_keys") or ()} | unfit

    def _load(self, folder: Path, device: str) -> Any:
        """The tokenizer, with a padding token and padding at the end. Weights are read anew for each module."""
        transformers = import_transformers("language", f"trainable text model {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        if tokenizer.pad_token is None:
            if tokenizer.eos_token is None:
                raise ModelError(f"model {self.spec}: its tokenizer has neither a padding nor an end token, and one is needed")
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        return tokenizer


def _label_settings(labels: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


@contextmanager
def _silent() -> Iterator[None]:
    """No progress bars of the library, and no table of the weights that are missing: here they are meant to be."""
    from transformers.utils import logging as library_logging

    logging: Any = library_logging  # its functions carry no type hints
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()
