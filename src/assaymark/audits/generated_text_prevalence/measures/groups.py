"""The share in groups of posts - topics, years, bins of followers - raw and corrected for the detector's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from assaymark.audits.generated_text_prevalence.probes.strata import Stratum
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import newcombe, wilson
from assaymark.stats.prevalence import Rate, rogan_gladen

__all__ = ["Group", "Key", "grouped"]

Key = tuple[str, ...]


class Group(NamedTuple):
    """One group: `called` is the share called machine-written, `corrected` that without the detector's errors.

    `gap` is `called` minus that of all other posts of the same kind, in percentage points, at the level of Bonferroni over the
    groups.
    """

    key: Key
    posts: int
    called: Estimate
    corrected: Estimate
    gap: Estimate


def grouped(study: Study, strata: Iterable[Stratum], key: Callable[[Stratum], Key]) -> list[Group]:
    """Groups of strata with equal keys, the largest first. Groups below the setting `anonymity` are left out."""
    totals: dict[Key, list[int]] = {}
    platforms: dict[Key, dict[str, int]] = {}
    for stratum in strata:
        name = key(stratum)
        total = totals.setdefault(name, [0, 0])
        total[0] += stratum.posts
        total[1] += stratum.called
        by_platform = platforms.setdefault(name, {})
        by_platform[stratum.platform] = by_platform.get(stratum.platform, 0) + stratum.posts
    posts, called = (sum(total[i] for total in totals.values()) for i in (0, 1))
    shown = {name: total for name, total in totals.items() if total[0] >= study.config.anonymity}
    level = 1.0 - (1.0 - study.config.confidence) / max(1, len(shown))
    groups = []
    for name, (n, k) in sorted(shown.items(), key=lambda item: (-item[1][0], item[0])):
        gap = newcombe(k, n, called - k, posts - n, confidence=level)
        groups.append(
            Group(name, n, wilson(k, n, confidence=study.config.confidence), _corrected(study, k, platforms[name]), gap)
        )
    return groups


def _corrected(study: Study, called: int, platforms: Mapping[str, int]) -> Estimate:
    """By the detector's errors on the platforms that the posts are of."""
    posts, rates = sum(platforms.values()), study.rates_over(platforms)
    if rates is None or study.reason:
        return undefined(study.reason, n=posts, unit="share")
    return rogan_gladen(Rate(called, posts), *rates, confidence=study.config.confidence)
