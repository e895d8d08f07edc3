"""Games: prompts drawn, and every attack run on members and outsiders, against a service with or without demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context, Task
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.measures.attacks import (
    Answers,
    Attacked,
    Attacker,
    Targets,
    run_attacks,
    transformed_repeats,
)
from assaymark.audits.icl_membership.measures.service import Service, Shield, Usage
from assaymark.audits.icl_membership.method.games import Games, draw_games, hard_neighbours
from assaymark.audits.icl_membership.reading import Pool
from assaymark.audits.icl_membership.wording import Wording

__all__ = ["Arena", "Played", "Sides", "deal"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_POSITIONS = {"any": None, "first": 0, "last": -1}


class Sides(NamedTuple):
    """Answers of one attack on the members and the outsiders of T games."""

    member: Answers
    nonmember: Answers


@dataclass(frozen=True)
class Played:
    """T games against one service: answers by attack, what was odd about them, and what they cost."""

    games: Games
    sides: dict[str, Sides]
    attacked: tuple[Attacked, ...]
    usage: Usage

    @property
    def trials(self) -> int:
        return len(self.games.position)


@dataclass(frozen=True)
class Arena:
    """What stays the same over all games: texts, wordings, the attacker, the models."""

    pool: Pool
    wording: Wording
    attacker: Attacker
    config: ServiceConfig
    context: Context

    def service(self, games: Games, shield: Shield, *, shadow: bool, demonstrations: bool = True) -> Service:
        """The service, or the one that the attacker has built like it."""
        model: Any = (self.context.model("shadow") if shadow else None) or self.context.require("service")
        return Service(
            model, self.pool, games, self.wording.templates, self.wording.parser, self.config, shield, demonstrations
        )

    def play(
        self, games: Games, task: Task, *, shield: Shield | None = None, shadow: bool = False, encoded: bool = False
    ) -> Played:
        """All attacks on both sides of each game; with `encoded` also the repeat attack that asks for encoded replies."""
        service = self.service(games, shield or Shield(), shadow=shadow)
        trials = len(games.position)
        game = np.arange(trials)
        targets = Targets(np.concatenate([game, game]), np.concatenate([games.member, games.nonmember]))
        found = [run_attacks(service, targets, self.attacker, task)]
        if encoded and "repeat" in self.attacker.attacks:
            found.append(transformed_repeats(service, targets, self.attacker, task))
        answers = {name: each for part in found for name, each in part.answers.items()}
        sides = {name: Sides(*_halves(each, trials)) for name, each in answers.items()}
        return Played(games, sides, tuple(found), service.usage)

    def against_neighbours(self, played: Played, games: Games, task: Task, *, shield: Shield) -> Played:
        """The same members against other outsiders, those of `games`, which has the prompts of the games played."""
        service = self.service(games, shield, shadow=False)
        targets = Targets(np.arange(played.trials), games.nonmember)
        found = run_attacks(service, targets, self.attacker, task)
        sides = {name: Sides(played.sides[name].member, each) for name, each in found.answers.items()}
        return Played(games, sides, (found,), service.usage)

    def without_demonstrations(self, games: Games, task: Task) -> Played:
        """Members and outsiders of games before a service that has only its instruction."""
        service = self.service(games, Shield(), shadow=False, demonstrations=False)
        trials = len(games.position)
        game = np.arange(trials)
        targets = Targets(np.concatenate([game, game]), np.concatenate([games.member, games.nonmember]))
        found = run_attacks(service, targets, self.attacker, task)
        sides = {name: Sides(*_halves(each, trials)) for name, each in found.answers.items()}
        return Played(games, sides, (found,), service.usage)


def _halves(answers: Answers, trials: int) -> tuple[Answers, Answers]:
    first, second = (
        Answers(answers.score[half], answers.refused[half], answers.questions[half])
        for half in (slice(0, trials), slice(trials, None))
    )
    return first, second


def deal(pool: Pool, config: ServiceConfig, context: Context, *, k: int, shadow: bool = False, hard: bool = False) -> Games:
    """Games of k demonstrations: those that fit thresholds, those that count, or these against look-alikes of their members."""
    rows = pool.shadow if shadow else pool.target
    trials = config.shadow_trials if shadow else config.trials
    name = f"games {k}{' shadow' if shadow else ''}"
    texts = [pool.text[row] for row in rows.tolist()] if hard else []
    return draw_games(
        rows,
        k=k,
        trials=trials,
        rng=context.rng(name),
        position=_POSITIONS[config.position],
        nonmembers="hard" if hard else "random",
        neighbours=hard_neighbours(texts, w=config.prefix_words) if hard else None,
    )
