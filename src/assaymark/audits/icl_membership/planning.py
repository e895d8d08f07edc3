"""What the attacks will cost, stated before the first question."""

from __future__ import annotations

import math
from typing import NamedTuple

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.measures.attacks import LABEL_TOKENS, TOKENS_A_WORD, YES_NO_TOKENS
from assaymark.audits.icl_membership.reading import Pool
from assaymark.budget import QueryPlan

__all__ = ["announce", "questions_each"]


class Each(NamedTuple):
    """Questions for one target, at most, and the tokens of their replies."""

    questions: int
    reply_tokens: int


def questions_each(config: ServiceConfig, labels: int) -> Each:
    """Questions that all attacks together ask about one text, at most where the search for wrong statements may end early."""
    replies = config.samples if config.temperature > 0 else 1
    searched = config.repetitions + 1
    if config.search == "bisect":
        searched = math.ceil(math.log2(config.repetitions + 2)) + 1
    brainwash = min(config.wrong_labels, labels - 1) * searched
    asked = {
        "gap": (1, LABEL_TOKENS),
        "inquiry": (max(len(config.inquiries), 1), YES_NO_TOKENS),
        "repeat": (1, config.max_tokens),
        "brainwash": (brainwash, LABEL_TOKENS),
        "likelihood": (1, 0),
    }
    chosen = [asked[name] for name in config.attacks if name in asked]
    return Each(replies * sum(n for n, _ in chosen), replies * sum(n * tokens for n, tokens in chosen))


def announce(
    pool: Pool,
    config: ServiceConfig,
    context: Context,
    *,
    targets: int,
    demonstrations: float,
    calls: float = 1.0,
    encoded: int = 0,
    customers: int = 0,
) -> None:
    """State the cost of attacking so many texts, and get leave.

    Parameters
    ----------
    demonstrations : mean number of them in a prompt
    calls : calls of the model for each question
    encoded : questions for encoded replies, for each text
    customers : ordinary queries

    Raises
    ------
    BudgetExceeded
    """
    each = questions_each(config, len(pool.names))
    queries = math.ceil((targets * (each.questions + encoded) + customers) * calls)
    words = sum(len(text.split()) for text in pool.text) / len(pool.text)
    prompt = TOKENS_A_WORD * (demonstrations + 2 + config.repetitions / 4) * (words + 4) + 40
    context.budget.plan(
        QueryPlan(
            queries,
            prompt_tokens=math.ceil(queries * prompt),
            completion_tokens=targets * (each.reply_tokens + encoded * config.max_tokens) + customers * LABEL_TOKENS,
            what="membership attacks",
            at_most=True,
        )
    )
