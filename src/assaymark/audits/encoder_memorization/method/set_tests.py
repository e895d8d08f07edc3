"""Do the encoder's own points stand out? Tests between the four sets of a leave-out pair ([1], [2] in `method`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import Alternative, TestOutcome, roc_auc, welch

__all__ = ["COMPARISONS", "SETS", "SetTest", "set_tests"]

SETS = ("S", "C", "I", "E")
"""Shared by both models; candidates, of the encoder alone; independent, of the reference alone; external, of neither."""

COMPARISONS: tuple[tuple[str, str, Alternative], ...] = (
    ("C", "S", "greater"),
    ("C", "E", "greater"),
    ("I", "E", "less"),
    ("S", "E", "two-sided"),
    ("S", "C", "greater"),
    ("S", "C", "two-sided"),
    ("S", "E", "greater"),
    ("S", "I", "greater"),
    ("S", "I", "two-sided"),
)
"""The first four are ours; with the fifth on, the tests of the public code of [2], S against each other set, twice."""


class SetTest(NamedTuple):
    """Welch's test of one set against another, with Cohen's d, and the probability that a point of it ranks higher."""

    first: str
    second: str
    test: TestOutcome
    auc: Estimate


def set_tests(raw: Mapping[str, npt.NDArray[np.float64]], *, confidence: float = 0.95) -> list[SetTest]:
    """All comparisons of sets that both have scores.

    Parameters
    ----------
    raw : mapping of set to its scores, shape (n,), finite
    """
    found = []
    for first, second, alternative in COMPARISONS:
        a, b = raw.get(first, np.zeros(0)), raw.get(second, np.zeros(0))
        if len(a) and len(b):
            labels = np.repeat([1, 0], [len(a), len(b)])
            auc = roc_auc(np.concatenate([a, b]), labels, confidence=confidence)
            found.append(SetTest(first, second, welch(a, b, alternative=alternative), auc))
    return found
