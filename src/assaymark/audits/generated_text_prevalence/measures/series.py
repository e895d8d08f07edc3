"""The share of machine-written posts by platform and period, by every method, from one set of joint bootstrap draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import newcombe, wilson
from assaymark.stats.checks import normal_quantile
from assaymark.stats.prevalence import FloorAdjusted, Quantification, Rate, floor_adjusted, mixed_cells, quantify

__all__ = ["ALL", "CLAIM_LEVEL", "FEW_POSTS", "NO_POST", "PlatformSeries", "Series", "measure_series", "name_of"]

Ints = npt.NDArray[np.int64]

NO_POST = "no post is counted"
ALL = "all platforms"
"""Name of the sum over platforms, where there is more than one."""

FEW_POSTS = 20
"""A last period with fewer posts (a file that ends on the second of a month) says nothing of its own."""

CLAIM_LEVEL = 0.01
"""Chance of a warning about any platform where there is nothing to warn of: it takes more than a 95 % interval without 0."""


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
    risen : bool
        That rise is above 0 at `CLAIM_LEVEL` shared among the platforms.
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
    risen: bool
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
    quantifications : dict of platform to Quantification
        Joint draws of its periods, then of all of them, of those before the release and of those since; empty where nothing is
        corrected.
    """

    platforms: tuple[PlatformSeries, ...]
    quantifications: dict[str, Quantification]


def name_of(platform: str) -> str:
    """The platform in the name of an estimate."""
    return "_".join(platform.lower().split())


def measure_series(study: Study) -> Series:
    """Every cell by every method; without labelled texts only what needs no correction."""
    periods = study.stream.periods
    tables = {name: periods.counts[row] for row, name in enumerate(periods.platforms)}
    if len(tables) > 1:
        tables[ALL] = periods.counts.sum(axis=0)
    found = _quantified(study, tables)
    single = len(periods.platforms)
    return Series(tuple(_platform(study, name, table, found.get(name), single) for name, table in tables.items()), found)


def _quantified(study: Study, tables: Mapping[str, Ints]) -> dict[str, Quantification]:
    """Every platform by its own labelled texts where it has enough, the others together by all of them.

    Platforms that share labelled texts share their resamples. Where some platform has its own, the sum of all is the mean of
    the platforms by posts, since the errors of the detector on the sum are nobody's.
    """
    if study.labelled_bins is None or study.reason or not len(study.labels):
        return {}
    own = [name for name in tables if (errors := study.errors_of(name)) and (errors.own_human or errors.own_machine)]
    together = [name for name in tables if name not in own and not (own and name == ALL)]
    found = {name: _corrected(study, name, [tables[name]]) for name in own}
    if together:
        pooled = _corrected(study, ALL, [tables[name] for name in together])
        size = len(study.labels) + 3
        found |= {name: pooled.part(slice(i * size, (i + 1) * size)) for i, name in enumerate(together)}
    if own and ALL in tables:
        found[ALL] = mixed_cells([found[name] for name in tables if name != ALL])
    return found


def _corrected(study: Study, name: str, tables: Sequence[Ints]) -> Quantification:
    """Periods of some platforms, each followed by the sums of all, of those before the release, and of those since."""
    config, before, errors = study.config, study.before, study.errors_of(name)
    assert errors is not None
    sums = [(table.sum(axis=0), table[before].sum(axis=0), table[~before].sum(axis=0)) for table in tables]
    cells = np.concatenate([np.concatenate([table, np.stack(three)]) for table, three in zip(tables, sums, strict=True)])
    return quantify(
        errors.bins,
        cells,
        rng=study.rng(f"prevalence {name}"),
        methods=config.methods,
        threshold=study.threshold_bin / config.bins,
        resamples=config.resamples,
        confidence=config.confidence,
    )


