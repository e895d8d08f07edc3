"""Every attack on many targets: what is asked in which order, and what each target's answers come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context, Task
from assaymark.audits.icl_membership.config import AttackName, ServiceConfig
from assaymark.audits.icl_membership.measures.replies import Replies
from assaymark.audits.icl_membership.measures.service import Question, Service
from assaymark.audits.icl_membership.method.brainwash import BrainwashSearch, brainwash_scores, wrong_labels
from assaymark.audits.icl_membership.method.defences.transforms import TRANSFORMS, decode, transformed_query
from assaymark.audits.icl_membership.method.inquiry import inquiry_outcomes, inquiry_scores
from assaymark.audits.icl_membership.method.outcomes import is_refusal
from assaymark.audits.icl_membership.method.prompts import (
    Conversation,
    brainwash_conversation,
    gap_conversation,
    inquiry_conversations,
    repeat_conversation,
)
from assaymark.audits.icl_membership.method.similarity import SIMILARITIES, Similarity, repeat_scores, tfidf_cosine
from assaymark.audits.icl_membership.method.words import split_texts
from assaymark.audits.icl_membership.reading import Pool
from assaymark.errors import ModelError

__all__ = ["Answers", "Attacker", "Targets", "prepare_attacker", "run_attacks", "transformed_repeats"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

GAMES_AT_ONCE = 8
"""Games whose questions go to the model together: enough for a batch, few enough for the states of their prompts to be kept."""

ENCODED = "repeat, encoded"
"""Name of the repeat attack that asks for encoded replies."""

LABEL_TOKENS, YES_NO_TOKENS = 16, 24
TOKENS_A_WORD, SPARE_TOKENS = 1.3, 8
"""Longest continuation that is asked for: 1.3 tokens for each word that is missing, and 8; rounded up to 16, 32, 64, ..."""


class Targets(NamedTuple):
    """Attacked texts, shape (n,) each: the game whose prompt is attacked, and the row of the text in the pool."""

    game: Ints
    row: Ints


@dataclass
class Answers:
    """What one attack got for n targets.

    Attributes
    ----------
    score : array, shape (n,)
        The larger, the more likely a member; NaN where the attack has no question to ask.
    refused : bool array, shape (n,)
        The service declined: that too may tell members from others.
    questions : int array, shape (n,)
    """

    score: Floats
    refused: Bools
    questions: Ints

    @classmethod
    def of(cls, size: int) -> Answers:
        return cls(np.full(size, np.nan), np.zeros(size, np.bool_), np.zeros(size, np.int64))


@dataclass(frozen=True)
class Attacker:
    """What an attacker brings: wordings, wrong labels for each text of the pool, and a way to compare continuations."""

    config: ServiceConfig
    wrong: Ints
    similarity: Similarity

    @property
    def attacks(self) -> tuple[AttackName, ...]:
        return self.config.attacks


@dataclass
class Attacked:
    """Answers by attack, and what is to be told of them in the report.

    Attributes
    ----------
    replies : what the single replies were
    short : targets that Repeat asks nothing about, since they have no word behind those that are given away
    non_monotone, pairs : searches for a number of wrong statements that went on step by step, and all of them
    """

    answers: dict[str, Answers]
    replies: Replies = field(default_factory=Replies)
    short: int = 0
    non_monotone: int = 0
    pairs: int = 0


def prepare_attacker(pool: Pool, config: ServiceConfig, context: Context) -> Attacker:
    """Wrong labels are drawn once for each text, so that every defence meets the same attack.

    Raises
    ------
    ModelError
        Nothing but log-probabilities is to be attacked, and the model gives none.
    """
    if set(config.attacks) == {"likelihood"} and "scores-continuations" not in context.require("service").capabilities:
        raise ModelError(
            "the attack likelihood needs log-probabilities, and the model in the role 'service' gives none: name other attacks"
        )
    wrong = wrong_labels(pool.label, len(pool.names), rng=context.rng("wrong labels"), most=config.wrong_labels)
    return Attacker(config, wrong, _similarity(pool, config, context))


def _similarity(pool: Pool, config: ServiceConfig, context: Context) -> Similarity:
    encoder = context.model("sentences")
    chosen = config.similarity
    if chosen == "auto":
        chosen = "semantic" if encoder is not None else "tfidf_cosine"
    if chosen == "semantic":
        return partial(_embedded, context.require("sentences"))
    if chosen == "tfidf_cosine":
        return partial(tfidf_cosine, corpus=pool.text)
    return SIMILARITIES[chosen]


def _embedded(encoder: Any, candidates: Sequence[str], references: Sequence[str]) -> Floats:
    """Cosine of sentence embeddings; each distinct text is embedded once, by the model's cache."""
    from assaymark.audits.icl_membership.method.similarity import semantic

    texts = list(dict.fromkeys([*candidates, *references]))
    vectors = np.asarray(encoder.embed_texts([text or " " for text in texts]), dtype=np.float64)
    place = {text: i for i, text in enumerate(texts)}
    one, two = (vectors[[place[text] for text in side]] for side in (candidates, references))
    found = semantic(one, two)
    return np.where([not text.strip() for text in candidates], 0.0, found)


