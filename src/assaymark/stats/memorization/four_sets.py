"""The four sets of a leave-out audit: their tests, and the offset that a pair of models has in common on all of them.

References
----------
.. [1] Wang et al. Memorization in Self-Supervised Learning Improves Downstream Generalization. ICLR 2024, arXiv 2401.12233.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate, undefined
from assaymark.stats.checks import FloatArray
from assaymark.stats.fisher import Alternative
from assaymark.stats.ranking import roc_auc
from assaymark.stats.resampling import bootstrap_mean
from assaymark.stats.significance import TestOutcome, welch

__all__ = ["LEAVE_OUT_SETS", "SETS", "OffsetCheck", "SetTest", "calibrated_scores", "four_set_tests", "offset_check"]

LEAVE_OUT_SETS: dict[str, str] = {
    "S": "shared: both models trained on it",
    "C": "candidates: only the audited model trained on it",
    "I": "independent: only the reference trained on it",
    "E": "external: neither model saw it",
}
"""Letter of a set to what it holds, in reading order."""

SETS = tuple(LEAVE_OUT_SETS)

_HYPOTHESES: tuple[tuple[str, str, Alternative], ...] = (
    ("C", "S", "greater"),
    ("C", "E", "greater"),
    ("I", "E", "less"),
    ("S", "E", "two-sided"),
)
"""What is tested: candidates above both sets that no leave-out concerns, independent below, and those two alike ([1])."""

_PUBLISHED: tuple[tuple[str, str, Alternative], ...] = (
    ("S", "C", "greater"),
    ("S", "C", "two-sided"),
    ("S", "E", "greater"),
    ("S", "I", "greater"),
    ("S", "I", "two-sided"),
)
"""What the code beside [1] tests further: S against each other set, one-sided and two-sided."""


class SetTest(NamedTuple):
    """One comparison of two sets.

    Attributes
    ----------
    first, second : str
        Letters of the sets.
    welch : TestOutcome
        Welch's t test; its effect is Cohen's d.
    auc : Estimate
        P(score in `first` > score in `second`): of C against E, how well the score tells members from others.
    """

    first: str
    second: str
    welch: TestOutcome
    auc: Estimate


class OffsetCheck(NamedTuple):
    """Mean score of the sets that should be near 0, beside that of the candidates.

    Attributes
    ----------
    offset, candidates : Estimate
        Mean over the reference set and over C.
    share : float
        |offset| / |candidates|; NaN where one is undefined or the candidates' mean is 0.
    large : bool
        The share exceeds the limit and the interval of the offset excludes 0: raw scores mislead, calibrated ones do not.
    """

    offset: Estimate
    candidates: Estimate
    share: float
    large: bool


def _of(scores: FloatArray, sets: npt.NDArray[Any], letter: str) -> FloatArray:
    return np.asarray(scores[(sets == letter) & np.isfinite(scores)])


def four_set_tests(scores: Any, sets: Any, *, published: bool = False, confidence: float = 0.95) -> tuple[SetTest, ...]:
    """Welch tests and rank areas of C against S and E, I against E, S against E.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Positive = held by the audited model; NaN where an item could not be scored.
    sets : array_like of str, shape (n,)
        Letters of `LEAVE_OUT_SETS`; any other is in none.
    published : bool
        Also the further tests of the published code, after these.

    Returns
    -------
    tuple of SetTest
        A test that cannot be made says why.

    Notes
    -----
    O(n log n).
    """
    values, letters = np.asarray(scores, dtype=np.float64), np.asarray(sets)
    found = []
    for first, second, alternative in (*_HYPOTHESES, *(_PUBLISHED if published else ())):
        a, b = _of(values, letters, first), _of(values, letters, second)
        auc = roc_auc(np.concatenate([a, b]), np.repeat([True, False], [len(a), len(b)]), confidence=confidence)
        found.append(SetTest(first, second, welch(a, b, alternative=alternative), auc))
    return tuple(found)


def calibrated_scores(scores: Any, sets: Any, *, reference: str = "E") -> FloatArray:
    """Scores minus the mean score of a set on which both models are alike (our correction, no part of the published scores).

    Two trainings differ in temperature and in how the embeddings spread; that shifts the scores of all four sets alike.

    Returns
    -------
    array, shape (n,)
        All NaN where nothing in the reference set has a score.
    """
    values = np.asarray(scores, dtype=np.float64)
    base = _of(values, np.asarray(sets), reference)
    return values - (base.mean() if base.size else np.nan)


def offset_check(
    scores: Any, sets: Any, *, rng: np.random.Generator, resamples: int = 1000, limit: float = 0.25, confidence: float = 0.95
) -> OffsetCheck:
    """Whether the common offset of two models is large beside what the candidates show.

    Parameters
    ----------
    limit : float
        Share of the candidates' mean from which the offset is called large.
    """
    values, letters = np.asarray(scores, dtype=np.float64), np.asarray(sets)
    means = {}
    for letter in "EC":
        members = _of(values, letters, letter)
        means[letter] = (
            bootstrap_mean(members, rng=rng, resamples=resamples, confidence=confidence)
            if members.size
            else undefined(f"no item of set {letter} has a score")
        )
    offset, candidates = means["E"], means["C"]
    if offset.value is None or candidates.value is None or candidates.value == 0:
        return OffsetCheck(offset, candidates, float("nan"), False)
    share = abs(offset.value) / abs(candidates.value)
    apart = offset.low is not None and offset.high is not None and (offset.low > 0 or offset.high < 0)
    return OffsetCheck(offset, candidates, share, share > limit and apart)
