from __future__ import annotations

import email.utils
import pickle
import threading
import time
from itertools import pairwise

import pytest

from assaymark.errors import EndpointError
from assaymark.models.retrying import Retrying, Transient, answer_all, is_transient, stated_wait


class Flaky:
    """Fails as often as it is told, then answers."""

    def __init__(self, failures: int, wait: float | None = None) -> None:
        self.failures, self.wait, self.asked = failures, wait, 0

    def __call__(self) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise Transient(f"failure {self.asked}", self.wait)
        return "answer"


def test_waits_double_with_jitter_until_there_is_an_answer() -> None:
    waits: list[float] = []
    assert Retrying(retries=8, sleep=waits.append)(Flaky(8), endpoint="x") == "answer"
    bounds = [min(0.5 * 2**k, 30) for k in range(8)]
    assert all(bound / 2 <= wait <= bound for bound, wait in zip(bounds, waits, strict=True))
    again: list[float] = []
    Retrying(retries=8, sleep=again.append)(Flaky(8), endpoint="x")
    other: list[float] = []
    Retrying(retries=8, seed=1, sleep=other.append)(Flaky(8), endpoint="x")
    assert again == waits != other


def test_the_service_says_how_long_to_wait() -> None:
    waits: list[float] = []
    assert Retrying(retries=2, sleep=waits.append)(Flaky(2, wait=20.0), endpoint="x") == "answer"
    assert all(20 <= wait < 21 for wait in waits)
    patient = Flaky(2, wait=3600.0)
    with pytest.raises(EndpointError, match=r"x did not answer after one attempt: failure 1, and asks to wait 3600 s"):
        Retrying(retries=2, sleep=waits.append)(patient, endpoint="x")
    assert patient.asked == 1


def test_after_the_last_retry_the_endpoint_and_the_last_trouble_are_named() -> None:
    flaky = Flaky(10)
    with pytest.raises(EndpointError, match="service y did not answer after 4 attempts: failure 4"):
        Retrying(retries=3, sleep=lambda _: None)(flaky, endpoint="service y")
    assert flaky.asked == 4


def test_the_pace_holds_for_retries_too() -> None:
    now = [0.0]
    starts: list[float] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def ask() -> str:
        starts.append(now[0])
        if len(starts) == 2:
            raise Transient("busy")
        return "answer"

    retrying = Retrying(retries=1, rpm=30, sleep=sleep, clock=lambda: now[0])
    for _ in range(5):
        retrying(ask, endpoint="x")
    assert len(starts) == 6
    assert min(later - earlier for earlier, later in pairwise(starts)) >= 2.0 - 1e-9


def test_statuses_and_headers() -> None:
    assert [status for status in (200, 400, 401, 404, 408, 422, 429, 500, 503) if is_transient(status)] == [408, 429, 500, 503]
    assert stated_wait({"retry-after": "7"}) == 7.0
    assert stated_wait({"retry-after": "-7"}) == 0.0
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert stated_wait({"retry-after": date}) == pytest.approx(100, abs=2)
    assert stated_wait({}) is None
    assert stated_wait({"retry-after": "soon"}) is None


def test_answers_keep_their_order_and_their_number_at_a_time() -> None:
    lock = threading.Lock()
    under_way, most = 0, 0

    def ask(number: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.002 * (number % 3))
        with lock:
            under_way -= 1
        return number**2

    assert answer_all(ask, range(40), concurrency=5) == [number**2 for number in range(40)]
    assert 1 < most <= 5


def test_a_failure_keeps_what_was_finished_and_drops_what_was_not_begun() -> None:
    asked: list[int] = []

    def ask(number: int) -> int:
        asked.append(number)
        if number == 4:
            raise EndpointError("it is down")
        return number

    with pytest.raises(EndpointError, match="it is down") as caught:
        answer_all(ask, range(30), concurrency=1)
    assert caught.value.finished == {0: 0, 1: 1, 2: 2, 3: 3}
    assert asked == [0, 1, 2, 3, 4]
    assert pickle.loads(pickle.dumps(caught.value)).finished == caught.value.finished
    with pytest.raises(ZeroDivisionError):
        answer_all(lambda number: 1 // number, [1, 0, 1], concurrency=2)


def test_policies_pickle() -> None:
    copy = pickle.loads(pickle.dumps(Retrying(retries=3, rpm=7.0, seed=2)))
    assert (copy.retries, copy.rpm, copy.seed) == (3, 7.0, 2)
    assert copy(Flaky(0), endpoint="x") == "answer"
