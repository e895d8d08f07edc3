"""The audit: draw prompts from the pool, attack members and outsiders, fit on shadow games, judge on the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.icl_membership.config import IclMembershipConfig
from assaymark.audits.icl_membership.data import INPUTS, ROLES, planting
from assaymark.audits.icl_membership.measures.attacks import prepare_attacker
from assaymark.audits.icl_membership.measures.games import Arena
from assaymark.audits.icl_membership.measures.lengths import check_lengths
from assaymark.audits.icl_membership.measures.shields import Armoury
from assaymark.audits.icl_membership.method.defences.combinations import Defence
from assaymark.audits.icl_membership.planning import Writing, announce, length_questions
from assaymark.audits.icl_membership.reading import Pool, read_pool, read_public
from assaymark.audits.icl_membership.sections import sections, undefined_sections
from assaymark.audits.icl_membership.study import play_all, targets_of
from assaymark.audits.icl_membership.trials import method_trials
from assaymark.audits.icl_membership.wording import wording
from assaymark.result import Result
from assaymark.section import Section, assemble

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
        public = read_public(inputs.get("public"), config, context)
        found = undefined_sections(pool.lack, config) if pool.lack else self._sections(pool, public, context)
        return assemble(
            found,
            audit=self.info.id,
            title=f"{self.info.title}: {inputs['pool'].source}",
            flows=(pool.flow, *(() if public is None else (public.flow,))),
            notes=dict.fromkeys((*pool.notes, *(() if public is None else public.notes))),
        )

    def _sections(self, pool: Pool, public: Pool | None, context: Context) -> Iterator[Section]:
        config: IclMembershipConfig = self.config
        words = wording(pool.names, config)
        armoury = Armoury(words, config, context, public)
        defence = Defence.of(config.data, config.instruct, config.output)
        shield = armoury.shield(defence)
        recipes = armoury.ready((defence.data,), sizes=config.demonstrations)
        writing = Writing(recipes, config.trials + config.shadow_trials, config.demonstrations)
        attacker = prepare_attacker(pool, config, context)
        announce(
            pool,
            config,
            context,
            targets=targets_of(config) * shield.parts,
            demonstrations=sum(config.demonstrations) / len(config.demonstrations),
            further=length_questions(1),
            writing=writing,
        )
        arena = Arena(pool, words, attacker, config, context)
        check_lengths(arena, [shield], k=max(config.demonstrations))
        return sections(play_all(arena, shield, config, context))

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        return method_trials(seed, full=full)
