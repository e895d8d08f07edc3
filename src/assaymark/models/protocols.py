"""What a model can do for an audit. An adapter provides one or more of these; an audit asks for them by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from assaymark.models.layers import Layer, Visit
from assaymark.models.token_columns import TokenScores

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

__all__ = [
    "CAPABILITIES",
    "CONTINUATION_COLUMNS",
    "CaptionsImages",
    "CombinesColumns",
    "Continued",
    "Decision",
    "EmbedsImages",
    "EmbedsTexts",
    "FillsSpans",
    "GeneratesText",
    "Layer",
    "Model",
    "NextTokens",
    "PredictsTokens",
    "Prompt",
    "ReadsColumns",
    "RecordsActivations",
    "RecordsTextActivations",
    "ScoresContinuations",
    "ScoresEmbeddings",
    "ScoresImages",
    "ScoresTexts",
    "ScoresTokens",
    "TrainsImages",
    "TrainsTexts",
    "Visit",
    "capabilities_of",
]

Array = npt.NDArray[np.float32]

Prompt = str | Sequence[Mapping[str, str]]
"""What a text generator is asked: a text that it continues (flat), or messages with "role" and "content" (chat)."""

Continued = tuple[Prompt, str]
"""A prompt and a text that may follow it: of messages, the start of the answer."""

CONTINUATION_COLUMNS = ("log_likelihood", "tokens")
"""What is said of a continuation: the sum of log p of its tokens (natural logarithm), and how many these are."""


class NextTokens(NamedTuple):
    """What may follow each of n prompts.

    Attributes
    ----------
    probabilities : array of float32, shape (n, V)
        Rows sum to 1.
    tokens : sequence of str, length V
        What each token adds to the text, its leading space included. One that ends a text adds a line break, any other special
        one nothing. Bytes of a character in parts are lone surrogates, see `assaymark.models.token_texts`.
    """

    probabilities: Array
    tokens: Sequence[str]


class Decision(NamedTuple):
    """How a scorer wants to be read, and what it was then measured to get wrong.

    A score above `threshold` calls an item positive. `sensitivity` is (found, positive) and `specificity` (passed, negative) on
    labelled items that it was not fitted to, None where nobody measured them; `source` says which items these were.
    """

    threshold: float
    sensitivity: tuple[int, int] | None = None
    specificity: tuple[int, int] | None = None
    source: str = ""


@runtime_checkable
class Model(Protocol):
    """What every adapter has, whatever else it can do.

    `spec` is the string it was made from. `fingerprint` is a hash of what decides its outputs (weights, labels,
    preprocessing): equal fingerprints mean equal answers, so it is the model's part of every cache key.

    Optional: `notes`, what the reader of a report should know; `decision`, a `Decision`; `cheap`, capabilities whose answers
    cost less to compute than to look up (one dot product), so that they are neither cached nor counted; `at_once`, how many
    items are worth asking about between two writes to the cache, where that is not for the batch size to say; `usage`, what
    its answers cost; `remote`, true where items leave this machine and may cost money, so that a budget is asked for.
    """

    spec: str
    fingerprint: str


@runtime_checkable
class ScoresTexts(Model, Protocol):
    """Probabilities of `labels` for each text. `multi_label`: each label on its own (sigmoid), else they sum to 1."""

    labels: tuple[str, ...]
    multi_label: bool

    def score_texts(self, texts: Sequence[str]) -> Array:
        """Shape (n, n_labels), in [0, 1]; a row is NaN where the text cannot be scored."""
        ...


@runtime_checkable
class ScoresImages(Model, Protocol):
    labels: tuple[str, ...]
    multi_label: bool

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, n_labels), in [0, 1]."""
        ...


@runtime_checkable
class ScoresEmbeddings(Model, Protocol):
    """Scores of stored image embeddings, e.g. a safety head on a dual encoder."""

    labels: tuple[str, ...]
    multi_label: bool
    dimension: int

    def score_embeddings(self, embeddings: Array) -> Array:
        """Shape (n, n_labels) for unit-norm embeddings of shape (n, dimension)."""
        ...


