"""Small causal language models from scratch: a GPT-2 of transformers for any texts, saved in its layout.

The tokenizer is a byte-level BPE of the same texts. `hf:FOLDER` opens the result like a published model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.result import Estimate

if TYPE_CHECKING:
    from assaymark.audit import Task

__all__ = ["LanguageModelFacts", "TokenWindows", "byte_level_tokenizer", "next_token_losses", "train_causal_lm"]

END = "<|endoftext|>"
_SIZE = 16  # windows in a step
_HELD_OUT = 0.05  # of the texts
_FEWEST = 40
_SAVE_EVERY = 200  # steps
Ints = npt.NDArray[np.int64]


class LanguageModelFacts(NamedTuple):
    """What a trained model is worth, and how large it and its material are.

    Attributes
    ----------
    perplexity : Estimate
        Of a token of the texts held out, each as far as the context goes, with an interval over texts. It depends on the
        tokenizer: only models with equal tokens can be compared by it.
    bits_per_byte : float
        The same loss per byte of text, which does not.
    parameters, tokens, steps : int
        `tokens` are those of the training texts.
    """

    perplexity: Estimate
    bits_per_byte: float
    parameters: int
    tokens: int
    steps: int


def train_causal_lm(
    texts: Sequence[str],
    folder: Path,
    *,
    vocabulary: int = 4_000,
    layers: int = 4,
    width: int = 128,
    context: int = 128,
    steps: int = 600,
    lr: float = 3e-3,
    seed: int,
    device: str = "cpu",
    checkpoints: Path | None = None,
    task: Task | None = None,
) -> LanguageModelFacts:
    """Train a tokenizer and a GPT-2 on texts and write both; equal arguments give equal files on one machine.

    Parameters
    ----------
    texts : sequence of str
        At least 40; one in twenty is held out.
    vocabulary : int
        Tokens, the 256 bytes and the end of a text among them.
    layers, width, context : int
        Depth, width (heads have 32) and longest input in tokens.
    steps : int
        Of 16 windows of `context` tokens each.
    checkpoints : Path, optional
        An interrupted call, made again, continues and ends equal.
    """
    import torch

    from assaymark.training import train

    given = [text for text in texts if text.strip()]
    if len(given) < _FEWEST:
        raise ConfigError(f"{len(given)} texts are too few to train a language model on; it takes {_FEWEST}, better thousands")
    if vocabulary < 300 or context < 8:
        raise ConfigError(f"vocabulary must be at least 300 and context at least 8, not {vocabulary} and {context}")
    order = np.random.default_rng(seed).permutation(len(given))
    held_out = [given[row] for row in order[: max(round(_HELD_OUT * len(given)), 2)]]
    learnt = [given[row] for row in order[len(held_out) :]]
    tokenizer = byte_level_tokenizer(learnt, vocabulary=vocabulary, longest=context)
    windows = TokenWindows(_stream(tokenizer, learnt), length=context, size=_SIZE, seed=seed)
    model = _new_model(tokenizer, layers=layers, width=width, context=context, seed=seed)

    def objective(module: Any, batch: Any) -> Any:
        logits = module(input_ids=batch[0], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[0][:, 1:].flatten())

    train(
        model,
        objective,
        windows,
        steps=steps,
        lr=lr,
        weight_decay=0.01,
        schedule="one-cycle",
        clip=1.0,
        seed=seed,
        device=device,
        checkpoints=checkpoints,
        every=min(_SAVE_EVERY, steps),
        data_id=windows.fingerprint if checkpoints is not None else "",
        task=task,
    )
    save_causal_lm(model, tokenizer, folder)
    rng = np.random.default_rng([seed, 1])
    return _facts(model, tokenizer, held_out, windows, steps=steps, context=context, rng=rng)


def byte_level_tokenizer(texts: Sequence[str], *, vocabulary: int, longest: int) -> Any:
    """A byte-level BPE tokenizer of transformers, as that of GPT-2: no text has unknown tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=sorted(alphabet), show_progress=False
    )
    tokens.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token=END, eos_token=END, unk_token=END, model_max_length=longest
    )


