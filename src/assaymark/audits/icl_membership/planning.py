"""What the attacks will cost, stated before the first question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import DefenceConfig, ServiceConfig
from assaymark.audits.icl_membership.measures.attacks import LABEL_TOKENS, TOKENS_A_WORD, YES_NO_TOKENS
from assaymark.audits.icl_membership.measures.defending import asks_encoded, distinct, instructions, lack_of
from assaymark.audits.icl_membership.measures.lengths import probes
from assaymark.audits.icl_membership.measures.shields import Armoury
from assaymark.audits.icl_membership.measures.written import PARAPHRASE_TOKENS, generation
from assaymark.audits.icl_membership.method.defences.combinations import Defence, extra_calls
from assaymark.audits.icl_membership.method.defences.transforms import TRANSFORMS
from assaymark.audits.icl_membership.reading import Pool
from assaymark.budget import QueryPlan

__all__ = ["Each", "Writing", "announce", "defence_cost", "length_questions", "questions_each"]


class Each(NamedTuple):
    """Questions, at most, and the tokens of their replies."""

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
    further: Each,
    writing: Writing,
) -> None:
    """State the cost of attacking so many texts, and get leave.

    Parameters
    ----------
    targets : attacked texts, each as often as the model is called for one question about it
    demonstrations : mean number of them in a prompt
    further : all questions besides, and the tokens of their replies
    writing : what is written before; predictions of next tokens are said beside the plan, since no budget counts them

    Raises
    ------
    BudgetExceeded
    """
    each = questions_each(config, len(pool.names))
    paraphrases = _paraphrase_questions(writing, pool)
    queries = targets * each.questions + further.questions + paraphrases.questions
    words = sum(len(text.split()) for text in pool.text) / len(pool.text)
    prompt = TOKENS_A_WORD * (demonstrations + 2 + config.repetitions / 4) * (words + 4) + 40
    if "synthetic" in writing.recipes:
        _announce_predictions(writing, config, context)
    context.budget.plan(
        QueryPlan(
            queries,
            prompt_tokens=math.ceil(queries * prompt),
            completion_tokens=targets * each.reply_tokens + further.reply_tokens + paraphrases.reply_tokens,
            what="membership attacks" + (f" and {paraphrases.questions:,} paraphrases" if paraphrases.questions else ""),
            at_most=True,
        )
    )


def length_questions(shields: int) -> Each:
    """Questions that find out whether the longest prompt fits."""
    return Each(probes(shields), probes(shields) * LABEL_TOKENS)


class DefenceCost(NamedTuple):
    """What all defences together take: `targets` and `further` as for `announce`, `attacked` texts as they advance."""

    targets: int
    further: Each
    attacked: int


def defence_cost(armoury: Armoury, config: DefenceConfig) -> DefenceCost:
    """The games without a defence and behind each that can be tried, the encoded replies, the ordinary queries."""
    tried = [Defence(), *(each for each in distinct(config) if not lack_of(each, armoury))]
    parts = min(config.ensemble_parts, config.demonstrations)
    calls = sum(parts if each.output == "ensemble" else 1 for each in tried)
    games = config.trials + config.shadow_trials
    encodes = asks_encoded(config)
    encoded = 2 * games * len(TRANSFORMS) * encodes
    tokens = calls * (encoded * config.max_tokens + config.utility_queries * LABEL_TOKENS)
    lengths = length_questions(len(instructions(config)) + 1)
    asked = calls * (encoded + config.utility_queries) + lengths.questions
    return DefenceCost(2 * games * calls, Each(asked, tokens + lengths.reply_tokens), 2 * games * len(tried) * (1 + encodes))


def _paraphrase_questions(writing: Writing, pool: Pool) -> Each:
    """Paraphrases of all demonstrations, each text once."""
    rewritten = min(writing.demonstrations, len(pool.text)) if "paraphrase" in writing.recipes else 0
    return Each(rewritten, rewritten * PARAPHRASE_TOKENS)


def _announce_predictions(writing: Writing, config: ServiceConfig, context: Context) -> None:
    each = extra_calls(Defence("synthetic"), demonstrations=1, generation=generation(config), generated=1).setup
    context.progress.note(
        f"demonstrations to write: {writing.demonstrations:,}, at most {writing.demonstrations * each:,} predictions of a next "
        "token; a budget does not count them"
    )
    context.log("predictions planned", demonstrations=writing.demonstrations, at_most=writing.demonstrations * each)
