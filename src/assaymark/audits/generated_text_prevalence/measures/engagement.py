"""Do machine-written posts get less from others? Medians, dominance, ratios of means at equal month, topic and followers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.method.membership import memberships
from assaymark.audits.generated_text_prevalence.probes.rows import SampledPosts
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Estimate, undefined
from assaymark.stats import cliff_delta, mann_whitney, median_estimate, weighted_cliff_delta
from assaymark.stats.count_regression import MEMBERSHIP, log_linear, negative_binomial
from assaymark.stats.prevalence import calibrate_bins, score_bins
from assaymark.stats.regression_columns import dummies

__all__ = ["Engagement", "measure_engagement", "stream_memberships"]

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
    clusters: npt.NDArray[np.int64] | None
    lack: str


def measure_engagement(study: Study, rows: SampledPosts, share: Estimate) -> list[Engagement]:
    """Every count that the posts have; `share` is that of the machine-written ones among all posts."""
    chosen = np.arange(min(MOST_REGRESSED, len(rows.probability)))
    design, names = controls(rows, chosen)
    lack = _lack(study, share)
    membership = None if lack else stream_memberships(study, rows, chosen)
    setting = _Rows(rows.probability[chosen], design, names, membership, _clusters(rows, chosen), lack)
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
        *_ratios(study, rows, known, y, called),
    )


def _ratios(
    study: Study, rows: _Rows, known: npt.NDArray[np.bool_], y: Floats, called: npt.NDArray[np.bool_]
) -> tuple[Estimate, Estimate, Estimate]:
    confidence = study.config.confidence
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
    return hard.ratios[CALLED], linear.ratios[CALLED], mixed.ratios[MEMBERSHIP]


def controls(rows: SampledPosts, chosen: npt.NDArray[np.int64]) -> tuple[Floats, tuple[str, ...]]:
    """Platform, period, topic and log followers of some posts, as columns without an intercept."""
    parts: list[Floats] = []
    names: list[str] = []
    for name, codes in (("platform", rows.platform), ("period", rows.period), ("topic", rows.topic)):
        found = dummies(codes[chosen].astype(str), name=name)
        parts.append(found.columns)
        names += found.names
    followers = rows.followers[chosen]
    if np.isfinite(followers).any():
        middle = float(np.nanmedian(np.log1p(np.maximum(followers, 0))))
        parts.append(np.where(np.isfinite(followers), np.log1p(np.maximum(followers, 0)), middle)[:, None])
        names.append("log followers")
        if not np.isfinite(followers).all():
            parts.append(np.isnan(followers).astype(np.float64)[:, None])
            names.append("followers not known")
    return np.concatenate(parts, axis=1), tuple(names)


def _clusters(rows: SampledPosts, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Authors, where they are known: an author's posts are alike. A post without one is on its own."""
    author = rows.author[chosen]
    if not author.any():
        return None
    return np.where(author > 0, author, -1 - np.arange(len(author)))


def stream_memberships(study: Study, rows: SampledPosts, chosen: npt.NDArray[np.int64]) -> Floats:
    """Probability that each post is machine-written, given its score, platform, period, topic and followers."""
    ratio = np.empty(len(chosen))
    for code in np.unique(rows.platform[chosen]):
        errors = study.errors_of(rows.platforms.get(int(code), ""))
        assert errors is not None
        here, bins = rows.platform[chosen] == code, errors.bins
        posterior = np.clip(calibrate_bins(bins)[score_bins(rows.probability[chosen][here], study.config.bins)], 1e-9, 1 - 1e-9)
        prior = float(bins.positive.sum() / (bins.positive.sum() + bins.negative.sum()))
        ratio[here] = posterior / (1 - posterior) * (1 - prior) / prior
    design, names = controls(rows, chosen)
    cells = dummies(
        [f"{p} {t}" for p, t in zip(rows.platform[chosen], rows.period[chosen], strict=True)], name="cell", most=200
    )
    rest = [i for i, name in enumerate(names) if not name.startswith(("platform=", "period="))]
    return memberships(ratio, np.concatenate([cells.columns, design[:, rest]], axis=1)).probability
