"""The count of queries: how it is written, what it lets through, in threads and in other processes."""

from __future__ import annotations

import gc
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assaymark.allowance import REMOTE_QUERIES, Allowance, query_count
from assaymark.audit import ModelRole
from assaymark.errors import BudgetExceeded, ConfigError, EndpointError
from assaymark.models import open_role
from assaymark.store.cache import ModelCache

TEXTS = ModelRole("scorer", "scores texts", any_of=("scores-texts",))
WORDS = ModelRole("generator", "answers", any_of=("generates-text",))


@dataclass
class Slow:
    """Scores texts by their length; every `fails` it stops half-way with what it had."""

    remote: bool = False
    fails: bool = False
    shown: list[str] = field(default_factory=list)
    spec: str = "test:slow"
    fingerprint: str = "slow-1"
    labels: tuple[str, ...] = ("long",)
    multi_label: bool = True

    def score_texts(self, texts: Any) -> Any:
        if self.fails:
            raise EndpointError("down", {0: [0.5]})
        time.sleep(0.001)
        self.shown.extend(texts)
        return np.array([[len(text) / 100] for text in texts], dtype=np.float32)


@pytest.mark.parametrize(
    ("written", "count"), [("20k", 20_000), ("0.07M", 70_000), (300, 300), ("0", 0), (" 1.5K ", 1_500), (2e4, 20_000)]
)
def test_numbers_of_queries(written: Any, count: int) -> None:
    assert query_count(written) == count


@pytest.mark.parametrize("written", ["", "k", "-3", "1.5", "20 k", "20kk", "1e3", "0.0001k", True, None, float("nan"), [3]])
def test_what_is_no_number_of_queries(written: Any) -> None:
    with pytest.raises(ConfigError, match=r"is not a number of queries; write it as 20000, 20k or 1\.5M"):
        query_count(written)


def test_a_batch_is_computed_only_if_there_is_room_for_all_of_it(tmp_path: Path) -> None:
    cache, slow, texts = ModelCache(tmp_path / "c.sqlite"), Slow(), [f"text {number:02}" for number in range(20)]
    model = open_role(TEXTS, slow, cache=cache, batch_size=4, allowance=Allowance(10))
    with pytest.raises(BudgetExceeded, match=r"\(scorer\) stopped at 8 queries, as 4 more would exceed the budget of 10"):
        model.score_texts(texts)
    assert (len(slow.shown), model.calls) == (8, 8)
    more = open_role(TEXTS, slow, cache=cache, batch_size=4, allowance=Allowance(12))
    assert more.score_texts(texts)[:, 0].tolist() == pytest.approx([0.07] * 20)
    assert (more.calls, more.cached, len(set(slow.shown))) == (12, 8, 20)
    free = open_role(TEXTS, slow, cache=cache, allowance=Allowance(0))  # all of it is cached
    assert free.score_texts(texts).shape == (20, 1)


def test_answers_that_a_failing_model_did_not_give_are_not_counted(tmp_path: Path) -> None:
    allowance = Allowance(10)
    model = open_role(TEXTS, Slow(fails=True), cache=ModelCache(tmp_path / "c.sqlite"), allowance=allowance)
    with pytest.raises(EndpointError):
        model.score_texts(["a", "b", "c"])
    assert (allowance.computed(), allowance.left(remote=False), model.calls) == (1, 9, 1)


def test_remote_models_have_a_limit_of_their_own_without_a_budget() -> None:
    allowance = Allowance()
    local, remote = Slow(), Slow(remote=True)
    open_role(TEXTS, local, allowance=allowance).score_texts([str(n) for n in range(REMOTE_QUERIES + 500)])
    model = open_role(TEXTS, remote, allowance=allowance, batch_size=100)
    assert (model.remote, allowance.left(remote=False), allowance.left(remote=True)) == (True, None, REMOTE_QUERIES)
    with pytest.raises(BudgetExceeded, match="the 1,000 of remote models without a budget"):
        model.score_texts([str(n) for n in range(REMOTE_QUERIES + 1)])
    assert len(remote.shown) == REMOTE_QUERIES
    shared = Allowance(5)  # a budget is for all models together
    open_role(TEXTS, Slow(), allowance=shared).score_texts(["a", "b"])
    open_role(TEXTS, Slow(remote=True), allowance=shared).score_texts(["c", "d"])
    assert (shared.left(remote=True), shared.left(remote=False)) == (1, 1)


@pytest.mark.parametrize("spec", ["openai:m@http://localhost:9/v1", "api:http://localhost:9/?score=p"])
def test_models_behind_a_url_are_remote_wherever_it_leads(spec: str) -> None:
    role = ModelRole("any", "", any_of=("scores-texts", "generates-text"))
    assert open_role(role, spec).remote
    assert not open_role(role, "fake:generator").remote


def test_threads_do_not_exceed_it_together() -> None:
    allowance, slow = Allowance(100), Slow()
    model, start = open_role(TEXTS, slow, batch_size=1, allowance=allowance), threading.Barrier(8)

    def ask(thread: int) -> bool:
        start.wait()
        try:
            model.score_texts([f"{thread} {number}" for number in range(30)])
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(ask, range(8)))
    assert len(slow.shown) == allowance.computed() == 100
    assert sum(done) <= 3


def test_copies_of_a_model_count_together_in_one_process_and_start_from_what_was_left_in_another() -> None:
    allowance = Allowance(10)
    model = open_role(TEXTS, Slow(), allowance=allowance)
    model.score_texts(["a", "b", "c"])
    copy = pickle.loads(pickle.dumps(model))
    copy.score_texts(["d", "e"])
    assert allowance.computed() == 5
    sent = pickle.dumps((model, model))
    del model, copy, allowance  # as in a process that never had it
    gc.collect()
    first, second = pickle.loads(sent)
    first.score_texts(["f", "g", "h"])
    second.score_texts(["i", "j"])
    with pytest.raises(BudgetExceeded, match="stopped at 10 queries, as 1 more would exceed the budget of 10"):
        second.score_texts(["k"])


def test_what_is_known_is_what_needs_no_computing(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    scorer, generator = open_role(TEXTS, Slow(), cache=cache), open_role(WORDS, "fake:generator", cache=cache)
    heads = open_role(ModelRole("head", "", any_of=("scores-embeddings",)), "fake:embedding-scorer", cache=cache)
    vectors = np.random.default_rng(0).normal(size=(6, heads.dimension)).astype(np.float32)
    scorer.score_texts(["a", "b"])
    generator.generate_text(["a", "b"], seed=1)
    heads.score_embeddings(vectors[:4])
    calls = (scorer.calls, generator.calls, heads.calls)
    assert scorer.known("scores-texts", ["a", "c", "b", "c", "d"]) == 3  # two cached, one that repeats another
    assert generator.known("generates-text", ["a", "b", "c"], seed=1) == 2
    assert generator.known("generates-text", ["a", "b", "c"], seed=2) == 0
    assert heads.known("scores-embeddings", vectors.tolist()) == 4
    assert scorer.known("scores-texts", []) == 0
    assert (scorer.calls, generator.calls, heads.calls) == calls
    scorer.score_texts(["a", "c", "b", "c", "d"])
    assert scorer.calls == calls[0] + 2
    with pytest.raises(ValueError, match="'scorer' answers no questions of capability 'generates-text'"):
        scorer.known("generates-text", ["a"])
    uncached = open_role(TEXTS, Slow())
    assert uncached.known("scores-texts", ["a", "a"]) == 1