def _platform(study: Study, name: str, table: Ints, found: Quantification | None, platforms: int) -> PlatformSeries:
    config, before = study.config, study.before
    posts, called = table.sum(axis=1), table[:, study.threshold_bin :].sum(axis=1)
    stop = len(posts)
    shares: dict[str, list[Estimate]] = {}
    overall: dict[str, Estimate] = {}
    for method in config.methods:
        if found is not None:
            shares[method] = found.estimates[method][:stop]
            overall[method] = found.estimates[method][stop]
        elif method == "cc" and study.counter is not None:
            shares[method] = [wilson(int(k), int(n), confidence=config.confidence) for k, n in zip(called, posts, strict=True)]
            overall[method] = wilson(int(called.sum()), int(posts.sum()), confidence=config.confidence)
        else:
            lost = undefined(study.reason or NO_POST, n=int(posts.sum()), unit="share")
            shares[method], overall[method] = [undefined(study.reason, n=int(n), unit="share") for n in posts], lost
        if not posts.sum():
            overall[method] = undefined(study.reason or NO_POST, unit="share")
    floor = Rate(int(called[before].sum()), int(posts[before].sum()))
    beside = [
        _beside_floor(study, name, int(k), int(n), floor, bool(early))
        for k, n, early in zip(called, posts, before, strict=True)
    ]
    rise = _rise(study, found, stop, posts)
    return PlatformSeries(
        name,
        posts,
        called,
        before,
        shares,
        overall,
        rise,
        found is not None and _risen(found, study.config.method, rise, stop, platforms),
        _floor(study, floor),
        [item.above_floor for item in beside],
        [item.corrected for item in beside],
    )


def _rise(study: Study, found: Quantification | None, stop: int, posts: Ints) -> Estimate:
    n = int(posts.sum())
    if found is None or not n:
        return undefined(study.reason or NO_POST, n=n, unit="percentage points")
    for part, word in ((posts[study.before], "before"), (posts[~study.before], "since")):
        if not part.sum():
            return undefined(f"no post is dated {word} the release on {study.config.released}", n=n, unit="percentage points")
    for share in (found.estimates[study.config.method][stop + part] for part in (1, 2)):
        if not share.defined:
            return undefined(share.reason, n=n, unit="percentage points")
    return found.difference(study.config.method, stop + 2, stop + 1)


def _risen(found: Quantification, method: str, rise: Estimate, stop: int, platforms: int) -> bool:
    """Resamples are too few for the quantiles of so small a level; the normal law with their spread has them."""
    if rise.value is None or rise.low is None or rise.low <= 0:
        return False
    _, draws = found.course(method)
    spread = float(np.nanstd(draws[:, stop + 2] - draws[:, stop + 1]))
    return rise.value > spread * normal_quantile(1.0 - CLAIM_LEVEL / platforms)


def _floor(study: Study, floor: Rate) -> Estimate:
    if not study.stream.periods.posts.sum():
        return undefined(NO_POST, unit="share")
    if not floor.trials:
        return undefined(f"no post is dated before the release on {study.config.released}", unit="share")
    return wilson(floor.successes, floor.trials, confidence=study.config.confidence)


def _beside_floor(study: Study, name: str, called: int, posts: int, floor: Rate, early: bool) -> FloorAdjusted:
    """Share called minus the floor, and Rogan and Gladen's with the stream's own false positive rate."""
    rates = study.rates_of(name)
    lack = "no post is dated before the release" if not floor.trials else "no posts" if not posts else ""
    why = lack or ("the period gives the floor itself" if early else study.reason)
    lost = undefined(why or "no detector", n=posts, unit="share")
    if lack:
        return FloorAdjusted(replace(lost, unit="percentage points"), lost)
    if early or rates is None or study.reason:
        above = newcombe(called, posts, floor.successes, floor.trials, confidence=study.config.confidence)
        return FloorAdjusted(above, lost)
    return floor_adjusted(Rate(called, posts), floor, rates[0], confidence=study.config.confidence)
