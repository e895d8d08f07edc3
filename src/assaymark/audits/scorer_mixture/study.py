"""Everything that the sections of the report look at, measured once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.scorer_mixture.columns import unique_names
from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.evaluation import Judged, judge_all
from assaymark.audits.scorer_mixture.measures.fitting import Fitting
from assaymark.audits.scorer_mixture.reading import Rows

__all__ = ["Study"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Study:
    """Rows, fits, and decisions on the test rows.

    Attributes
    ----------
    rows : Rows
        All labelled rows.
    fitting : Fitting
        Fitted on some of them.
    fingerprint : str
        Of the labelled input.
    """

    rows: Rows
    fitting: Fitting
    fingerprint: str
    config: ScorerMixtureConfig
    context: Context

    def rng(self, step: str) -> np.random.Generator:
        """A generator of its own for each step."""
        return self.context.rng(step)

    @cached_property
    def judged(self) -> dict[str, Judged]:
        """Decisions of every way of combining on the test rows."""
        return judge_all(self.fitting)

    @property
    def main(self) -> Judged:
        return self.judged[self.fitting.main_name]

    @cached_property
    def label(self) -> Bools:
        """Labels of the test rows."""
        return self.fitting.label[self.fitting.test]

    @cached_property
    def scores(self) -> Floats:
        """Scores of the test rows, as the scorers gave them."""
        return self.fitting.scores[self.fitting.test]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Scorers by the names that estimates carry."""
        return unique_names(self.fitting.names)

    @cached_property
    def singles(self) -> dict[str, Judged]:
        """Every scorer alone, cut at 1/2 as it was delivered."""
        judged = {}
        for name, column in zip(self.names, self.scores.T, strict=True):
            known = np.isfinite(column)
            called = np.where(known, column, -np.inf) >= 0.5
            judged[name] = Judged(name, column, np.clip(column, 0.0, 1.0), called, known, 0.5)
        return judged

    @cached_property
    def whole(self) -> Bools:
        """Test rows on which every scorer answered."""
        return np.asarray(np.isfinite(self.scores).all(axis=1))
