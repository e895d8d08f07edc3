"""What a service is still good for behind a defence: the accuracy of its labels, what it declines, what it costs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.measures.attacks import LABEL_TOKENS
from assaymark.audits.icl_membership.measures.service import Question, Service
from assaymark.audits.icl_membership.method.games import Games
from assaymark.audits.icl_membership.method.outcomes import is_refusal
from assaymark.audits.icl_membership.method.prompts import gap_conversation
from assaymark.audits.icl_membership.reading import Pool

__all__ = ["Customers", "Utility", "measure_utility", "send_customers"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Customers:
    """Ordinary queries: the prompt (game) that each meets and the row of its text, which is in no prompt of that game."""

    game: Ints
    row: Ints


@dataclass(frozen=True)
class Utility:
    """Whether each query got its right label, and whether it was declined, shape (n,); seconds a reply, NaN where cached.

    The others are means for a query: calls of the model, words of its prompts, and demonstrations that it was answered with.
    """

    right: Bools
    refused: Bools
    seconds: float
    calls_each: float
    words_each: float
    shown_each: float


def send_customers(pool: Pool, games: Games, *, queries: int, rng: np.random.Generator) -> Customers:
    """Texts of the target half that are neither demonstrations nor attacked in their game, one for each game in turn."""
    game = np.arange(queries) % len(games.position)
    taken = np.column_stack([games.demonstrations, games.nonmember])[game]
    row = rng.choice(pool.target, size=queries)
    for _ in range(100):
        inside = (taken == row[:, None]).any(axis=1)
        if not inside.any():
            break
        row[inside] = rng.choice(pool.target, size=int(inside.sum()))
    kept = ~(taken == row[:, None]).any(axis=1)
    return Customers(game[kept], row[kept])


def measure_utility(service: Service, customers: Customers) -> Utility:
    """Ask every ordinary query once."""
    texts = [service.pool.text[row] for row in customers.row.tolist()]
    questions = [
        Question(game, gap_conversation(service.templates, text))
        for game, text in zip(customers.game.tolist(), texts, strict=True)
    ]
    stop = () if service.templates.chat else ("\n",)
    before, computed, started = service.usage.prompt_words, getattr(service.model, "calls", 0), time.monotonic()
    said = service.reply(questions, max_tokens=LABEL_TOKENS, stop=stop)
    took, computed = time.monotonic() - started, getattr(service.model, "calls", 0) - computed
    calls = service.usage.model_calls
    right = service.parser.parse(said) == service.pool.label[customers.row]
    return Utility(
        right,
        np.array([is_refusal(text) for text in said], dtype=np.bool_),
        took / len(questions) if computed >= calls else float("nan"),
        calls / max(len(questions), 1),
        (service.usage.prompt_words - before) / max(len(questions), 1),
        sum(len(service.demonstrations(question)) for question in questions) / max(len(questions), 1),
    )
