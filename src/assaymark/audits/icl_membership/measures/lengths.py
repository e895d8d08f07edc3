"""Whether the longest prompt fits into the model: found out before anything else is asked.

A model that reads a prompt only in part has not seen all of its demonstrations, so that members would be none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from assaymark.audits.icl_membership.measures.attacks import LABEL_TOKENS
from assaymark.audits.icl_membership.measures.games import Arena, deal
from assaymark.audits.icl_membership.measures.service import Question, Service, Shield
from assaymark.audits.icl_membership.method.games import Games
from assaymark.audits.icl_membership.method.prompts import Conversation, brainwash_conversation, inquiry_conversations
from assaymark.errors import PromptTooLong

__all__ = ["check_lengths", "probes"]


class _Longest(NamedTuple):
    game: int
    row: int


def probes(shields: int) -> int:
    """Questions that `check_lengths` asks at most."""
    return 2 * shields


def check_lengths(arena: Arena, shields: Iterable[Shield], *, k: int) -> None:
    """Ask the longest question of the games with k demonstrations, of the service and of the one that fits thresholds.

    The longest by its characters: the text with all statements that Brainwash may make about it.

    Raises
    ------
    PromptTooLong
        It does not fit; the message says what would.
    """
    for shadow in (False, True):
        games = deal(arena.pool, arena.config, arena.context, k=k, shadow=shadow)
        longest = _longest(arena, games)
        for shield in shields:
            _check(arena, games, longest, shield, shadow=shadow)


def _check(arena: Arena, games: Games, longest: _Longest, shield: Shield, *, shadow: bool) -> None:
    statements = _statements(arena)
    service = arena.service(games, shield, shadow=shadow)
    try:
        _ask(arena, service, longest, statements)
    except PromptTooLong as error:
        k = games.demonstrations.shape[1]

        def fewer(shown: int) -> None:
            cut = games._replace(demonstrations=games.demonstrations[:, :shown])
            _ask(arena, arena.service(cut, shield, shadow=shadow), longest, statements)

        mends = [
            *_largest("demonstrations", k - 1, 1, fewer),
            *_largest("repetitions", statements - 1, 1, lambda j: _ask(arena, service, longest, j)),
        ]
        mend = f"{' or '.join(mends)} would fit" if mends else "no smaller number would fit: give shorter texts"
        said = f" and {statements} statements about a text" if statements else ""
        raise PromptTooLong(
            f"model {service.model.spec}: the longest prompt, with {k} demonstrations{said}, has {error.tokens:,} tokens, and "
            f"the model sees {error.context:,} with its answer\nnothing is cut off, since members would then be none; {mend}",
            tokens=error.tokens,
            context=error.context,
        ) from None


def _largest(setting: str, most: int, least: int, ask: Callable[[int], None]) -> list[str]:
    """The largest value of a setting with which the question fits, as it would be written; nothing where none is."""
    low, high = least - 1, most
    while low < high:
        middle = (low + high + 1) // 2
        try:
            ask(middle)
            low = middle
        except PromptTooLong:
            high = middle - 1
    return [f"{setting}={low}"] if low >= least else []


def _ask(arena: Arena, service: Service, longest: _Longest, statements: int) -> None:
    service.reply([Question(longest.game, _conversation(arena, longest.row, statements))], max_tokens=LABEL_TOKENS)


def _conversation(arena: Arena, row: int, statements: int) -> Conversation:
    names, config = arena.pool.names, arena.config
    if not statements and "inquiry" in config.attacks:
        asked = inquiry_conversations(arena.wording.templates, arena.pool.text[row])
        return max(asked, key=lambda conversation: len(conversation[-1]["content"]))
    wrong = max((names[number] for number in arena.attacker.wrong[row]), key=len)
    return brainwash_conversation(
        arena.wording.templates, arena.pool.text[row], wrong, statements, single_message=not config.assistant_turns
    )


def _statements(arena: Arena) -> int:
    return arena.config.repetitions if "brainwash" in arena.config.attacks else 0


def _longest(arena: Arena, games: Games) -> _Longest:
    """Game and attacked text with the most characters together, the text as often as it is said."""
    size = np.array([len(text) for text in arena.pool.text])
    said = 1 + _statements(arena)
    sides = [size[games.demonstrations].sum(axis=1) + said * size[rows] for rows in (games.member, games.nonmember)]
    side, game = np.unravel_index(int(np.argmax(sides)), (2, len(games.position)))
    return _Longest(int(game), int((games.member, games.nonmember)[side][game]))
