"""All attacks on one service, as an outsider would run them: what the tests of several files measure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from assaymark.audits.icl_membership.method.brainwash import BrainwashSearch, brainwash_scores, wrong_labels
from assaymark.audits.icl_membership.method.games import Games
from assaymark.audits.icl_membership.method.inquiry import inquiry_outcomes
from assaymark.audits.icl_membership.method.labels import LabelParser
from assaymark.audits.icl_membership.method.prompts import (
    Templates,
    brainwash_conversation,
    gap_conversation,
    inquiry_conversations,
    joined,
    operator_prompt,
    repeat_conversation,
)
from assaymark.audits.icl_membership.method.similarity import repeat_scores
from assaymark.audits.icl_membership.method.words import split_texts


class Scores(NamedTuple):
    """Scores of T members (column 0) and T non-members (column 1), shape (T, 2) each."""

    gap: np.ndarray
    inquiry: np.ndarray
    repeat: np.ndarray
    brainwash: np.ndarray
    questions: np.ndarray


def attack(
    model: Any,
    games: Games,
    texts: list[str],
    labels: list[str],
    names: tuple[str, ...],
    templates: Templates,
    *,
    rng: np.random.Generator,
    w: int = 3,
    search: str = "bisect",
    similarity: str = "token_f1",
    single_message: bool = False,
) -> Scores:
    prefixes = [operator_prompt(templates, [(texts[i], labels[i]) for i in row]) for row in games.demonstrations.tolist()]
    rows = np.column_stack([games.member, games.nonmember]).reshape(-1)
    heads = [prefixes[i // 2] for i in range(rows.size)]
    targets = [texts[i] for i in rows.tolist()]
    parser = LabelParser(names)
    true = parser.parse([labels[i] for i in rows.tolist()])

    def ask(places: Any, conversations: Any) -> list[str]:
        prompts = [joined(heads[i], said) for i, said in zip(places, conversations, strict=True)]
        return [replies[0] for replies in model.generate_text(prompts, temperature=0.0, max_tokens=64, stop=["\n"])]

    everyone = range(rows.size)
    gap = parser.parse(ask(everyone, [gap_conversation(templates, x) for x in targets])) == true
    inquiry = inquiry_outcomes(ask(everyone, [inquiry_conversations(templates, x)[0] for x in targets]))
    split = split_texts(targets, w)
    long = [i for i in everyone if split.suffixes[i]]
    replies = [""] * rows.size
    for i, reply in zip(long, ask(long, [repeat_conversation(templates, targets[i], w=w) for i in long]), strict=True):
        replies[i] = reply
    repeat = repeat_scores(replies, split.suffixes, w=w, similarity=similarity).scores
    wrong = wrong_labels(true, len(names), rng=rng)
    searching = BrainwashSearch(np.repeat(everyone, wrong.shape[1]), wrong.reshape(-1), most=10, search=search)  # type: ignore[arg-type]
    while not searching.finished:
        asked = searching.questions()
        said = [
            brainwash_conversation(templates, targets[t], names[y], j, single_message=single_message)
            for t, y, j in zip(asked.target.tolist(), asked.wrong.tolist(), asked.repetitions.tolist(), strict=True)
        ]
        searching.answer(parser.parse(ask(asked.target.tolist(), said)) == asked.wrong)
    brainwash = brainwash_scores(searching.iterations, searching.targets, count=rows.size)
    arrays = (gap, inquiry, repeat, brainwash, searching.questions_by_target(rows.size))
    return Scores(*(np.asarray(scores, dtype=float).reshape(-1, 2) for scores in arrays))


def auc(scores: np.ndarray) -> float:
    """P(member > non-member) + P(tie) / 2 over all pairs."""
    member, other = (column[~np.isnan(column)] for column in scores.T)
    return float((np.sign(member[:, None] - other[None, :]).mean() + 1) / 2)


def best_threshold(scores: np.ndarray) -> float:
    """The cut midway between two scores with the largest TPR - FPR."""
    known = np.unique(scores[~np.isnan(scores)])
    cuts = np.r_[-np.inf, (known[1:] + known[:-1]) / 2, np.inf]
    return float(cuts[np.argmax([advantage(scores, cut) for cut in cuts])])


def advantage(scores: np.ndarray, threshold: float) -> float:
    """TPR - FPR of "member iff the score reaches the threshold"."""
    member, other = (column[~np.isnan(column)] for column in scores.T)
    return float((member >= threshold).mean() - (other >= threshold).mean())
