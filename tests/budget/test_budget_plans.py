"""Plans of queries: what the user reads, when there is leave, and what is written down."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from assaymark.allowance import Allowance
from assaymark.audit import ModelRole
from assaymark.budget import Budget, QueryPlan
from assaymark.errors import BudgetExceeded
from assaymark.models import open_role


class User:
    """Hears what is said, and answers with what it is told to."""

    def __init__(self, answer: bool | None = None) -> None:
        self.answer, self.heard, self.questions, self.logged = answer, [], [], []

    def budget(self, limit: int | None = None, *, remote: bool = False, allowance: Allowance | None = None) -> Budget:
        return Budget(allowance or Allowance(limit), remote=remote, say=self.heard.append, ask=self._answer, log=self._log)

    def _answer(self, question: str) -> bool | None:
        self.questions.append(question)
        return self.answer

    def _log(self, event: str, **facts: Any) -> None:
        self.logged.append({"event": event, **facts})


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (QueryPlan(12_000), "models: 12,000 queries, none of them answered by the cache; tokens not known, time not known"),
        (
            QueryPlan(12_000, 1_200_000, 24_000, 3_000, "attacks", at_most=True, seconds_each=0.2),
            "attacks: at most 12,000 queries, 3,000 of them answered by the cache; "
            "about 900,000 tokens in and 18,000 tokens out, about 30 min",
        ),
        (QueryPlan(1, 7, what="x"), "x: 1 query, none of them answered by the cache; about 7 tokens in, time not known"),
        (
            QueryPlan(3, 7, None, 3, "x", seconds_each=4),
            "x: 3 queries, 3 of them answered by the cache; about 0 tokens in, about 0 s",
        ),
        (
            QueryPlan(90_000, what="x", seconds_each=1),
            "x: 90,000 queries, none of them answered by the cache; tokens not known, about 25.0 h",
        ),
    ],
)
def test_the_cost_in_words(plan: QueryPlan, sentence: str) -> None:
    assert plan.sentence() == sentence


@pytest.mark.parametrize("wrong", [{"queries": -1}, {"queries": 3, "cached": 4}, {"queries": 3, "prompt_tokens": -1}])
def test_a_plan_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot"):
        QueryPlan(**wrong)


def test_below_the_budget_it_is_said_and_goes_on() -> None:
    user = User()
    user.budget(100).plan(QueryPlan(150, cached=50, what="attacks"))
    assert user.heard == [QueryPlan(150, cached=50, what="attacks").sentence()]
    assert user.questions == []
    (entry,) = user.logged
    assert entry["event"] == "queries planned"
    assert (entry["what"], entry["queries"], entry["cached"], entry["total"], entry["limit"]) == ("attacks", 150, 50, 100, 100)
    assert entry["agreed"] is True


def test_above_the_budget_nobody_is_asked_and_it_stops_with_the_mend() -> None:
    user = User(None)
    with pytest.raises(BudgetExceeded) as caught:
        user.budget(100).plan(QueryPlan(101, what="attacks"))
    first, second = str(caught.value).splitlines()
    assert first == "attacks: 101 queries, none of them answered by the cache; tokens not known, time not known"
    assert second.startswith("101 queries to compute exceed the budget of 100: give --budget 101 (budget=101 in Python)")
    assert caught.value.needed == pickle.loads(pickle.dumps(caught.value)).needed == 101
    assert user.logged[0]["agreed"] is None


def test_a_user_who_agrees_raises_the_limit_to_the_plan_and_no_further() -> None:
    user, allowance = User(True), Allowance(100)
    budget = user.budget(allowance=allowance)
    budget.plan(QueryPlan(130, what="attacks"))
    assert user.questions[0].splitlines()[1] == "130 queries to compute exceed the budget of 100; go on? [y/N] "
    assert user.heard == []
    allowance.take(130, remote=False)
    with pytest.raises(BudgetExceeded):
        allowance.take(1, remote=False)


def test_a_user_who_declines_stops_it() -> None:
    with pytest.raises(BudgetExceeded, match="not begun, as answered; --budget 130 goes on without a question"):
        User(False).budget(100).plan(QueryPlan(130))


def test_plans_add_up_within_an_audit_and_count_what_was_computed() -> None:
    user, allowance = User(), Allowance(100)
    allowance.take(30, remote=False)  # by an earlier step
    budget = user.budget(allowance=allowance)
    budget.plan(QueryPlan(40))
    allowance.take(40, remote=False)
    budget.plan(QueryPlan(30))
    with pytest.raises(BudgetExceeded, match=r"101 queries to compute \(100 before\) exceed the budget of 100"):
        budget.plan(QueryPlan(1))
    budget.plan(QueryPlan(5, cached=5))  # costs nothing
    assert budget.record() == {"planned": 76, "cached before": 5, "computed": 40}
    assert budget.record(one_process=False) == {"planned": 76, "cached before": 5}  # workers count for themselves
    assert user.budget().record() == {}


def test_remote_models_need_a_budget_above_the_default() -> None:
    user = User()
    user.budget().plan(QueryPlan(10**9))  # on this machine
    user.budget(remote=True).plan(QueryPlan(1_000))
    user.budget(remote=True).plan(QueryPlan(10**9, remote=False))  # another model of the audit is remote
    user.budget(5_000, remote=True).plan(QueryPlan(1_001))
    with pytest.raises(BudgetExceeded, match="1,001 queries to compute exceed the 1,000 of remote models without a budget"):
        user.budget(remote=True).plan(QueryPlan(1_001))
    with pytest.raises(BudgetExceeded):
        user.budget().plan(QueryPlan(1_001, remote=True))
    allowance = Allowance()
    agreeing = User(True)
    agreeing.budget(remote=True, allowance=allowance).plan(QueryPlan(3_000))
    assert allowance.left(remote=True) == 3_000


def test_pace_is_that_of_the_first_few_and_costs_nothing_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from assaymark.store.cache import ModelCache

    model = open_role(
        ModelRole("generator", "", any_of=("generates-text",)), "fake:generator", cache=ModelCache(tmp_path / "c.sqlite")
    )
    clock = iter([10.0, 10.5, 20.0, 20.0])
    monkeypatch.setattr("assaymark.budget.time", SimpleNamespace(monotonic=lambda: next(clock)))
    budget, prompts = User().budget(100), [f"prompt {n}" for n in range(30)]
    assert budget.time_first(model, model.generate_text, prompts, first=5) == pytest.approx(0.1)
    assert model.calls == 6  # the first of all loads the model, and is not timed
    assert budget.time_first(model, model.generate_text, prompts, first=5) is None  # all from the cache
    assert User().budget(5).time_first(model, model.generate_text, prompts[10:], first=5) is None  # no room
    assert model.calls == 6
    model.generate_text(prompts)
    assert model.calls == 30
