"""`fake:generator?...` - a scripted language model that writes and scores, for tests, calibration and demonstrations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError
from assaymark.models.chat_prompts import (
    cut_at_stop,
    draw_seed,
    messages_of,
    validate_continuations,
    validate_prompts,
    validate_request,
)
from assaymark.models.content import prompt_keys
from assaymark.models.protocols import Continued, NextTokens, Prompt
from assaymark.models.spec import ModelSpec
from assaymark.models.token_texts import END_TEXT

__all__ = ["FakeGenerator"]

VERSION = 1  # part of the fingerprint: grows when the same spec would answer differently
_VOCABULARY = "the,a,people,day,city,work,good,new,long,small,walks,sees,finds,makes,today,often,here,again"


class FakeGenerator:
    """`fake:generator?vocabulary=a,b,c&words=20`: texts of words drawn from a list, each as likely as the others.

    Other rules: `reply=yes|no` says one of these texts, `echo=true` repeats the last message or the flat prompt. `empty=0.1`
    is the share of prompts' samples to which it says nothing. Answers depend on the content of the prompt, the parameters,
    the number of the sample and the seeds (option `seed` and that of the call); at temperature 0 all samples are equal. A word
    counts as a token.

    How probable it finds a continuation is a rule of its own, whatever it says: a word that stands in the prompt has the
    probability `seen` (0.5), any other one `unseen` (0.05), without regard to case; a label that stands among the
    demonstrations of a prompt is thus more probable by a known amount. The role names of messages are not part of the prompt.

    Its next token is a word of the vocabulary or the end of the text, each as likely as the others, whatever the rule.
    """

    def __init__(self, spec: ModelSpec) -> None:
        spec.check_options(("reply", "echo", "vocabulary", "words", "empty", "seed", "seen", "unseen"))
        rules = [name for name in ("reply", "echo", "vocabulary") if name in spec.options]
        identity = repr(("fake", VERSION, spec.target, sorted(spec.options.items())))
        self.spec, self.fingerprint = spec.text, blake2b(identity.encode(), digest_size=16).hexdigest()
        self._seed, self._words, self._empty = spec.integer("seed", 0), spec.integer("words", 20), spec.number("empty", 0.0)
        if len(rules) > 1 or not 0 <= self._empty <= 1 or self._words < 1:
            raise ConfigError(
                f"model {spec.text}: give one of reply, echo and vocabulary, empty in [0, 1] and words of at least 1"
            )
        self._seen, self._unseen = spec.number("seen", 0.5), spec.number("unseen", 0.05)
        if not (0 < self._seen <= 1 and 0 < self._unseen <= 1):
            raise ConfigError(f"model {spec.text}: seen and unseen are probabilities above 0 and at most 1")
        self._echo = spec.flag("echo", False)
        self._replies = spec.options.get("reply", "").split("|") if "reply" in spec.options else []
        self._vocabulary = spec.options.get("vocabulary", _VOCABULARY).split(",")

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
        validate_request(prompts, samples=samples, temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=stop)
        said = []
        for prompt, key in zip(prompts, prompt_keys(prompts), strict=True):
            numbers = [sample if temperature > 0 else 0 for sample in range(samples)]
            drawn = [np.random.default_rng([self._seed, *draw_seed(key, number, seed)]) for number in numbers]
            texts = [self._say(prompt, rng) for rng in drawn]
            said.append([cut_at_stop(_cut_words(text, max_tokens), stop) for text in texts])
        return said

    def score_continuations(self, items: Sequence[Continued]) -> npt.NDArray[np.float32]:
        validate_continuations(items)
        rows = np.full((len(items), 2), np.nan, dtype=np.float32)
        for row, (prompt, continuation) in enumerate(items):
            text = prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
            known, words = set(_words(text)), _words(continuation)
            if words:
                seen = sum(word in known for word in words)
                rows[row] = seen * np.log(self._seen) + (len(words) - seen) * np.log(self._unseen), len(words)
        return rows

    def next_tokens(self, prompts: Sequence[Prompt]) -> NextTokens:
        validate_prompts(prompts)
        tokens = (*(f" {word}" for word in self._vocabulary), END_TEXT)
        return NextTokens(np.full((len(prompts), len(tokens)), 1 / len(tokens), dtype=np.float32), tokens)

    def _say(self, prompt: Prompt, rng: np.random.Generator) -> str:
        if rng.random() < self._empty:
            return ""
        if self._echo:
            return messages_of(prompt)[-1]["content"]
        if self._replies:
            return self._replies[int(rng.integers(len(self._replies)))]
        return " ".join(self._vocabulary[word] for word in rng.integers(len(self._vocabulary), size=self._words))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _cut_words(text: str, most: int) -> str:
    words = text.split()
    return text if len(words) <= most else " ".join(words[:most])
