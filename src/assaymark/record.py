"""What a run folder says of itself: its steps, their results, and the gates that make it pass or fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assaymark.result import Estimate, Result

__all__ = ["GateRecord", "RunRecord", "StepRecord"]

StepStatus = Literal["pending", "done", "failed", "skipped"]


@dataclass(frozen=True)
class StepRecord:
    """One step. A failed or skipped step has an `error` sentence and no result."""

    id: str
    audit: str
    kind: Literal["audit", "mitigation"] = "audit"
    status: StepStatus = "pending"
    result: Result | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class GateRecord:
    """One gate as written, the estimate it looked at, and whether it holds. An undefined estimate never holds."""

    text: str
    step: str
    estimate_name: str
    estimate: Estimate | None
    holds: bool
    reason: str = ""


@dataclass(frozen=True)
class RunRecord:
    """Everything a report needs, whether the run came from a plan or from one command."""

    name: str
    version: str
    started: str
    seconds: float
    seed: int
    steps: tuple[StepRecord, ...]
    gates: tuple[GateRecord, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    reveal: bool = False

    @property
    def unknown_gates(self) -> tuple[GateRecord, ...]:
        """Gates on an estimate that the finished step does not have: a mistake in the gate, which says nothing of the data."""
        done = {step.id for step in self.steps if step.status == "done"}
        return tuple(gate for gate in self.gates if gate.estimate is None and gate.step in done)

    @property
    def exit_code(self) -> int:
        """3 when a step failed, else 2 when a gate names an estimate that its step does not have, else 1 when one does not
        hold, else 0.
        """
        if any(step.status in ("failed", "skipped") for step in self.steps):
            return 3
        if self.unknown_gates:
            return 2
        return 1 if any(not gate.holds for gate in self.gates) else 0
