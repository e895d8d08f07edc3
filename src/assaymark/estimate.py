"""A number with its uncertainty, or undefined with the reason why; and how people read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

__all__ = ["Estimate", "Unit", "format_estimate", "format_interval", "format_number", "undefined"]

Unit = Literal["share", "percentage points", "ratio", "count", "number", "probability"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty, or undefined with the reason why.

    Attributes
    ----------
    value, low, high : float or None
        Point and interval limits, `low <= value <= high`; all None when undefined. Shares are fractions, not percent.
    n : int
        Observations behind the number (for a rate: the denominator).
    method : str
        How value and interval were computed, e.g. ``"Wilson 95 %"``.
    unit : str
        What the number is, for display: "share", "percentage points" (a difference of shares, as a fraction), "ratio", ...
    reason : str
        Why it is undefined; empty when it is defined.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    unit: Unit = "number"
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None:
                object.__setattr__(self, name, float(number))
        object.__setattr__(self, "n", int(self.n))
        if self.value is None:
            if not self.reason or self.low is not None or self.high is not None:
                raise ValueError("an undefined estimate has a reason and no limits")
            return
        if self.reason:
            raise ValueError("a defined estimate has no reason for being undefined")
        if self.low is None or self.high is None:
            raise ValueError("an estimate without an interval is not a result: give low and high")
        if any(math.isnan(x) for x in (self.value, self.low, self.high)):
            raise ValueError("NaN is not an estimate: use undefined(reason)")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"interval [{self.low}, {self.high}] does not contain {self.value}")
        if not self.method:
            raise ValueError("an estimate names its method")

    @property
    def defined(self) -> bool:
        return self.value is not None

    def __str__(self) -> str:
        return format_estimate(self)


def undefined(reason: str, *, n: int = 0, method: str = "none", unit: Unit = "number") -> Estimate:
    """An estimate that the data cannot give, with the reason."""
    return Estimate(None, None, None, n, method, unit, reason)


def format_number(value: float, unit: Unit) -> str:
    """`value` as people read it: shares as percent, counts with separators, others to four significant digits."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit in ("share", "percentage points"):
        percent = 100 * value
        size = abs(percent)
        if 0 < size < 0.00995:
            shown = f"{percent:.2g}"
        else:
            shown = f"{percent:.{1 if size >= 10 or size == 0 else 2 if size >= 0.1 else 3}f}"
        return shown + (" %" if unit == "share" else " pp")
    if unit == "count":
        return f"{value:,.0f}"
    return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"


def format_interval(estimate: Estimate) -> str:
    """`0.30 % (0.29 % to 0.30 %)`, or `undefined: ...`: for sentences that say elsewhere how many were counted."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"undefined: {estimate.reason}"
    value, low, high = (format_number(x, estimate.unit) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def format_estimate(estimate: Estimate) -> str:
    """`0.30 % (0.29 % to 0.30 %), n = 3,200,000`, or `undefined: ...`."""
    return format_interval(estimate) + (f", n = {estimate.n:,}" if estimate.defined else "")
