"""The same games against the service behind each defence, by an attacker who fits everything anew behind it."""

from __future__ import annotations

from dataclasses import dataclass

from assaymark.audit import Context, Task
from assaymark.audits.icl_membership.config import (
    DATA_RECIPES,
    INSTRUCTION_RECIPES,
    OUTPUT_RECIPES,
    DefenceConfig,
)
from assaymark.audits.icl_membership.measures.attacks import Attacked
from assaymark.audits.icl_membership.measures.evaluation import Judged, judge
from assaymark.audits.icl_membership.measures.games import Arena, Played, deal
from assaymark.audits.icl_membership.measures.shields import Armoury, missing_for
from assaymark.audits.icl_membership.measures.utility import Customers, Utility, measure_utility, send_customers
from assaymark.audits.icl_membership.method.defences.combinations import Defence, combinations, over_wordings
from assaymark.audits.icl_membership.method.games import Games

__all__ = [
    "Defences",
    "Defended",
    "asks_encoded",
    "defend_all",
    "distinct",
    "instructions",
    "lack_of",
    "plan_defences",
]


@dataclass(frozen=True)
class Defended:
    """One defence: what attacks achieve behind it and what the service is still worth; `lack` says why it was not tried.

    Attributes
    ----------
    judged : dict of attack to Judged
        Thresholds and the hybrid are fitted on shadow games behind the same defence.
    static : dict of attack to Judged
        With thresholds fitted on the undefended service: an attacker who does not know of the defence.
    attacked : what the replies were in the games that count
    """

    defence: Defence
    judged: dict[str, Judged]
    static: dict[str, Judged]
    utility: Utility | None
    guarantee: str = ""
    lack: str = ""
    attacked: tuple[Attacked, ...] = ()


@dataclass(frozen=True)
class Defences:
    """Without a defence; each recipe alone; all subsets of the three chosen ones, over the wordings of the instruction."""

    none: Defended
    single: tuple[Defended, ...]
    combined: tuple[tuple[Defended, ...], ...]
    customers: Customers
    trials: int


def plan_defences(config: DefenceConfig) -> tuple[tuple[Defence, ...], tuple[tuple[Defence, ...], ...]]:
    """Single defences, and the eight subsets, each over the wordings where all of them are asked for."""
    single = tuple(_alone(recipe) for recipe in config.recipes)
    wording = INSTRUCTION_RECIPES[0] if config.instruct == "worst" else config.instruct
    if "none" in (config.data, wording, config.output):
        return single, ()
    subsets = combinations(data=config.data, instruction=wording, output=config.output)
    return single, tuple(over_wordings(each) if config.instruct == "worst" else (each,) for each in subsets[1:])


def _alone(recipe: str) -> Defence:
    places = {"data": DATA_RECIPES, "instruction": INSTRUCTION_RECIPES, "output": OUTPUT_RECIPES}
    return Defence(**{target: recipe for target, known in places.items() if recipe in known})


def distinct(config: DefenceConfig) -> tuple[Defence, ...]:
    """Every defence that will be tried, each once, without "none"."""
    single, combined = plan_defences(config)
    return tuple(dict.fromkeys((*single, *(each for group in combined for each in group))))


def instructions(config: DefenceConfig) -> tuple[str, ...]:
    """Wordings that lengthen the operator's instruction in one of the defences."""
    return tuple(dict.fromkeys(each.instruction for each in distinct(config) if each.instruction is not None))


def asks_encoded(config: DefenceConfig) -> bool:
    """Whether the attacker also asks for encoded replies: above temperature 0 a decoded mean of replies says little."""
    return config.transforms and config.temperature == 0 and "repeat" in config.attacks


def defend_all(arena: Arena, armoury: Armoury, config: DefenceConfig, context: Context, task: Task) -> Defences:
    """Play the games once for every defence."""
    shadow_games = deal(arena.pool, config, context, k=config.demonstrations, shadow=True)
    games = deal(arena.pool, config, context, k=config.demonstrations)
    customers = send_customers(arena.pool, games, queries=config.utility_queries, rng=context.rng("customers"))
    field = _Field(arena, armoury, config, context, games, shadow_games, customers)
    none, shadow = field.play(Defence(), task)
    found = {Defence(): none}
    for defence in distinct(config):
        found[defence] = field.defended(defence, shadow, task)
    single, combined = plan_defences(config)
    return Defences(
        none,
        tuple(found[each] for each in single),
        tuple(tuple(found[each] for each in group) for group in combined),
        customers,
        config.trials,
    )


@dataclass(frozen=True)
class _Field:
    arena: Arena
    armoury: Armoury
    config: DefenceConfig
    context: Context
    games: Games
    shadow_games: Games
    customers: Customers

    def play(self, defence: Defence, task: Task, undefended: Played | None = None) -> tuple[Defended, Played]:
        shield = self.armoury.shield(defence)
        encoded = asks_encoded(self.config)
        shadow = self.arena.play(self.shadow_games, task, shield=shield, shadow=True, encoded=encoded)
        played = self.arena.play(self.games, task, shield=shield, encoded=encoded)
        judged = judge(played, shadow, self.config, rng=self.context.rng("judging"))
        static = judge(played, undefended or shadow, self.config, rng=self.context.rng("judging"))
        service = self.arena.service(self.games, shield, shadow=False)
        utility = measure_utility(service, self.customers)
        guarantee = self.armoury.guarantees.get(defence.data or "", "no formal guarantee")
        return Defended(defence, judged, static, utility, guarantee, attacked=played.attacked), shadow

    def defended(self, defence: Defence, undefended: Played, task: Task) -> Defended:
        lack = lack_of(defence, self.armoury)
        if lack:
            return Defended(defence, {}, {}, None, lack=lack)
        return self.play(defence, task, undefended)[0]


def lack_of(defence: Defence, armoury: Armoury) -> str:
    """Why a defence cannot be tried; empty where it can."""
    lacks = (missing_for(recipe, armoury.context, armoury.public) for recipe in defence if recipe is not None)
    return next(filter(None, lacks), "")