class TokenWindows:
    """Windows of one long stream of tokens, drawn anew in every step: the usual batches of language modelling.

    Parameters
    ----------
    stream : array, shape (n,)
    length : int
        Tokens in a window.
    size : int
        Windows in a batch, over all processes together.
    """

    def __init__(self, stream: Ints, *, length: int, size: int, seed: int) -> None:
        if len(stream) < length + 1:
            raise ConfigError(f"{len(stream)} tokens do not fill a window of {length}; give more texts")
        self.stream, self._length, self._size, self._seed = stream, length, size, seed
        self.steps_per_epoch = math.ceil(len(stream) / (length * size))

    @property
    def fingerprint(self) -> str:
        return blake2b(self.stream.tobytes() + f" {self._length} {self._size}".encode(), digest_size=8).hexdigest()

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> tuple[Any, ...]:
        """One tensor, shape (at most size, length): this process's windows of a step."""
        import torch

        rows = math.ceil(self._size / world) * world
        starts = np.random.default_rng([self._seed, step]).integers(len(self.stream) - self._length, size=rows)[rank::world]
        return (torch.from_numpy(self.stream[starts[:, None] + np.arange(self._length)]),)


def next_token_losses(model: Any, tokens: Sequence[Ints], *, batch_size: int = 64) -> npt.NDArray[np.float64]:
    """Sum over each sequence of -log p(token | tokens before it), from its second token on, in nats.

    Parameters
    ----------
    tokens : sequence of n arrays, of 2 or more ids each

    Returns
    -------
    array, shape (n,)
    """
    import torch

    from assaymark.training.token_batches import padded

    sums = []
    with torch.inference_mode():
        for start in range(0, len(tokens), batch_size):
            ids, mask = padded(tokens[start : start + batch_size])
            logits = model(input_ids=ids, attention_mask=mask.long(), use_cache=False).logits[:, :-1]
            losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
            sums.append((losses.double() * mask[:, 1:]).sum(dim=1).numpy())
    return np.concatenate(sums)


def _stream(tokenizer: Any, texts: Sequence[str]) -> Ints:
    """All texts in a row, the end token before each and after the last."""
    end = tokenizer.eos_token_id
    found = tokenizer(list(texts), return_attention_mask=False, verbose=False)["input_ids"]
    return np.concatenate([np.array([end, *ids], dtype=np.int64) for ids in found] + [np.array([end])])


def _new_model(tokenizer: Any, *, layers: int, width: int, context: int, seed: int) -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=max(width // 32, 1),
        bos_token_id=end,
        eos_token_id=end,
        # A few passes over the texts: there is little to over-fit, and dropout only slows this down.
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def _facts(
    model: Any,
    tokenizer: Any,
    held_out: Sequence[str],
    windows: TokenWindows,
    *,
    steps: int,
    context: int,
    rng: np.random.Generator,
) -> LanguageModelFacts:
    from assaymark.stats.resampling import bootstrap_ratio

    end = tokenizer.eos_token_id
    found = tokenizer(list(held_out), truncation=True, max_length=context - 1)["input_ids"]
    tokens = [np.array([end, *ids], dtype=np.int64) for ids in found]
    losses, counts = next_token_losses(model, tokens), np.array([len(ids) - 1 for ids in tokens], dtype=np.float64)
    nats = bootstrap_ratio(losses, counts, rng=rng)
    size = sum(len(tokenizer.decode(ids[1:]).encode()) for ids in tokens)
    value, low, high = (math.exp(number) for number in (nats.value or 0.0, nats.low or 0.0, nats.high or 0.0))
    return LanguageModelFacts(
        Estimate(value, low, high, nats.n, f"{nats.method}, exponential of the loss", "number"),
        float(losses.sum() / math.log(2) / size),
        sum(parameter.numel() for parameter in model.parameters()),
        len(windows.stream),
        steps,
    )


def save_causal_lm(model: Any, tokenizer: Any, folder: Path) -> None:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if shown:
        logging.enable_progress_bar()
