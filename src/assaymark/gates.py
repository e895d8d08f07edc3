"""Gates: the sentences that make a run pass or fail, as `data.hate_content_rate.any.high < 0.5%`.

The grammar is small and typed, so that a gate is read and checked before anything runs:

    gate      = target operator number
    target    = [step "."] estimate-name ["." field]
    field     = "value" | "low" | "high" | "n"                (default: value)
    operator  = "<" | "<=" | ">" | ">=" | "=="
    number    = decimal ["%" | "pp"]                           (0.5% is 0.005; 2pp is 0.02)

Blanks between the parts do not matter. The last component of the target is always the field when it is one of the four
names; an estimate that is itself called `x.low` is reached as `x.low.value`. A gate on an undefined estimate never holds.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from assaymark.errors import PlanError, nearest
from assaymark.record import GateRecord, StepRecord
from assaymark.result import Estimate

__all__ = ["Gate", "Target", "bind", "evaluate", "parse_gate"]

Field = Literal["value", "low", "high", "n"]
NumberUnit = Literal["", "%", "pp"]

FIELDS: tuple[Field, ...] = ("value", "low", "high", "n")
OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_OPERATOR_SIGNS = "<>=!"
_EXAMPLE = "write it as step.estimate.high < 0.5%"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate as read: `path` is the dotted step and estimate name, `threshold` a plain number (1% is 0.01)."""

    text: str
    path: str
    field: Field
    operator: str
    threshold: float
    unit: NumberUnit = ""


class Target(NamedTuple):
    """The step that a gate looks at, and what its path says of the estimate: the readings to try, first match wins."""

    step: str
    readings: tuple[str, ...]


class _Token(NamedTuple):
    kind: Literal["word", "operator"]
    text: str
    column: int


def _tokens(text: str) -> list[_Token]:
    """Words (runs without blanks and comparison signs) and runs of comparison signs, with their columns from 1."""
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        start = position
        if text[start].isspace():
            position += 1
            continue
        in_operator = text[start] in _OPERATOR_SIGNS
        while position < len(text) and not text[position].isspace() and (text[position] in _OPERATOR_SIGNS) == in_operator:
            position += 1
        tokens.append(_Token("operator" if in_operator else "word", text[start:position], start + 1))
    return tokens


def parse_gate(text: str) -> Gate:
    """Read one gate.

    Raises
    ------
    PlanError
        Naming the gate, the column and what was expected there.
    """
    tokens = _tokens(text)
    kinds = [token.kind for token in tokens]
    if kinds.count("operator") != 1:
        found = "no comparison" if "operator" not in kinds else "more than one comparison"
        raise PlanError(f"gate {text!r}: {found}; {_EXAMPLE}")
    sign = tokens[kinds.index("operator")]
    if sign.text not in OPERATORS:
        raise PlanError(f"gate {text!r}, column {sign.column}: {sign.text!r} is not one of {' '.join(OPERATORS)}")
    left, right = tokens[: kinds.index("operator")], tokens[kinds.index("operator") + 1 :]
    path, field = _target(text, left)
    threshold, unit = _number(text, right)
    if field == "n" and unit:
        raise PlanError(f"gate {text!r}: n is a count, compare it with a plain number, not with {unit!r}")
    return Gate(text.strip(), path, field, sign.text, threshold, unit)


def _target(text: str, words: Sequence[_Token]) -> tuple[str, Field]:
    if not words:
        raise PlanError(f"gate {text!r}: no estimate before the comparison; {_EXAMPLE}")
    if len(words) > 1:
        raise PlanError(f"gate {text!r}, column {words[1].column}: blank inside a name; {_EXAMPLE}")
    parts = words[0].text.split(".")
    if not all(parts):
        raise PlanError(f"gate {text!r}: a part of {words[0].text!r} is empty: two dots, or a dot at an end")
    if parts[-1] in FIELDS:
        if len(parts) == 1:
            raise PlanError(f"gate {text!r}: {parts[0]!r} of which estimate? {_EXAMPLE}")
        return ".".join(parts[:-1]), parts[-1]
    return words[0].text, "value"


