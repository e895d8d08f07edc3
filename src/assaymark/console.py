"""What the command line shows: bars while a run goes on, and at its end the gates, the findings and where the report lies."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from assaymark.audit import Progress, Task

if TYPE_CHECKING:
    from rich.console import Console

    from assaymark.record import GateRecord, RunRecord
    from assaymark.store.views import Comparison

__all__ = ["Bars", "Lines", "Style", "progress_for", "show_comparison", "show_run"]

SECONDS_BEFORE_BAR = 2.0
SECONDS_BETWEEN_LINES = 10.0
FINDINGS_SHOWN = 5
_WORST_FIRST = ("critical", "warning", "note", "good")


def printable(text: str) -> str:
    """Text without control characters: names from data must not move the cursor or colour the screen."""
    return "".join(char if char.isprintable() else " " for char in text)


class Style:
    """Lines on a stream, coloured when it is a terminal and `NO_COLOR` is not set, never wider than it."""

    _CODES: dict[str, str] = {"good": "32", "bad": "31", "strong": "1", "faint": "2", "warning": "33"}  # noqa: RUF012

    def __init__(self, stream: TextIO, *, width: int | None = None) -> None:
        self.stream = stream
        self.colour = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self.width = width or _terminal_width(stream)

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{self._CODES[style]}m{text}\x1b[0m" if self.colour and style in self._CODES else text

    def line(self, text: str = "") -> None:
        try:
            self.stream.write(text + "\n")
        except UnicodeEncodeError:
            self.stream.write(text.encode("ascii", "replace").decode() + "\n")

    def wrapped(self, text: str, *, indent: str, first: str | None = None) -> None:
        import textwrap

        width = max(self.width, 30)
        lead = indent if first is None else first
        for line in textwrap.wrap(text, width, initial_indent=lead, subsequent_indent=indent) or [lead.rstrip()]:
            self.line(line)


def _terminal_width(stream: TextIO) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 100
    except (OSError, ValueError):
        return 100


# -- progress ---------------------------------------------------------------------------------------------------------------


def progress_for(*, quiet: bool, stream: TextIO | None = None) -> Progress:
    """Bars on a terminal, a plain line now and then elsewhere, nothing when `quiet`. Standard output stays free for results."""
    stream = stream or sys.stderr
    if quiet:
        return Progress()
    return Bars(stream) if stream.isatty() else Lines(stream)


class _Count:
    """How far a task is; both ways of showing read it."""

    def __init__(self, title: str, total: int | None, unit: str) -> None:
        self.title, self.total, self.unit = printable(title), total, unit
        self.done, self.started = 0, time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self.done += amount

    def expect(self, total: int) -> None:
        self.total = total

    def sentence(self) -> str:
        seconds = max(time.monotonic() - self.started, 1e-9)
        of = f" of {self.total:,}" if self.total is not None else ""
        rate = self.done / seconds
        left = f", {_duration((self.total - self.done) / rate)} left" if self.total and 0 < self.done < self.total else ""
        return f"{self.title}: {self.done:,}{of} {self.unit}, {_duration(seconds)}, {_rate(rate)} {self.unit}/s{left}"


def _rate(rate: float) -> str:
    return f"{rate / 1000:,.0f}k" if rate >= 10_000 else f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class Lines(Progress):
    """One line about every ten seconds, and one at the end of a task that took longer than two."""

    def __init__(self, stream: TextIO, *, every: float = SECONDS_BETWEEN_LINES, after: float = SECONDS_BEFORE_BAR) -> None:
        self._stream, self._every, self._after = stream, every, after

    @contextmanager
    def task(self, title: str, total: int | None = None, unit: str = "rows") -> Iterator[Task]:
        count = _SpokenCount(title, total, unit, self)
        try:
            yield count
        finally:
            if time.monotonic() - count.started >= self._after:
                self.say(count)

    def say(self, count: _Count) -> None:
        self._stream.write(f"{count.sentence()}\n")
        self._stream.flush()

    def note(self, text: str) -> None:
        self._stream.write(f"{printable(text)}\n")
        self._stream.flush()

    def due(self, last: float) -> bool:
        return time.monotonic() - last >= self._every


class _SpokenCount(_Count):
    def __init__(self, title: str, total: int | None, unit: str, lines: Lines) -> None:
        super().__init__(title, total, unit)
        self._lines, self._said = lines, self.started

    def advance(self, amount: int = 1) -> None:
        super().advance(amount)
        if self._lines.due(self._said):
            self._said = time.monotonic()
            self._lines.say(self)


class Bars(Progress):
    """A rich bar for each task that lasts longer than two seconds; shorter ones leave no trace."""

    def __init__(self, stream: TextIO, *, after: float = SECONDS_BEFORE_BAR) -> None:
        from rich.console import Console

        self._console, self._after = Console(file=stream, highlight=False), after
        self._bars: Any = None
        self._open = 0
        self._lock = threading.RLock()

    @contextmanager
    def task(self, title: str, total: int | None = None, unit: str = "rows") -> Iterator[Task]:
        count = _BarCount(title, total, unit)
        with self._lock:
            self._open += 1
        timer = threading.Timer(self._after, self._show, [count])
        timer.daemon = True
        timer.start()
        try:
            yield count
        finally:
            timer.cancel()
            self._close(count)

    def note(self, text: str) -> None:
        with self._lock:
            self._console.print(printable(text), markup=False, soft_wrap=True)

    def ask(self, question: str) -> bool | None:
        """Yes or no from the keyboard; None where standard input is no terminal. Bars wait meanwhile, out of the way."""
        if sys.stdin is None or not sys.stdin.isatty():
            return None
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            try:
                self._console.file.write(printable(question))
                self._console.file.flush()
                return sys.stdin.readline().strip().lower() in ("y", "yes")
            finally:
                if self._bars is not None:
                    self._bars.start()

    def _show(self, count: _BarCount) -> None:
        with self._lock:
            if count.closed:
                return
            if self._bars is None:
                self._bars = _rich_bars(self._console)
                self._bars.start()
            age = time.monotonic() - count.started
            count.bar = (
                self._bars,
                self._bars.add_task(count.title, total=count.total, completed=count.done, unit=count.unit, age=age),
            )
            count.advance(0)

    def _close(self, count: _BarCount) -> None:
        with self._lock:
            count.closed = True
            if count.bar is not None and count.total is None:
                self._bars.update(count.bar[1], total=count.done)
            self._open -= 1
            if self._open == 0 and self._bars is not None:
                self._bars.stop()  # leaves the finished bars on the screen
                self._bars = None


class _BarCount(_Count):
    def __init__(self, title: str, total: int | None, unit: str) -> None:
        super().__init__(title, total, unit)
        self.bar: tuple[Any, Any] | None = None
        self.closed = False

    def advance(self, amount: int = 1) -> None:
        super().advance(amount)
        if self.bar is not None:
            self.bar[0].update(self.bar[1], completed=self.done, total=self.total)


def _rich_bars(console: Console) -> Any:
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Any) -> Text:
            of = f" of {int(task.total):,}" if task.total is not None and not task.finished else ""
            return Text(f"{int(task.completed):,}{of} {task.fields['unit']}")

    class Pace(ProgressColumn):
        def render(self, task: Any) -> Text:
            elapsed = (task.finished_time if task.finished else task.elapsed or 0.0) + task.fields["age"]
            rate = task.completed / elapsed if elapsed else 0.0
            left = task.total is not None and 0 < task.completed < task.total and rate
            remaining = f"  {_duration((task.total - task.completed) / rate)} left" if left else ""
            return Text(f"{_duration(elapsed)}  {_rate(rate)} {task.fields['unit']}/s{remaining}")

    title = TextColumn(" {task.description}", markup=False)
    columns = [title, Amount(), Pace()] if console.width < 70 else [title, BarColumn(bar_width=20), Amount(), Pace()]
    return RichProgress(*columns, console=console)


# -- the end of a run -------------------------------------------------------------------------------------------------------


def show_run(record: RunRecord, folder: Path, *, stream: TextIO | None = None, width: int | None = None) -> None:
    """Skipped steps, what of the input could not be used, gates, the worst findings, and the report's path."""
    style = Style(stream or sys.stdout, width=width)
    for step in record.steps:
        if step.status == "skipped":  # failed steps are errors, and go where errors go
            style.wrapped(printable(f"{step.id}: {step.error}"), indent="          ", first=f" {step.status:<8} ")
    _show_losses(style, record)
    _show_gates(style, record.gates)
    _show_findings(style, record)
    report = folder / "report.html"
    style.line(f" {style.paint('report', 'faint')}  {printable(str(report if report.exists() else folder))}")


