"""Scores of a membership-inference attack, by trial: what every metric of this package takes in.

A trial (game) attacks one member and one non-member against the same target, so its two scores share what that target adds
and must be drawn together. Scores are larger the more an item looks like a member; NaN says that the attack gave no answer.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, InputError
from assaymark.result import Estimate, Unit, undefined
from assaymark.stats.checks import FloatArray

__all__ = ["AttackScores", "TrialScores", "Units", "trial_scores"]

IntArray = npt.NDArray[np.int64]

Units = Literal["trials", "rows"] | tuple[Any, Any]
"""What is independent: trials (row i of both arrays), single rows, or groups given as (member labels, non-member labels)."""


def distinct_units(units: int, *codes: IntArray) -> int:
    """How many of the units occur; O(n), without sorting."""
    seen = np.zeros(units, dtype=np.bool_)
    for code in codes:
        seen[code] = True
    return int(seen.sum())


class TrialScores(NamedTuple):
    """Answered scores and the independent unit that each belongs to.

    Attributes
    ----------
    member, nonmember : array, shapes (members,) and (nonmembers,), without NaN; may hold infinities
    member_unit, nonmember_unit : array of int
        Position of the trial, row or group; the same whichever scores are missing, so two attacks can be laid side by side.
    units : int
        Units before those without an answer are left out.
    kind : "trials", "rows" or "groups"
    member_missing, nonmember_missing : int
        Scores left out because the attack gave no answer.
    """

    member: FloatArray
    nonmember: FloatArray
    member_unit: IntArray
    nonmember_unit: IntArray
    units: int
    kind: Literal["trials", "rows", "groups"]
    member_missing: int
    nonmember_missing: int

    @property
    def n(self) -> int:
        """Trials with an answer for either side; rows with an answer where rows do not come in trials."""
        if self.kind != "trials":
            return self.member.size + self.nonmember.size
        return distinct_units(self.units, self.member_unit, self.nonmember_unit)

    @property
    def lack(self) -> str:
        """Why no share can be had from these scores, or nothing."""
        sides = (("members", self.member), ("non-members", self.nonmember))
        if empty := [name for name, scores in sides if scores.size == 0]:
            return f"the attack has no score of {' and none of '.join(empty)}"
        if self.kind == "groups" and min(distinct_units(self.units, u) for u in (self.member_unit, self.nonmember_unit)) < 2:
            return "all members or all non-members are of one group, which cannot say how groups vary"
        return ""

    def described(self, method: str) -> str:
        """`method` with what it was computed on: the groups, and how many scores were missing."""
        if self.kind == "groups":
            method += f", {distinct_units(self.units, self.member_unit, self.nonmember_unit)} groups"
        missing = [
            f"{count} {name}"
            for count, name in ((self.member_missing, "member"), (self.nonmember_missing, "non-member"))
            if count
        ]
        return f"{method}; without {' and '.join(missing)} scores that are missing" if missing else method

    def undefined(self, reason: str, method: str, *, unit: Unit) -> Estimate:
        """The estimate that these scores cannot give."""
        return undefined(reason, n=self.n, method=self.described(method), unit=unit)


class AttackScores(NamedTuple):
    """One attack's scores and its threshold (a number or a `Threshold`), as comparisons of attacks take them."""

    member: Any
    nonmember: Any
    threshold: Any


def _scores(values: Any, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, got shape {array.shape}")
    return array


def _group_codes(units: tuple[Any, Any], sizes: tuple[int, int]) -> tuple[IntArray, int]:
    labels = [np.asarray(side) for side in units]
    for name, side, size in zip(("member", "non-member"), labels, sizes, strict=True):
        if side.shape != (size,):
            raise InputError(f"{size} {name} scores but group labels of shape {side.shape}: give one label for each score")
    distinct, codes = np.unique(np.concatenate(labels), return_inverse=True)
    return codes.astype(np.int64), distinct.size


def trial_scores(member: Any, nonmember: Any, *, units: Units = "trials") -> TrialScores:
    """Scores of members and non-members with the missing ones counted and left out.

    Parameters
    ----------
    member, nonmember : array_like, shapes (n,) and (m,)
        Larger is more likely a member; NaN is no answer. A trial whose one side is missing keeps its other side.
    units : "trials", "rows" or a pair of label arrays
        "trials": row i of both arrays is trial i, n = m. "rows": members and non-members are separate samples of
        independent rows. A pair (labels of the members, labels of the non-members): rows with one label belong together, on
        both sides, as all items of one shadow model do.

    Raises
    ------
    InputError
        For trials, when the two arrays differ in length; for groups, when labels and scores do.
    """
    scores = (_scores(member, "member scores"), _scores(nonmember, "non-member scores"))
    sizes = (scores[0].size, scores[1].size)
    kind: Literal["trials", "rows", "groups"] = "groups"
    if isinstance(units, tuple):
        codes, count = _group_codes(units, sizes)
    elif units == "trials":
        if sizes[0] != sizes[1]:
            raise InputError(
                f"{sizes[0]} member but {sizes[1]} non-member scores: a trial has one of each (NaN where there is no answer); "
                'pass units="rows" when they are separate samples'
            )
        kind, count, codes = "trials", sizes[0], np.tile(np.arange(sizes[0]), 2)
    elif units == "rows":
        kind, count, codes = "rows", sum(sizes), np.arange(sum(sizes))
    else:
        raise ConfigError(f'units {units!r} is neither "trials" nor "rows" nor a tuple of two label arrays')
    answered = [~np.isnan(side) for side in scores]
    member_codes, nonmember_codes = codes[: sizes[0]], codes[sizes[0] :]
    return TrialScores(
        scores[0][answered[0]], scores[1][answered[1]], member_codes[answered[0]], nonmember_codes[answered[1]], count, kind,
        int((~answered[0]).sum()), int((~answered[1]).sum()),
    )  # fmt: skip
