"""What the sections of the report share: the detector that counts, its measured errors, the counts of the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

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

__all__ = ["PlatformErrors", "Study"]


class PlatformErrors(NamedTuple):
    """Test probabilities by class that a platform is corrected by; which class is of its own texts."""

    bins: LabelledBins
    own_human: bool
    own_machine: bool


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
        return None if self.labelled_bins is None else _rates(self.labelled_bins, self.threshold_bin)[0]

    @property
    def specificity(self) -> Rate | None:
        """True negatives of all human test texts."""
        return None if self.labelled_bins is None else _rates(self.labelled_bins, self.threshold_bin)[1]

    @cached_property
    def _platform_errors(self) -> dict[str, PlatformErrors]:
        """Platforms of the stream that have enough labelled texts of their own, of one kind or both."""
        fitting, least = self.fitting, self.config.least_platform
        pooled = self.labelled_bins
        if fitting is None or pooled is None or not least:
            return {}
        rows = fitting.labelled.rows
        codes = {name: code for code, name in rows.platforms.items()}
        found = {}
        for platform in self.stream.periods.platforms:
            if platform not in codes:
                continue
            mine = fitting.bins(fitting.chosen, self.config.bins, where=rows.platform[fitting.test] == codes[platform])
            human, machine = (int(part.sum()) >= least for part in mine)
            if human or machine:
                bins = LabelledBins(mine.negative if human else pooled.negative, mine.positive if machine else pooled.positive)
                found[platform] = PlatformErrors(bins, human, machine)
        return found

    def errors_of(self, platform: str) -> PlatformErrors | None:
        """Labelled texts that a platform is corrected by: its own where there are enough of a kind, else those of all."""
        if self.labelled_bins is None:
            return None
        return self._platform_errors.get(platform) or PlatformErrors(self.labelled_bins, False, False)

    def rates_of(self, platform: str) -> tuple[Rate, Rate] | None:
        """Sensitivity and specificity on a platform, or over all of them by their posts for what is no platform of its own."""
        periods = self.stream.periods
        if platform not in periods.platforms:
            posts = periods.posts.sum(axis=1).tolist()
            return self.rates_over(dict(zip(periods.platforms, posts, strict=True)))
        errors = self.errors_of(platform)
        return None if errors is None else _rates(errors.bins, self.threshold_bin)

    def rates_over(self, posts: Mapping[str, int]) -> tuple[Rate, Rate] | None:
        """Sensitivity and specificity on posts of several platforms, whose own rates are weighed by the posts.

        The trials are those of a single sample with the variance of the weighted mean.
        """
        pooled = self.labelled_bins
        if pooled is None:
            return None
        own = [name for name in posts if name in self._platform_errors and posts[name]]
        if not own:
            return _rates(pooled, self.threshold_bin)
        rates = {name: _rates(self._platform_errors[name].bins, self.threshold_bin) for name in own}
        weights = {name: float(posts[name]) for name in own}
        rest = sum(posts.values()) - sum(weights.values())
        if rest > 0:
            rates[""], weights[""] = _rates(pooled, self.threshold_bin), float(rest)
        return _weighed([rates[name][0] for name in rates], list(weights.values())), _weighed(
            [rates[name][1] for name in rates], list(weights.values())
        )

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


def _weighed(rates: Sequence[Rate], weights: Sequence[float]) -> Rate:
    share = np.array(weights) / sum(weights)
    trials = 1.0 / float(np.sum(share**2 / np.array([rate.trials for rate in rates])))
    return Rate(min(trials * float(share @ [rate.share for rate in rates]), trials), trials)


def _rates(bins: LabelledBins, first_called: int) -> tuple[Rate, Rate]:
    """Sensitivity and specificity when posts from a bin on are called."""
    positive, negative = bins.positive, bins.negative
    return (
        Rate(int(positive[first_called:].sum()), int(positive.sum())),
        Rate(int(negative[:first_called].sum()), int(negative.sum())),
    )