def run_attacks(service: Service, targets: Targets, attacker: Attacker, task: Task) -> Attacked:
    """Every attack of the attacker but the hybrid one, which asks nothing of its own.

    Questions go out by groups of games; a repetition of the search for the least number of wrong statements is one call for all
    targets of a group.
    """
    size = len(targets.game)
    asked = tuple(name for name in attacker.attacks if name != "hybrid" and _can(name, service))
    found = Attacked({name: Answers.of(size) for name in asked})
    replies: dict[int, list[str]] = {}
    for group in _groups(targets):
        part = Targets(targets.game[group], targets.row[group])
        if "gap" in asked:
            _gap(service, part, attacker, found, group)
        if "inquiry" in asked:
            _inquiry(service, part, attacker, found, group)
        if "repeat" in asked:
            said = _repeat(service, part, attacker, found, "repeat", group)
            replies |= dict(zip(group.tolist(), said, strict=True))
        if "brainwash" in asked:
            _brainwash(service, part, attacker, found, group)
        if "likelihood" in asked:
            _likelihood(service, part, found.answers["likelihood"], group)
        task.advance(len(group))
    if "repeat" in asked:
        _score_repeats(service, targets, attacker, found.answers["repeat"], replies)
    return found


def _can(attack: AttackName, service: Service) -> bool:
    return attack != "likelihood" or service.has_log_likelihood


def _groups(targets: Targets) -> Iterator[Ints]:
    """Places of targets by groups of games, those of one game side by side."""
    order = np.argsort(targets.game, kind="stable")
    games = targets.game[order]
    group = np.unique(games, return_inverse=True)[1] // GAMES_AT_ONCE
    yield from np.split(order, np.flatnonzero(np.diff(group)) + 1) if order.size else ()


def _texts(service: Service, part: Targets) -> list[str]:
    return [service.pool.text[row] for row in part.row.tolist()]


def _questions(part: Targets, conversations: Sequence[Conversation]) -> list[Question]:
    return [Question(game, said) for game, said in zip(part.game.tolist(), conversations, strict=True)]


def _seeds(config: ServiceConfig) -> range:
    """Seeds of the replies to one question: at temperature 0 they are all alike."""
    return range(config.samples if config.temperature > 0 else 1)


def _label_stop(service: Service) -> tuple[str, ...]:
    """A base model goes on with the next example behind the end of the line."""
    return () if service.templates.chat else ("\n",)