@runtime_checkable
class EmbedsImages(Model, Protocol):
    dimension: int
    logit_scale: float

    def embed_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, dimension), unit norm."""
        ...


@runtime_checkable
class EmbedsTexts(Model, Protocol):
    dimension: int
    logit_scale: float

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """Shape (n, dimension), unit norm; a row is NaN where a text holds nothing to embed."""
        ...


@runtime_checkable
class TrainsImages(Model, Protocol):
    """An image encoder whose weights can be trained further: the start of a fine-tuned baseline."""

    dimension: int

    def feature_module(self) -> Any:
        """A `torch.nn.Module` of its own, on the CPU, from what `prepare_images` gives to features, shape (n, dimension).

        Features are not scaled to norm 1, and gradients reach the weights. Each call gives another copy, which starts from
        the published weights and is in evaluation mode.
        """
        ...

    def prepare_images(self, images: Sequence[Image]) -> Any:
        """Float tensor on the CPU, shape (n, 3, height, width): what the module takes."""
        ...


@runtime_checkable
class TrainsTexts(Model, Protocol):
    """A language model whose weights can be trained further, as a classifier of texts with labels of the caller's own."""

    def encode_texts(self, texts: Sequence[str], *, max_tokens: int | None = None) -> list[npt.NDArray[np.int32]]:
        """Token ids of each text with its special tokens, cut at `max_tokens` and at what the model can read."""
        ...

    def classifier_module(self, labels: Sequence[str], *, seed: int) -> Any:
        """A `torch.nn.Module` of its own, on the CPU: (ids, mask), shape (n, longest) each, to logits, shape (n, n_labels).

        `ids` are what `encode_texts` gives, padded at their end with anything; `mask` is true where they are real. Weights
        start as published, the head as drawn under the seed; it is in evaluation mode.
        """
        ...

    def save_classifier(self, module: Any, folder: Path, labels: Sequence[str], *, max_tokens: int | None = None) -> None:
        """Write a trained module so that the folder is a spec that scores-texts; texts are then cut at `max_tokens` too."""
        ...


@runtime_checkable
class RecordsActivations(Model, Protocol):
    """An image encoder that can be looked into, layer by layer. `dimension` is the width of its representation."""

    dimension: int
    layers: tuple[Layer, ...]
    """In the order in which a forward pass finishes them; the last is the representation, behind pooling."""

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        """Float32 tensor on the CPU, shape (n, 3, height, width), in [0, 1]: resized, not normalised."""
        ...

    def record(self, pixels: Any, layers: Sequence[str], visit: Visit) -> None:
        """One forward pass over raw pixels, on the device of the model, in evaluation mode and without gradients.

        `visit` is called as soon as a named layer is finished, so that no more than one output has to be held. Neither cached
        nor counted.
        """
        ...


@runtime_checkable
class RecordsTextActivations(Model, Protocol):
    """A text encoder, or the text tower of a dual one, that can be looked into."""

    text_layers: tuple[Layer, ...]

    def record_texts(self, texts: Sequence[str], layers: Sequence[str], visit: Visit) -> None:
        """As `RecordsActivations.record`. Texts of unequal length are padded at the end; outputs there are zero."""
        ...


@runtime_checkable
class CaptionsImages(Model, Protocol):
    """Says in words what an image shows."""

    def caption_images(
        self,
        images: Sequence[Image],
        *,
        prompt: str = "A picture of",
        temperature: float = 0.4,
        samples: int = 5,
        seed: int = 0,
    ) -> list[list[str]]:
        """`samples` captions an image, each what the model says after the prompt (without it).

        Captions depend on image, parameters and seed, not on order or batch. Temperature 0 is the most probable word each
        time, so that all samples are equal.
        """
        ...


