"""When the share changed, and whether it goes on: change point, onset, trend tests, a regression with overdispersion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.measures.series import FEW_POSTS, NO_POST, PlatformSeries, Series
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import TestOutcome, holm
from assaymark.stats.change_points import ChangePoint, change_point
from assaymark.stats.onset import OnsetPoint, onset_point
from assaymark.stats.share_trend import BinomialTrend, binomial_trend
from assaymark.stats.trend import mann_kendall, theil_sen

__all__ = ["Change", "measure_changes"]


Ints = npt.NDArray[np.int64]

LEAST_TREND = 3
"""Periods that a slope rests on at least; periods with a few posts are left out where there are so many others."""

MOST_PERIODS = 150
"""Periods that a change is looked for in; of more, such as days, several in a row are taken together for the search."""


class Change(NamedTuple):
    """What became of one platform.

    Attributes
    ----------
    onset : OnsetPoint
        Where a flat-rise-flat course of the share that is called machine-written leaves its old level.
    step : ChangePoint
        The best single step, as the paper's reader would see it: near the middle of a gradual rise.
    onset_p : float
        Of the onset, Holm-adjusted over platforms.
    trend : TestOutcome
        Mann-Kendall test of the corrected share.
    slope : Estimate
        Theil-Sen slope of the corrected share, in percentage points a period.
    regression : BinomialTrend
        Of the calls, with a knot at the onset where there is one.
    """

    platform: PlatformSeries
    onset: OnsetPoint
    step: ChangePoint
    onset_p: float
    trend: TestOutcome
    slope: Estimate
    regression: BinomialTrend


def measure_changes(study: Study, series: Series) -> tuple[Change, ...]:
    """The changes of every platform; p values of the onsets are adjusted together (Holm)."""
    found = [_change(study, series, platform) for platform in series.platforms]
    p = np.array([change.onset.p_value for change in found])
    tested = np.isfinite(p)
    adjusted = np.full(len(found), np.nan)
    if tested.any():
        adjusted[tested] = holm(p[tested])
    return tuple(change._replace(onset_p=float(value)) for change, value in zip(found, adjusted, strict=True))


def _change(study: Study, series: Series, platform: PlatformSeries) -> Change:
    config = study.config
    shared: dict[str, Any] = {
        "least": config.least_periods,
        "permutations": config.permutations,
        "confidence": config.confidence,
    }
    times = study.stream.periods.periods - (study.stream.periods.periods[0] if len(study.stream.periods.periods) else 0)
    width = max(1, -(-len(times) // MOST_PERIODS))
    called, posts = (_in_time(counts, times // width) for counts in (platform.called, platform.posts))
    onset = onset_point(called, posts, rng=study.rng(f"onset {platform.name}"), **shared)
    step = change_point(called, posts, rng=study.rng(f"step {platform.name}"), **shared)
    onset = replace(
        onset,
        index=_place(onset.index, times, width),
        duration=onset.duration * width,
        support=np.searchsorted(times, onset.support * width),
    )
    step = replace(step, index=_place(step.index, times, width))
    knot = None if onset.index is None or not onset.p_value < 0.05 else float(times[onset.index])
    regression = binomial_trend(
        platform.called, platform.posts, times.astype(np.float64), knot=knot, confidence=config.confidence
    )
    trend, slope = _trend(study, series, platform, times.astype(np.float64))
    return Change(platform, onset, step, float("nan"), trend, slope, regression)


def _in_time(counts: Ints, times: Ints) -> Ints:
    """Counts by period with zeros in the periods that no post is dated in: a rise takes as long as the calendar says."""
    dense = np.zeros(int(times[-1]) + 1 if len(times) else 0, np.int64)
    np.add.at(dense, times, counts)
    return dense


def _place(index: int | None, times: Ints, width: int) -> int | None:
    """The place among the periods with posts."""
    return None if index is None else int(np.searchsorted(times, index * width))


def _trend(study: Study, series: Series, platform: PlatformSeries, times: np.ndarray) -> tuple[TestOutcome, Estimate]:
    """Of the corrected share in the periods in which it is defined; the bootstrap draws carry the detector's errors along."""
    method = study.config.method
    shares = platform.shares[method]
    known = np.array([share.defined for share in shares], dtype=bool)
    found = series.quantifications.get(platform.name)
    if found is None:
        return mann_kendall(np.empty(0)), undefined(study.reason or NO_POST, n=int(known.sum()), unit="percentage points")
    many = known & (platform.posts >= FEW_POSTS)
    known = many if many.sum() >= LEAST_TREND else known
    points, draws = (part[..., : len(known)][..., known] for part in found.course(method))
    trend = mann_kendall(points, times[known])
    if known.sum() < LEAST_TREND:
        reason = f"{int(known.sum())} periods with a corrected share; a slope needs at least {LEAST_TREND}"
        return trend, undefined(reason, n=int(known.sum()), unit="percentage points")
    return trend, theil_sen(points, times[known], draws=draws, confidence=study.config.confidence, unit="percentage points")