def _gap(service: Service, part: Targets, attacker: Attacker, found: Attacked, group: Ints) -> None:
    """Is the label that the service names the right one?"""
    questions = _questions(part, [gap_conversation(service.templates, text) for text in _texts(service, part)])
    right, refused = np.zeros(len(group)), np.zeros(len(group), np.bool_)
    for seed in _seeds(attacker.config):
        said = service.reply(questions, max_tokens=LABEL_TOKENS, stop=_label_stop(service), seed=seed)
        named = service.parser.parse(said)
        right += named == service.pool.label[part.row]
        refused |= [is_refusal(text) for text in said]
        found.replies.labelled("gap", said, named)
    answers = found.answers["gap"]
    answers.score[group], answers.refused[group] = right / len(_seeds(attacker.config)), refused
    answers.questions[group] = len(_seeds(attacker.config))


def _inquiry(service: Service, part: Targets, attacker: Attacker, found: Attacked, group: Ints) -> None:
    """Has the service seen the text? The mean of yes (1), undecided (1/2) and no (0) over wordings and replies."""
    wordings = [inquiry_conversations(service.templates, text) for text in _texts(service, part)]
    outcomes, refused = [], np.zeros(len(group), np.bool_)
    for wording in zip(*wordings, strict=True):
        for seed in _seeds(attacker.config):
            said = service.reply(_questions(part, wording), max_tokens=YES_NO_TOKENS, stop=_label_stop(service), seed=seed)
            outcomes.append(inquiry_outcomes(said, extended=True))
            found.replies.decided("inquiry", said, outcomes[-1])
            refused |= [is_refusal(text) for text in said]
    table = np.column_stack(outcomes)
    answers = found.answers["inquiry"]
    answers.score[group], answers.refused[group] = inquiry_scores(table), refused
    answers.questions[group] = table.shape[1]


def _repeat(
    service: Service,
    part: Targets,
    attacker: Attacker,
    found: Attacked,
    attack: str,
    group: Ints,
    request: Callable[[str], str] = lambda text: text,
) -> list[list[str]]:
    """Continuations of the first words, several where the temperature is above 0; none of a text that has no more words."""
    texts, answers = _texts(service, part), found.answers[attack]
    suffixes = split_texts(texts, attacker.config.prefix_words).suffixes
    long = [place for place, suffix in enumerate(suffixes) if suffix]
    room = np.array([_room(suffixes[place], attacker.config.max_tokens) for place in long])
    said: list[list[str]] = [[] for _ in texts]
    for tokens in np.unique(room).tolist():
        places = [place for place, needed in zip(long, room.tolist(), strict=True) if needed == tokens]
        conversations = [
            _requested(repeat_conversation(service.templates, texts[place], w=attacker.config.prefix_words), request)
            for place in places
        ]
        questions = _questions(Targets(part.game[places], part.row[places]), conversations)
        for seed in _seeds(attacker.config):
            replies = service.reply(questions, max_tokens=tokens, stop=_label_stop(service), seed=seed)
            found.replies.told(attack, replies)
            for place, text in zip(places, replies, strict=True):
                said[place].append(text)
                answers.refused[group[place]] |= is_refusal(text)
    answers.questions[group] += np.array([len(texts) for texts in said])
    found.short += len(texts) - len(long)
    return said


def _requested(conversation: Conversation, request: Callable[[str], str]) -> Conversation:
    *before, last = conversation
    return (*before, {**last, "content": request(last["content"])})


def _room(suffix: str, most: int) -> int:
    needed = TOKENS_A_WORD * len(suffix.split()) + SPARE_TOKENS
    return int(min(most, 2 ** np.ceil(np.log2(max(needed, 16)))))


