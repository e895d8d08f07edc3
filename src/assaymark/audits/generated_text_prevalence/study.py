"""What the sections of the report share: the detector that counts, its measured errors, the counts of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.labelled import microseconds
from assaymark.audits.generated_text_prevalence.measures.fitting import Counter, Fitting
from assaymark.audits.generated_text_prevalence.preparing import Annotated, Fitted, Prepared
from assaymark.audits.generated_text_prevalence.reading import Stream
from assaymark.data.dates import DAY, moment, period_codes, period_label, period_start
from assaymark.stats.prevalence import LabelledBins, Rate

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """One detector on one stream.

    Attributes
    ----------
    prepared : Prepared
        Labelled texts and detectors.
    fitted : Fitted
        The detector that counts, and its errors; or why there is none.
    annotated : Annotated or None
        A random sample of the stream that people labelled.
    """

    config: GeneratedTextPrevalenceConfig
    context: Context
    stream: Stream
    prepared: Prepared
    fitted: Fitted
    annotated: Annotated | None = None

    @property
    def counter(self) -> Counter | None:
        return self.fitted.counter

    @property
    def fitting(self) -> Fitting | None:
        return self.fitted.fitting

    @cached_property
    def reason(self) -> str:
        """Why nothing can be counted, or corrected; empty where all is known."""
        sensitivity, specificity, least = self.sensitivity, self.specificity, self.config.least_labelled
        if sensitivity is None or specificity is None or min(sensitivity.trials, specificity.trials) >= least:
            return self.fitted.reason
        return (
            f"{specificity.trials} human and {sensitivity.trials} machine-written test texts are too few to know the "
            f"detector's errors: {least} of each are needed (setting least_labelled)"
        )

    def rng(self, step: str) -> np.random.Generator:
        return self.context.rng(step)

    @cached_property
    def labelled_bins(self) -> LabelledBins | None:
        """Test probabilities of the detector that counts, by class."""
        return None if self.fitting is None else self.fitting.bins(self.fitting.chosen, self.config.bins)

    @cached_property
    def threshold_bin(self) -> int:
        """First bin whose posts are called machine-written."""
        return int(np.ceil(self.config.threshold * self.config.bins - 1e-9))

    @property
    def sensitivity(self) -> Rate | None:
        """True positives of all machine-written test texts."""
        bins = self.labelled_bins
        return None if bins is None else Rate(int(bins.positive[self.threshold_bin :].sum()), int(bins.positive.sum()))

    @property
    def specificity(self) -> Rate | None:
        bins = self.labelled_bins
        return None if bins is None else Rate(int(bins.negative[: self.threshold_bin].sum()), int(bins.negative.sum()))

    @cached_property
    def called(self) -> npt.NDArray[np.int64]:
        """Posts called machine-written, shape (platforms, periods)."""
        called: npt.NDArray[np.int64] = self.stream.periods.counts[:, :, self.threshold_bin :].sum(axis=2)
        return called

    @cached_property
    def labels(self) -> list[str]:
        """Names of the periods."""
        return [period_label(int(code), self.config.unit) for code in self.stream.periods.periods]

    @cached_property
    def before(self) -> npt.NDArray[np.bool_]:
        """Periods that end before the release, shape (periods,)."""
        ends = period_start(self.stream.periods.periods + 1, self.config.unit)
        return np.asarray(ends <= microseconds(self.config.released) + DAY)

    def period_of(self, day: str) -> str:
        """Name of the period that holds a day."""
        return period_label(int(period_codes(np.array([moment(day)]), self.config.unit)[0]), self.config.unit)
