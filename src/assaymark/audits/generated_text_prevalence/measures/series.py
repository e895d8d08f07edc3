"""The share of machine-written posts by platform and period, by every method, from one set of joint bootstrap draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import newcombe, wilson
from assaymark.stats.prevalence import FloorAdjusted, Quantification, Rate, floor_adjusted, quantify

__all__ = ["ALL", "NO_POST", "PlatformSeries", "Series", "measure_series", "name_of"]

Ints = npt.NDArray[np.int64]

NO_POST = "no post is counted"
ALL = "all platforms"
"""Name of the sum over platforms, where there is more than one."""

FEW_POSTS = 20
"""A last period with fewer posts (a file that ends on the second of a month) says nothing of its own."""


@dataclass(frozen=True)
class PlatformSeries:
    """One platform.

    Attributes
    ----------
    posts, called : int64 arrays, shape (periods,)
        Counted posts and those called machine-written.
    before : bool array, shape (periods,)
        Periods that end by the day of the release.
    shares : dict of method to list of Estimate
        One for each period.
    overall : dict of method to Estimate
        Of all posts together.
    rise : Estimate
        Share of the posts since the release minus that before it, by the main method.
    floor : Estimate
        Share called machine-written before the release: all of them are errors.
    above_floor : list of Estimate
        Share called machine-written minus the floor, in percentage points, for each period.
    floor_adjusted : list of Estimate
        Corrected share with the floor as false positive rate; the periods before the release are undefined.
    """

    name: str
    posts: Ints
    called: Ints
    before: npt.NDArray[np.bool_]
    shares: dict[str, list[Estimate]]
    overall: dict[str, Estimate]
    rise: Estimate
    floor: Estimate
    above_floor: list[Estimate]
    floor_adjusted: list[Estimate]

    @property
    def floor_rate(self) -> Rate:
        return Rate(int(self.called[self.before].sum()), int(self.posts[self.before].sum()))

    def last(self, method: str) -> tuple[int, Estimate] | None:
        """The last period with posts, if possible with more than a few, and its share."""
        many = np.flatnonzero(self.posts >= FEW_POSTS)
        seen = many if many.size else np.flatnonzero(self.posts)
        return (int(seen[-1]), self.shares[method][int(seen[-1])]) if seen.size else None


@dataclass(frozen=True)
class Series:
    """All platforms, in alphabetical order, and their sum last where there are several.

    Attributes
    ----------
    quantification : Quantification or None
        Joint draws of all cells; `cells` says where a platform's periods are.
    """

    platforms: tuple[PlatformSeries, ...]
    quantification: Quantification | None
    cells: dict[str, slice]


def name_of(platform: str) -> str:
    """The platform in the name of an estimate."""
    return "_".join(platform.lower().split())


def measure_series(study: Study) -> Series:
    """Every cell by every method; without labelled texts only what needs no correction."""
    periods = study.stream.periods
    names = list(periods.platforms)
    counts = [periods.counts[row] for row in range(len(names))]
    if len(names) > 1:
        names.append(ALL)
        counts.append(periods.counts.sum(axis=0))
    before = study.before
    cells: list[Ints] = []
    places: dict[str, slice] = {}
    for name, table in zip(names, counts, strict=True):
        places[name] = slice(len(cells), len(cells) + len(table))
        cells += [*table, table.sum(axis=0), table[before].sum(axis=0), table[~before].sum(axis=0)]
    found = _quantified(study, np.array(cells, np.int64).reshape(len(cells), study.config.bins))
    series = [_platform(study, name, table, found, places[name]) for name, table in zip(names, counts, strict=True)]
    return Series(tuple(series), found, places)


def _quantified(study: Study, cells: Ints) -> Quantification | None:
    labelled, config = study.labelled_bins, study.config
    if labelled is None or study.reason or not len(cells):
        return None
    return quantify(
        labelled,
        cells,
        rng=study.rng("prevalence"),
        methods=config.methods,
        threshold=study.threshold_bin / config.bins,
        resamples=config.resamples,
        confidence=config.confidence,
    )


def _platform(study: Study, name: str, table: Ints, found: Quantification | None, place: slice) -> PlatformSeries:
    config, before = study.config, study.before
    posts, called = table.sum(axis=1), table[:, study.threshold_bin :].sum(axis=1)
    stop = place.stop
    shares: dict[str, list[Estimate]] = {}
    overall: dict[str, Estimate] = {}
    for method in config.methods:
        if found is not None:
            shares[method] = found.estimates[method][place]
            overall[method] = found.estimates[method][stop]
        elif method == "cc" and study.counter is not None:
            shares[method] = [wilson(int(k), int(n), confidence=config.confidence) for k, n in zip(called, posts, strict=True)]
            overall[method] = wilson(int(called.sum()), int(posts.sum()), confidence=config.confidence)
        else:
            lost = undefined(study.reason, n=int(posts.sum()), unit="share")
            shares[method], overall[method] = [undefined(study.reason, n=int(n), unit="share") for n in posts], lost
        if not posts.sum():
            overall[method] = undefined(study.reason or NO_POST, unit="share")
    floor = Rate(int(called[before].sum()), int(posts[before].sum()))
    beside = [
        _beside_floor(study, int(k), int(n), floor, bool(early)) for k, n, early in zip(called, posts, before, strict=True)
    ]
    return PlatformSeries(
        name,
        posts,
        called,
        before,
        shares,
        overall,
        _rise(study, found, stop, posts),
        _floor(study, floor),
        [item.above_floor for item in beside],
        [item.corrected for item in beside],
    )


def _rise(study: Study, found: Quantification | None, stop: int, posts: Ints) -> Estimate:
    n = int(posts.sum())
    if found is None:
        return undefined(study.reason, n=n, unit="percentage points")
    if not n:
        return undefined(NO_POST, unit="percentage points")
    for part, word in ((posts[study.before], "before"), (posts[~study.before], "since")):
        if not part.sum():
            return undefined(f"no post is dated {word} the release on {study.config.released}", n=n, unit="percentage points")
    for share in (found.estimates[study.config.method][stop + part] for part in (1, 2)):
        if not share.defined:
            return undefined(share.reason, n=n, unit="percentage points")
    return found.difference(study.config.method, stop + 2, stop + 1)


def _floor(study: Study, floor: Rate) -> Estimate:
    if not study.stream.periods.posts.sum():
        return undefined(NO_POST, unit="share")
    if not floor.trials:
        return undefined(f"no post is dated before the release on {study.config.released}", unit="share")
    return wilson(floor.successes, floor.trials, confidence=study.config.confidence)


def _beside_floor(study: Study, called: int, posts: int, floor: Rate, early: bool) -> FloorAdjusted:
    """Share called minus the floor, and Rogan and Gladen's with the stream's own false positive rate."""
    sensitivity = study.sensitivity
    lack = "no post is dated before the release" if not floor.trials else "no posts" if not posts else ""
    why = lack or ("the period gives the floor itself" if early else study.reason)
    lost = undefined(why or "no detector", n=posts, unit="share")
    if lack:
        return FloorAdjusted(replace(lost, unit="percentage points"), lost)
    if early or sensitivity is None or study.reason:
        above = newcombe(called, posts, floor.successes, floor.trials, confidence=study.config.confidence)
        return FloorAdjusted(above, lost)
    return floor_adjusted(Rate(called, posts), floor, sensitivity, confidence=study.config.confidence)