def _score_repeats(
    service: Service, targets: Targets, attacker: Attacker, answers: Answers, replies: dict[int, list[str]]
) -> None:
    """Similarity of all continuations in one call; the mean over the replies to a question. Without any there is no score."""
    if not any(replies.values()):
        return
    places = [place for place, said in replies.items() for _ in said]
    texts = [service.pool.text[targets.row[place]] for place in places]
    said = [text for texts in replies.values() for text in texts]
    w = attacker.config.prefix_words
    scores = repeat_scores(said, split_texts(texts, w).suffixes, w=w, similarity=attacker.similarity).scores
    size = len(answers.score)
    sums = np.bincount(places, weights=np.nan_to_num(scores), minlength=size)
    counts = np.bincount(np.array(places, np.int64)[np.isfinite(scores)], minlength=size)
    answers.score[:] = np.divide(sums, counts, out=np.full(size, np.nan), where=counts > 0)


def transformed_repeats(service: Service, targets: Targets, attacker: Attacker, task: Task) -> Attacked:
    """The repeat attack of somebody who expects a filter: the best of what comes back in several encodings, decoded.

    References
    ----------
    Ippolito et al. 2023, arXiv 2210.17546.
    """
    best = Answers.of(len(targets.game))
    found = Attacked({})
    for name in TRANSFORMS:
        answers = Answers.of(len(targets.game))
        found.answers[ENCODED] = answers
        replies: dict[int, list[str]] = {}
        for group in _groups(targets):
            part = Targets(targets.game[group], targets.row[group])
            said = _repeat(service, part, attacker, found, ENCODED, group, partial(transformed_query, transform=name))
            plain = [[decode(text, transform=name) or "" for text in texts] for texts in said]
            replies |= dict(zip(group.tolist(), plain, strict=True))
        _score_repeats(service, targets, attacker, answers, replies)
        best.score = np.fmax(best.score, answers.score)
        best.refused |= answers.refused
        best.questions += answers.questions
    task.advance(len(targets.game))
    return Attacked({ENCODED: best}, found.replies)


def _brainwash(service: Service, part: Targets, attacker: Attacker, found: Attacked, group: Ints) -> None:
    """How many wrong statements until the service agrees: rounds of questions for all targets and wrong labels of a group."""
    texts, config = _texts(service, part), attacker.config
    wrong = attacker.wrong[part.row]
    target = np.repeat(np.arange(len(group)), wrong.shape[1])
    search = BrainwashSearch(target, wrong.ravel(), most=config.repetitions, search=config.search)
    while not search.finished:
        asked = search.questions()
        order = np.argsort(part.game[asked.target], kind="stable")
        conversations = [
            brainwash_conversation(
                service.templates,
                texts[asked.target[place]],
                service.pool.names[asked.wrong[place]],
                int(asked.repetitions[place]),
                single_message=not config.assistant_turns,
            )
            for place in order
        ]
        questions = _questions(Targets(part.game[asked.target[order]], part.row[asked.target[order]]), conversations)
        won = np.empty((len(order), len(_seeds(config))), np.bool_)
        for seed in _seeds(config):
            said = service.reply(questions, max_tokens=LABEL_TOKENS, stop=_label_stop(service), seed=seed)
            named = service.parser.parse(said)
            won[order, seed] = named == asked.wrong[order]
            found.replies.labelled("brainwash", said, named)
        search.answer(won)
    answers = found.answers["brainwash"]
    answers.score[group] = brainwash_scores(search.iterations, target, count=len(group))
    answers.questions[group] = search.questions_by_target(len(group)) * len(_seeds(config))
    found.non_monotone += int(search.non_monotone.sum())
    found.pairs += len(target)


def _likelihood(service: Service, part: Targets, answers: Answers, group: Ints) -> None:
    """Log-probability of the true label: what an attacker would have who saw more than text."""
    templates = service.templates
    labels = [service.pool.names[service.pool.label[row]] for row in part.row.tolist()]
    continuations = [templates.answer(label) if templates.chat else f" {label}" for label in labels]
    conversations = [gap_conversation(templates, text) for text in _texts(service, part)]
    answers.score[group] = service.log_likelihood(_questions(part, conversations), continuations)
    answers.questions[group] = 1
