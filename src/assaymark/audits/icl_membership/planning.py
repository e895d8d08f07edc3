"""What the attacks will cost, stated before the first question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import ServiceConfig
from assaymark.audits.icl_membership.measures.attacks import LABEL_TOKENS, TOKENS_A_WORD, YES_NO_TOKENS
from assaymark.audits.icl_membership.measures.written import PARAPHRASE_TOKENS, generation
from assaymark.audits.icl_membership.method.defences.combinations import Defence, extra_calls
from assaymark.audits.icl_membership.reading import Pool
from assaymark.budget import QueryPlan

__all__ = ["Writing", "announce", "questions_each"]


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


class Writing(NamedTuple):
    """What models write for prompts before these are attacked: the data recipes, and the prompts of each size."""

    recipes: Sequence[str] = ()
    prompts: int = 0
    sizes: Sequence[int] = ()

    @property
    def demonstrations(self) -> int:
        """Of all prompts together."""
        return self.prompts * sum(self.sizes)


def announce(
    pool: Pool,
    config: ServiceConfig,
    context: Context,
    *,
    targets: int,
    demonstrations: float,
    calls: float = 1.0,
    writing: Writing | None = None,
) -> None:
    """State the cost of attacking so many texts, and get leave.

    Parameters
    ----------
    demonstrations : mean number of them in a prompt
    calls : calls of the model for each question
    writing : what is written before; predictions of next tokens are said beside the plan, since no budget counts them

    Raises
    ------
    BudgetExceeded
    """
    each = questions_each(config, len(pool.names))
    queries = math.ceil(targets * each.questions * calls)
    words = sum(len(text.split()) for text in pool.text) / len(pool.text)
    prompt = TOKENS_A_WORD * (demonstrations + 2 + config.repetitions / 4) * (words + 4) + 40
    writing = writing or Writing()
    rewritten = min(writing.demonstrations, len(pool.text)) if "paraphrase" in writing.recipes else 0
    if "synthetic" in writing.recipes:
        _announce_predictions(writing, config, context)
    context.budget.plan(
        QueryPlan(
            queries + rewritten,
            prompt_tokens=math.ceil(queries * prompt + rewritten * (TOKENS_A_WORD * words + 20)),
            completion_tokens=math.ceil(targets * each.reply_tokens + rewritten * PARAPHRASE_TOKENS),
            what="membership attacks" + (f" and {rewritten:,} paraphrases" if rewritten else ""),
            at_most=True,
        )
    )


def _announce_predictions(writing: Writing, config: ServiceConfig, context: Context) -> None:
    each = extra_calls(Defence("synthetic"), demonstrations=1, generation=generation(config), generated=1).setup
    context.progress.note(
        f"demonstrations to write: {writing.demonstrations:,}, at most {writing.demonstrations * each:,} predictions of a next "
        "token; a budget does not count them"
    )
    context.log("predictions planned", demonstrations=writing.demonstrations, at_most=writing.demonstrations * each)
