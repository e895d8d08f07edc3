"""Speed and fidelity against named peers. Each module here has `run(quick)`, which returns rows of the one table.

`python -m benchmarks` prints it. A module is `benchmarks/<audit or part>.py`; names with a leading underscore are not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Row", "best_seconds"]


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

    @property
    def ratio(self) -> float | None:
        return None if self.peer in (None, 0) else self.ours / self.peer


def best_seconds(function: Callable[[], object], *, repeats: int = 3) -> float:
    """Least wall-clock time of `repeats` calls: the one the rest of the machine disturbed least."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best
