"""Causal language models in the transformers layout (`hf:name?task=generate`): texts written, continuations, next tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import PromptTooLong
from assaymark.models.causal_lm import TOLERANCE, CausalLM, padded
from assaymark.models.chat_prompts import cut_at_stop, draw_seed, validate_continuations, validate_prompts, validate_request
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.content import prompt_keys
from assaymark.models.decoding import NucleusNoise, StopTexts
from assaymark.models.prefix_states import PrefixStates, prefix_states
from assaymark.models.prompt_tokens import PromptTokens, context_length, has_template, stated_ends
from assaymark.models.protocols import CONTINUATION_COLUMNS, Continued, NextTokens, Prompt
from assaymark.models.shared_prefixes import WORTH_SHARING, SharedPrefix, shared_prefixes
from assaymark.models.token_statistics import chunk_length
from assaymark.models.torch_adapter import TorchAdapter, import_transformers, load_tokenizer, load_weights, number_format

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["TextGenerator"]

VERSION = 2  # part of the fingerprint: grows when the same checkpoint would answer differently

_TYPICAL = 256  # tokens of a text to be scored: a batch holds batch_size times as many, padding included


class _Parts(NamedTuple):
    prompts: PromptTokens
    model: CausalLM
    states: PrefixStates | None
    context: int


class _Job(NamedTuple):
    """One text to write: which prompt it continues, its tokens, how many more there may be, and its own random numbers."""

    prompt: int
    tokens: list[int]
    room: int
    rng: np.random.Generator


class _Scored(NamedTuple):
    """One continuation to score: its row in the call, all tokens, and how many of them are given."""

    row: int
    tokens: list[int]
    given: int


class TextGenerator(TorchAdapter):
    """What a causal language model says after a prompt, and how probable it finds a given text there.

    Capabilities generates-text, scores-continuations and predicts-tokens. Messages go through the chat template of the model; a
    continuation is then the start of its answer. Without a template they are joined into a flat text, which `notes` says.

    Options of the spec: `dtype=bfloat16` or `float16` is the format of the weights (logarithms and sums are in float32 always);
    `prefix_cache=false` works every prompt out from its first token.

    Notes
    -----
    A word is drawn from softmax(logits / temperature), cut to the smallest set of words with probability `top_p`, by adding
    Gumbel noise and taking the largest. The noise of a text comes from a generator of its own, seeded by the seed, the content
    of the prompt and the number of the sample: texts depend neither on order nor batch (beyond ties within rounding), and the
    global generator of torch is not touched. Penalties and other settings in generation_config.json are not used, only its
    end tokens: the parameters of the call are all there are.

    A text is shorter than `max_tokens` where the context of the model ends. One forward pass a token, with its cache.

    Prompts of a call that begin with the same tokens share the keys and values of these, which are kept for the next calls (see
    `assaymark.models.prefix_states`, and `shared_prefixes` for what is grouped). That changes no answer beyond rounding, and a
    model for which it would is found out when it is loaded and goes without.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("task", "dtype", "prefix_cache"))
        import_transformers("language", f"text generator {self.spec}")
        self._ends = stated_ends(checkpoint)
        self._dtype, self._shares = number_format(checkpoint.spec), checkpoint.spec.flag("prefix_cache", True)
        if not has_template(checkpoint.folder):
            self.notes = (f"{self.spec} has no chat template; messages are joined into one text, which it continues",)
        if loading.device != "cpu":
            self.at_once = loading.batch_size  # a GPU is quickest in full batches
        self.fingerprint = checkpoint.fingerprint(f"text-generator {VERSION} ends={self._ends} dtype={self._dtype}")

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
        """`samples` texts a prompt; see `assaymark.models.protocols.GeneratesText`.

        Raises
        ------
        PromptTooLong
            A prompt leaves no room for a single token in the context of the model.
        """
        validate_request(prompts, samples=samples, temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=stop)
        said: list[list[str]] = [[] for _ in prompts]
        distinct = samples if temperature > 0 else 1
        jobs = self._jobs(prompts, distinct, max_tokens, seed) if prompts else []
        texts: dict[int, str] = {}
        for prefix, batch in self._batches_of_jobs(jobs):
            written = self._write([jobs[place] for place in batch], prefix, temperature, top_p, tuple(stop))
            texts |= dict(zip(batch, written, strict=True))
        for place, job in enumerate(jobs):
            said[job.prompt] += [texts[place]] * (samples // distinct)
        return said

    def score_continuations(self, items: Sequence[Continued]) -> npt.NDArray[np.float32]:
        """Log-likelihood and number of tokens of each continuation; see `assaymark.models.protocols.ScoresContinuations`.

        Raises
        ------
        PromptTooLong
            A prompt and its continuation are longer than the context of the model.

        Notes
        -----
        One forward pass a batch. Neither order nor batch changes a log-likelihood beyond 1e-4 (in float32).
        """
        validate_continuations(items)
        rows = np.full((len(items), len(CONTINUATION_COLUMNS)), np.nan, dtype=np.float32)
        jobs = self._to_score(items) if items else []
        for prefix, batch in self._batches_to_score(jobs):
            rows[[job.row for job in batch]] = self._score(batch, prefix)
        return rows

    def next_tokens(self, prompts: Sequence[Prompt]) -> NextTokens:
        """The distribution of the token after each prompt; see `assaymark.models.protocols.PredictsTokens`.

        Raises
        ------
        ModelError
            A prompt is longer than the context of the model.

        Notes
        -----
        One forward pass a batch. Neither order nor batch changes a probability beyond 1e-5 (in float32).
        """
        validate_prompts(prompts)
        told, model, _, context = self._loaded()
        given = [told.within_character(prompt, size=model.vocabulary) for prompt in prompts]
        for row, tokens in enumerate(given):
            if len(tokens) > context:
                raise PromptTooLong(
                    f"model {self.spec}: prompt {row + 1} of {len(prompts)} has {len(tokens):,} tokens, and the model sees "
                    f"{context:,}; shorten it",
                    tokens=len(tokens),
                    context=context,
                )
        found = np.empty((len(prompts), model.vocabulary), dtype=np.float32)
        jobs = [_Scored(row, [*tokens, told.padding], len(tokens)) for row, tokens in enumerate(given)]
        for prefix, batch in self._batches_to_score(jobs):
            found[[job.row for job in batch]] = self._predict(batch, prefix)
        return NextTokens(found, told.texts(model.vocabulary))

    def _jobs(self, prompts: Sequence[Prompt], samples: int, max_tokens: int, seed: int) -> list[_Job]:
        """The texts to write, in the order of prompts and samples."""
        parts = self._loaded()
        jobs: list[_Job] = []
        for row, (prompt, key) in enumerate(zip(prompts, prompt_keys(prompts), strict=True)):
            tokens = parts.prompts.of(prompt)
            if len(tokens) >= parts.context:
                raise PromptTooLong(
                    f"model {self.spec}: prompt {row + 1} of {len(prompts)} has {len(tokens):,} tokens, and the model sees "
                    f"{parts.context:,} with its answer; shorten it",
                    tokens=len(tokens),
                    context=parts.context,
                )
            room = min(max_tokens, parts.context - len(tokens))
            generators = [np.random.default_rng(draw_seed(key, sample, seed)) for sample in range(samples)]
            jobs += [_Job(row, tokens, room, rng) for rng in generators]
        return jobs

    def _to_score(self, items: Sequence[Continued]) -> list[_Scored]:
        """The continuations that have tokens, all of which the model must see."""
        parts = self._loaded()
        jobs: list[_Scored] = []
        for row, (prompt, continuation) in enumerate(items):
            tokens, given = parts.prompts.followed(prompt, continuation)
            if len(tokens) > parts.context:
                raise PromptTooLong(
                    f"model {self.spec}: prompt {row + 1} of {len(items)} has {len(tokens):,} tokens with its continuation, "
                    f"and the model sees {parts.context:,}; shorten it",
                    tokens=len(tokens),
                    context=parts.context,
                )
            if continuation and len(tokens) > given:
                jobs.append(_Scored(row, tokens, given))
        return jobs

    def _groups(self, sequences: Sequence[list[int]], limits: Sequence[int]) -> list[SharedPrefix]:
        """Rows of token sequences by the prefix that they share, at most as many tokens of each as `limits` says."""
        states = self._loaded().states
        if states is None:
            return [SharedPrefix(0, list(range(len(sequences))))]
        groups: list[SharedPrefix] = []
        alone: list[int] = []
        for length, rows in shared_prefixes(sequences, limits):
            if length:
                groups.append(SharedPrefix(length, rows))
                continue
            for row in rows:
                known = states.known(sequences[row][: limits[row]])
                if known >= max(WORTH_SHARING, limits[row] // 2):
                    groups.append(SharedPrefix(known, [row]))
                elif len(sequences) == 1 and limits[row] >= WORTH_SHARING:
                    groups.append(SharedPrefix(limits[row], [row]))  # who asks one at a time may go on with the same prompt
                else:
                    alone.append(row)
        return [*groups, SharedPrefix(0, alone)]

    def _batches_of_jobs(self, jobs: list[_Job]) -> Iterator[tuple[int, list[int]]]:
        """Shared tokens, and places of jobs with these and the same room; prompts of similar length together."""
        size = self._loading.batch_size
        for prefix, rows in self._groups([job.tokens for job in jobs], [len(job.tokens) - 1 for job in jobs]) if jobs else ():
            order = sorted(rows, key=lambda place: (jobs[place].room, len(jobs[place].tokens)))
            for _, group in groupby(order, key=lambda place: jobs[place].room):
                places = list(group)
                yield from ((prefix, places[start : start + size]) for start in range(0, len(places), size))

    def _batches_to_score(self, jobs: list[_Scored]) -> Iterator[tuple[int, list[_Scored]]]:
        """Shared tokens, and continuations with these, of similar length and of bounded size with padding."""
        if not jobs:
            return
        size, model = self._loading.batch_size, self._loaded().model
        most = size * _TYPICAL if model.has_head else chunk_length(model.vocabulary)
        for prefix, rows in self._groups([job.tokens for job in jobs], [job.given - 1 for job in jobs]):
            batch: list[_Scored] = []
            for job in sorted((jobs[row] for row in rows), key=lambda job: len(job.tokens)):
                if batch and (len(batch) == size or (len(batch) + 1) * (len(job.tokens) - prefix) > most):
                    yield prefix, batch
                    batch = []
                batch.append(job)
            if batch:
                yield prefix, batch

    def _write(self, jobs: list[_Job], prefix: int, temperature: float, top_p: float, stop: tuple[str, ...]) -> list[str]:
        """The texts of jobs with the same room, in one batch: the tokens they share, padding, then the rest of each."""
        import torch

        prompts, model, _, _ = self._loaded()
        own, mask = padded(
            [job.tokens[prefix:] for job in jobs], prompts.padding, device=model.device, left=True, before=prefix
        )
        shared = torch.tensor([jobs[0].tokens[:prefix]] * len(jobs), dtype=torch.long, device=model.device)
        given = torch.cat([shared, own], dim=1)
        width = given.shape[1]
        settings: dict[str, Any] = {"max_new_tokens": jobs[0].room, "pad_token_id": prompts.padding}
        settings |= {"eos_token_id": list(prompts.ends)} if prompts.ends else {}
        if temperature > 0:
            settings["logits_processor"] = [NucleusNoise([job.rng for job in jobs], temperature, top_p)]
        if stop:
            settings["stopping_criteria"] = [StopTexts(prompts.tokenizer, stop, width)]
        with torch.inference_mode():
            tokens = model.write(given, mask, past=self._past(jobs, prefix, grows=True), **settings)
        after = [prompts.before_end(row) for row in tokens[:, width:].tolist()]
        return [cut_at_stop(prompts.said(job.tokens, new), stop) for job, new in zip(jobs, after, strict=True)]

    def _score(self, jobs: list[_Scored], prefix: int) -> npt.NDArray[np.float64]:
        """Log-likelihood and tokens of each continuation, shape (jobs, 2), in one batch padded behind."""
        import torch

        model = self._loaded().model
        counts = np.array([len(job.tokens) - job.given for job in jobs])
        targets = torch.tensor([token for job in jobs for token in job.tokens[job.given :]], device=model.device)
        chunk = chunk_length(model.vocabulary)
        log_p = []
        with torch.inference_mode():
            for rows, wanted in zip(*(each.split(chunk) for each in (self._before(jobs, prefix), targets)), strict=True):
                found = torch.log_softmax(model.logits(rows), dim=-1)  # of float32 logits
                log_p.append(found.gather(-1, wanted[:, None])[:, 0].double().cpu().numpy())
        row = np.repeat(np.arange(len(jobs)), counts)
        return np.column_stack([np.bincount(row, np.concatenate(log_p), minlength=len(jobs)), counts])

    def _predict(self, jobs: list[_Scored], prefix: int) -> npt.NDArray[np.float32]:
        """Probabilities of the token behind the given ones of each job, shape (jobs, vocabulary), in one padded batch."""
        import torch

        model = self._loaded().model
        with torch.inference_mode():
            parts = self._before(jobs, prefix).split(chunk_length(model.vocabulary))
            return np.concatenate([torch.softmax(model.logits(rows), dim=-1).cpu().numpy() for rows in parts])

    def _before(self, jobs: list[_Scored], prefix: int) -> Any:
        """States from which the tokens behind the given ones are predicted, in their order, shape (tokens, width)."""
        import torch

        prompts, model, _, _ = self._loaded()
        # The last token of a text predicts nothing that is asked for.
        texts = [job.tokens[prefix:-1] for job in jobs]
        ids, mask = padded(texts, prompts.padding, device=model.device, before=prefix)
        row = np.repeat(np.arange(len(jobs)), [len(job.tokens) - job.given for job in jobs])
        place = np.concatenate([np.arange(job.given - 1 - prefix, len(job.tokens) - 1 - prefix) for job in jobs])
        states = model.states(ids, mask, past=self._past(jobs, prefix, grows=False))
        return states[torch.from_numpy(row).to(model.device), torch.from_numpy(place).to(model.device)]

    def _past(self, jobs: Sequence[_Job | _Scored], prefix: int, *, grows: bool) -> Any:
        """The cache of the prefix that jobs share; None for no tokens."""
        states = self._loaded().states
        return states.past(jobs[0].tokens[:prefix], copies=len(jobs), grows=grows) if prefix else None

    def _load(self, folder: Path, device: str) -> _Parts:
        transformers = import_transformers("language", f"text generator {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        weights = load_weights(transformers.AutoModelForCausalLM, self._checkpoint, folder, device, dtype=self._dtype)
        weights.generation_config = transformers.GenerationConfig()  # sampling and penalties are for the call to say
        context = context_length(tokenizer, weights.config)
        model = CausalLM(self.spec, weights, dtype=self._dtype, longest=context)
        states = prefix_states(model, tolerance=TOLERANCE[self._dtype], longest=context) if self._shares else None
        prompts = PromptTokens(tokenizer, ends=self._ends, start=weights.config.bos_token_id)
        return _Parts(prompts, model, states, context)
