"""All games of an audit, played and judged once; what the sections of the report look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import IclMembershipConfig
from assaymark.audits.icl_membership.measures.evaluation import Judged, judge
from assaymark.audits.icl_membership.measures.games import Arena, Played, deal
from assaymark.audits.icl_membership.measures.service import Shield, Usage
from assaymark.audits.icl_membership.reading import Pool

__all__ = ["Condition", "Study", "play_all", "targets_of"]

CONTROL = "control"


@dataclass(frozen=True)
class Condition:
    """Games under one condition, and every attack's worth in them.

    Attributes
    ----------
    name : str
        As it ends the names of estimates: "k_3", "hard"; empty for the main one.
    title : str
    """

    name: str
    title: str
    demonstrations: int
    played: Played
    judged: dict[str, Judged]


@dataclass(frozen=True)
class Study:
    """The main condition, the others, and what the service says without demonstrations."""

    pool: Pool
    conditions: tuple[Condition, ...]
    control: Condition | None
    shield: Shield
    usage: Usage
    config: IclMembershipConfig
    context: Context

    def rng(self, step: str) -> np.random.Generator:
        """A generator of its own for each step."""
        return self.context.rng(step)

    @property
    def main(self) -> Condition:
        return self.conditions[0]

    @cached_property
    def attacks(self) -> tuple[str, ...]:
        """Attacks that were run, in the order of the settings."""
        return tuple(name for name in self.config.attacks if name in self.main.judged)


def play_all(arena: Arena, shield: Shield, config: IclMembershipConfig, context: Context) -> Study:
    """Play shadow games and those that count for every number of demonstrations; then the harder ones, and the control."""
    conditions: list[Condition] = []
    usage = Usage()
    control = None
    with context.progress.task("attacking", total=targets_of(config), unit="texts") as task:
        for k in config.demonstrations:
            shadow = arena.play(deal(arena.pool, config, context, k=k, shadow=True), task, shield=shield, shadow=True)
            played = arena.play(deal(arena.pool, config, context, k=k), task, shield=shield)
            rng = context.rng(f"judging {k}")
            judged = judge(played, shadow, config, rng=rng)
            name = f"k_{k}" if conditions else ""
            conditions.append(Condition(name, f"{k} demonstration{'s' * (k > 1)}", k, played, judged))
            _add(usage, shadow.usage, played.usage)
            if len(conditions) > 1:
                continue
            main_shadow = shadow
            if config.control:
                games = played.games._replace(
                    **{name: value[: config.shadow_trials] for name, value in played.games._asdict().items()}
                )
                alone = arena.without_demonstrations(games, task)
                _add(usage, alone.usage)
                control = Condition(CONTROL, "no demonstrations", 0, alone, judge(alone, shadow, config, rng=rng))
        if config.hard_negatives:
            k = config.demonstrations[0]
            games = deal(arena.pool, config, context, k=k, hard=True)
            hard = arena.against_neighbours(conditions[0].played, games, task, shield=shield)
            _add(usage, hard.usage)
            judged = judge(hard, main_shadow, config, rng=context.rng("judging hard"))
            conditions.append(Condition("hard", f"{k} demonstrations, hard", k, hard, judged))
    return Study(arena.pool, tuple(conditions), control, shield, usage, config, context)


def targets_of(config: IclMembershipConfig) -> int:
    """Attacked texts of all games."""
    games = len(config.demonstrations) * (config.trials + config.shadow_trials) * 2
    return games + config.trials * config.hard_negatives + 2 * min(config.shadow_trials, config.trials) * config.control


def _add(total: Usage, *parts: Usage) -> None:
    for part in parts:
        total.add(**vars(part))
