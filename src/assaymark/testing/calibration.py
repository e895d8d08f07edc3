"""How far to trust an audit: its planted experiments over many seeds, truth beside estimate and coverage."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assaymark.allowance import Allowance
from assaymark.audit import Audit, Planting, Progress, Trial
from assaymark.calibrated import calibration_table
from assaymark.catalog import load_audit
from assaymark.errors import InputError
from assaymark.execution import execute
from assaymark.result import Estimate, Result, Table
from assaymark.stats import wilson

__all__ = ["Calibration", "Row", "calibrate"]


class Row(NamedTuple):
    """One planted number over all seeds. `agreed` is the share of seeds that met the expectation, with its interval."""

    name: str
    expect: str
    truth: float
    mean: float | None
    width: float | None
    seeds: int
    undefined: int
    agreed: Estimate


class Calibration(NamedTuple):
    audit: str
    seeds: int
    rows: tuple[Row, ...]
    null_seeds: int
    null_alarms: tuple[str, ...]
    full: bool = False

    def record(self) -> dict[str, Any]:
        """Everything as JSON-ready values, in the form that `assaymark.calibrated` reads."""
        size = "published" if self.full else "small"
        rows = [
            {
                "planted": row.name,
                "expectation": row.expect,
                "truth": row.truth,
                "mean_estimate": row.mean,
                "mean_width": row.width,
                "seeds": row.seeds,
                "undefined": row.undefined,
                "agreed": row.agreed.value,
                "agreed_low": row.agreed.low,
                "agreed_high": row.agreed.high,
            }
            for row in self.rows
        ]
        return {
            "audit": self.audit,
            "seeds": self.seeds,
            "size": size,
            "command": f"assaymark calibrate {self.audit} --seeds {self.seeds} --{'full' if self.full else 'small'}",
            "null_seeds": self.null_seeds,
            "null_alarms": list(self.null_alarms),
            "rows": rows,
        }

    def table(self) -> Table:
        """The table named "calibration" that reports show."""
        return calibration_table(self.record())

    def save(self, path: str | Path) -> None:
        """Write the record to a JSON file; an audit ships the one named `calibration.json` in its package."""
        target = Path(path)
        try:
            target.write_text(json.dumps(self.record(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"calibration {str(target)!r} cannot be written: {error.strerror or error}") from None


def calibrate(
    audit: str | type[Audit],
    *,
    seeds: int = 20,
    full: bool = False,
    progress: Progress | None = None,
    folder: Path | None = None,
    budget: int | None = None,
) -> Calibration:
    """Run the planted and null plantings of an audit with `seeds` different seeds.

    Parameters
    ----------
    full : the published sizes instead of the small ones.
    folder : where plantings are written, one folder a seed, each removed when done; a temporary one by default.
    budget : queries that the models of all plantings together may compute.
    """
    cls = load_audit(audit) if isinstance(audit, str) else audit
    trials: dict[str, list[Trial]] = {}
    alarms: list[str] = []
    allowance = Allowance(budget)
    nulls = max(1, seeds // 5)
    with (progress or Progress()).task(f"calibrating {cls.info.id}", total=seeds + nulls, unit="seeds") as task:
        for seed in range(seeds):
            for trial in _planted_trials(cls, seed, full=full, folder=folder, allowance=allowance):
                trials.setdefault(trial.name, []).append(trial)
            task.advance()
        for seed in range(nulls):
            alarms.extend(_null_alarms(cls, seed, full=full, folder=folder, allowance=allowance))
            task.advance()
    rows = tuple(_row(name, found) for name, found in trials.items())
    return Calibration(cls.info.id, seeds, rows, nulls, tuple(alarms), full)


def _executed(cls: type[Audit], planting: Planting, seed: int, allowance: Allowance) -> Result:
    inputs, models, settings = dict(planting.inputs), dict(planting.models), dict(planting.settings)
    return execute(cls, inputs=inputs, models=models, settings=settings, seed=seed, budget=allowance)


def _planted_trials(cls: type[Audit], seed: int, *, full: bool, folder: Path | None, allowance: Allowance) -> Sequence[Trial]:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        planting = cls.planted(seed, Path(scratch), full=full)
        result = _executed(cls, planting, seed, allowance)
    measured = [Trial(name, truth, result[name]) for name, truth in planting.truth.items()]
    return [*measured, *cls.experiments(seed, full=full)]


def _null_alarms(cls: type[Audit], seed: int, *, full: bool, folder: Path | None, allowance: Allowance) -> list[str]:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        planting = cls.planted(seed, Path(scratch), null=True, full=full)
        result = _executed(cls, planting, seed, allowance)
    return [f"seed {seed}: {f.sentence}" for f in result.findings if f.severity in ("critical", "warning")]


def agrees(trial: Trial) -> bool | None:
    """Whether the interval meets the expectation; None when the estimate is undefined."""
    low, high = trial.estimate.low, trial.estimate.high
    if low is None or high is None:
        return None
    slack = 1e-12 + 1e-9 * abs(trial.truth)
    if trial.expect == "above":
        return low > trial.truth
    if trial.expect == "below":
        return high < trial.truth
    if trial.expect == "not above":
        return low <= trial.truth
    return low - slack <= trial.truth <= high + slack


def _row(name: str, trials: Sequence[Trial]) -> Row:
    defined = [trial for trial in trials if trial.estimate.defined]
    values = np.array([trial.estimate.value for trial in defined], dtype=float)
    widths = np.array([float(t.estimate.high or 0) - float(t.estimate.low or 0) for t in defined], dtype=float)
    return Row(
        name=name,
        expect={"covers": "cover the truth"}.get(trials[0].expect, f"lie {trials[0].expect} it"),
        truth=float(np.mean([trial.truth for trial in trials])),
        mean=float(values.mean()) if len(values) else None,
        width=float(widths.mean()) if len(widths) else None,
        seeds=len(trials),
        undefined=len(trials) - len(defined),
        agreed=wilson(sum(bool(agrees(trial)) for trial in defined), len(defined)),
    )
