"""What an audit is about to ask of models: stated before the first query, held against what the user allows, and shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from assaymark.allowance import Allowance, Pool, counted
from assaymark.errors import BudgetExceeded

__all__ = ["Budget", "QueryPlan"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """What an audit is about to ask, estimated before the first query.

    Attributes
    ----------
    queries : int
        All of them, those that the cache answers included.
    prompt_tokens, completion_tokens : int, optional
        Tokens that all queries together read and write; None where nothing is known of them.
    cached : int
        Queries that need no model (see `GuardedModel.known`).
    what : str
        What is asked, for the user: "label attacks".
    at_most : bool
        The counts are upper bounds: a search may end early.
    seconds_each : float, optional
        Time of one query (see `Budget.time_first`).
    remote : bool, optional
        Whether a remote model is asked; None stands for "if the audit was given any".
    """

    queries: int
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached: int = 0
    what: str = ""
    at_most: bool = False
    seconds_each: float | None = None
    remote: bool | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.cached <= self.queries:
            raise ValueError(f"a plan of {self.queries} queries cannot have {self.cached} of them cached")
        if min(self.prompt_tokens or 0, self.completion_tokens or 0, self.seconds_each or 0) < 0:
            raise ValueError("tokens and seconds of a plan cannot be negative")

    @property
    def to_compute(self) -> int:
        return self.queries - self.cached

    @property
    def seconds(self) -> float | None:
        """Time of what is to be computed; None where it is not known."""
        return None if self.seconds_each is None else self.seconds_each * self.to_compute

    def tokens(self, total: int | None) -> int | None:
        """The part of a total of tokens that falls to the queries to be computed."""
        return None if total is None else math.ceil(total * self.to_compute / max(1, self.queries))

    def sentence(self) -> str:
        """The cost, for a person."""
        count = f"{'at most ' if self.at_most else ''}{counted(self.queries)}"
        cached = f"{self.cached:,} of them" if self.cached else "none of them"
        read, written = self.tokens(self.prompt_tokens), self.tokens(self.completion_tokens)
        tokens = [f"{number:,} tokens {way}" for number, way in ((read, "in"), (written, "out")) if number is not None]
        shown = f"about {' and '.join(tokens)}" if tokens else "tokens not known"
        took = "time not known" if self.seconds is None else f"about {_time(self.seconds)}"
        return f"{self.what or 'models'}: {count}, {cached} answered by the cache; {shown}, {took}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"


class Planned(NamedTuple):
    """Sums over the plans of an audit."""

    queries: int = 0
    cached: int = 0


class Counted(Protocol):
    """What is read of a model in a role (`assaymark.models.guard.GuardedModel`)."""

    @property
    def remote(self) -> bool: ...

    @property
    def calls(self) -> int: ...


def _unsaid(text: str) -> None:
    """Nobody listens."""


def _unanswered(question: str) -> bool | None:
    """Nobody can be asked."""
    return None


def _unlogged(event: str, **facts: Any) -> None:
    """Nothing is kept."""


class Budget:
    """Where an audit says what it is about to ask, and gets leave or an error; `Context.budget`.

    Parameters
    ----------
    allowance : Allowance, optional
        Shared by all steps of a command.
    remote : bool
        Whether the audit was given a remote model.
    say : callable
        Shows one line to the user.
    ask : callable
        Asks the user; None stands for nobody being there to answer.
    log : callable
        Log of the run.

    Notes
    -----
    Several plans of one audit add up: what an earlier one announced counts as asked. So an audit states all in one plan
    where it can.
    """

    def __init__(
        self,
        allowance: Allowance | None = None,
        *,
        remote: bool = False,
        say: Callable[[str], None] = _unsaid,
        ask: Callable[[str], bool | None] = _unanswered,
        log: Callable[..., None] = _unlogged,
    ) -> None:
        self.allowance = allowance or Allowance()
        self._remote, self._say, self._ask, self._log = remote, say, ask, log
        self._promised: dict[Pool, int] = {}
        self._planned: Planned | None = None
        self._before = self.allowance.computed()

    def plan(self, plan: QueryPlan) -> None:
        """Say what is about to be asked.

        Raises
        ------
        BudgetExceeded
            It is more than the budget allows, and the user does not agree or cannot be asked.
        """
        before = self._planned or Planned()
        self._planned = Planned(before.queries + plan.queries, before.cached + plan.cached)
        pool = self.allowance.pool(remote=self._remote if plan.remote is None else plan.remote)
        total = max(self._promised.get(pool, 0), self.allowance.computed(pool)) + plan.to_compute
        limit = self.allowance.limit_of(pool)
        agreed: bool | None = True
        if plan.to_compute and limit is not None and total > limit:
            bound = self.allowance.bound(pool)
            agreed = self._ask(f"{plan.sentence()}\n{counted(total)} to compute exceed {bound}; go on? [y/N] ")
        else:
            self._say(plan.sentence())
        self._log("queries planned", **self._facts(plan), total=total, limit=limit, agreed=agreed)
        if not agreed:
            raise self._refusal(plan, total, pool, declined=agreed is False)
        if limit is not None and total > limit:
            self.allowance.allow(total, pool)
        self._promised[pool] = total

    def _refusal(self, plan: QueryPlan, total: int, pool: Pool, *, declined: bool) -> BudgetExceeded:
        if declined:
            return BudgetExceeded(f"not begun, as answered; --budget {total} goes on without a question", total)
        earlier = f" ({total - plan.to_compute:,} before)" if total > plan.to_compute else ""
        return BudgetExceeded(
            f"{plan.sentence()}\n{counted(total)} to compute{earlier} exceed {self.allowance.bound(pool)}: give "
            f"--budget {total} (budget={total} in Python), or ask for less in the settings of the audit",
            total,
        )

    @staticmethod
    def _facts(plan: QueryPlan) -> dict[str, Any]:
        return {
            "what": plan.what,
            "queries": plan.queries,
            "at_most": plan.at_most,
            "cached": plan.cached,
            "prompt_tokens": plan.prompt_tokens,
            "completion_tokens": plan.completion_tokens,
            "seconds": plan.seconds,
        }

    def time_first(
        self, model: Counted, ask: Callable[[Sequence[T]], object], items: Sequence[T], *, first: int = 8
    ) -> float | None:
        """Seconds that one query takes, measured before the plan on the first few, whose answers the cache keeps.

        Parameters
        ----------
        model : GuardedModel
        ask : callable
            Asks `model` about some items exactly as the audit will, so that no answer is computed twice.
        items : sequence
            What will be asked.
        first : int
            How many are timed, after one that is not: with it a model may be loaded.

        Returns
        -------
        float, or None where all came out of the cache, or the budget leaves no room for them.
        """
        left = self.allowance.left(remote=model.remote)
        if left is not None and left < min(first + 1, len(items)):
            return None
        ask(items[:1])
        before, started = model.calls, time.monotonic()
        ask(items[1 : first + 1])
        computed = model.calls - before
        return (time.monotonic() - started) / computed if computed else None

    def record(self, *, one_process: bool = True) -> dict[str, int]:
        """Queries as planned, answered by the cache before, and computed, for the provenance; empty without a plan.

        What the workers of a cluster computed is not known here, so without `one_process` that is left out.
        """
        if self._planned is None:
            return {}
        stated = {"planned": self._planned.queries, "cached before": self._planned.cached}
        return {**stated, "computed": self.allowance.computed() - self._before} if one_process else stated
