"""The demonstration: write made-up data with planted truths, run the bundled plan on it, and compare."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from assaymark.audit import Progress
from assaymark.errors import RunError
from assaymark.record import RunRecord
from assaymark.result import Estimate, format_number, undefined

__all__ = ["Comparison", "DemoOutcome", "compare_with_truth", "run_demo"]

PARTS = ("dataset", "pictures", "posts", "prompts", "memory", "encoder", "run", "plan.yaml")
MARK = ".assaymark-demo"
SEED = 0


class Comparison(NamedTuple):
    """One planted number beside its estimate. `found`: the interval holds the truth."""

    name: str
    truth: float
    estimate: Estimate
    found: bool


class DemoOutcome(NamedTuple):
    report: Path
    planted: int
    found: int


def run_demo(out: str | Path, progress: Progress | None = None, *, quiet: bool = False) -> DemoOutcome:
    """Write the data sets and the encoder, run the plan, print planted against estimated.

    Raises
    ------
    RunError
        When `out` holds anything that an earlier demonstration did not put there.
    """
    from assaymark.runner import run

    out, progress = Path(out), progress or Progress()
    _clear(out)
    truth = _write(out, progress)
    record = run(out / "plan.yaml", out=out / "run", progress=progress)
    rows = compare_with_truth(record, truth)
    if not quiet:
        _print(rows, record)
    return DemoOutcome(out / "run" / "report.html", len(rows), sum(row.found for row in rows))


def _clear(out: Path) -> None:
    """Make room, but only in a folder that is new, empty, or from an earlier demonstration."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: name a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).exists():
        raise RunError(f"{out} is not empty and no earlier demo made it: name another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    for part in PARTS:
        path = out / part
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _write(out: Path, progress: Progress) -> Mapping[str, float]:
    from assaymark.demo.encoder import train_encoder
    from assaymark.demo.image_text import write_image_text
    from assaymark.demo.memory import write_memory
    from assaymark.demo.pictures import offensive_share, write_pictures
    from assaymark.demo.posts import write_posts
    from assaymark.demo.prompts import write_prompts

    with progress.task("drawing data sets", total=5, unit="data sets") as task:
        truth = write_image_text(out / "dataset", seed=SEED)
        task.advance()
        write_pictures(out / "pictures", seed=SEED)
        task.advance()
        of_posts = write_posts(out / "posts", seed=SEED)
        task.advance()
        of_prompts = write_prompts(out / "prompts", seed=SEED)
        task.advance()
        of_memory = write_memory(out / "memory", seed=SEED)
        task.advance()
    with progress.task("training a small encoder", total=1, unit="encoders") as task:
        train_encoder(out / "encoder", seed=SEED)
        task.advance()
    (out / "plan.yaml").write_text((files("assaymark.demo") / "plan.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    shards = sorted((out / "dataset").glob("part-*.parquet"))
    return {
        **{f"data.{name}": value for name, value in truth.items()},
        "flags.flagged.share.corrected": offensive_share(*shards),
        "pictures.image_unsafe_rate.corrected": offensive_share(shards[0]),
        **{f"posts.{name}": value for name, value in of_posts.items()},
        **of_prompts,
        **of_memory,
    }


def compare_with_truth(record: RunRecord, truth: Mapping[str, float]) -> list[Comparison]:
    """Each planted number (`step.estimate`) beside what the run found; a step that failed finds nothing."""
    steps = {step.id: step for step in record.steps}
    rows = []
    for name, value in truth.items():
        step, _, estimate_name = name.partition(".")
        result = steps[step].result
        estimate = undefined(steps[step].error) if result is None else result[estimate_name]
        low, high = estimate.low, estimate.high
        rows.append(Comparison(name, value, estimate, low is not None and high is not None and low <= value <= high))
    return rows


def _print(rows: list[Comparison], record: RunRecord) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="What was planted, and what the audit found", title_justify="left")
    for heading, side in (
        ("number", "left"),
        ("planted", "right"),
        ("estimated", "right"),
        ("interval", "right"),
        ("found", "left"),
    ):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for row in rows:
        estimate = row.estimate
        number, interval = "undefined", estimate.reason
        if estimate.value is not None and estimate.low is not None and estimate.high is not None:
            number = format_number(estimate.value, estimate.unit)
            interval = f"{format_number(estimate.low, estimate.unit)} to {format_number(estimate.high, estimate.unit)}"
        table.add_row(row.name, format_number(row.truth, estimate.unit), number, interval, "yes" if row.found else "NO")
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 110)
    console.print(table)
    console.print(f"{sum(row.found for row in rows)} of {len(rows)} planted numbers lie in their interval.")
    for gate in record.gates:
        console.print(f"{'holds' if gate.holds else 'does not hold':>14}  {gate.text}", highlight=False, markup=False)
    console.print("The last gate is meant to fail: the planted safety tag misses most of the unsafe rows.")
