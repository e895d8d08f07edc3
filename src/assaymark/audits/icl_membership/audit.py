"""The audit: draw prompts from the pool, attack members and outsiders, fit on shadow games, judge on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.icl_membership.config import IclMembershipConfig
from assaymark.audits.icl_membership.data import INPUTS, ROLES, planting
from assaymark.audits.icl_membership.measures.attacks import prepare_attacker
from assaymark.audits.icl_membership.measures.games import Arena
from assaymark.audits.icl_membership.measures.shields import Armoury
from assaymark.audits.icl_membership.method.defences.combinations import Defence
from assaymark.audits.icl_membership.planning import announce
from assaymark.audits.icl_membership.reading import read_pool, read_public
from assaymark.audits.icl_membership.sections import sections
from assaymark.audits.icl_membership.study import play_all, targets_of
from assaymark.audits.icl_membership.trials import method_trials
from assaymark.audits.icl_membership.wording import wording
from assaymark.result import Result
from assaymark.section import assemble

__all__ = ["IclMembership"]


class IclMembership(Audit):
    """Membership inference on the demonstrations in a prompt, from text alone (2409.01380)."""

    info = AuditInfo(
        id="icl-membership",
        title="Examples leaking from a prompt",
        question="Can an outsider tell from the replies of a service which examples its operator put in the prompt?",
        paper="Wen et al. 2024, ACM CCS; arXiv 2409.01380",
        inputs=INPUTS,
        models=ROLES,
        cost="about 18 questions for each attacked text, two texts a game; 500 games and 100 shadow games make 36,000 at most, "
        "announced before the first; prompts that begin alike share their computation",
        limits="an advantage that is not detected may be there; it holds for one model, task and prompt; nothing short of "
        "differential privacy is a guarantee",
    )
    Config = IclMembershipConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: IclMembershipConfig = self.config
        pool = read_pool(inputs["pool"], config, context, needed=max(config.demonstrations) + 1)
        words = wording(pool.names, config)
        public = read_public(inputs.get("public"), config, context)
        shield = Armoury(words, config, context, public).shield(Defence.of(config.data, config.instruct, config.output))
        attacker = prepare_attacker(pool, config, context)
        size = sum(config.demonstrations) / len(config.demonstrations)
        announce(pool, config, context, targets=targets_of(config), demonstrations=size, calls=shield.parts)
        study = play_all(Arena(pool, words, attacker, config, context), shield, config, context)
        return assemble(
            sections(study),
            audit=self.info.id,
            title=f"{self.info.title}: {inputs['pool'].source}",
            flows=(pool.flow, *(() if public is None else (public.flow,))),
            notes=dict.fromkeys((*pool.notes, *(() if public is None else public.notes))),
        )

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        return method_trials(seed, full=full)
