"""Asking a remote service: one policy for retries, waits and pace, and a bounded number of questions at a time."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import numpy as np

from assaymark.errors import EndpointError

__all__ = ["Retrying", "Transient", "answer_all", "is_transient", "stated_wait"]

T = TypeVar("T")
Q = TypeVar("Q")

_FIRST_WAIT = 0.5  # seconds before the first retry, doubled each time
_LONGEST_WAIT = 30.0
_PATIENCE = 300.0  # seconds; a service that asks for a longer wait is given up


class Transient(Exception):
    """An answer that may come out well the next time: a busy or silent service, or a reply that cannot be read.

    `wait` is the number of seconds that the service asked for.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class Retrying:
    """Asks until there is an answer: exponential waits with jitter, or as long as the service says; never above a pace.

    Parameters
    ----------
    retries : int
        Attempts after the first.
    rpm : float
        Attempts a minute, retries included, spread evenly over all threads of this process; 0 is no limit.
    seed : int
        Of the jitter's own generator, so that waiting touches no other random numbers.
    sleep, clock : callables
        Seconds to wait, and seconds now.

    Notes
    -----
    The k-th wait is drawn from [w/2, w] with w = min(0.5 * 2^k, 30) s: threads that failed together come back apart. What the
    service asks for is a lower bound, and a service that asks for more than 300 s is given up.
    """

    retries: int = 5
    rpm: float = 0.0
    seed: int = 0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _slot: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._jitter = np.random.default_rng(self.seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return Retrying, (self.retries, self.rpm, self.seed, self.sleep, self.clock)

    def __call__(self, ask: Callable[[], T], *, endpoint: str) -> T:
        """The answer of `ask`, which raises `Transient` for what is worth another try.

        Raises
        ------
        EndpointError
            No answer after all retries; the message names the endpoint and what came last.
        """
        for attempt in range(self.retries + 1):
            self._keep_pace()
            try:
                return ask()
            except Transient as trouble:
                if attempt == self.retries or (trouble.wait or 0.0) > _PATIENCE:
                    _give_up(endpoint, trouble, attempt + 1)
                self.sleep(self._wait(attempt, trouble.wait))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _wait(self, attempt: int, stated: float | None) -> float:
        longest = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)
        with self._lock:
            drawn = float(self._jitter.uniform(longest / 2, longest))
        return drawn if stated is None else stated + drawn * 0.1

    def _keep_pace(self) -> None:
        if self.rpm <= 0:
            return
        with self._lock:
            now = self.clock()
            start = max(self._slot, now)
            self._slot = start + 60.0 / self.rpm
        if start > now:
            self.sleep(start - now)


def _give_up(endpoint: str, trouble: Transient, attempts: int) -> NoReturn:
    asks = f", and asks to wait {trouble.wait:.0f} s" if trouble.wait is not None else ""
    tries = f"{attempts} attempts" if attempts > 1 else "one attempt"
    raise EndpointError(
        f"{endpoint} did not answer after {tries}: {trouble}{asks}. What was answered is in the cache: run again to go on"
    ) from trouble


def is_transient(status: int) -> bool:
    """Whether an HTTP status may pass by itself: timeouts, conflicts, too many requests, and errors of the server."""
    return status in (408, 409, 425, 429) or status >= 500


def stated_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for (a number of seconds, or a date), None where it says nothing."""
    stated = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(stated))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(stated).timestamp() - time.time())
    except ValueError:
        return None


def answer_all(ask: Callable[[Q], T], questions: Sequence[Q], *, concurrency: int) -> list[T]:
    """Answers in the order of the questions, `concurrency` of them asked at a time.

    Raises
    ------
    EndpointError
        The first failure by position. Questions that were not begun by then are dropped, those under way are waited for, and
        `finished` holds every answer by its position.
    """
    pool = ThreadPoolExecutor(max(1, min(concurrency, len(questions))))
    failed = threading.Event()

    def guarded(question: Q) -> T:
        if failed.is_set():
            raise _Dropped
        try:
            return ask(question)
        except BaseException:
            failed.set()
            raise

    try:
        answers = [pool.submit(guarded, question) for question in questions]
        troubles = [answer.exception() for answer in answers]
    finally:
        pool.shutdown(cancel_futures=True)
    serious = [trouble for trouble in troubles if trouble is not None and not isinstance(trouble, _Dropped)]
    if not serious:
        return [answer.result() for answer in answers]
    defect = next((trouble for trouble in serious if not isinstance(trouble, EndpointError)), None)
    if defect is not None:
        raise defect
    finished = {row: answer.result() for row, answer in enumerate(answers) if troubles[row] is None}
    raise EndpointError(str(serious[0]), finished) from serious[0]


class _Dropped(Exception):
    """A question that was not asked, as another had failed."""