@runtime_checkable
class GeneratesText(Model, Protocol):
    """Writes texts: continues a prompt, or replies to messages."""

    def generate_text(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> list[list[str]]:
        """`samples` texts a prompt, without the prompt; each ends before the first of the `stop` texts.

        Texts depend on prompt, parameters and seed, not on order or batch (a remote service may not keep this). `top_p` draws
        from the smallest set of words that has this probability; temperature 0 is the most probable word each time. A text
        may be empty: what to make of that is for the caller to say.
        """
        ...


@runtime_checkable
class ScoresContinuations(Model, Protocol):
    """How probable a language model finds a text after a prompt."""

    def score_continuations(self, items: Sequence[Continued]) -> npt.NDArray[np.floating[Any]]:
        """Shape (n, 2), columns `CONTINUATION_COLUMNS`; a row is NaN where a continuation has no token, so nothing to score.

        The tokens of a continuation are what follows the longest common prefix of the tokens of the prompt and those of the
        prompt with the continuation: where the first letters merge with the end of the prompt, the merged token is among them.
        """
        ...


@runtime_checkable
class PredictsTokens(Model, Protocol):
    """The whole distribution of a language model over its next token: for texts that are drawn outside of the model."""

    def next_tokens(self, prompts: Sequence[Prompt]) -> NextTokens:
        """What may follow each prompt; neither cached nor counted, since an answer is as wide as the vocabulary.

        A prompt may end within a character, as a text does that was put together from `tokens`. Rows depend neither on order
        nor batch, beyond rounding.
        """
        ...


@runtime_checkable
class ScoresTokens(Model, Protocol):
    """How probable a language model finds the tokens of a text. `token_columns` names what the summary of a text holds."""

    token_columns: tuple[str, ...]

    def summarise_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        """Shape (n, n_token_columns), see `token_columns.TOKEN_COLUMNS`; a row is NaN where a text has fewer than 2 tokens."""
        ...

    def score_tokens(self, texts: Sequence[str]) -> TokenScores:
        """The scores behind the summary, token by token; neither cached nor counted."""
        ...


@runtime_checkable
class FillsSpans(Model, Protocol):
    """Fills gaps in texts: the perturbations of DetectGPT."""

    def fill_spans(
        self,
        masked: Sequence[str],
        *,
        samples: int = 1,
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 50,
    ) -> list[list[str]]:
        """`samples` filled versions of each text, whose gaps are written `<extra_id_0>`, `<extra_id_1>`, ... in this order.

        A version is "" where the model did not fill every gap: the caller counts it, and leaves it out. Versions depend on
        the masked text and the parameters, not on order or batch.
        """
        ...


@runtime_checkable
class ReadsColumns(Model, Protocol):
    """Precomputed scores: `columns` of the input table stand in for the model, label by label."""

    labels: tuple[str, ...]
    multi_label: bool
    columns: tuple[str, ...]


@runtime_checkable
class CombinesColumns(Model, Protocol):
    """Scores made of precomputed ones: `member_columns` of the input table go in, together."""

    labels: tuple[str, ...]
    multi_label: bool
    member_columns: tuple[str, ...]

    def combine_columns(self, values: npt.NDArray[np.float64]) -> Array:
        """Shape (n, n_labels), in [0, 1], from values of shape (n, n_columns); NaN rows where they say too little."""
        ...


CAPABILITIES: dict[str, type] = {
    "scores-texts": ScoresTexts,
    "scores-images": ScoresImages,
    "scores-embeddings": ScoresEmbeddings,
    "embeds-images": EmbedsImages,
    "embeds-texts": EmbedsTexts,
    "trains-images": TrainsImages,
    "trains-texts": TrainsTexts,
    "records-activations": RecordsActivations,
    "records-text-activations": RecordsTextActivations,
    "captions-images": CaptionsImages,
    "generates-text": GeneratesText,
    "scores-continuations": ScoresContinuations,
    "predicts-tokens": PredictsTokens,
    "scores-tokens": ScoresTokens,
    "fills-spans": FillsSpans,
    "reads-columns": ReadsColumns,
    "combines-columns": CombinesColumns,
}
"""Capability name, as audits declare it in their roles, to protocol. The one list that a new capability extends."""


def capabilities_of(model: object, *, among: Sequence[str] | None = None) -> tuple[str, ...]:
    """Names of the capabilities that an adapter object provides: of all, or of some names, in their order."""
    names = CAPABILITIES if among is None else [name for name in among if name in CAPABILITIES]
    return tuple(name for name in names if isinstance(model, CAPABILITIES[name]))
