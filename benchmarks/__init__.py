"""Speed and fidelity against named peers. Each module here has `run(quick)`, which returns rows of the one table.

`python -m benchmarks` prints it. A module is `benchmarks/<audit or part>.py`; names with a leading underscore are not run.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["Row", "Target", "best_seconds", "peak_megabytes"]


class Target(NamedTuple):
    """A promise about one row: `quantity` of it is at most (or at least) `limit`."""

    quantity: Literal["ours", "ratio", "times"]
    bound: Literal["<=", ">="]
    limit: float

    def __str__(self) -> str:
        return f"{self.quantity} {self.bound} {self.limit:g}"


class Row(NamedTuple):
    """One line of the table.

    `ours` and `peer` are in `unit`; `peer` is None where there is nothing to compare with (say in `note` why). `note` names
    the peer, the sizes, and whether more or less is better.
    """

    case: str
    ours: float
    peer: float | None
    unit: str
    note: str = ""
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """`ours / peer`: below 1 where ours takes less."""
        return None if self.peer in (None, 0) else self.ours / self.peer

    @property
    def times(self) -> float | None:
        """`peer / ours`: of seconds, how many times faster ours is."""
        return None if self.peer is None or not self.ours else self.peer / self.ours

    @property
    def held(self) -> bool | None:
        """Whether the target is met; None without a target, or where the peer it needs was not measured."""
        if self.target is None:
            return None
        value = {"ours": self.ours, "ratio": self.ratio, "times": self.times}[self.target.quantity]
        if value is None:
            return None
        return value <= self.target.limit if self.target.bound == "<=" else value >= self.target.limit


def best_seconds(function: Callable[[], object], *, repeats: int = 3) -> float:
    """Least wall-clock time of `repeats` calls: the one the rest of the machine disturbed least."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def peak_megabytes() -> float:
    """Most memory that this process ever held.

    On Linux from its own memory map: the peak of `getrusage` survives exec, so a small child would report that of its parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
