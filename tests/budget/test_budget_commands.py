"""Budgets from outside: options, plan files, calls, exit codes, what is said, and what is kept."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

import assaymark
from assaymark.errors import BudgetExceeded, ConfigError, PlanError
from assaymark.plan_loading import load_plan
from assaymark.runner import load_run, prepare
from assaymark.testing.calibration import calibrate

ROWS = ("audit", "toy-asking", "rows.parquet")
LOCAL, REMOTE = ("--model", "generator=fake:generator"), ("--model", "generator=py:asking_audit:Remote")
PROGRAM = "import asking_audit; asking_audit.install(setattr); from assaymark.cli import main; main()"


def shell(*arguments: str) -> SimpleNamespace:
    """The command line as a process of its own, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def on_a_terminal(*arguments: str, answer: str) -> tuple[int, str]:
    """The same on a pseudo-terminal; `answer` is typed once the question stands there. The exit code and all that was shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, *arguments])
    shown, typed, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            more = os.read(terminal, 4096)
        except OSError:  # the child has closed its side
            break
        if not more:
            break
        shown += more
        if b"[y/N]" in shown and not typed:
            os.write(terminal, answer.encode())
            typed = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def calls(run: str) -> int:
    return load_run(run).steps[0].result.provenance.models["generator"]["calls"]


def write_plan(budget: str = "") -> str:
    step = "audit: toy-asking, inputs: {rows: rows.parquet}, models: {generator: 'fake:generator'}"
    steps = f"  - {{id: a, {step}}}\n  - {{id: b, {step}, set: {{repeats: 3}}}}\n  - {{id: c, {step}}}\n"
    Path("plan.yaml").write_text(f"name: p\n{budget}steps:\n{steps}")
    return "plan.yaml"


def test_within_the_budget_it_is_said_logged_and_reported(asking) -> None:
    done = shell(*ROWS, *LOCAL, "--budget", "1k", "--out", "r", "--set", "timed=true")
    assert done.code == 0, done
    (line,) = done.err.splitlines()
    assert line.startswith(
        "answers: at most 20 queries, 9 of them answered by the cache; about 220 tokens in and 55 tokens out"
    )
    events = [json.loads(line) for line in Path("r/log.jsonl").read_text().splitlines()]
    (entry,) = [event for event in events if event["event"] == "queries planned"]
    assert (entry["step"], entry["queries"], entry["limit"], entry["agreed"]) == ("toy-asking", 20, 1_000, True)
    assert entry["seconds"] > 0
    record = load_run("r")
    assert record.steps[0].result.provenance.queries == {"planned": 20, "cached before": 9, "computed": 20}
    assert record.plan["budget"] == 1_000
    assert "cached before" in Path("r/report.html").read_text()


def test_above_the_budget_it_stops_with_2_and_nothing_is_asked_or_left(asking) -> None:
    done = shell(*ROWS, *LOCAL, "--budget", "19")
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith("error: answers: at most 20 queries, none of them answered by the cache; about 400 tokens in")
    assert second.startswith("20 queries to compute exceed the budget of 19: give --budget 20 (budget=20 in Python), or")
    assert not list(Path("runs").iterdir())
    assert shell(*ROWS, *LOCAL, "--budget", "20", "--out", "r").code == 0
    assert calls("r") == 20
    again = shell(*ROWS, *LOCAL, "--budget", "0", "--out", "s")  # the cache answers for nothing
    assert again.code == 0 and "20 of them answered by the cache" in again.err
    assert load_run("s").steps[0].result.fingerprint() == load_run("r").steps[0].result.fingerprint()


def test_a_plan_that_was_too_low_stops_at_the_budget_and_a_higher_one_goes_on_there(command) -> None:
    low = ("--set", "understated=0.5")
    done = command(*ROWS, *LOCAL, *low, "--budget", "15")
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        "error: model fake:generator (generator) stopped at 8 queries, as 8 more would exceed the budget of 15; what was "
        "answered is in the cache: go on with a higher --budget (budget=N in Python)"
    )
    assert command(*ROWS, *LOCAL, *low, "--budget", "15", "--out", "r").code == 0
    assert calls("r") == 12


def test_a_plan_file_stops_before_the_step_and_resumes_with_a_higher_budget(command) -> None:
    path = write_plan("budget: 30\n")
    done = command("run", path, "--out", "r")
    assert done.code == 2
    assert done.err.splitlines()[0].startswith("a: answers: at most 20 queries, none")
    assert "60 queries to compute (20 before) exceed the budget of 30" in done.err
    assert done.err.splitlines()[-1] == "what was done is kept, continue with: assaymark resume r --budget 60"
    assert [step.status for step in load_run("r").steps] == ["done", "failed", "pending"]
    assert command("resume", "r").code == 2  # with the budget of the run
    done = command("resume", "r", "--budget", "60", "--quiet")
    assert (done.code, done.err) == (0, "")
    record = load_run("r")
    assert [step.status for step in record.steps] == ["done"] * 3
    assert [step.result.provenance.models["generator"]["calls"] for step in record.steps] == [20, 40, 0]
    assert record.plan["budget"] == 60
    assert command("run", path, "--out", "s", "--budget", "0").code == 0  # the command's budget counts, and all is cached


def test_the_same_plan_with_another_budget_continues_its_run(asking) -> None:
    with pytest.raises(BudgetExceeded):
        assaymark.run(load_plan(write_plan("budget: 30\n")), out="r")
    folder = prepare(load_plan("plan.yaml", budget=60), "r")
    assert folder.load().plan["budget"] == 60
    assert folder.load().steps[0].status == "done"
    assert assaymark.resume("r").exit_code == 0


@pytest.mark.parametrize("wrong", ["1.5", "many", "-1", "true", "[3]"])
def test_a_wrong_budget_is_named_where_it_stands(asking, wrong) -> None:
    with pytest.raises(PlanError, match=r"plan.yaml line 2: budget must be a number of queries, as 20000, 20k or 1.5M \(given"):
        load_plan(write_plan(f"budget: {wrong}\n"))


def test_budgets_of_a_plan_file(asking) -> None:
    assert load_plan(write_plan("budget: 20k\n")).budget == 20_000
    assert load_plan(write_plan("budget: 0\n")).budget == 0
    assert load_plan(write_plan()).budget is None
    assert load_plan(write_plan("budget: 20k\n"), budget=7).budget == 7


def test_a_remote_model_needs_a_budget_above_the_default(command) -> None:
    assert command(*ROWS, *REMOTE, "--quiet", "--out", "few").code == 0
    many = ("--set", "repeats=52")
    done = command(*ROWS, *REMOTE, *many)
    assert done.code == 2
    assert "1,020 queries to compute exceed the 1,000 of remote models without a budget: give --budget 1020" in done.err
    unplanned = command(*ROWS, *REMOTE, *many, "--set", "silent=true")
    assert unplanned.code == 2
    assert "stopped at 1,000 queries, as" in unplanned.err
    assert command(*ROWS, *REMOTE, *many, "--budget", "2k", "--quiet", "--out", "r").code == 0
    assert calls("r") == 20  # the run that was stopped had left its answers
    assert command(*ROWS, *LOCAL, "--set", "repeats=120", "--quiet", "--out", "s").code == 0
    assert calls("s") == 120 * 20 - 52 * 20


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2), ("\x04", 2), ("\x03", 130)])
def test_on_a_terminal_it_asks(asking, answer, code) -> None:
    left, shown = on_a_terminal(
        "audit", "toy-asking", "rows.parquet", *LOCAL, "--budget", "19", "--out", "r", "--set", "inside=true", answer=answer
    )
    assert left == code, shown
    assert "answers: at most 20 queries" in shown
    assert "20 queries to compute exceed the budget of 19; go on? [y/N]" in shown
    if code == 0:
        assert calls("r") == 20
    elif code == 2:
        assert "error: not begun, as answered; --budget 20 goes on without a question" in shown
        assert not Path("r").exists()


def test_on_a_terminal_it_does_not_ask_below_the_budget_or_when_told_to_be_quiet(asking) -> None:
    left, shown = on_a_terminal("audit", "toy-asking", "rows.parquet", *LOCAL, "--budget", "20", "--out", "r", answer="n\n")
    assert (left, "[y/N]" in shown) == (0, False)
    more = ("--set", "repeats=2", "--budget", "19")
    left, shown = on_a_terminal("audit", "toy-asking", "rows.parquet", *LOCAL, *more, "--quiet", answer="y\n")
    assert (left, "[y/N]" in shown) == (2, False)
    assert "give --budget 20 (budget=20 in Python)" in shown


def test_from_python(asking, capfd) -> None:
    models = {"generator": "fake:generator"}
    with pytest.raises(BudgetExceeded, match="exceed the budget of 19") as caught:
        assaymark.audit("toy-asking", "rows.parquet", models=models, budget=19)
    assert caught.value.needed == 20
    with pytest.raises(BudgetExceeded):
        assaymark.mitigate("toy-asking", "rows.parquet", models=models, budget="0.01k", out="r")
    with pytest.raises(ConfigError, match="budget 'lots' is not a number of queries"):
        assaymark.audit("toy-asking", "rows.parquet", models=models, budget="lots")
    result = assaymark.audit("toy-asking", "rows.parquet", models=models, budget="20")
    assert result.provenance.queries["computed"] == 20
    assert assaymark.run(write_plan(), out="s", budget="1k").plan["budget"] == 1_000
    assert capfd.readouterr() == ("", "")


def test_a_mitigation_is_held_to_it(command) -> None:
    cure = ("mitigate", "toy-asking", "rows.parquet", *LOCAL)
    assert "exceed the budget of 19" in command(*cure, "--budget", "19").err
    assert command(*cure, "--budget", "20").code == 0


def test_a_command_says_what_is_no_budget(command) -> None:
    for arguments in (("audit", "toy-asking", "rows.parquet", *LOCAL), ("calibrate", "toy-asking"), ("run", write_plan())):
        done = command(*arguments, "--budget", "2 k")
        assert (done.code, done.err) == (2, "error: budget '2 k' is not a number of queries; write it as 20000, 20k or 1.5M\n")


def test_calibration_keeps_to_one_budget_for_all_plantings(asking) -> None:
    found = calibrate("toy-asking", seeds=2, budget=30)  # two plantings and a null one, of ten rows each, without a cache
    assert found.rows[0].agreed.value == 1
    with pytest.raises(BudgetExceeded, match=r"30 queries to compute \(20 before\) exceed the budget of 29"):
        calibrate("toy-asking", seeds=2, budget=29)


def test_a_model_inside_a_pass_over_the_data_is_held_too(tmp_path) -> None:
    table = pa.table({"URL": [f"https://e.org/{row}" for row in range(300)], "TEXT": [f"text {row}" for row in range(300)]})
    with pytest.raises(BudgetExceeded, match=r"fake:text-keywords \(text_toxicity\) stopped at 0 queries, as"):
        assaymark.audit("image-text-dataset", table, models={"text_toxicity": "fake:text-keywords"}, budget=50)
