"""A fitted mixture of scorers as it is kept: a folder with `mixture.json` and the files of its members.

Plain JSON, no pictures and no rows: names, weights, transforms, threshold, and what was measured of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.errors import InputError, ModelError
from assaymark.models.protocols import Decision
from assaymark.stats.combination import RULES, Transform, apply_transform, combine_scores

__all__ = ["Member", "Mixture", "load_mixture"]

FILE = "mixture.json"
FORMAT = "assaymark-mixture"
VERSION = 1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Member:
    """One scorer: the spec of a model, or (`spec` empty) the column of that name. `cost` is in any unit, the same for all."""

    name: str
    spec: str = ""
    cost: float = 1.0
    transform: Transform = field(default_factory=lambda: Transform("probability"))


@dataclass(frozen=True, eq=False)
class Mixture:
    """How member scores become one score, and where to cut it.

    Attributes
    ----------
    members : tuple of Member
    method : str
        Name of the fitting rule ("ols", "ols_intercept", "average", ...).
    rule : str
        Arithmetic of `assaymark.stats.combination`: "linear", "average", "majority", "max", "geometric".
    weights, intercept : of the rule "linear"
    threshold : float
        Score from which an item is called positive, chosen on the fitting rows.
    slope, offset : float
        Calibration: P(positive) = sigmoid(slope * score + offset); slope > 0, so that it never changes a decision.
    patterns : mapping
        For rows with missing scores: positions present, as "0,2,3", to (weights, intercept) of the fit on these alone.
    measured : Decision or None
        Error counts on labelled items that the mixture was not fitted to, at `threshold`.
    fit : mapping
        Summary of the fitting rows.
    """

    members: tuple[Member, ...]
    method: str
    rule: str
    weights: tuple[float, ...] = ()
    intercept: float = 0.0
    threshold: float = 0.5
    slope: float = 1.0
    offset: float = 0.0
    patterns: Mapping[str, tuple[tuple[float, ...], float]] = field(default_factory=dict)
    measured: Decision | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.members:
            raise ModelError("a mixture without members")
        numbers = [self.intercept, self.threshold, self.slope, self.offset, *self.weights]
        for pattern, (weights, intercept) in self.patterns.items():
            places = [int(place) for place in pattern.split(",")]
            if len(places) != len(weights) or not set(places) <= set(range(len(self.members))):
                raise ModelError(f"a mixture of {len(self.members)} members has a fit on the members {pattern!r}")
            numbers += [*weights, intercept]
        if not np.isfinite(numbers).all():
            raise ModelError("a weight, threshold or calibration of the mixture is not a finite number")
        for counts in (self.measured.sensitivity, self.measured.specificity) if self.measured is not None else ():
            if counts is not None and not 0 <= counts[0] <= counts[1]:
                raise ModelError(f"the measured error of the mixture counts {counts[0]} of {counts[1]}")
        if self.rule not in RULES:
            raise ModelError(f"a mixture combines by one of {', '.join(RULES)}, not {self.rule!r}")
        if self.rule == "linear" and len(self.weights) != len(self.members):
            raise ModelError(f"a mixture of {len(self.members)} members has {len(self.weights)} weights")
        if not self.slope > 0:
            raise ModelError(f"the calibration of a mixture rises; its slope is {self.slope:g}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides scores and decisions."""
        facts = {k: v for k, v in self.to_json().items() if k not in ("measured", "fit")}
        return blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def score(self, values: Floats) -> Floats:
        """Mixture score M of rows of member scores.

        Parameters
        ----------
        values : array, shape (n, members), NaN where a score is missing

        Returns
        -------
        array, shape (n,); NaN for a pattern of missing scores that no fit covers. Never filled with zeros.
        """
        columns = np.asarray(values, dtype=np.float64)
        inputs = np.column_stack([apply_transform(columns[:, i], m.transform) for i, m in enumerate(self.members)])
        scores = combine_scores(
            inputs, self.rule, weights=np.asarray(self.weights) if self.weights else None, intercept=self.intercept
        )
        incomplete = np.isnan(inputs).any(axis=1)
        if incomplete.any() and self.rule == "linear":
            scores[incomplete] = self._partial(inputs[incomplete])
        return scores

    def _partial(self, inputs: Floats) -> Floats:
        """Rows with missing scores, each by the fit on the members that it has."""
        scores = np.full(len(inputs), np.nan)
        present = ~np.isnan(inputs)
        for pattern, (weights, intercept) in self.patterns.items():
            places = [int(place) for place in pattern.split(",")]
            here = present[:, places].all(axis=1) & (present.sum(axis=1) == len(places))
            scores[here] = inputs[here][:, places] @ np.asarray(weights) + intercept
        return scores

    def probability(self, scores: Floats) -> Floats:
        """Calibrated probability of mixture scores, shape (n,)."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * scores + self.offset))

    def decision(self) -> Decision:
        """Threshold on `probability` that makes the decisions of `score >= threshold`, with the measured error."""
        cut = np.float32(self.probability(np.array([self.threshold]))[0])
        below = float(np.nextafter(cut, np.float32(0)))
        known = self.measured
        return Decision(below) if known is None else known._replace(threshold=below)

    def to_json(self) -> dict[str, Any]:
        measured = None if self.measured is None else dict(self.measured._asdict())
        return {
            "format": FORMAT,
            "version": VERSION,
            "members": [
                {"name": m.name, "spec": m.spec, "cost": m.cost, "transform": m.transform.to_json()} for m in self.members
            ],
            "method": self.method,
            "rule": self.rule,
            "weights": list(self.weights),
            "intercept": self.intercept,
            "threshold": self.threshold,
            "slope": self.slope,
            "offset": self.offset,
            "patterns": {pattern: [list(weights), intercept] for pattern, (weights, intercept) in self.patterns.items()},
            "measured": measured,
            "fit": dict(self.fit),
        }

    def save(self, folder: Path) -> Path:
        """Write `mixture.json` into a folder; returns its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        path.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return path


def load_mixture(path: str | Path) -> Mixture:
    """Read a mixture from its folder, or from the JSON file.

    Raises
    ------
    InputError, ModelError
        Not there, no mixture, or written by another version.
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"mixture {str(file)!r} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ModelError(f"mixture {str(file)!r} is not JSON ({error})") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ModelError(f"{str(file)!r} is no mixture (no format {FORMAT!r})")
    if record.get("version") != VERSION:
        raise ModelError(
            f"mixture {str(file)!r} has version {record.get('version')!r}, this assaymark reads {VERSION}: fit it again"
        )
    try:
        members = tuple(
            Member(str(m["name"]), str(m["spec"]), float(m["cost"]), Transform.from_json(m["transform"]))
            for m in record["members"]
        )
        measured = record["measured"]
        pairs = {
            k: None if v is None else (int(v[0]), int(v[1]))
            for k, v in (measured or {}).items()
            if k in ("sensitivity", "specificity")
        }
        return Mixture(
            members,
            str(record["method"]),
            str(record["rule"]),
            tuple(float(w) for w in record["weights"]),
            float(record["intercept"]),
            float(record["threshold"]),
            float(record["slope"]),
            float(record["offset"]),
            {str(k): (tuple(float(w) for w in v[0]), float(v[1])) for k, v in record["patterns"].items()},
            None if measured is None else Decision(float(measured["threshold"]), source=str(measured["source"]), **pairs),
            dict(record["fit"]),
        )
    except ModelError as error:
        raise ModelError(f"mixture {str(file)!r} is damaged ({error}): fit it again") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"mixture {str(file)!r} is damaged ({type(error).__name__}: {error}): fit it again") from None
