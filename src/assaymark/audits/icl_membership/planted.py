"""Inputs whose answer is known: sentences whose label can be read off them, and a service that leaks by fixed probabilities.

A sentence is made of 8 to 14 words of a made-up language with a Zipf law, one of which marks its label. Some sentences begin
with one of a few common openings, so that the first words do not always tell sentences apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.asked import Asked, read_prompt
from assaymark.audits.icl_membership.method.exact import ScriptedRates
from assaymark.audits.icl_membership.method.prompts import Demonstration, Templates, generic_templates
from assaymark.models.chat_prompts import cut_at_stop, validate_request
from assaymark.models.protocols import Prompt

__all__ = [
    "LABELS",
    "TEMPLATES",
    "NullService",
    "PlantedPool",
    "ScriptedService",
    "content_uniform",
    "cut_reply",
    "planted_label",
    "planted_pool",
]

VERSION = 1  # part of the fingerprint: grows when the same prompt would be answered differently

LABELS = ("Animal", "Plant", "Place", "Person", "Object", "Event")
TEMPLATES: Templates = generic_templates(LABELS)
"""Wordings of a service for planted sentences."""

WORDS, MARKERS, OPENINGS, OPENING = 2_000, 8, 20, 3
"""Words of the language, markers of each label, common openings and their words."""
SHORTEST, LONGEST = 8, 14

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def _word(number: int) -> str:
    """A made-up word for each number below 70^3; neighbours are unlike."""
    first, rest = divmod(number * 99_991 % len(_SYLLABLES) ** 3, len(_SYLLABLES) ** 2)  # coprime to 70: no word twice
    second, third = divmod(rest, len(_SYLLABLES))
    return _SYLLABLES[first] + _SYLLABLES[second] + _SYLLABLES[third]


_VOCABULARY = np.array([_word(number) for number in range(WORDS + MARKERS * len(LABELS))], dtype=object)
_LABEL_OF = {str(_VOCABULARY[WORDS + at]): label for at, label in enumerate(np.repeat(LABELS, MARKERS).tolist())}


class PlantedPool(NamedTuple):
    """Distinct sentences and the names of their labels, n of each."""

    texts: list[str]
    labels: list[str]


def planted_pool(seed: int, n: int, *, shared_openings: float = 0.1) -> PlantedPool:
    """`n` sentences with labels drawn uniformly.

    Parameters
    ----------
    shared_openings : float, in [0, 1]
        Share of the sentences whose first three words are one of 20 common openings.
    """
    rng = np.random.default_rng([seed, 0x1C1])
    texts: dict[str, str] = {}
    while len(texts) < n:
        texts |= _sentences(rng, n - len(texts), shared_openings)
    return PlantedPool(list(texts), list(texts.values()))


def _sentences(rng: np.random.Generator, n: int, shared_openings: float) -> dict[str, str]:
    """At most `n` sentences with their labels."""
    law = 1.0 / (np.arange(WORDS) + 10.0)
    words = rng.choice(WORDS, size=(n, LONGEST), p=law / law.sum())
    common = np.arange(OPENINGS * OPENING).reshape(OPENINGS, OPENING)
    opened = rng.random(n) < shared_openings
    words[opened, :OPENING] = common[rng.integers(OPENINGS, size=int(opened.sum()))]
    lengths = rng.integers(SHORTEST, LONGEST + 1, size=n)
    label = rng.integers(len(LABELS), size=n)
    # behind the opening, so that the rest of a sentence holds its marker
    words[np.arange(n), rng.integers(OPENING, lengths)] = WORDS + label * MARKERS + rng.integers(MARKERS, size=n)
    rows = zip(_VOCABULARY[words], lengths.tolist(), label.tolist(), strict=True)
    return {" ".join(row[:length]): LABELS[number] for row, length, number in rows}


def planted_label(text: str) -> str | None:
    """The label that a planted sentence names by its marker; None for other texts."""
    return next((_LABEL_OF[word] for word in text.split() if word in _LABEL_OF), None)


def content_uniform(*parts: object) -> float:
    """A number in [0, 1) that depends on the content of `parts` alone."""
    digest = blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


class ScriptedService:
    """Answers from a prompt with demonstrations by the probabilities of `ScriptedRates` (capability generates-text).

    - a label is asked for: the right one with the probability of GAP; else two labels, so that it names none;
    - the same behind j statements of one wrong label: that label once j reaches the text's number of repetitions;
    - a continuation: a demonstrated text that begins so is continued truly with the probability of Repeat; else made up;
    - "have you seen": yes or no; anything else it declines.

    A text is a member when it stands among the demonstrations that the prompt shows. Answers depend on instruction,
    demonstrations, text and wording alone: samples are equal at every temperature, and one number of repetitions holds for all
    wrong labels of a text, so that success is monotone in j from 1 on.

    Parameters
    ----------
    rates : ScriptedRates
    templates : Templates
        Of the service; both forms of prompt are understood.
    seed : int
    """

    notes = ("a scripted service of planted sentences, not a language model",)

    def __init__(self, rates: ScriptedRates | None = None, *, templates: Templates = TEMPLATES, seed: int = 0) -> None:
        self.rates, self.templates, self.seed = rates or ScriptedRates(), templates, seed
        self.spec = f"py:{__name__}:{type(self).__name__}"
        identity = repr(("scripted service", VERSION, self.rates, templates, seed))
        self.fingerprint = blake2b(identity.encode(), digest_size=16).hexdigest()

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
        """See `assaymark.models.protocols.GeneratesText`; a word counts as a token."""
        validate_request(prompts, samples=samples, temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=stop)
        replies = (self._reply(prompt) for prompt in prompts)
        return [[cut_reply(reply, max_tokens, stop)] * samples for reply in replies]

    def _reply(self, prompt: Prompt) -> str:
        asked = read_prompt(prompt, templates=self.templates)
        if asked.kind == "label":
            said = self._label(asked)
            return f" {said}" if isinstance(prompt, str) else self.templates.answer(said)
        if asked.kind == "repeat":
            return self._continuation(asked)
        if asked.kind == "inquiry":
            yes = self._draw("inquiry", asked.shown, asked, prompt) < self.rates.inquiry[_side(asked.text, asked.shown)]
            return "Yes." if yes else "No."
        return "I cannot help with that."

    def _label(self, asked: Asked) -> str:
        true = planted_label(asked.text)
        if true is None:
            return "I cannot tell."
        demonstrations, wrong, j = _stated(asked, true)
        side = _side(asked.text, demonstrations)
        if wrong is not None and j >= self._repetitions(demonstrations, asked, side):
            return wrong
        if self._draw("gap", demonstrations, asked) < self.rates.gap[side]:
            return true
        return f"{true} or {LABELS[(LABELS.index(true) + 1) % len(LABELS)]}"

    def _repetitions(self, demonstrations: tuple[Demonstration, ...], asked: Asked, side: int) -> int:
        number = np.searchsorted(self._poisson[side], self._draw("brainwash", demonstrations, asked), side="right")
        return min(self.rates.brainwash_least[side] + int(number), self.rates.brainwash_most)

    def _continuation(self, asked: Asked) -> str:
        begun = [text.removeprefix(f"{asked.text} ") for text, _ in asked.shown if text.startswith(f"{asked.text} ")]
        drawn = self._draw("repeat", asked.shown, asked)
        if begun and drawn < self.rates.repeat:
            return begun[int(drawn / self.rates.repeat * len(begun))]
        made_up = self._made_up[int(self._draw("made up", asked.shown, asked) * len(self._made_up))]
        return " ".join(made_up.split()[len(asked.text.split()) :])

    def _draw(self, purpose: str, demonstrations: tuple[Demonstration, ...], asked: Asked, *further: object) -> float:
        return content_uniform(self.seed, purpose, asked.instruction, demonstrations, asked.text, *further)

    @cached_property
    def _poisson(self) -> list[npt.NDArray[np.float64]]:
        from scipy.stats import poisson

        return [poisson.cdf(np.arange(self.rates.brainwash_most + 1), rate) for rate in self.rates.brainwash_rate]

    @cached_property
    def _made_up(self) -> list[str]:
        """Sentences of no pool: their seed is not one that `planted_pool` takes."""
        return list(_sentences(np.random.default_rng([self.seed, 0x1C1, 1]), 1_000, 0.0))


class NullService(ScriptedService):
    """The same service, to which members are like any other text: no attack has an advantage."""

    def __init__(self, *, templates: Templates = TEMPLATES, seed: int = 0) -> None:
        super().__init__(ScriptedRates().null(), templates=templates, seed=seed)


def cut_reply(reply: str, max_tokens: int, stop: Sequence[str]) -> str:
    """At most `max_tokens` words, up to the first stop text."""
    words = reply.split()
    return cut_at_stop(reply if len(words) <= max_tokens else " ".join(words[:max_tokens]), stop)


@lru_cache(maxsize=4_096)
def _texts(demonstrations: tuple[Demonstration, ...]) -> frozenset[str]:
    return frozenset(text for text, _ in demonstrations)


def _side(text: str, demonstrations: tuple[Demonstration, ...]) -> int:
    """0 for a member, 1 for any other text: the order of the pairs in `ScriptedRates`."""
    return 0 if text in _texts(demonstrations) else 1


def _stated(asked: Asked, true: str) -> tuple[tuple[Demonstration, ...], str | None, int]:
    """The demonstrations, the wrong label that the user states about the text behind them, and how often."""
    shown, j = asked.shown, 0
    wrong = shown[-1][1] if shown and shown[-1][0] == asked.text and shown[-1][1] != true else None
    while wrong is not None and j < len(shown) and shown[-1 - j] == (asked.text, wrong):
        j += 1
    return shown[: len(shown) - j], wrong, j
