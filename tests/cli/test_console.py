"""What is shown: gates that fit any terminal, colour only where wanted, bars and lines only when there is time for them."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from assaymark import console
from assaymark.record import GateRecord, RunRecord, StepRecord
from assaymark.result import Estimate, Finding, Result

RATE = Estimate(0.003, 0.0029, 0.003, 3_200_000, "Wilson 95 %", "share")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def record() -> RunRecord:
    findings = tuple(
        Finding(severity, f"This is {severity}.") for severity in ("good", "note", "warning", "critical", "note", "note")
    )
    steps = (
        StepRecord("data", "toy", "audit", "done", Result("toy", "Toy", {"rate": RATE}, findings=findings)),
        StepRecord("late", "toy", "audit", "skipped", None, "needs step x, which failed"),
    )
    gates = (
        GateRecord("data.rate.high < 0.5%", "data", "rate", RATE, True),
        GateRecord("late.x > 60%", "late", "x", None, False, "step late is skipped"),
    )
    return RunRecord("r", "1", "", 1.0, 0, steps, gates)


@pytest.mark.parametrize("width", [30, 50, 80, 200])
def test_end_of_run_fits_the_terminal(tmp_path: Path, width: int, monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    console.show_run(record(), Path("r"), stream=stream, width=width)
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert max(len(line) for line in lines) <= max(width, 30)
    text = " ".join(stream.getvalue().split())
    assert "FAIL data.rate.high < 0.5% 0.30 %" in text
    assert "holds" in text
    assert "does not hold" in text
    assert text.index("This is critical") < text.index("This is warning") < text.index("This is note")
    assert "1 more findings" in text
    assert "needs step x" in text


def test_colour_only_on_a_terminal(monkeypatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown = {}
    for stream in (Terminal(), io.StringIO()):
        console.show_run(record(), Path("r"), stream=stream, width=120)
        shown[type(stream)] = stream.getvalue()
    assert "\x1b[31m" in shown[Terminal]
    assert "\x1b" not in shown[io.StringIO]


def test_lines_come_now_and_then() -> None:
    stream = io.StringIO()
    lines = console.Lines(stream, every=0.02, after=0.01)
    with lines.task("scan\x1b[31m", total=4, unit="rows") as task:
        for _ in range(2):
            time.sleep(0.03)
            task.advance()
        task.expect(3)
        task.advance()
    said = stream.getvalue().splitlines()
    assert len(said) >= 3
    assert said[0].startswith("scan [31m: 1 of 4 rows, 0:00, ")
    assert "left" in said[0]
    assert "3 of 3 rows" in said[-1]


def test_short_tasks_are_silent() -> None:
    for progress in (console.Lines(plain := io.StringIO()), console.Bars(terminal := Terminal())):
        with progress.task("quick", total=10) as task:
            task.advance(10)
    assert plain.getvalue() == terminal.getvalue() == ""


def test_bars_appear_after_a_while_and_end(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    bars = console.Bars(stream, after=0.05)
    with bars.task("scan [b]x[/b]", unit="rows") as task, bars.task("inner", total=2) as inner:
        for _ in range(4):
            time.sleep(0.05)
            task.advance(1000)
        inner.advance(2)
    assert "scan [b]x[/b]" in stream.getvalue()
    assert "4,000 rows" in stream.getvalue()
    assert bars._bars is None


def test_choice_of_progress() -> None:
    assert type(console.progress_for(quiet=True)) is console.Progress
    assert isinstance(console.progress_for(quiet=False, stream=io.StringIO()), console.Lines)
    assert isinstance(console.progress_for(quiet=False, stream=Terminal()), console.Bars)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (11560, "3:12:40")])
def test_durations(seconds: float, text: str) -> None:
    assert console._duration(seconds) == text
