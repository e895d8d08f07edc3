"""The service under attack: what stands before the words of a caller, and what comes back after the defences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.method.defences.consistency import ensemble
from assaymark.audits.icl_membership.method.defences.instruction import with_wording
from assaymark.audits.icl_membership.method.games import Games
from assaymark.audits.icl_membership.method.labels import LabelParser
from assaymark.audits.icl_membership.method.prompts import (
    Conversation,
    Demonstration,
    Prompt,
    Templates,
    joined,
    operator_prompt,
)
from assaymark.audits.icl_membership.reading import Pool
from assaymark.models.protocols import ScoresContinuations

__all__ = ["Demonstrations", "Question", "Service", "Shield", "Usage"]

Demonstrations = tuple[Demonstration, ...]


class Question(NamedTuple):
    """What a caller says in a fresh conversation with the prompt of one game."""

    game: int
    conversation: Conversation


@dataclass
class Usage:
    """What a service was asked, and what that took of the model behind it; the counts grow."""

    questions: int = 0
    model_calls: int = 0
    prompt_words: int = 0
    reply_words: int = 0

    def add(self, *, questions: int = 0, model_calls: int = 0, prompt_words: int = 0, reply_words: int = 0) -> None:
        self.questions += questions
        self.model_calls += model_calls
        self.prompt_words += prompt_words
        self.reply_words += reply_words


@dataclass(frozen=True)
class Shield:
    """Defences of a service, each as a function; the defaults do nothing.

    Attributes
    ----------
    name : str
    instruction : str or None
        Name of the wording that is added to the operator's instruction.
    data : callable (game, demonstrations, conversation) -> demonstrations
        Those that a question is answered with.
    heard : callable (conversations) -> conversations
        What of them reaches the model.
    parts : int
        Prompts with disjoint parts of the demonstrations that are asked; the label that most of them name is the reply.
    said : callable (replies, demonstrations of each, conversations) -> replies
        What leaves the service.
    prepare : callable (demonstrations of each prompt) -> None
        Called before `data`, with all prompts of the games: what a model has to write for them it is asked for together.
    """

    name: str = "none"
    instruction: str | None = None
    data: Callable[[int, Demonstrations, Conversation], Demonstrations] | None = None
    heard: Callable[[Sequence[Conversation]], Sequence[Conversation]] | None = None
    parts: int = 1
    said: Callable[[list[str], Sequence[Demonstrations], Sequence[Conversation]], list[str]] | None = None
    prepare: Callable[[Sequence[Demonstrations]], None] | None = None


@dataclass
class Service:
    """A model, the prompts of all games, and defences. Nothing of it but its replies is known to an attacker."""

    model: Any
    pool: Pool
    games: Games
    templates: Templates
    parser: LabelParser
    config: ServiceConfig
    shield: Shield = field(default_factory=Shield)
    with_demonstrations: bool = True
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        if self.shield.prepare is not None:
            self.shield.prepare([self.private(game) for game in range(len(self.games.position))])

    def reply(self, questions: Sequence[Question], *, max_tokens: int, stop: Sequence[str] = (), seed: int = 0) -> list[str]:
        """One reply a question, in their order; the prompts of one game begin alike, so keep its questions side by side."""
        shown = [self.demonstrations(question) for question in questions]
        heard = self._heard(questions)
        asked: list[Prompt] = []
        place: list[int] = []
        for number, (conversation, demonstrations) in enumerate(zip(heard, shown, strict=True)):
            parts = _parts(demonstrations, self.shield.parts)
            asked += [self._prompt(part, conversation) for part in parts]
            place += [number] * len(parts)
        said = self._generate(asked, max_tokens=max_tokens, stop=stop, seed=seed)
        replies = said if self.shield.parts == 1 else self._majority(said, np.array(place, np.int64), len(questions))
        self.usage.add(questions=len(questions), model_calls=len(asked))
        if self.shield.said is not None:
            replies = self.shield.said(replies, shown, [question.conversation for question in questions])
        return replies

    def log_likelihood(self, questions: Sequence[Question], continuations: Sequence[str]) -> npt.NDArray[np.float64]:
        """Log-probability of each continuation as the reply, shape (n,); NaN where the model has none."""
        items = [
            (self._prompt(self.demonstrations(question), conversation), text)
            for question, conversation, text in zip(questions, self._heard(questions), continuations, strict=True)
        ]
        return np.asarray(self.model.score_continuations(items), dtype=np.float64)[:, 0]

    @property
    def has_log_likelihood(self) -> bool:
        """Whether there is one probability for a reply: a vote of several prompts has none."""
        return self.shield.parts == 1 and isinstance(self.model, ScoresContinuations)

    def demonstrations(self, question: Question) -> Demonstrations:
        """Those that a question is answered with."""
        shown = self.private(question.game)
        return shown if self.shield.data is None or not shown else self.shield.data(question.game, shown, question.conversation)

    def private(self, game: int) -> Demonstrations:
        """The operator's own demonstrations in a game."""
        if not self.with_demonstrations:
            return ()
        rows = self.games.demonstrations[game].tolist()
        return tuple((self.pool.text[row], self.pool.names[self.pool.label[row]]) for row in rows)

    def _heard(self, questions: Sequence[Question]) -> Sequence[Conversation]:
        said = [question.conversation for question in questions]
        return said if self.shield.heard is None else self.shield.heard(said)

    def _prompt(self, demonstrations: Demonstrations, conversation: Conversation) -> Prompt:
        instruction = self.templates.instruction
        if self.shield.instruction is not None:
            instruction = with_wording(instruction, wording=self.shield.instruction, label_names=self.parser.labels)
        return joined(operator_prompt(self.templates, demonstrations, instruction=instruction), conversation)

    def _generate(self, prompts: list[Prompt], *, max_tokens: int, stop: Sequence[str], seed: int) -> list[str]:
        said = self.model.generate_text(
            prompts, samples=1, temperature=self.config.temperature, max_tokens=max_tokens, stop=list(stop), seed=seed
        )
        replies = [texts[0] for texts in said]
        self.usage.add(prompt_words=sum(map(_words, prompts)), reply_words=sum(len(text.split()) for text in replies))
        return replies

    def _majority(self, said: list[str], place: npt.NDArray[np.int64], questions: int) -> list[str]:
        """Votes of the parts; a question whose prompt fell into fewer parts than others is voted on by those it has."""
        number = self.parser.parse(said)
        most = int(np.bincount(place, minlength=questions).max(initial=1))
        answers: list[list[str | None]] = [[None] * questions for _ in range(most)]
        seen = [0] * questions
        for at, found in zip(place.tolist(), number.tolist(), strict=True):
            answers[seen[at]][at] = self.parser.labels[found] if found >= 0 else None
            seen[at] += 1
        return list(ensemble(answers, label_names=self.parser.labels).labels)


def _parts(demonstrations: Demonstrations, parts: int) -> list[Demonstrations]:
    """Disjoint parts, every `parts`-th each; none is empty while there are demonstrations."""
    found = [demonstrations[start::parts] for start in range(parts)]
    return [part for part in found if part] or [demonstrations]


def _words(prompt: Prompt) -> int:
    return len(prompt.split()) if isinstance(prompt, str) else sum(len(message["content"].split()) for message in prompt)
