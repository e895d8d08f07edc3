"""Thresholds of membership scores, fitted on trials that the reported figures never use.

A threshold chosen and reported on the same trials flatters the attack: fit it on shadow trials, freeze it, and report
`advantage` on the target's.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import ConfigError, InputError
from assaymark.stats.checks import FloatArray
from assaymark.stats.membership.trials import TrialScores, trial_scores

__all__ = ["ClassThresholds", "Criterion", "Threshold", "class_thresholds", "fit_threshold"]

Criterion = Literal["balanced_accuracy", "fpr"]


class Threshold(NamedTuple):
    """A cut: member iff score >= value; with its rates on the very scores it was fitted on, which are too good.

    Attributes
    ----------
    value : float
        -inf calls everything a member, inf nothing. NaN when `reason` says why none could be fitted.
    balanced_accuracy, tpr, fpr : float
        On the scores it was fitted on.
    members, nonmembers : int
        Scores it was fitted on.
    criterion : str
    reason : str
        Empty when there is a threshold.
    """

    value: float
    balanced_accuracy: float
    tpr: float
    fpr: float
    members: int
    nonmembers: int
    criterion: Criterion
    reason: str = ""

    @property
    def defined(self) -> bool:
        return not self.reason


def _midway(above: float, below: float) -> float:
    """A value in (below, above], midway where that can be had: not next to -inf, nor between neighbouring floats."""
    cut = below / 2.0 + above / 2.0  # halves first: the sum of two large scores may overflow
    return cut if below < cut <= above else above


class _Scan(NamedTuple):
    """Cuts by falling threshold; cut c calls the c highest distinct scores members."""

    distinct: FloatArray  # (groups,), falling
    tp: npt.NDArray[np.int64]  # (groups + 1,)
    fp: npt.NDArray[np.int64]

    def value(self, cut: int) -> float:
        if cut == 0:
            return math.inf
        if cut == self.distinct.size:
            return -math.inf
        return _midway(float(self.distinct[cut - 1]), float(self.distinct[cut]))


def _scan(scores: TrialScores) -> _Scan:
    distinct, group = np.unique(np.concatenate([scores.member, scores.nonmember]), return_inverse=True)
    members = scores.member.size
    counts = [np.bincount(side, minlength=distinct.size)[::-1] for side in (group[:members], group[members:])]
    tp, fp = (np.concatenate([[0], np.cumsum(side)]) for side in counts)
    return _Scan(distinct[::-1], tp, fp)


def _best_cut(scan: _Scan, criterion: Criterion, fpr: float) -> int:
    """Position of the best cut; among equals the one with the highest threshold, which raises the fewest false alarms."""
    members, nonmembers = int(scan.tp[-1]), int(scan.fp[-1])
    # no number lies above inf, so a score of inf cannot be denied
    first = 1 if math.isinf(scan.distinct[0]) and scan.distinct[0] > 0 else 0
    if criterion == "balanced_accuracy":
        # in integers, so that equal optima are equal
        return first + int(np.argmax((scan.tp * nonmembers - scan.fp * members)[first:]))
    allowed = np.flatnonzero(scan.fp <= fpr * nonmembers * (1 + 1e-12))
    allowed = allowed[allowed >= first]
    if allowed.size == 0:
        share = scan.fp[first] / nonmembers
        raise InputError(
            f"no threshold reaches an FPR of {fpr:g}: {share:.2g} of the non-members score infinity; give these a finite score"
        )
    return int(allowed[np.argmax(scan.tp[allowed] == scan.tp[allowed[-1]])])


def _fitted(scores: TrialScores, criterion: Criterion, fpr: float) -> Threshold:
    members, nonmembers = scores.member.size, scores.nonmember.size
    if not (members and nonmembers):
        reason = f"a threshold needs scores of both, there are {members} of members and {nonmembers} of non-members"
        return Threshold(math.nan, math.nan, math.nan, math.nan, members, nonmembers, criterion, reason)
    scan = _scan(scores)
    cut = _best_cut(scan, criterion, fpr)
    tpr, reached = float(scan.tp[cut] / members), float(scan.fp[cut] / nonmembers)
    return Threshold(scan.value(cut), (1.0 + tpr - reached) / 2.0, tpr, reached, members, nonmembers, criterion)


def _checked(criterion: str, fpr: float) -> None:
    if criterion not in ("balanced_accuracy", "fpr"):
        raise ConfigError(f"criterion {criterion!r} is neither 'balanced_accuracy' nor 'fpr'")
    if not 0.0 <= fpr <= 1.0:
        raise ConfigError(f"fpr {fpr!r} is not between 0 and 1: write 0.05 for 5 %")


def fit_threshold(member: Any, nonmember: Any, *, criterion: Criterion = "balanced_accuracy", fpr: float = 0.05) -> Threshold:
    """Threshold of highest balanced accuracy, or of highest TPR at an FPR of at most `fpr`.

    Parameters
    ----------
    member, nonmember : array_like, shapes (n,) and (m,)
        Scores of shadow trials; NaN is left out, infinities are scores.
    criterion : "balanced_accuracy" or "fpr"
    fpr : float in [0, 1]
        Bound on the false positive rate on these scores, for the criterion "fpr" only.

    Returns
    -------
    Threshold
        Midway between the neighbouring scores, so tied scores are never split. Among equally good cuts the highest, which
        raises the fewest false alarms; scores that say nothing therefore give inf, which calls nobody a member. With a
        reason and no value when a side has no score.

    Raises
    ------
    InputError
        When so many non-members score inf that no cut keeps the FPR.

    Notes
    -----
    One sort and a scan of cumulative counts, O(n log n).

    Examples
    --------
    >>> fit_threshold([0.9, 0.8, 0.4], [0.1, 0.2, 0.5]).value
    0.65
    """
    _checked(criterion, fpr)
    return _fitted(trial_scores(member, nonmember, units="rows"), criterion, fpr)


class ClassThresholds(NamedTuple):
    """A threshold for each class, where it has enough scores, and one for all others.

    Attributes
    ----------
    classes : array, shape (classes,), sorted
    values : array, shape (classes,)
        The class's own threshold, or the overall one.
    own : array of bool, shape (classes,)
        Whether the class has a threshold of its own.
    overall : Threshold
        Fitted on all classes together; also used for classes not seen when fitting.
    """

    classes: npt.NDArray[Any]
    values: FloatArray
    own: npt.NDArray[np.bool_]
    overall: Threshold

    def decisions(self, scores: Any, classes: Any) -> FloatArray:
        """1.0 where a score reaches the threshold of its class, 0.0 below, NaN without a score or without a threshold.

        These are scores themselves: hand them on with a threshold of 0.5.
        """
        score, label = np.asarray(scores, dtype=np.float64), np.asarray(classes)
        if label.shape != score.shape:
            raise InputError(f"scores of shape {score.shape} but classes of shape {label.shape}: give one class for each score")
        at = np.minimum(np.searchsorted(self.classes, label), max(self.classes.size - 1, 0))
        cut = np.full(score.shape, self.overall.value)
        if self.classes.size:
            cut = np.where(self.classes[at] == label, self.values[at], cut)
        return np.where(np.isnan(score) | np.isnan(cut), np.nan, (score >= cut).astype(np.float64))


def class_thresholds(
    member: Any,
    nonmember: Any,
    *,
    member_classes: Any,
    nonmember_classes: Any,
    criterion: Criterion = "balanced_accuracy",
    fpr: float = 0.05,
    least: int = 30,
) -> ClassThresholds:
    """A threshold for each class; a class with fewer than `least` members or non-members takes the overall one.

    Parameters
    ----------
    member, nonmember, criterion, fpr : as for `fit_threshold`
    member_classes, nonmember_classes : array_like, shapes (n,) and (m,)
        Class (label, importance bin, or a code of both) of each item.
    least : int, >= 1
        Answered scores that each side of a class needs: the smaller side decides how far a threshold can be trusted.

    Notes
    -----
    O(n log n) for all classes together.
    """
    _checked(criterion, fpr)
    sides = [np.asarray(side, dtype=np.float64) for side in (member, nonmember)]
    labels = [np.asarray(side) for side in (member_classes, nonmember_classes)]
    for name, side, label in zip(("member", "non-member"), sides, labels, strict=True):
        if label.shape != side.shape:
            raise InputError(f"{side.size} {name} scores but classes of shape {label.shape}: give one class for each score")
    overall = _fitted(trial_scores(*sides, units="rows"), criterion, fpr)
    classes = np.unique(np.concatenate(labels))
    values, own = np.full(classes.size, overall.value), np.zeros(classes.size, dtype=np.bool_)
    parts = [_by_class(side, label, classes) for side, label in zip(sides, labels, strict=True)]
    for position, (members, nonmembers) in enumerate(zip(*parts, strict=True)):
        scores = trial_scores(members, nonmembers, units="rows")
        if min(scores.member.size, scores.nonmember.size) >= max(least, 1):
            values[position], own[position] = _fitted(scores, criterion, fpr).value, True
    return ClassThresholds(classes, values, own, overall)


def _by_class(scores: FloatArray, labels: npt.NDArray[Any], classes: npt.NDArray[Any]) -> list[FloatArray]:
    code = np.searchsorted(classes, labels)
    order = np.argsort(code, kind="stable")
    ends = np.cumsum(np.bincount(code, minlength=classes.size))
    return np.split(scores[order], ends)[:-1]
