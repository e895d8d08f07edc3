"""Planted experiments on the methods: a model that can only copy, attacked as it is, behind defences, among look-alikes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from assaymark.audit import Context, Progress, Trial
from assaymark.audits.icl_membership.config import IclMembershipConfig
from assaymark.audits.icl_membership.induction import InductionModel
from assaymark.audits.icl_membership.measures.attacks import prepare_attacker
from assaymark.audits.icl_membership.measures.evaluation import Judged, judge
from assaymark.audits.icl_membership.measures.games import Arena, Played, deal
from assaymark.audits.icl_membership.measures.service import Shield
from assaymark.audits.icl_membership.measures.shields import Armoury
from assaymark.audits.icl_membership.method.defences.combinations import Defence
from assaymark.audits.icl_membership.planted import LABELS, planted_pool
from assaymark.audits.icl_membership.reading import Pool
from assaymark.audits.icl_membership.wording import wording
from assaymark.result import Estimate, Flow
from assaymark.stats import AttackScores, advantage, advantage_difference

__all__ = ["method_trials"]

SIZE, FEW, MANY = 800, 1, 12
SETTINGS = {"similarity": "token_f1", "attacks": ("gap", "repeat", "brainwash", "hybrid")}
GAMES, FULL_GAMES = 60, 500


def method_trials(seed: int, *, full: bool = False) -> Sequence[Trial]:
    """Claims 1 to 8 about the copying model, on made-up sentences half of which begin like others.

    Small differences (the number of demonstrations, look-alikes) need games as many as in the paper.
    """
    laboratory = _Laboratory(seed, FULL_GAMES if full else GAMES)
    return [*laboratory.trials(), *(laboratory.small_differences() if full else ())]


class _Laboratory:
    """Games of the copying model with one pool of sentences."""

    def __init__(self, seed: int, games: int) -> None:
        self.config = IclMembershipConfig.build({**SETTINGS, "trials": games, "shadow_trials": min(games, 100)})
        self.pool, public = _pool(seed, SIZE), _pool(seed + 10_000, SIZE)
        model = InductionModel(seed=seed)
        self.context = Context(seed=seed, models={"service": model})
        words = wording(self.pool.names, self.config)
        self.arena = Arena(self.pool, words, prepare_attacker(self.pool, self.config, self.context), self.config, self.context)
        self.armoury = Armoury(words, self.config, self.context, public)

    def trials(self) -> Iterator[Trial]:
        plain, _ = self.played(6)
        yield self._beyond("1: Repeat minus GAP", plain["repeat"], plain["gap"])
        yield self._beyond("1: Brainwash minus GAP", plain["brainwash"], plain["gap"])
        few = self.played(FEW)[0]["repeat"]
        yield Trial(f"2: Repeat at {FEW} demonstration", 0.85, few.advantage, "above")
        brainwash = plain["brainwash"]
        fixed = advantage(brainwash.member, brainwash.nonmember, self.config.fixed_threshold)
        yield Trial("3: Brainwash at a fixed threshold of 5", 0.0, fixed)
        shielded = self.played(6, Defence(output="label_only"))[0]
        yield Trial("4: Repeat behind labels alone", 0.0, shielded["repeat"].advantage)
        yield Trial("4: Brainwash behind labels alone", 0.7, shielded["brainwash"].advantage, "above")
        guarded = self.played(6, Defence(output="overlap_guard"))[0]
        yield Trial("5: Brainwash behind an overlap guard", 0.7, guarded["brainwash"].advantage, "above")
        both = self.played(6, Defence(data="nearest_public", output="label_only"))[0]
        yield Trial("6: Repeat behind public texts and labels alone", 0.1, both["repeat"].advantage, "not above")
        yield Trial("6: Brainwash behind public texts and labels alone", 0.1, both["brainwash"].advantage, "not above")
        best = max(("repeat", "brainwash"), key=lambda name: plain[name].advantage.value or 0.0)
        lost = advantage_difference(_scores(plain["hybrid"]), _scores(plain[best])).difference
        yield Trial("8: the better part minus the hybrid", 0.0, lost, "not above")

    def small_differences(self) -> Iterator[Trial]:
        few, many = (self.played(k)[0]["repeat"] for k in (FEW, MANY))
        yield self._beyond(f"2: Repeat at {FEW} minus at {MANY} demonstrations", few, many)
        plain, played = self.played(6)
        hard = self._hard(played)["brainwash"]
        yield Trial(
            "7: Brainwash against look-alikes minus against others", 0.0, _difference(hard, plain["brainwash"]), "not above"
        )

    def played(self, k: int, defence: Defence | None = None) -> tuple[Mapping[str, Judged], Played]:
        shield = Shield() if defence is None else self.armoury.shield(defence)
        with Progress().task("") as task:
            games = deal(self.pool, self.config, self.context, k=k, shadow=True)
            shadow = self.arena.play(games, task, shield=shield, shadow=True)
            found = self.arena.play(deal(self.pool, self.config, self.context, k=k), task, shield=shield)
        return judge(found, shadow, self.config, rng=self.context.rng("judging")), found

    def _hard(self, played: Played) -> Mapping[str, Judged]:
        games = deal(self.pool, self.config, self.context, k=6, hard=True)
        with Progress().task("") as task:
            shadow = self.arena.play(deal(self.pool, self.config, self.context, k=6, shadow=True), task, shadow=True)
            found = self.arena.against_neighbours(played, games, task, shield=Shield())
        return judge(found, shadow, self.config, rng=self.context.rng("judging"))

    @staticmethod
    def _beyond(name: str, one: Judged, other: Judged) -> Trial:
        return Trial(name, 0.0, _difference(one, other), "above")


def _difference(one: Judged, other: Judged) -> Estimate:
    return advantage_difference(_scores(other), _scores(one)).difference


def _scores(judged: Judged) -> AttackScores:
    return AttackScores(judged.member, judged.nonmember, judged.threshold)


def _pool(seed: int, size: int) -> Pool:
    """Sentences, half of which share their opening with others."""
    drawn = planted_pool(seed, size, shared_openings=0.5)
    rows = np.random.default_rng([seed, 0x9001]).permutation(size)
    return Pool(
        np.arange(size, dtype=np.uint64),
        drawn.texts,
        np.array([LABELS.index(label) for label in drawn.labels]),
        LABELS,
        np.sort(rows[: size // 2]),
        np.sort(rows[size // 2 :]),
        Flow("planted", size, size),
        (),
    )
