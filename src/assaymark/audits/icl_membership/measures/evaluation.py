"""What attacks are worth: thresholds and the hybrid fitted on shadow games, judged on the games that count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.measures.attacks import Answers
from assaymark.audits.icl_membership.measures.games import Played, Sides
from assaymark.audits.icl_membership.method.hybrid import fit_hybrid
from assaymark.result import Estimate, undefined
from assaymark.stats import (
    attack_auc,
    decision_rates,
    fit_threshold,
    tpr_at_fprs,
)

__all__ = ["FPRS", "Judged", "judge"]

Floats = npt.NDArray[np.float64]

FPRS = (0.01, 0.05)
"""False positive rates at which true ones are read off."""


@dataclass(frozen=True)
class Judged:
    """One attack on T games, at the threshold that shadow games gave.

    Attributes
    ----------
    member, nonmember : arrays, shape (T,)
        Scores; a refusal counts as the shadow games say (see `judge`). NaN where there is none.
    threshold : float
        NaN where shadow games gave none; then everything is undefined.
    advantage, auc, tpr, fpr, accuracy : Estimate
    tpr_at : dict of FPR to Estimate
    questions : float
        Mean number of questions for a target.
    missing, refused : int
        Targets of both sides without a score, and those that the service declined to answer.
    """

    attack: str
    member: Floats
    nonmember: Floats
    threshold: float
    advantage: Estimate
    auc: Estimate
    tpr: Estimate
    fpr: Estimate
    accuracy: Estimate
    tpr_at: dict[float, Estimate]
    questions: float
    missing: int
    refused: int


def judge(
    target: Played, shadow: Played, config: ServiceConfig, *, rng: np.random.Generator, hybrid: bool = True
) -> dict[str, Judged]:
    """Every attack, the hybrid one last.

    Notes
    -----
    A refusal is an answer: a filter that blocks what was copied blocks members. Whether it speaks for or against membership is
    learnt on the shadow games, by which side is refused more often; such a target then has the largest or the smallest score.
    """
    told = {name: _told(target.sides[name], shadow.sides[name]) for name in target.sides if name in shadow.sides}
    if hybrid and "hybrid" in config.attacks:
        parts = [name for name in config.hybrid_features if name in told]
        if len(parts) > 1:
            told["hybrid"] = _hybrid({name: told[name] for name in parts}, config, rng)
    return {name: _judged(name, each, config, rng) for name, each in told.items()}


@dataclass(frozen=True)
class _Told:
    """Scores of an attack on both sides of the games that count and of the shadow games."""

    target: tuple[Floats, Floats]
    shadow: tuple[Floats, Floats]
    questions: float
    refused: int


def _told(target: Sides, shadow: Sides) -> _Told:
    finite = np.concatenate([answers.score[np.isfinite(answers.score)] for answers in shadow])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    room = max(high - low, 1.0)
    rates = [float(answers.refused.mean()) for answers in shadow]
    meant = high + room if rates[0] > rates[1] else low - room
    parts = [tuple(_with_refusals(answers, meant) for answers in sides) for sides in (target, shadow)]
    questions = np.concatenate([answers.questions for answers in target])
    refused = sum(int(answers.refused.sum()) for answers in target)
    return _Told((parts[0][0], parts[0][1]), (parts[1][0], parts[1][1]), float(questions.mean()), refused)


def _with_refusals(answers: Answers, meant: float) -> Floats:
    return np.where(answers.refused & np.isfinite(answers.score), meant, answers.score)


def _hybrid(parts: Mapping[str, _Told], config: ServiceConfig, rng: np.random.Generator) -> _Told:
    def features(which: str, side: int) -> Floats:
        return np.column_stack([getattr(part, which)[side] for part in parts.values()])

    shadow = [features("shadow", side) for side in (0, 1)]
    member = np.repeat([True, False], [len(side) for side in shadow])
    stacked = np.concatenate(shadow)
    known = ~np.isnan(stacked).all(axis=1)
    questions = sum(part.questions for part in parts.values())
    refused = max(part.refused for part in parts.values())
    if len(set(member[known].tolist())) < 2:
        nothing = tuple(np.full(len(part), np.nan) for part in (*_pair(parts, "target"), *_pair(parts, "shadow")))
        return _Told((nothing[0], nothing[1]), (nothing[2], nothing[3]), questions, refused)
    model = fit_hybrid(stacked, member, rng=rng, model=config.hybrid)
    target = tuple(model.score(features("target", side)) for side in (0, 1))
    fitted = tuple(model.score(side) for side in shadow)
    return _Told((target[0], target[1]), (fitted[0], fitted[1]), questions, refused)


def _pair(parts: Mapping[str, _Told], which: str) -> tuple[Floats, Floats]:
    found: tuple[Floats, Floats] = getattr(next(iter(parts.values())), which)
    return found


def _judged(name: str, told: _Told, config: ServiceConfig, rng: np.random.Generator) -> Judged:
    member, nonmember = told.target
    missing = int(np.isnan(member).sum() + np.isnan(nonmember).sum())
    lack = _lack(told)
    if lack:
        lost = undefined(lack, n=len(member), unit="share")
        return Judged(
            name, member, nonmember, np.nan, lost, lost, lost, lost, lost, dict.fromkeys(FPRS, lost), told.questions, missing,
            told.refused,
        )  # fmt: skip
    cut = fit_threshold(*told.shadow).value
    confidence = config.confidence
    rates = decision_rates(member, nonmember, cut, confidence=confidence)
    return Judged(
        name,
        member,
        nonmember,
        cut,
        rates.advantage,
        attack_auc(member, nonmember, confidence=confidence),
        rates.tpr,
        rates.fpr,
        rates.accuracy,
        tpr_at_fprs(member, nonmember, FPRS, confidence=confidence),
        told.questions,
        missing,
        told.refused,
    )


def _lack(told: _Told) -> str:
    """Why there is nothing to judge, or nothing to fit a threshold on."""
    for sides, what in ((told.shadow, "shadow"), (told.target, "target")):
        for scores, side in zip(sides, ("member", "non-member"), strict=True):
            if not np.isfinite(scores).any():
                return f"no {side} of the {what} games has a score: the texts are too short, or the service gives none"
    return ""
