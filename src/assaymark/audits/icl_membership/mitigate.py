"""The cure: defences of the demonstrations, the instruction and the replies, alone and together, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assaymark.audit import AuditInfo, Context, Mitigation
from assaymark.audits.icl_membership.config import DefenceConfig
from assaymark.audits.icl_membership.data import CURE_INPUTS, CURE_ROLES
from assaymark.audits.icl_membership.measures.attacks import prepare_attacker
from assaymark.audits.icl_membership.measures.defending import defend_all, distinct, instructions
from assaymark.audits.icl_membership.measures.games import Arena
from assaymark.audits.icl_membership.measures.lengths import check_lengths
from assaymark.audits.icl_membership.measures.service import Shield
from assaymark.audits.icl_membership.measures.shields import Armoury
from assaymark.audits.icl_membership.planning import Writing, announce, defence_cost
from assaymark.audits.icl_membership.reading import read_pool, read_public
from assaymark.audits.icl_membership.report.defences import defence_section
from assaymark.audits.icl_membership.wording import wording
from assaymark.errors import InputError
from assaymark.result import Result
from assaymark.section import assemble

__all__ = ["PromptDefence"]


class PromptDefence(Mitigation):
    """Every recipe alone, and all subsets of one for each target, against an attacker who fits everything anew."""

    info = AuditInfo(
        id="icl-membership",
        title="Examples in a prompt, defended",
        question="Which defences keep the examples in a prompt from being told, and what do they cost in accuracy and calls?",
        paper="Wen et al. 2024, ACM CCS; arXiv 2409.01380; Tang et al. 2024, ICLR; arXiv 2309.11765",
        inputs=CURE_INPUTS,
        models=CURE_ROLES,
        cost="the cost of an audit for every defence: about 12 recipes, and 7 combinations over 3 wordings",
        limits="a defence that holds against these attacks may fall to others; nothing short of differential privacy is a "
        "guarantee",
    )
    Config = DefenceConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: DefenceConfig = self.config
        pool = read_pool(inputs["pool"], config, context, needed=config.demonstrations + 2)
        if pool.lack:
            raise InputError(f"input 'pool': {pool.lack}")
        words = wording(pool.names, config)
        public = read_public(inputs.get("public"), config, context)
        attacker = prepare_attacker(pool, config, context)
        arena = Arena(pool, words, attacker, config, context)
        armoury = Armoury(words, config, context, public)
        size = config.demonstrations
        recipes = armoury.ready((each.data for each in distinct(config)), sizes=(size,))
        writing = Writing(recipes, config.trials + config.shadow_trials, (size,))
        cost = defence_cost(armoury, config)
        announce(pool, config, context, targets=cost.targets, demonstrations=size, further=cost.further, writing=writing)
        shields = [Shield(), *(Shield(name, instruction=name) for name in instructions(config))]
        check_lengths(arena, shields, k=size)
        with context.progress.task("attacking", total=cost.attacked, unit="texts") as task:
            found = defend_all(arena, armoury, config, context, task)
        return assemble(
            [defence_section(found, config, context)],
            audit=self.info.id,
            title=f"{self.info.title}: {inputs['pool'].source}",
            flows=(pool.flow, *(() if public is None else (public.flow,))),
            notes=dict.fromkeys((*pool.notes, *(() if public is None else public.notes))),
        )
