"""A language model that can do one thing: copy from its context. It leaks for the reason for which large ones are thought to.

Its continuation is that of an induction head (Olsson and others 2022, "In-context learning and induction heads"); its labels
are a vote of the demonstrations by nearness, beside some prior knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.asked import Asked, flat_form, read_prompt
from assaymark.audits.icl_membership.method.prompts import Templates
from assaymark.audits.icl_membership.method.words import folded
from assaymark.audits.icl_membership.planted import LABELS, TEMPLATES, content_uniform, cut_reply, planted_label
from assaymark.models.chat_prompts import validate_request
from assaymark.models.protocols import Prompt

__all__ = ["InductionModel"]

VERSION = 1  # part of the fingerprint: grows when the same prompt would be answered differently

MATCH = 4
"""Most tokens that are matched."""
PRIOR, KNOWN = 0.8, 0.6
"""Vote of the prior knowledge, and how often it is right beyond chance."""
SHARPNESS = 4.0
COPIED, WORDS = 0.9, 50_000
"""Probability of the word that it copies, and among how many others the rest is divided."""
_TIE = 1e-9

Index = dict[tuple[str, ...], str]


class InductionModel:
    """Continues by copying, and classifies by votes (capabilities generates-text and scores-continuations).

    Continuation: tokens are what stands between blanks. The next one is that which followed the latest of the longest earlier
    matches, of at most 4 tokens, of the end of the text; it ends where there is none, or where the next one names a field.

    Label: argmax over labels of 0.8 for what it believed before, plus, for each demonstration with that label, the square of
    its overlap with the text: shared tokens over all tokens of both, weighted by log((1 + N) / (1 + n)) + 1 for a token in n of
    the N texts of the prompt. It believes the truth with probability 0.6, else a label at random. Of equal votes the label that
    the prompt shows first wins. What the user states about a text counts like a demonstration.

    Parameters
    ----------
    labels : sequence of str
    truth : callable
        The label of a text, for what it believed before; None where it does not know the text.
    templates : Templates
    seed : int
        Of the beliefs.
    name : str
        Tells models of different `truth` apart: it goes into the fingerprint, as a function cannot.
    """

    notes = ("a model that copies from its prompt, not a trained language model",)

    def __init__(
        self,
        labels: Sequence[str] = LABELS,
        truth: Callable[[str], str | None] = planted_label,
        *,
        templates: Templates = TEMPLATES,
        seed: int = 0,
        name: str = "planted sentences",
    ) -> None:
        self.labels, self.truth, self.templates, self.seed = tuple(labels), truth, templates, seed
        self.spec = f"py:{__name__}:{type(self).__name__}"
        identity = repr(("induction", VERSION, self.labels, templates, seed, name))
        self.fingerprint = blake2b(identity.encode(), digest_size=16).hexdigest()
        self._markers = {f"{field}:".split()[0] for field in (templates.field, templates.answer_field)}

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
        """See `assaymark.models.protocols.GeneratesText`; always the most probable text, so that samples are equal."""
        validate_request(prompts, samples=samples, temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=stop)
        replies = (self._reply(prompt, max_tokens) for prompt in prompts)
        return [[cut_reply(reply, max_tokens, stop)] * samples for reply in replies]

    def score_continuations(self, items: Sequence[tuple[Prompt, str]]) -> npt.NDArray[np.float32]:
        """Log-likelihood of each continuation and its number of tokens, shape (n, 2); NaN where there is nothing to score.

        A label where one is asked for: log softmax of 4 times the votes. Else token by token: 0.9 for the one that is copied,
        and the rest alike over 50,000 words.
        """
        return np.array([self._scored(*item) for item in items], dtype=np.float32).reshape(len(items), 2)

    def _reply(self, prompt: Prompt, max_tokens: int) -> str:
        asked = read_prompt(prompt, templates=self.templates)
        if asked.kind == "label":
            label = self.labels[self._winner(asked)]
            return f" {label}" if isinstance(prompt, str) else self.templates.answer(label)
        return " ".join(token for token, _ in zip(self._copied(prompt), range(max_tokens), strict=False))

    def votes(self, asked: Asked) -> npt.NDArray[np.float64]:
        """Votes of each label, shape (n_labels,)."""
        votes = np.zeros(len(self.labels))
        votes[self._belief(asked.text)] = PRIOR
        number = {label: at for at, label in enumerate(self.labels)}
        overlaps = _overlaps(asked.text, tuple(dict.fromkeys(text for text, _ in asked.shown)))
        for text, label in asked.shown:
            if label in number:
                votes[number[label]] += overlaps[text] ** 2
        return votes

    def _winner(self, asked: Asked) -> int:
        votes = self.votes(asked)
        best = set(np.flatnonzero(votes >= votes.max() - _TIE).tolist())
        order = [*(self.labels.index(label) for _, label in asked.shown if label in self.labels), *range(len(self.labels))]
        return int(next(label for label in order if label in best))

    def _belief(self, text: str) -> int:
        true = self.truth(text)
        if true is not None and content_uniform(self.seed, "known", text) < KNOWN:
            return self.labels.index(true)
        return int(content_uniform(self.seed, "guess", text) * len(self.labels))

    def _copied(self, prompt: Prompt, given: Sequence[str] = ()) -> Iterator[str]:
        """Tokens that follow; with `given`, what would follow before each of these ("" for nothing) instead."""
        head, _, own = flat_form(prompt).rpartition("\n\n")
        base = _index(head)
        # only what stands behind the operator's part is indexed anew
        seen, latest = [*head.split()[-MATCH:]], Index()
        for token in own.split():
            _extend(latest, seen, token)
        for step in range(len(given)) if given else iter(int, 1):
            found = _following(base, latest, seen)
            following = "" if found is None or found in self._markers else found
            if not given and not following:
                return
            yield following
            _extend(latest, seen, given[step] if given else following)

    def _scored(self, prompt: Prompt, continuation: str) -> tuple[float, float]:
        tokens = continuation.split()
        if not tokens:
            return np.nan, np.nan
        asked = read_prompt(prompt, templates=self.templates)
        known = {folded(label): at for at, label in enumerate(self.labels)}
        label = known.get(folded(continuation.strip().removeprefix(f"{self.templates.answer_field}:")))
        if asked.kind == "label" and label is not None:
            votes = SHARPNESS * self.votes(asked)
            return float(votes[label] - np.logaddexp.reduce(votes)), len(tokens)
        pairs = zip(self._copied(prompt, tokens), tokens, strict=True)
        return sum(_log_likelihood(expected, token) for expected, token in pairs), len(tokens)


def _log_likelihood(expected: str, token: str) -> float:
    if not expected:
        return -log(WORDS)
    return log(COPIED) if token == expected else log((1 - COPIED) / (WORDS - 1))


@lru_cache(maxsize=256)
def _index(text: str) -> Index:
    """What followed each run of at most 4 tokens the last time that it occurred."""
    index: Index = {}
    seen: list[str] = []
    for token in text.split():
        _extend(index, seen, token)
    return index


def _extend(index: Index, seen: list[str], token: str) -> None:
    for length in range(1, min(MATCH, len(seen)) + 1):
        index[tuple(seen[-length:])] = token
    seen.append(token)


def _following(base: Index, latest: Index, seen: Sequence[str]) -> str | None:
    for length in range(min(MATCH, len(seen)), 0, -1):
        run = tuple(seen[-length:])
        found = latest.get(run, base.get(run))
        if found is not None:
            return found
    return None


@lru_cache(maxsize=4_096)
def _overlaps(text: str, others: tuple[str, ...]) -> dict[str, float]:
    """Overlap of a text with each of the others, in [0, 1]."""
    bags = [frozenset(other.casefold().split()) for other in dict.fromkeys((text, *others))]
    number = {token: at for at, token in enumerate(sorted(frozenset().union(*bags)))}
    present = np.zeros((len(bags), len(number)), dtype=bool)
    for row, bag in zip(present, bags, strict=True):
        row[[number[token] for token in bag]] = True
    weight = np.log((1.0 + len(bags)) / (1.0 + present.sum(axis=0))) + 1.0
    own = present[0]
    shared, both = (present & own) @ weight, (present | own) @ weight
    share = np.divide(shared, both, out=np.zeros(len(bags)), where=both > 0)
    return dict(zip(dict.fromkeys((text, *others)), share.tolist(), strict=True))