def _number(text: str, words: Sequence[_Token]) -> tuple[float, NumberUnit]:
    joined = "".join(word.text for word in words)
    unit: NumberUnit = "%" if joined.endswith("%") else "pp" if joined.endswith("pp") else ""
    digits = joined[: len(joined) - len(unit)]
    # "1 0%" must not read as ten: the only blank allowed is the one before the unit.
    blank_inside = len(words) > 2 or (len(words) == 2 and words[1].text != unit)
    if not digits or blank_inside or not _is_decimal(digits):
        given = " ".join(word.text for word in words) or "nothing"
        raise PlanError(f"gate {text!r}: {given!r} after the comparison is not a number; as 0.5%, 2pp or 1000")
    # Decimal moves the point exactly, so that 0.3% equals the float 0.003.
    threshold = float(Decimal(digits).scaleb(-2 if unit else 0))
    if not math.isfinite(threshold):
        raise PlanError(f"gate {text!r}: {digits} is too large")
    return threshold, unit


def _is_decimal(digits: str) -> bool:
    """`[+-] digits [. digits] [e [+-] digits]` in ASCII; `float` would also take nan, inf and underscores."""
    mantissa, exponent_sign, exponent = digits.lower().partition("e")
    mantissa = mantissa[1:] if mantissa[:1] in ("+", "-") else mantissa
    whole, _, fraction = mantissa.partition(".")
    if not (whole + fraction).isascii() or not (whole + fraction).isdigit():
        return False
    if not exponent_sign:
        return True
    exponent = exponent[1:] if exponent[:1] in ("+", "-") else exponent
    return exponent.isascii() and exponent.isdigit() and len(exponent) <= 4


def bind(gate: Gate, steps: Sequence[str]) -> Target:
    """The step a gate speaks of: the longest prefix of its path that is a step id; in a one-step run it may be left out.

    Raises
    ------
    PlanError
        When the path names no step of the run; offers the nearest step id.
    """
    parts = gate.path.split(".")
    alone = steps[0] if len(steps) == 1 else None
    for length in range(len(parts) - 1, 0, -1):
        step = ".".join(parts[:length])
        if step in steps:
            rest = ".".join(parts[length:])
            return Target(step, (rest, gate.path) if step == alone else (rest,))
    if alone is not None:
        return Target(alone, (gate.path,))
    if gate.path in steps:
        raise PlanError(f"gate {gate.text!r}: {gate.path!r} is a step, name one of its estimates; {_EXAMPLE}")
    hint = nearest(parts[0], steps) or f"; steps: {', '.join(steps)}"
    raise PlanError(f"gate {gate.text!r}: unknown step {parts[0]!r}{hint}")


def evaluate(gate: Gate, steps: Sequence[StepRecord]) -> GateRecord:
    """Whether a gate holds for finished steps; where it cannot be told, it does not hold and the reason says why.

    Raises
    ------
    PlanError
        Only when the gate names no step of the run (see `bind`).
    """
    target = bind(gate, [step.id for step in steps])
    step = next(step for step in steps if step.id == target.step)
    if step.result is None:
        why = step.error or "it has not run"
        return GateRecord(gate.text, step.id, target.readings[0], None, False, f"step {step.id} is {step.status}: {why}")
    estimates = step.result.estimates
    name = next((reading for reading in target.readings if reading in estimates), None)
    if name is None:
        missing = target.readings[0]
        known = f"; {len(estimates)} known: {', '.join(sorted(estimates)[:5])}" if estimates else "; the step has none"
        reason = f"unknown estimate {missing!r}{nearest(missing, estimates) or known}"
        return GateRecord(gate.text, step.id, missing, None, False, reason)
    estimate = estimates[name]
    holds, reason = _compare(gate, estimate)
    return GateRecord(gate.text, step.id, name, estimate, holds, reason)


def _compare(gate: Gate, estimate: Estimate) -> tuple[bool, str]:
    if not estimate.defined:
        return False, f"undefined: {estimate.reason}"
    # A bare 5 against a share is meant as five percent; read as 500 % the gate would hold whatever the data say.
    if gate.field != "n" and not gate.unit and abs(gate.threshold) > 1 and estimate.unit in ("share", "percentage points"):
        return False, f"a share lies between 0 and 1, and {gate.threshold:g} is beyond: write {gate.threshold:g}% for percent"
    number = float(getattr(estimate, gate.field))
    return OPERATORS[gate.operator](number, gate.threshold), ""