def _show_losses(style: Style, record: RunRecord) -> None:
    """A run that ends well must not hide that part of the data is not in it."""
    for step in record.steps:
        for flow in step.result.flows if step.result is not None else ():
            lost = {reason: count for reason, count in {**flow.skipped, **flow.failed}.items() if count}
            if lost:
                reasons = ", ".join(f"{reason}: {count:,}" for reason, count in lost.items())
                text = (
                    f"{sum(lost.values()):,} of {flow.total:,} {flow.unit} of {flow.source} are not in the result ({reasons})"
                )
                style.wrapped(printable(text), indent=" " * 12, first=f" {'left out':<10} ")


def _show_gates(style: Style, gates: Sequence[GateRecord]) -> None:
    if not gates:
        return
    passed = all(gate.holds for gate in gates)
    word = style.paint("PASS", "good") if passed else style.paint("FAIL", "bad")
    rows = [(printable(g.text), printable(g.reason or str(g.estimate)), g.holds) for g in gates]
    left, middle = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    fits = 7 + left + 3 + middle + 3 + len("does not hold") <= style.width
    for index, (text, found, holds) in enumerate(rows):
        verdict = style.paint("holds", "good") if holds else style.paint("does not hold", "bad")
        head = f" {word}  " if index == 0 else "       "
        if fits:
            style.line(f"{head}{text:<{left}}   {found:<{middle}}   {verdict}")
        else:
            style.line(f"{head}{text}")
            style.wrapped(found, indent="         ")
            style.line(f"         {verdict}")


