"""How many queries the models of one command may compute, and how many they have computed.

A query is one item that a model is asked about: a text, a picture, or a prompt, however many samples are drawn from it. Only
those count that a model computes; what the cache answers is free. Without a budget the models on this machine may compute as
much as they are asked for, and remote ones `REMOTE_QUERIES` in one command: a larger budget is the user's word that they may.
"""

from __future__ import annotations

import re
import threading
import uuid
from decimal import Decimal
from typing import Any, Literal
from weakref import WeakValueDictionary

from assaymark.errors import BudgetExceeded, ConfigError

__all__ = ["REMOTE_QUERIES", "Allowance", "Pool", "counted", "query_count"]

REMOTE_QUERIES = 1_000
"""Queries that remote models together may compute in one command where no budget says otherwise."""

_COUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[kKmM]?)")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}

Pool = Literal["all", "local", "remote"]


def query_count(value: object) -> int:
    """`20000`, `"20000"`, `"20k"` or `"1.5M"` as a whole number.

    Raises
    ------
    ConfigError
        For anything else.
    """
    match = _COUNT.fullmatch(str(value).strip())
    count = Decimal(match["number"]) * _UNITS[match["unit"].lower()] if match else None
    if count is None or count != int(count):
        raise ConfigError(f"budget {value!r} is not a number of queries; write it as 20000, 20k or 1.5M")
    return int(count)


def counted(queries: int) -> str:
    """`1 query`, `1,200 queries`."""
    return "1 query" if queries == 1 else f"{queries:,} queries"


class Allowance:
    """Queries that the models of one command may compute together, and those that they have computed.

    Parameters
    ----------
    limit : int, optional
        Of all models; without one, remote models have a limit of `REMOTE_QUERIES`, and the others none.

    Notes
    -----
    Safe in threads. Unpickled in the process that it came from it is the same object again, so that copies of a model
    count together. In another process it is a copy with what was left: each worker of a cluster counts for itself.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._remote_limit = REMOTE_QUERIES
        self._computed: dict[bool, int] = {False: 0, True: 0}
        self._lock = threading.Lock()
        self._enter(uuid.uuid4().hex)

    def _enter(self, token: str) -> None:
        self._token = token
        _LIVE[token] = self

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return _in_this_process, (self._token, self.limit, self._remote_limit, dict(self._computed))

    def pool(self, *, remote: bool) -> Pool:
        """Which models share a limit with one that is or is not remote."""
        return "all" if self.limit is not None else "remote" if remote else "local"

    def limit_of(self, pool: Pool) -> int | None:
        return {"all": self.limit, "local": None, "remote": self._remote_limit}[pool]

    def computed(self, pool: Pool = "all") -> int:
        """Queries that were computed so far."""
        return sum(self._computed.values()) if pool == "all" else self._computed[pool == "remote"]

    def left(self, *, remote: bool) -> int | None:
        """Queries that may still be computed; None for any number."""
        pool = self.pool(remote=remote)
        limit = self.limit_of(pool)
        return None if limit is None else max(0, limit - self.computed(pool))

    def take(self, queries: int, *, remote: bool, model: str = "a model") -> None:
        """Count queries that are about to be computed.

        Raises
        ------
        BudgetExceeded
            There are not as many left; none is counted.
        """
        with self._lock:
            left = self.left(remote=remote)
            if left is None or queries <= left:
                self._computed[remote] += queries
                return
        pool = self.pool(remote=remote)
        raise BudgetExceeded(
            f"{model} stopped at {counted(self.computed(pool))}, as {queries:,} more would exceed {self.bound(pool)}; "
            "what was answered is in the cache: go on with a higher --budget (budget=N in Python)"
        )

    def give_back(self, queries: int, *, remote: bool) -> None:
        """Take back the count of queries that were not computed after all."""
        with self._lock:
            self._computed[remote] -= queries

    def allow(self, total: int, pool: Pool) -> None:
        """Raise the limit of a pool to `total`; a higher one stays."""
        with self._lock:
            if pool == "all":
                self.limit = max(total, self.limit or 0)
            elif pool == "remote":
                self._remote_limit = max(total, self._remote_limit)

    def bound(self, pool: Pool) -> str:
        """The limit in words."""
        limit = self.limit_of(pool) or 0
        return f"the budget of {limit:,}" if pool == "all" else f"the {limit:,} of remote models without a budget"


_LIVE: WeakValueDictionary[str, Allowance] = WeakValueDictionary()
_ENTERING = threading.Lock()


def _in_this_process(token: str, limit: int | None, remote_limit: int, computed: dict[bool, int]) -> Allowance:
    with _ENTERING:
        known = _LIVE.get(token)
        if known is None:
            known = Allowance(limit)
            known._remote_limit, known._computed = remote_limit, computed
            known._enter(token)
        return known
