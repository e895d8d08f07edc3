"""The question at the keyboard, beside the bars of what is going on."""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import pytest

from assaymark.console import Bars, Lines
from assaymark.runner import _Named


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Keyboard:
    """Types a line when it is read, and looks at the bars meanwhile."""

    def __init__(self, line: str, bars: Bars) -> None:
        self.line, self.bars, self.drawing = line, bars, []

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        self.drawing.append(self.bars._bars.live.is_started)
        return self.line


@pytest.mark.parametrize(("line", "answer"), [("y\n", True), (" YES \n", True), ("no\n", False), ("\n", False), ("", False)])
def test_bars_are_out_of_the_way_while_a_question_stands(monkeypatch: Any, line: str, answer: bool) -> None:
    screen = Screen()
    bars = Bars(screen, after=0.0)
    keyboard = Keyboard(line, bars)
    monkeypatch.setattr(sys, "stdin", keyboard)
    with bars.task("asking", 10, "prompts") as task:
        deadline = time.monotonic() + 10
        while bars._bars is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert bars.ask("100 queries\x1b[31m; go on? [y/N] ") is answer
        assert keyboard.drawing == [False]
        assert bars._bars.live.is_started
        bars.note("[bold]told[/bold] above the bars\x07")
        task.advance(10)
    shown = screen.getvalue()
    assert "100 queries [31m; go on? [y/N] " in shown
    assert "[bold]told[/bold] above the bars" in shown and "\x07" not in shown


def test_nobody_is_asked_without_a_keyboard(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert Bars(Screen()).ask("go on? ") is None
    assert Lines(io.StringIO()).ask("go on? ") is None
    monkeypatch.setattr(sys, "stdin", None)
    assert Bars(Screen()).ask("go on? ") is None


def test_the_step_of_a_plan_is_named(monkeypatch: Any) -> None:
    screen = Screen()
    bars = Bars(screen)
    keyboard = Keyboard("y\n", bars)
    monkeypatch.setattr(keyboard, "readline", lambda: "y\n")
    monkeypatch.setattr(sys, "stdin", keyboard)
    named = _Named(bars, "second")
    named.note("20 queries")
    assert named.ask("go on? ") is True
    assert "second: 20 queries\n" in screen.getvalue() and "second: go on? " in screen.getvalue()
