"""Hate content rate of the texts, and whether scale dilutes it ("On Hate Scaling Laws for Data-Swamps")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.method.admission import ShareCurve, share_curve
from assaymark.result import Estimate, undefined
from assaymark.stats import (
    TestOutcome,
    bootstrap_ratio,
    cohen_d,
    cohen_d_from_summary,
    mann_whitney,
    mean_from_summary,
    risk_ratio,
    welch,
    wilson,
)

__all__ = [
    "PAPER_LABELS",
    "PAPER_THETA",
    "Exceedance",
    "NexusRow",
    "ScaleComparison",
    "ShardComparison",
    "ShardSpread",
    "compare_scale",
    "compare_shards",
    "exceedance",
    "mean_score",
    "nexus",
    "rate_curve",
    "row_effect",
    "shard_bootstrap",
    "shard_spread",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PAPER_LABELS = ("hateful", "targeted", "aggressive")
PAPER_THETA: tuple[float, ...] = tuple(float(x) for x in np.linspace(0.1, 0.8, 13))


class Exceedance(NamedTuple):
    """Sufficient statistics of scored texts; all entries add up over batches, shards and machines.

    Attributes
    ----------
    counts : int64 (n_labels + 1, n_theta), texts with P_j > theta; the last row is max_j P_j ("any")
    n : texts in the denominator
    unscored : texts without a score (empty, or the model gave NaN), in n or not as chosen
    sums, squares : float64 (n_labels + 1,), of the scores of the n texts
    """

    counts: Counts
    n: int
    unscored: int
    sums: Floats
    squares: Floats


def exceedance(
    scores: npt.ArrayLike, *, theta: Sequence[float] = PAPER_THETA, missing: Literal["zero", "exclude"] = "zero"
) -> Exceedance:
    """Count the texts above each threshold.

    Parameters
    ----------
    scores : array, shape (n, n_labels), in [0, 1]
        NaN in any label marks a text that could not be scored.
    missing : {"zero", "exclude"}
        Whether such a text counts as score 0 (the rate is then per sampled row, as in the paper) or leaves n.

    Raises
    ------
    ValueError
        A score outside [0, 1].

    Notes
    -----
    Strictly above: P > theta. O(n log n_theta).
    """
    p = np.asarray(scores, dtype=np.float64)
    if p.ndim != 2:
        raise ValueError("scores are a matrix of shape (texts, labels)")
    lost = np.asarray(np.isnan(p).any(axis=1))
    p = np.where(lost[:, None], 0.0, p) if missing == "zero" else p[~lost]
    if p.size and (p.min() < 0 or p.max() > 1):
        raise ValueError("scores are probabilities in [0, 1]")
    p = np.column_stack([p, p.max(axis=1, initial=0.0)])
    grid = np.asarray(theta, dtype=np.float64)
    order = np.argsort(grid)
    passed = np.searchsorted(grid[order], p, side="left")  # thresholds strictly below the score
    counts = np.empty((p.shape[1], len(grid)), dtype=np.int64)
    for label in range(p.shape[1]):
        at = np.bincount(passed[:, label], minlength=len(grid) + 1)
        counts[label, order] = at[::-1].cumsum()[::-1][1:]
    return Exceedance(counts, len(p), int(lost.sum()), p.sum(axis=0), (p**2).sum(axis=0))


def rate_curve(counts: npt.ArrayLike, n: int, *, confidence: float = 0.95) -> ShareCurve:
    """HCR_j(theta) for all labels and thresholds, shape of `counts`; `curve.at((label, point))` is an estimate.

    Shares are fractions; the paper prints percent.
    """
    return share_curve(counts, n, confidence=confidence)


def mean_score(total: float, squares: float, n: int, *, confidence: float = 0.95) -> Estimate:
    """Mean probability with a t interval, from sum and sum of squares."""
    if n < 2:
        return undefined("fewer than 2 scored texts", n=n, unit="probability")
    return mean_from_summary(total / n, _sd(total, squares, n), n, confidence=confidence, unit="probability")


def _sd(total: float, squares: float, n: int) -> float:
    return math.sqrt(max(0.0, (squares - total * total / n) / (n - 1)))


class ScaleComparison(NamedTuple):
    """The larger dataset B against the smaller A at one threshold.

    Attributes
    ----------
    rate_a, rate_b : Estimate, Wilson
    conservative : Estimate
        delta_CI = (L_B - U_A) / U_A as a fraction: the increase that the two intervals cannot take back. Value and limits span
        delta_CI, the plain increase and (U_B - L_A) / L_A; `value` is the plain one.
    delta_ci : float, percent
        The follow-up paper's number, 100 * (L_B - U_A) / U_A; negative when the intervals overlap.
    increase : float, percent
        100 * (p_B / p_A - 1).
    ratio : Estimate, p_B / p_A with log-normal limits
    excess : int
        floor(N_B * (L_B - U_A)): rows of B beyond what extrapolating A predicts; negative where nothing is in excess.
    """

    rate_a: Estimate
    rate_b: Estimate
    conservative: Estimate
    delta_ci: float
    increase: float
    ratio: Estimate
    excess: int


def compare_scale(k_a: int, n_a: int, k_b: int, n_b: int, *, total_b: float, confidence: float = 0.95) -> ScaleComparison:
    """Does the rate grow from A to B? (delta_CI, plain ratio and excess count of the scaling paper)

    Parameters
    ----------
    k_a, n_a, k_b, n_b : int
        Texts above the threshold and texts sampled.
    total_b : float
        Rows of dataset B (2.32e9 for LAION-2B-en).

    Raises
    ------
    ValueError
        An empty sample.
    """
    a, b = wilson(k_a, n_a, confidence=confidence), wilson(k_b, n_b, confidence=confidence)
    if a.high is None or b.low is None or a.low is None or b.high is None:
        raise ValueError("both samples need texts")
    delta = (b.low - a.high) / a.high
    plain = (k_b / n_b) / (k_a / n_a) - 1 if k_a else math.inf
    most = (b.high - a.low) / a.low if a.low > 0 else math.inf
    method = f"extremes of two Wilson {confidence:.0%} intervals"
    conservative = Estimate(plain, min(delta, plain), max(most, plain), n_a + n_b, method, "ratio")
    ratio = risk_ratio(k_b, n_b, k_a, n_a, confidence=confidence)
    return ScaleComparison(a, b, conservative, 100 * delta, 100 * plain, ratio, math.floor(total_b * (b.low - a.high)))


class ShardSpread(NamedTuple):
    """Rates per shard and how uniform they are: share of shards within mean +- 2 SD (about 95 % if sharding is at random).

    `dispersion` is the variance of the rates over the binomial variance expected from sampling alone; far above 1 means that
    rows of a shard are alike and row-level intervals are too narrow.
    """

    rates: Floats
    mean: float
    sd: float
    within: Estimate
    dispersion: float


def shard_spread(counts: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95) -> ShardSpread:
    """Uniform-sharding check from counts per shard, arrays (n_shards,). Shards without texts are left out."""
    k, trials = np.asarray(counts, np.int64), np.asarray(n, np.int64)
    k, trials = k[trials > 0], trials[trials > 0]
    rates = k / trials
    if len(rates) < 2:
        nothing = undefined("fewer than 2 shards with texts", n=len(rates), unit="share")
        return ShardSpread(rates, float(rates.mean()) if len(rates) else math.nan, math.nan, nothing, math.nan)
    mean, sd = float(rates.mean()), float(rates.std(ddof=1))
    within = wilson(int((np.abs(rates - mean) <= 2 * sd).sum()), len(rates), confidence=confidence)
    pooled = k.sum() / trials.sum()
    expected = float((pooled * (1 - pooled) / trials).mean())
    return ShardSpread(rates, mean, sd, within, sd**2 / expected if expected > 0 else math.nan)


class ShardComparison(NamedTuple):
    """Shard rates of B against A, alternative "B greater"."""

    welch: TestOutcome
    mann_whitney: TestOutcome
    cohen_d: Estimate


def compare_shards(rates_a: npt.ArrayLike, rates_b: npt.ArrayLike, *, confidence: float = 0.95) -> ShardComparison:
    """Welch's t test (one-sided, Welch-Satterthwaite df), Mann-Whitney and Cohen's d (pooled SD) over shard rates.

    Notes
    -----
    The scaling paper prints t = 14.48, df = 53.32, d = 2.64 for the hateful label of 128 against 32 shards. Its per-shard
    rates are not published with it. But t and df fix the ratio of the two variances, and with it d: shards made to give the
    published t and df give the published d, for all three labels.
    """
    a, b = np.asarray(rates_a, np.float64), np.asarray(rates_b, np.float64)
    return ShardComparison(welch(b, a, alternative="greater"), mann_whitney(b, a, alternative="greater"), cohen_d(b, a))


def row_effect(a: Exceedance, b: Exceedance, *, label: int = -1, confidence: float = 0.95) -> Estimate:
    """Cohen's d of the scores of B against A over rows, from their sums.

    With millions of rows every difference is significant; this says whether it is large. Between LAION-2B-en and LAION-400M
    it is 0.0061 on max P: significant, and tiny.
    """
    if min(a.n, b.n) < 2:
        return undefined("a sample has fewer than 2 scored texts", n=a.n + b.n)
    (mean_a, sd_a), (mean_b, sd_b) = (
        (float(x.sums[label]) / x.n, _sd(float(x.sums[label]), float(x.squares[label]), x.n)) for x in (a, b)
    )
    return cohen_d_from_summary(mean_b, sd_b, b.n, mean_a, sd_a, a.n, confidence=confidence)


def shard_bootstrap(
    counts: npt.ArrayLike, n: npt.ArrayLike, *, rng: np.random.Generator, resamples: int = 1000, confidence: float = 0.95
) -> Estimate:
    """HCR with shards, not rows, as the independent units (rows of one shard, site or crawl are alike)."""
    return bootstrap_ratio(
        np.asarray(counts, np.float64),
        np.asarray(n, np.float64),
        rng=rng,
        resamples=resamples,
        confidence=confidence,
        unit="share",
    )


class NexusRow(NamedTuple):
    """One tag value: texts, mean P_j per label and "any", and P(QF | tag) with QF = max_j P_j > theta."""

    tag: str
    n: int
    mean: tuple[Estimate, ...]
    failed: Estimate


def nexus(
    tags: Sequence[str],
    n: npt.ArrayLike,
    sums: npt.ArrayLike,
    squares: npt.ArrayLike,
    failed: npt.ArrayLike,
    *,
    confidence: float = 0.95,
) -> tuple[NexusRow, ...]:
    """Does hateful text sit where the image tag says NSFW? One row per tag.

    Parameters
    ----------
    n, failed : int array, shape (n_tags,)
        Texts per tag, and those with max_j P_j > theta.
    sums, squares : array, shape (n_tags, n_labels + 1)
        Of the scores; last column "any".
    """
    n, failed = np.asarray(n, np.int64), np.asarray(failed, np.int64)
    sums, squares = np.asarray(sums, np.float64), np.asarray(squares, np.float64)
    rows = []
    for i, tag in enumerate(tags):
        means = tuple(
            mean_score(float(s), float(q), int(n[i]), confidence=confidence) for s, q in zip(sums[i], squares[i], strict=True)
        )
        rows.append(NexusRow(tag, int(n[i]), means, wilson(int(failed[i]), int(n[i]), confidence=confidence)))
    return tuple(rows)
