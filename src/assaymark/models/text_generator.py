"""Texts written by causal language models in the transformers layout (`hf:org/name?task=generate`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from assaymark.errors import ModelError
from assaymark.models.chat_prompts import cut_at_stop, draw_seed, flat_text, messages_of, validate_request
from assaymark.models.checkpoint import Checkpoint
from assaymark.models.content import prompt_keys
from assaymark.models.protocols import Prompt
from assaymark.models.torch_adapter import TorchAdapter, clean_text, import_transformers, load_tokenizer, load_weights

if TYPE_CHECKING:
    from assaymark.models.opening import Loading

__all__ = ["NucleusNoise", "TextGenerator"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently

_NO_LIMIT = 10**6  # tokenizers without a limit state 10^30
_SPARE = 4  # tokens around a stop text that may hold parts of it


class _Parts(NamedTuple):
    tokenizer: Any
    model: Any
    context: int


class _Job(NamedTuple):
    """One text to write: which prompt it continues, its tokens, how many more there may be, and its own random numbers."""

    prompt: int
    tokens: list[int]
    room: int
    rng: np.random.Generator


class TextGenerator(TorchAdapter):
    """What a causal language model says after a prompt (capability generates-text).

    Messages go through the chat template of the model. Without one they are joined into a flat text, which `notes` says.

    Notes
    -----
    A word is drawn from softmax(logits / temperature), cut to the smallest set of words with probability `top_p`, by adding
    Gumbel noise and taking the largest. The noise of a text comes from a generator of its own, seeded by the seed, the content
    of the prompt and the number of the sample: texts depend neither on order nor batch (beyond ties within rounding), and the
    global generator of torch is not touched. Penalties and other settings in generation_config.json are not used, only its
    end tokens: the parameters of the call are all there are.

    A text is shorter than `max_tokens` where the context of the model ends. One forward pass a token, with its cache.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("task",))
        import_transformers("language", f"text generator {self.spec}")
        self._ends = _stated_ends(checkpoint)
        if not _has_template(checkpoint.folder):
            self.notes = (f"{self.spec} has no chat template; messages are joined into one text, which it continues",)
        if loading.device != "cpu":
            self.at_once = loading.batch_size  # a GPU is quickest in full batches
        self.fingerprint = checkpoint.fingerprint(f"text-generator {VERSION} ends={self._ends}")

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
        ModelError
            A prompt leaves no room for a single token in the context of the model.
        """
        validate_request(prompts, samples=samples, temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=stop)
        said: list[list[str]] = [[] for _ in prompts]
        distinct = samples if temperature > 0 else 1
        jobs = self._jobs(prompts, distinct, max_tokens, seed) if prompts else []
        texts: dict[int, str] = {}
        for batch in self._batches_of_jobs(jobs):
            written = self._write([jobs[place] for place in batch], temperature, top_p, tuple(stop))
            texts |= dict(zip(batch, written, strict=True))
        for place, job in enumerate(jobs):
            said[job.prompt] += [texts[place]] * (samples // distinct)
        return said

    def _jobs(self, prompts: Sequence[Prompt], samples: int, max_tokens: int, seed: int) -> list[_Job]:
        """The texts to write, in the order of prompts and samples."""
        _, _, context = self._loaded()
        jobs: list[_Job] = []
        for row, (prompt, key) in enumerate(zip(prompts, prompt_keys(prompts), strict=True)):
            tokens = self._tokens(prompt)
            if len(tokens) >= context:
                raise ModelError(
                    f"model {self.spec}: prompt {row + 1} of {len(prompts)} has {len(tokens):,} tokens, and the model sees "
                    f"{context:,} with its answer; shorten it"
                )
            room = min(max_tokens, context - len(tokens))
            generators = [np.random.default_rng(draw_seed(key, sample, seed)) for sample in range(samples)]
            jobs += [_Job(row, tokens, room, rng) for rng in generators]
        return jobs

    def _batches_of_jobs(self, jobs: list[_Job]) -> Iterator[list[int]]:
        """Places of jobs with the same room, prompts of similar length together."""
        order = sorted(range(len(jobs)), key=lambda place: (jobs[place].room, len(jobs[place].tokens)))
        size = self._loading.batch_size
        for _, group in groupby(order, key=lambda place: jobs[place].room):
            places = list(group)
            yield from (places[start : start + size] for start in range(0, len(places), size))

    def _tokens(self, prompt: Prompt) -> list[int]:
        tokenizer, model, _ = self._loaded()
        if not isinstance(prompt, str) and tokenizer.chat_template:
            messages = [{name: clean_text(value) for name, value in message.items()} for message in messages_of(prompt)]
            # The template writes the special tokens itself; a second start token would change the answer.
            text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])
        tokens = list(tokenizer(clean_text(flat_text(prompt)))["input_ids"])
        ends = _end_tokens(self._ends, tokenizer)
        while len(tokens) > 1 and tokens[-1] in ends:  # tokenizers of classifiers close a text, which is to be continued
            tokens.pop()
        starts = (tokenizer.bos_token_id, model.config.bos_token_id, *ends)
        return tokens or [next(token for token in (*starts, 0) if token is not None)]

    def _write(self, jobs: list[_Job], temperature: float, top_p: float, stop: tuple[str, ...]) -> list[str]:
        """The texts of jobs with the same room, in one batch, padded on the left."""
        import torch

        tokenizer, model, _ = self._loaded()
        width = max(len(job.tokens) for job in jobs)
        ends = _end_tokens(self._ends, tokenizer)
        padding = ends[0] if ends else 0  # masked before the prompt; behind the end of a text it is cut off
        given = torch.tensor([[padding] * (width - len(job.tokens)) + job.tokens for job in jobs], device=model.device)
        seen = torch.tensor([[0] * (width - len(job.tokens)) + [1] * len(job.tokens) for job in jobs], device=model.device)
        settings: dict[str, Any] = {"max_new_tokens": jobs[0].room, "pad_token_id": padding}
        settings |= {"eos_token_id": list(ends)} if ends else {}
        if temperature > 0:
            settings["logits_processor"] = [NucleusNoise([job.rng for job in jobs], temperature, top_p)]
        if stop:
            settings["stopping_criteria"] = [_StopTexts(tokenizer, stop, width)]
        with torch.inference_mode():
            tokens = model.generate(given, attention_mask=seen, do_sample=False, num_beams=1, **settings)
        after = [_before_end(row, ends) for row in tokens[:, width:].tolist()]
        return [cut_at_stop(_continuation(tokenizer, job.tokens, new), stop) for job, new in zip(jobs, after, strict=True)]

    def _load(self, folder: Path, device: str) -> _Parts:
        transformers = import_transformers("language", f"text generator {self.spec}")
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        model = load_weights(transformers.AutoModelForCausalLM, self._checkpoint, folder, device)
        model.generation_config = transformers.GenerationConfig()  # sampling and penalties are for the call to say
        return _Parts(tokenizer, model, _context(tokenizer, model.config))


class NucleusNoise:
    """Logits / temperature within the nucleus, plus Gumbel noise: the largest is a draw from what is left of the softmax.

    The nucleus is the smallest set of most probable words whose probabilities reach `top_p` (Holtzman et al., "The curious case
    of neural text degeneration", ICLR 2020, eq. 3).

    Parameters
    ----------
    generators : sequence of numpy Generators
        One a row of the batch; each step draws one number a word from each.
    """

    def __init__(self, generators: Sequence[np.random.Generator], temperature: float, top_p: float) -> None:
        self._generators, self._temperature, self._top_p = generators, temperature, top_p

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Noisy scores, shape (batch, words), minus infinity outside the nucleus; O(words log words) a row."""
        import torch

        scaled = scores.float() / self._temperature
        if self._top_p < 1:
            ordered, words = torch.softmax(scaled, dim=-1).sort(dim=-1, descending=True, stable=True)
            outside = ordered.cumsum(dim=-1) - ordered >= self._top_p  # the first word stays: nothing comes before it
            scaled = scaled.masked_fill(torch.zeros_like(outside).scatter(-1, words, outside), -torch.inf)
        # -log of an exponential variable is a Gumbel variable.
        drawn = np.stack([rng.standard_exponential(scores.shape[-1], dtype=np.float32) for rng in self._generators])
        return scaled - torch.tensor(drawn, device=scores.device).log()


class _StopTexts:
    """Tells `generate` which rows have said a stop text. Only the last tokens are read, so that each step costs the same.

    It may overlook one that is spread over very many tokens, which costs time only: the finished text is cut in any case.
    """

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], width: int) -> None:
        self._tokenizer, self._stop, self._width = tokenizer, stop, width
        self._tail = max(len(text.encode()) for text in stop) + _SPARE

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        tails = input_ids[:, self._width :][:, -self._tail :].tolist()
        texts = self._tokenizer.batch_decode(tails, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        said = [any(ending in text for ending in self._stop) for text in texts]
        return torch.tensor(said, dtype=torch.bool, device=input_ids.device)


def _continuation(tokenizer: Any, before: list[int], after: list[int]) -> str:
    """The text of the new tokens as it follows the prompt: decoded alone they may lose the space they begin with."""
    settings = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    head, whole = (tokenizer.decode(tokens, **settings) for tokens in (before, before + after))
    return str(whole[len(head) :] if whole.startswith(head) else tokenizer.decode(after, **settings))


def _before_end(tokens: list[int], ends: tuple[int, ...]) -> list[int]:
    end = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:end]


def _stated_ends(checkpoint: Checkpoint) -> tuple[int, ...]:
    """End tokens of generation_config.json and config.json: chat models have several."""
    try:
        stated = json.loads((checkpoint.folder / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stated = {}
    found = [config.get("eos_token_id") for config in (stated, checkpoint.config) if isinstance(config, dict)]
    tokens = [token for entry in found for token in (entry if isinstance(entry, list) else [entry])]
    return tuple(sorted({token for token in tokens if isinstance(token, int)}))


def _end_tokens(stated: tuple[int, ...], tokenizer: Any) -> tuple[int, ...]:
    own = tokenizer.eos_token_id
    return tuple(sorted({*stated, *([own] if own is not None else [])}))


def _has_template(folder: Path) -> bool:
    try:
        stated = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stated = {}
    return bool(stated.get("chat_template")) or (folder / "chat_template.jinja").is_file()


def _context(tokenizer: Any, config: Any) -> int:
    """Tokens that the model sees: what its positions allow, else what its tokenizer states."""
    positions = getattr(config, "max_position_embeddings", None)
    return int(positions or min(tokenizer.model_max_length, _NO_LIMIT))