def _show_findings(style: Style, record: RunRecord) -> None:
    found = [(step.id, finding) for step in record.steps if step.result is not None for finding in step.result.findings]
    found.sort(key=lambda item: _WORST_FIRST.index(item[1].severity))
    for step, finding in found[:FINDINGS_SHOWN]:
        where = f"{step}: " if len(record.steps) > 1 else ""
        style.wrapped(printable(where + finding.sentence), indent=" " * 12, first=f" {finding.severity:<10} ")
    if len(found) > FINDINGS_SHOWN:
        style.line(style.paint(f" {len(found) - FINDINGS_SHOWN} more findings in the report", "faint"))


def show_comparison(rows: Sequence[Comparison], *, stream: TextIO | None = None) -> None:
    """One estimate a line, or a short paragraph each where the terminal is narrow; what differs comes first."""
    style = Style(stream or sys.stdout)
    order = ("differs", "no difference shown", "undefined")
    cells = [
        (
            printable(row.name),
            str(row.a) if row.a is not None else "-",
            str(row.b) if row.b is not None else "-",
            str(row.difference).partition(", n =")[0] if row.difference is not None else "-",
            printable(row.verdict + (f": {row.reason}" if row.reason else "")),
        )
        for row in sorted(rows, key=lambda row: order.index(row.verdict))
    ]
    heads = ("estimate", "first", "second", "difference", "verdict")
    widths = [max(len(cell[i]) for cell in [heads, *cells]) for i in range(5)]
    if sum(widths) + 8 <= style.width:
        for cell in [heads, *cells]:
            style.line("  ".join(f"{text:<{width}}" for text, width in zip(cell, widths, strict=True)).rstrip())
        return
    for name, first, second, difference, verdict in cells:
        style.line(name)
        for head, text in (("first", first), ("second", second), ("difference", difference), ("verdict", verdict)):
            style.wrapped(printable(text), indent=" " * 14, first=f"  {head:<10}  ")
