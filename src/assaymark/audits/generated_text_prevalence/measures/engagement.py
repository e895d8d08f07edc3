"""Do machine-written posts get less from others? Medians, dominance, ratios of means at equal month, topic and followers."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.measures.stream_memberships import (
    controls,
    redrawn_memberships,
    stream_memberships,
)
from assaymark.audits.generated_text_prevalence.probes.rows import SampledPosts
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import cliff_delta, mann_whitney, median_estimate, weighted_cliff_delta
from assaymark.stats.checks import normal_quantile
from assaymark.stats.count_regression import MEMBERSHIP, log_linear, negative_binomial

__all__ = ["Engagement", "measure_engagement"]

Floats = npt.NDArray[np.float64]

CALLED = "called machine-written"
MOST_REGRESSED = 60_000
"""Posts that enter a regression: limits are then narrow enough, and the fit takes seconds."""


class Engagement(NamedTuple):
    """One count, such as likes.

    Attributes
    ----------
    machine, human : median of the posts that are called machine-written, and of the others
    delta, p_value : Cliff's delta of the called posts over the others, and Mann-Whitney's p
    missing, negative : posts of the sample without the count, and with one below 0 (votes), which are left out
    called_ratio : mean of the called posts over that of the others, at equal controls (negative binomial)
    geometric_ratio : the same of 1 + count, by least squares on its logarithm
    ratio : machine-written over human posts at equal controls, the detector's errors taken out through memberships; undefined
        where the share is not told from 0, since the mixture would then name the tail of the counts machine-written
    """

    name: str
    posts: int
    missing: int
    negative: int
    machine: Estimate
    human: Estimate
    delta: Estimate
    p_value: float
    called_ratio: Estimate
    geometric_ratio: Estimate
    ratio: Estimate


class _Rows(NamedTuple):
    """What every count is compared with: the first rows of the sample, which are a random part of it."""

    probability: Floats
    design: Floats
    names: tuple[str, ...]
    membership: Floats | None
    redrawn: list[Floats]
    clusters: npt.NDArray[np.int64] | None
    lack: str


def measure_engagement(study: Study, rows: SampledPosts, share: Estimate) -> list[Engagement]:
    """Every count that the posts have; `share` is that of the machine-written ones among all posts."""
    chosen = np.arange(min(MOST_REGRESSED, len(rows.probability)))
    design, names = controls(rows, chosen)
    lack = _lack(study, share)
    membership = None if lack else stream_memberships(study, rows, chosen)
    redrawn = [] if lack else redrawn_memberships(study, rows, rng=study.rng("memberships"))
    setting = _Rows(rows.probability[chosen], design, names, membership, redrawn, _clusters(rows, chosen), lack)
    return [_engagement(study, setting, name, counts[chosen]) for name, counts in rows.engagement.items()]


def _lack(study: Study, share: Estimate) -> str:
    """Why machine-written posts cannot be compared with the others; empty where they can."""
    if study.fitting is None:
        return study.reason
    if share.low is None:
        return share.reason or "the share of machine-written posts is not known"
    return "" if share.low > 0 else "the share of machine-written posts is not told from 0: there may be none to compare"


def _engagement(study: Study, rows: _Rows, name: str, counts: Floats) -> Engagement:
    confidence = study.config.confidence
    known = np.isfinite(counts) & (counts >= 0)
    y, called = counts[known], rows.probability[known] >= study.config.threshold
    if study.config.weights == "posterior" and rows.membership is not None:
        delta = weighted_cliff_delta(y, rows.membership[known], confidence=confidence)
    else:
        delta = cliff_delta(y[called], y[~called], confidence=confidence)
    return Engagement(
        name,
        len(y),
        int((~np.isfinite(counts)).sum()),
        int((counts < 0).sum()),
        median_estimate(y[called], confidence=confidence),
        median_estimate(y[~called], confidence=confidence),
        delta,
        mann_whitney(y[called], y[~called]).p_value,
        *_ratios(study, rows, known, counts, called),
    )


def _ratios(
    study: Study, rows: _Rows, known: npt.NDArray[np.bool_], counts: Floats, called: npt.NDArray[np.bool_]
) -> tuple[Estimate, Estimate, Estimate]:
    confidence, y = study.config.confidence, counts[known]
    if not len(y):
        lost = undefined("no post has this count", unit="ratio")
        return lost, lost, lost
    design = rows.design[known]
    clusters = None if rows.clusters is None else rows.clusters[known]
    columns, names = np.column_stack([called.astype(np.float64), design]), (CALLED, *rows.names)
    hard = negative_binomial(y, columns, names=names, clusters=clusters, confidence=confidence)
    linear = log_linear(y, columns, names=names, clusters=clusters, confidence=confidence)
    if rows.membership is None:
        return hard.ratios[CALLED], linear.ratios[CALLED], undefined(rows.lack, n=len(y), unit="ratio")
    mixed = negative_binomial(
        y, design, names=rows.names, membership=rows.membership[known], clusters=clusters, confidence=confidence
    )
    ratio = _with_labelled_error(mixed.ratios[MEMBERSHIP], study, rows, known, counts)
    return hard.ratios[CALLED], linear.ratios[CALLED], ratio


def _clusters(rows: SampledPosts, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Authors, where they are known: an author's posts are alike. A post without one is on its own."""
    author = rows.author[chosen]
    if not author.any():
        return None
    return np.where(author > 0, author, -1 - np.arange(len(author)))


def _with_labelled_error(ratio: Estimate, study: Study, rows: _Rows, known: npt.NDArray[np.bool_], counts: Floats) -> Estimate:
    """The interval of a ratio widened by what other labelled texts would have made of it.

    The regression takes memberships for known. Redraws of the labelled texts give other memberships, on which the ratio is
    fitted anew; the variance of its logarithm over them is added.
    """
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return ratio
    logs = []
    for membership in rows.redrawn:
        part = known[: len(membership)]
        found = negative_binomial(
            counts[: len(membership)][part], rows.design[: len(membership)][part], names=rows.names, membership=membership[part]
        ).ratios[MEMBERSHIP]
        if found.value is not None:
            logs.append(np.log(found.value))
    if len(logs) < 2:
        return ratio
    z = normal_quantile(study.config.confidence)
    spread = z * float(np.std(logs, ddof=1))
    low = ratio.value * float(np.exp(-np.hypot(np.log(ratio.value / ratio.low), spread)))
    high = ratio.value * float(np.exp(np.hypot(np.log(ratio.high / ratio.value), spread)))
    return replace(ratio, low=low, high=high, method=f"{ratio.method}, {len(logs)} redraws of the labelled texts")
