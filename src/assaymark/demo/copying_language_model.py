"""A small causal transformer that copies within its context, trained in minutes on a CPU, in the layout of transformers.

It reads few-shot prompts in their flat form, goes on with a text that the prompt holds, and answers a text that comes back
with the label it was given before: what large language models do with demonstrations, in a size for tests and trials.
`hf:FOLDER?task=generate` opens it like a published model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.demo.copying_documents import CopyingDocuments, PromptPieces, repeated_segments
from assaymark.demo.induction_heads import HEAD, induction_accuracy, new_copying_network
from assaymark.demo.small_language_model import byte_level_tokenizer, next_token_losses, save_causal_lm
from assaymark.errors import ConfigError
from assaymark.result import Estimate

if TYPE_CHECKING:
    from assaymark.audit import Task

__all__ = ["CopyingFacts", "train_copying_lm"]

_HELD_OUT = 0.05  # of the texts
_FEWEST = 40
_SAVE_EVERY = 200  # steps
_LOOKS = 20  # validations in a training
Ints = npt.NDArray[np.int64]


class CopyingFacts(NamedTuple):
    """What a trained model is worth, and what it took.

    Attributes
    ----------
    induction_before, induction_after : Estimate
        Share of the tokens of a random segment that are the most probable ones when the segment comes a second time, its first
        token left out; before and after the training.
    perplexity : Estimate
        Of a token of the texts held out, each behind the name of the field alone.
    loss : float
        Mean weighted loss of the last tenth of the steps, in nats.
    parameters, steps : int
    seconds : float
        Processor time of the training, of all threads together.
    """

    induction_before: Estimate
    induction_after: Estimate
    perplexity: Estimate
    loss: float
    parameters: int
    steps: int
    seconds: float


def train_copying_lm(
    folder: Path,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    field: str = "Question",
    answer_field: str = "Type",
    vocabulary: int = 3_000,
    layers: int = 4,
    width: int = 256,
    context: int = 512,
    size: int = 2,
    steps: int = 1_800,
    lr: float = 6e-4,
    seed: int,
    device: str = "cpu",
    checkpoints: Path | None = None,
    progress: Callable[[float, float], None] | None = None,
    task: Task | None = None,
) -> CopyingFacts:
    """Train a tokenizer and a GPT-NeoX on documents in which labelled texts recur, and write both.

    Equal arguments give equal files on one machine. The documents are described in `assaymark.demo.copying_documents`.

    Parameters
    ----------
    texts, labels : sequences of n str
        At least 40, of at least 2 labels; one in twenty is held out.
    field, answer_field : str
        Names of a text and of its label in the prompts.
    vocabulary : int
        Tokens of a byte-level BPE of the texts.
    layers, width, context : int
        At least 2 layers; a width that is a multiple of 128 (heads have 64); longest input in tokens.
    size : int
        Documents of `context` tokens in a step; in the first half of the steps there are four times as many of a quarter of it.
    checkpoints : Path, optional
        An interrupted call, made again, continues and ends equal.
    progress : callable (loss, induction accuracy), optional
        Called twenty times, with the loss on documents of texts held out.

    Notes
    -----
    Copying takes two heads in a row (an induction circuit [1]): one writes into each position what the word before was, the
    next looks for positions whose word before is the present word. Labels of texts that come back take such a pair over a
    distance. From weights drawn at random neither appeared in 500 steps. Weights therefore start near both, in the manner of
    [2]: an untrained model of four layers copies one token in eight, one of two layers hardly any (`induction_before`).
    Larger learning rates than the default wipe out the pair for labels before it is of use. Only a quarter of each head is
    rotated by position, as in GPT-NeoX: the rest compares words over any distance.

    References
    ----------
    .. [1] Olsson et al. In-context learning and induction heads. Transformer Circuits Thread, 2022.
    .. [2] Trockman, Kolter. Mimetic initialization of self-attention layers. ICML 2023.
    """
    from assaymark.training import train

    texts, rows, names = _checked(texts, labels, layers=layers, width=width)
    order = np.random.default_rng(seed).permutation(len(texts))
    held_out, learnt = np.split(order, [max(round(_HELD_OUT * len(order)), 2)])
    shown = [f"{field}: {texts[row]}\n{answer_field}: {names[rows[row]]}\n\n" for row in learnt]
    tokenizer = byte_level_tokenizer(shown, vocabulary=vocabulary, longest=context)
    pieces = PromptPieces.of(tokenizer, names, field=field, answer_field=answer_field)
    words = np.arange(1, len(tokenizer))  # without the end token

    def documents(chosen: Ints, *, length: int, amount: int, number: int) -> CopyingDocuments:
        tokens = [np.array(ids) for ids in tokenizer([f" {texts[row]}" for row in chosen])["input_ids"]]
        return CopyingDocuments(
            tokens, rows[chosen], pieces, words=words, length=length, size=amount, steps=steps, seed=seed + number
        )

    batches = documents(learnt, length=context, amount=size, number=0)
    unseen = documents(held_out, length=context, amount=4, number=1).at(steps)
    model = new_copying_network(tokenizer, layers=layers, width=width, context=context, seed=seed)
    segments = repeated_segments(np.random.default_rng([seed, 1]), words, size=64, length=context // 8)

    def copied() -> Estimate:
        # Each estimate draws from a generator of its own: how often somebody looks must not change the others.
        return induction_accuracy(model, segments, rng=np.random.default_rng([seed, 2]))

    before = copied()

    def validate(module: Any) -> float:
        loss = float(module(*unseen))
        if progress is not None:
            progress(loss, copied().value or 0.0)
        return loss

    started = time.process_time()
    outcome = train(
        _weighted_loss(model),
        lambda module, batch: module(*batch),
        batches,
        steps=steps,
        lr=lr,
        weight_decay=0.01,
        schedule="linear",
        warmup=0.02,
        clip=1.0,
        validate=validate,
        validate_every=math.ceil(steps / _LOOKS),
        seed=seed,
        device=device,
        checkpoints=checkpoints,
        every=min(_SAVE_EVERY, steps),
        data_id=batches.fingerprint if checkpoints is not None else "",
        task=task,
    )
    seconds = time.process_time() - started
    save_causal_lm(model, tokenizer, folder)
    return CopyingFacts(
        before,
        copied(),
        _perplexity(model, tokenizer, [f"{field}: {texts[row]}" for row in held_out], rng=np.random.default_rng([seed, 3])),
        float(outcome.losses[-math.ceil(steps / 10) :].mean()),
        sum(parameter.numel() for parameter in model.parameters()),
        steps,
        seconds,
    )


def _checked(texts: Sequence[str], labels: Sequence[str], *, layers: int, width: int) -> tuple[list[str], Ints, list[str]]:
    """Texts with single spaces, the row of each one's label, and the names of the labels."""
    if len(texts) != len(labels):
        raise ConfigError(f"{len(texts)} texts need as many labels, not {len(labels)}")
    pairs = [(" ".join(text.split()), label.strip()) for text, label in zip(texts, labels, strict=True) if text.strip()]
    names = sorted({label for _, label in pairs})
    if len(pairs) < _FEWEST or len(names) < 2:
        raise ConfigError(f"{len(pairs)} texts of {len(names)} labels are too few; it takes {_FEWEST}, better thousands, of 2")
    if layers < 2 or width % (2 * HEAD):
        raise ConfigError(f"copying takes 2 layers and a width that is a multiple of {2 * HEAD}, not {layers} and {width}")
    return [text for text, _ in pairs], np.array([names.index(label) for _, label in pairs]), names


def _weighted_loss(model: Any) -> Any:
    """A module (ids, weights) -> mean weighted loss of the tokens with a weight; only for them the vocabulary is scored."""
    import torch

    class WeightedLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, weights: Any) -> Any:
            hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
            counted = weights[:, 1:] > 0
            logits = self.model.get_output_embeddings()(hidden[counted])
            losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][counted], reduction="none")
            kept = weights[:, 1:][counted]
            return (losses * kept).sum() / kept.sum()

    return WeightedLoss()


def _perplexity(model: Any, tokenizer: Any, texts: Sequence[str], *, rng: np.random.Generator) -> Estimate:
    from assaymark.stats.resampling import bootstrap_ratio

    found = tokenizer(list(texts), truncation=True, max_length=tokenizer.model_max_length)["input_ids"]
    tokens = [np.array(ids) for ids in found]
    counts = np.array([len(ids) - 1.0 for ids in tokens])
    nats = bootstrap_ratio(next_token_losses(model, tokens), counts, rng=rng)
    value, low, high = (math.exp(number) for number in (nats.value or 0.0, nats.low or 0.0, nats.high or 0.0))
    return Estimate(value, low, high, nats.n, f"{nats.method}, exponential of the loss", "number")
