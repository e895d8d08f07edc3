"""Scores of the tokens of a text by causal language models in the transformers layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, ModelError
from assaymark.models.causal_lm import CausalLM, load_causal_lm
from assaymark.models.checkpoint import Checkpoint, find_checkpoint
from assaymark.models.content import text_keys
from assaymark.models.spec import parse_spec
from assaymark.models.token_columns import SAMPLED_COLUMNS, TOKEN_COLUMNS, TokenScores, summary_rows
from assaymark.models.token_statistics import Sampling, chunk_length, position_scores
from assaymark.models.torch_adapter import (
    TorchAdapter,
    clean_text,
    import_transformers,
    load_config,
    load_tokenizer,
    longest_input,
    number_format,
    position_limit,
)

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["TokenScorer"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently
OPTIONS = ("reference", "samples", "seed", "max_tokens", "add_bos", "dtype")
_LONGEST = 1024  # tokens, where neither tokenizer nor model states a limit (recurrent models and relative positions)
_TYPICAL = 256  # tokens of a text: a batch holds batch_size times as many, padding included


class _Parts(NamedTuple):
    tokenizer: Any
    model: CausalLM
    reference: CausalLM | None
    longest: int
    bos: tuple[int, ...]
    padding: int


class _Tokens(NamedTuple):
    """One text: its row in the call, its token ids, and what seeds its samples."""

    row: int
    ids: list[int]
    key: int


class TokenScorer(TorchAdapter):
    """Log-probabilities, ranks and entropies of tokens (capability scores-tokens).

    Options of the spec: `reference=SPEC`, a second model that shares the vocabulary, whose distribution the expected
    log-likelihood is taken over (Fast-DetectGPT's reference, Binoculars' observer; the model of the spec itself is the scoring
    one, or performer). `samples=N` adds the columns of the sampling form of Fast-DetectGPT, from N draws, with `seed`. Texts
    are cut after `max_tokens` tokens (default: the model's own limit); of a cut only `tokens` tells. `add_bos=true` puts the
    start token before every text, `false` none; the default is what the tokenizer does by itself, as in the published codes.
    `dtype=bfloat16` or `float16` is the format of the weights; sums and logarithms are in float32 always.

    Notes
    -----
    The first token is not scored. A text with fewer than two tokens, or of white space alone, has no scores: its row is NaN.
    Texts are sorted by length and padded batch by batch; neither order nor batch changes a score beyond 1e-5 (in float32).
    Logits exist for a chunk of positions at a time (64 MB), whatever the length of the text.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        spec = checkpoint.spec
        spec.check_options(OPTIONS)
        transformers = import_transformers("language", f"language model {self.spec}")
        self._dtype = number_format(spec)
        self._samples, self._seed = spec.integer("samples", 0), spec.integer("seed", 0)
        if self._samples < 0 or self._samples == 1 or self._seed < 0:
            raise ConfigError(f"model {self.spec}: samples must be 0 or at least 2, and seed at least 0")
        self._add_bos = spec.flag("add_bos", False) if "add_bos" in spec.options else None
        config = load_config(transformers, checkpoint)
        self._reference = _reference(transformers, checkpoint, config)
        others = [] if self._reference is None else [position_limit(load_config(transformers, self._reference))]
        self._positions = min((limit for limit in (position_limit(config), *others) if limit), default=None)
        self._max_tokens = _max_tokens(checkpoint, self._positions)
        self.token_columns = TOKEN_COLUMNS + (SAMPLED_COLUMNS if self._samples else ())
        longest = self._max_tokens or self._positions or _LONGEST
        self.notes = (f"{self.spec} reads at most {longest} tokens of a text; longer ones are scored by their beginning",)
        second = self._reference.fingerprint("reference") if self._reference else ""
        asked = f"samples={self._samples} seed={self._seed if self._samples else 0} max_tokens={self._max_tokens}"
        self.fingerprint = checkpoint.fingerprint(
            f"token-scorer {VERSION} {asked} add_bos={self._add_bos} dtype={self._dtype} reference={second}"
        )

    def summarise_tokens(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Shape (n, n_token_columns); NaN rows for texts with fewer than two tokens."""
        rows = np.full((len(texts), len(self.token_columns)), np.nan, dtype=np.float32)
        for batch in self._token_batches(texts):
            offsets = _offsets([len(text.ids) - 1 for text in batch])
            sampling = None
            if self._samples:
                generators = [np.random.default_rng([self._seed, text.key]) for text in batch]
                sampling = Sampling(offsets, self._samples, generators)
            parts = [summary_rows(_token_scores(offsets, self._score(batch, sampling)))]
            rows[[text.row for text in batch]] = np.hstack([*parts, *([sampling.summary()] if sampling else [])])
        return rows

    def score_tokens(self, texts: Sequence[str]) -> TokenScores:
        """Scores of every token but the first, text after text."""
        found = [np.empty((5, 0), dtype=np.float32)] * len(texts)
        for batch in self._token_batches(texts):
            ends = np.cumsum([len(text.ids) - 1 for text in batch])
            for text, scores in zip(batch, np.split(self._score(batch), ends[:-1], axis=1), strict=True):
                found[text.row] = scores
        offsets = _offsets([scores.shape[1] for scores in found])
        return _token_scores(offsets, np.concatenate([np.empty((5, 0), dtype=np.float32), *found], axis=1))

    def _token_batches(self, texts: Sequence[str]) -> Iterator[list[_Tokens]]:
        """Texts of at least two tokens, by length, in batches of bounded size with padding."""
        cleaned = [clean_text(text) for text in texts]
        kept = [row for row, text in enumerate(cleaned) if text.strip()]
        if not kept:
            return
        tokenizer, model, _, longest, bos, _ = self._loaded()
        room = longest - len(bos)
        written = tokenizer([cleaned[row] for row in kept], add_special_tokens=False, truncation=True, max_length=room)
        keys = [int.from_bytes(key, "big") for key in text_keys([cleaned[row] for row in kept])]
        tokens = [_Tokens(row, [*bos, *ids], key) for row, ids, key in zip(kept, written["input_ids"], keys, strict=True)]
        size = self._loading.batch_size
        most = size * _TYPICAL if model.has_head else chunk_length(model.vocabulary)
        batch: list[_Tokens] = []
        for text in sorted((text for text in tokens if len(text.ids) > 1), key=lambda text: len(text.ids)):
            if batch and (len(batch) == size or (len(batch) + 1) * len(text.ids) > most):
                yield batch
                batch = []
            batch.append(text)
        if batch:
            yield batch

    def _score(self, batch: list[_Tokens], sampling: Sampling | None = None) -> npt.NDArray[np.float32]:
        """One forward pass of each model; shape (5, positions), text after text."""
        import torch

        _, model, reference, _, _, padding = self._loaded()
        length = max(len(text.ids) for text in batch)
        ids = torch.tensor([text.ids + [padding] * (length - len(text.ids)) for text in batch], device=model.device)
        mask = torch.tensor([[1] * len(text.ids) + [0] * (length - len(text.ids)) for text in batch], device=model.device)
        with torch.inference_mode():
            scored = mask[:, 1:].bool()
            states = model.states(ids, mask)[:, :-1][scored]  # what stands before each scored token
            others = reference.states(ids, mask)[:, :-1][scored] if reference else None

            def logits_of(rows: slice) -> tuple[Any, Any]:
                return model.logits(states[rows]), None if others is None else reference.logits(others[rows])

            chunk = chunk_length(model.vocabulary, self._samples)
            return position_scores(ids[:, 1:][scored], logits_of, chunk=chunk, sampling=sampling)

    def _load(self, folder: Path, device: str) -> _Parts:
        transformers = import_transformers("language", f"language model {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        tokenizer.truncation_side = "right"
        config = load_config(transformers, self._checkpoint)
        longest = self._max_tokens or min(longest_input(tokenizer, config, unstated=_LONGEST), self._positions or _LONGEST)
        model = load_causal_lm(transformers, self._checkpoint, folder, device, dtype=self._dtype, longest=longest)
        reference = None
        if self._reference is not None:
            other = self._reference.present()
            _check_vocabulary(self.spec, tokenizer, load_tokenizer(transformers, self._reference, other))
            reference = load_causal_lm(transformers, self._reference, other, device, dtype=self._dtype, longest=longest)
            _check_widths(self.spec, model.vocabulary, reference.vocabulary)
        stated = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        padding = next(token for token in stated if token is not None and token < model.vocabulary)
        return _Parts(tokenizer, model, reference, longest, self._bos(tokenizer), padding)

    def _bos(self, tokenizer: Any) -> tuple[int, ...]:
        """What is put before a text: the start token, or nothing."""
        start = tokenizer.bos_token_id
        if self._add_bos is None:
            return (start,) if start is not None and tokenizer("")["input_ids"][:1] == [start] else ()
        if self._add_bos and start is None:
            raise ModelError(f"model {self.spec}: add_bos=true, but its tokenizer has no start token")
        return (start,) if self._add_bos else ()


def _offsets(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _max_tokens(checkpoint: Checkpoint, positions: int | None) -> int | None:
    """Option `max_tokens`, None where it is not given."""
    if "max_tokens" not in checkpoint.spec.options:
        return None
    stated = checkpoint.spec.integer("max_tokens", 0)
    if not 2 <= stated <= (positions or stated):
        most = f" and at most {positions}, the number of positions" if positions else ""
        raise ConfigError(f"model {checkpoint.spec.text}: max_tokens={stated} must be at least 2{most}")
    return stated


def _token_scores(offsets: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> TokenScores:
    log_probability, rank, entropy, expected, variance = scores  # ranks below 2^24 are exact in float32
    return TokenScores(offsets, log_probability, rank.astype(np.int32), entropy, expected, variance)


def _reference(transformers: Any, checkpoint: Checkpoint, config: Any) -> Checkpoint | None:
    """The checkpoint of the reference model, its vocabulary as large as that of the scoring one."""
    spec = checkpoint.spec
    if not spec.options.get("reference"):
        return None
    other = parse_spec(spec.options["reference"], base=spec.base)
    other.check_options(())
    if other.scheme != "hf":
        raise ModelError(f"model {spec.text}: its reference must be a model of the hub or a folder (hf:...), not {other.text}")
    reference = find_checkpoint(other)
    sizes = [each.get_text_config().vocab_size for each in (config, load_config(transformers, reference))]
    _check_widths(spec.text, *sizes)
    return reference


def _check_widths(spec: str, own: int, other: int) -> None:
    if own != other:
        raise ModelError(
            f"model {spec}: it has a vocabulary of {own} tokens and its reference one of {other}; the two must share one"
        )


def _check_vocabulary(spec: str, own: Any, other: Any) -> None:
    """Refuse a reference whose tokens mean something else."""
    first, second = own.get_vocab(), other.get_vocab()
    if first != second:
        differing = sum(second.get(token) != number for token, number in first.items())
        raise ModelError(
            f"model {spec}: its tokenizer has {len(first)} tokens and that of its reference {len(second)}, {differing} of them "
            "with another number; the two must share one vocabulary"
        )
