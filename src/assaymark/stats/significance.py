"""Tests of a difference, each with its effect size: with millions of rows everything is significant, little is large.

Corrections for many tests are in `multiplicity`, the exact test of 2x2 tables in `fisher`; both are offered here too.

References
----------
.. [1] Welch, B. L. (1947). The generalization of "Student's" problem. Biometrika 34, 28-35.
.. [2] Mann, H. B. and Whitney, D. R. (1947). On a test of whether one of two random variables is larger. AMS 18, 50-60.
.. [3] Hedges, L. V. and Olkin, I. (1985). Statistical Methods for Meta-Analysis. Academic Press, chapter 5, eq. 15.
.. [4] Phipson, B. and Smyth, G. K. (2010). Permutation p-values should never be zero. SAGMB 9, 39.
.. [5] McNemar, Q. (1947). Note on the sampling error of the difference between correlated proportions. Psychometrika 12,
   153-157.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from assaymark.errors import ConfigError
from assaymark.result import Estimate, undefined
from assaymark.stats.bootstrap_weights import BLOCK_ITEMS
from assaymark.stats.checks import FloatArray, counts_within, finite_vector, normal_quantile, percent
from assaymark.stats.fisher import EXACT_TOTAL, Alternative, chi_square_yates, fisher_exact
from assaymark.stats.multiplicity import benjamini_hochberg, holm

__all__ = [
    "EXACT_TOTAL",
    "Alternative",
    "RankOutcome",
    "TestOutcome",
    "benjamini_hochberg",
    "chi_square_yates",
    "cohen_d",
    "cohen_d_from_summary",
    "fisher_exact",
    "holm",
    "mann_whitney",
    "mcnemar",
    "permutation_test",
    "sign_test",
    "welch",
    "welch_from_summary",
]


@dataclass(frozen=True)
class TestOutcome:
    """What a test found.

    Attributes
    ----------
    statistic, df, p_value, effect : float
        NaN where the test has none (`df` of a rank test), and all NaN when `reason` says why the test could not be made.
    effect_name : str
        What `effect` is: "Cohen's d", "rank AUC", "mean difference", "share positive".
    n : int
        Observations in all samples.
    alternative : str
    reason : str
        Empty when the test was made.
    """

    __test__ = False  # not a test class, whatever its name suggests to a test collector

    statistic: float
    df: float
    p_value: float
    effect: float
    effect_name: str
    n: int
    alternative: str = "two-sided"
    reason: str = ""

    @property
    def defined(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class RankOutcome(TestOutcome):
    """Outcome of a rank test; `effect` is the rank AUC, P(a > b) + P(a = b) / 2."""

    cliffs_delta: float = math.nan


def _check_alternative(alternative: str) -> None:
    if alternative not in ("two-sided", "greater", "less"):
        raise ConfigError(f"alternative {alternative!r} is none of 'two-sided', 'greater', 'less'")


def _not_made(reason: str, effect_name: str, n: int, alternative: str) -> TestOutcome:
    return TestOutcome(math.nan, math.nan, math.nan, math.nan, effect_name, n, alternative, reason)


def welch(a: Any, b: Any, *, alternative: Alternative = "two-sided") -> TestOutcome:
    """Welch's t test of mean(a) against mean(b), variances not assumed equal ([1]).

    Parameters
    ----------
    a, b : array_like, shapes (n,) and (m,), finite
    alternative : "two-sided", "greater" (mean(a) > mean(b)) or "less"

    Returns
    -------
    TestOutcome
        Effect: Cohen's d with the pooled standard deviation. Not made below two values in a sample or without variation.
    """
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    return welch_from_summary(*_summary(first), *_summary(second), alternative=alternative)


def _summary(values: FloatArray) -> tuple[float, float, int]:
    """Mean, sample standard deviation, n; zeros where there are too few values for them."""
    n = values.size
    return (float(values.mean()) if n else 0.0), (float(values.std(ddof=1)) if n > 1 else 0.0), n


def welch_from_summary(
    mean_a: float,
    sd_a: float,
    n_a: int,
    mean_b: float,
    sd_b: float,
    n_b: int,
    *,
    alternative: Alternative = "two-sided",
) -> TestOutcome:
    """`welch` from the mergeable summaries mean, standard deviation (n - 1) and n of both samples."""
    from scipy.special import stdtr

    _check_alternative(alternative)
    n = n_a + n_b
    if min(n_a, n_b) < 2:
        return _not_made("a sample has fewer than 2 values", "Cohen's d", n, alternative)
    share_a, share_b = sd_a * sd_a / n_a, sd_b * sd_b / n_b
    if share_a + share_b == 0:
        return _not_made("neither sample varies", "Cohen's d", n, alternative)
    t = (mean_a - mean_b) / math.sqrt(share_a + share_b)
    # Welch-Satterthwaite, from shares of the variance so that tiny variances do not underflow when squared
    part_a, part_b = share_a / (share_a + share_b), share_b / (share_a + share_b)
    df = 1.0 / (part_a * part_a / (n_a - 1) + part_b * part_b / (n_b - 1))
    p = float(2 * stdtr(df, -abs(t)) if alternative == "two-sided" else stdtr(df, -t if alternative == "greater" else t))
    d = (mean_a - mean_b) / _pooled_sd(sd_a, n_a, sd_b, n_b)
    return TestOutcome(t, df, p, d, "Cohen's d", n, alternative)


def _pooled_sd(sd_a: float, n_a: int, sd_b: float, n_b: int) -> float:
    return math.sqrt(((n_a - 1) * sd_a * sd_a + (n_b - 1) * sd_b * sd_b) / (n_a + n_b - 2))


def cohen_d(a: Any, b: Any, *, confidence: float = 0.95) -> Estimate:
    """Standardised mean difference (mean(a) - mean(b)) / pooled SD, with the large-sample interval of [3].

    Returns
    -------
    Estimate
        n is the number of values in both samples. Undefined below two values in a sample, or when neither varies.
    """
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    return cohen_d_from_summary(*_summary(first), *_summary(second), confidence=confidence)


def cohen_d_from_summary(
    mean_a: float, sd_a: float, n_a: int, mean_b: float, sd_b: float, n_b: int, *, confidence: float = 0.95
) -> Estimate:
    """`cohen_d` from the mergeable summaries of both samples."""
    method = f"Cohen's d, pooled SD, Hedges-Olkin {percent(confidence)}"
    n = n_a + n_b
    if min(n_a, n_b) < 2:
        return undefined("a sample has fewer than 2 values", n=n, method=method)
    pooled = _pooled_sd(sd_a, n_a, sd_b, n_b)
    if pooled == 0:
        return undefined("neither sample varies", n=n, method=method)
    d = (mean_a - mean_b) / pooled
    half = normal_quantile(confidence) * math.sqrt(n / (n_a * n_b) + d * d / (2 * n))
    return Estimate(d, d - half, d + half, n, method)


def mann_whitney(a: Any, b: Any, *, alternative: Alternative = "two-sided") -> RankOutcome:
    """Mann-Whitney U test whether values of `a` tend to be larger than those of `b` ([2]).

    Returns
    -------
    RankOutcome
        Statistic: U of `a`. Effect: rank AUC = U / (n m); Cliff's delta = 2 AUC - 1 beside it. p is exact when a sample
        has at most 8 values and nothing is tied, else normal with tie and continuity correction. Not made on an empty
        sample; p = 1 when all values are tied.

    Notes
    -----
    O((n + m) log(n + m)).
    """
    from scipy.stats import mannwhitneyu

    _check_alternative(alternative)
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    n, m = first.size, second.size
    if n == 0 or m == 0:
        lost = _not_made("a sample is empty", "rank AUC", n + m, alternative)
        return RankOutcome(**vars(lost))
    test = mannwhitneyu(first, second, alternative=alternative)
    # the normal approximation has no variance when everything is tied: no evidence either way
    p = 1.0 if math.isnan(test.pvalue) else float(test.pvalue)
    auc = float(test.statistic) / (n * m)
    return RankOutcome(float(test.statistic), math.nan, p, auc, "rank AUC", n + m, alternative, cliffs_delta=2 * auc - 1)


def sign_test(differences: Any, *, alternative: Alternative = "two-sided") -> TestOutcome:
    """Exact sign test that paired differences are as often positive as negative.

    Zero differences are left out (Dixon and Mood). Effect: share of positive among the non-zero differences; the statistic
    is their number and n counts the non-zero differences. Not made when all are zero.
    """
    from scipy.special import bdtr

    _check_alternative(alternative)
    values = finite_vector(differences, "differences")
    positive, n = int(np.sum(values > 0)), int(np.sum(values != 0))
    if n == 0:
        return _not_made("no difference is other than 0", "share positive", 0, alternative)
    at_least, at_most = (float(bdtr(k, n, 0.5)) for k in (n - positive, positive))
    p = {"greater": at_least, "less": at_most, "two-sided": min(1.0, 2 * min(at_least, at_most))}[alternative]
    return TestOutcome(float(positive), math.nan, p, positive / n, "share positive", n, alternative)


def mcnemar(b: int, c: int, *, alternative: Alternative = "two-sided") -> TestOutcome:
    """Exact McNemar test that two classifiers are right equally often on the same items ([5], with the binomial distribution).

    Parameters
    ----------
    b, c : int, >= 0
        Discordant pairs: items that only the first, and items that only the second classifier got right.
    alternative : "two-sided", "greater" (the first is right more often) or "less"

    Returns
    -------
    TestOutcome
        Statistic: b. Effect: b / (b + c), the share of the discordant items that the first got right; n = b + c. Not made
        when the two never differ.

    Notes
    -----
    Items on which both are right, or both wrong, carry no information about the difference. Given b + c, b is binomial with
    probability 1/2 under the null hypothesis, as in `sign_test`.
    """
    from scipy.special import bdtr

    _check_alternative(alternative)
    counts_within([b, c], b + c, name="discordant pairs")
    n = int(b + c)
    if n == 0:
        return _not_made("the two never differ", "share of discordant", 0, alternative)
    at_least, at_most = (float(bdtr(k, n, 0.5)) for k in (c, b))
    p = {"greater": at_least, "less": at_most, "two-sided": min(1.0, 2 * min(at_least, at_most))}[alternative]
    return TestOutcome(float(b), math.nan, p, b / n, "share of discordant", n, alternative)


def permutation_test(
    a: Any,
    b: Any,
    *,
    rng: np.random.Generator,
    resamples: int = 9999,
    paired: bool = False,
    alternative: Alternative = "two-sided",
) -> TestOutcome:
    """Permutation test of the difference of means; sign flips of the pairs when `paired`.

    Parameters
    ----------
    a, b : array_like, shapes (n,) and (m,), finite
    rng : numpy.random.Generator
    resamples : int
        Random permutations; the observed one is added, so p >= 1 / (resamples + 1) ([4]).

    Returns
    -------
    TestOutcome
        Statistic and effect: mean(a) - mean(b).

    Notes
    -----
    O(resamples * (n + m)) in blocks of bounded memory; O(n + m + resamples) for 0/1 values.
    """
    _check_alternative(alternative)
    if resamples < 1:
        raise ConfigError(f"resamples = {resamples}: a permutation test needs at least 1")
    first, second = finite_vector(a, "a"), finite_vector(b, "b")
    if paired and first.shape != second.shape:
        raise ValueError(f"pairs of {first.size} and {second.size} values")
    n = first.size if paired else first.size + second.size
    if min(first.size, second.size) == 0 or n < 2:
        return _not_made("a permutation needs at least 2 values, with some in each sample", "mean difference", n, alternative)
    draws = _flipped(first - second, rng, resamples) if paired else _permuted(first, second, rng, resamples)
    observed = float(first.mean() - second.mean())
    # the same sum in another order differs in its last digits: such a permutation is as extreme as the observed one
    slack = 1e-12 * (float(np.abs(first).max()) + float(np.abs(second).max()))
    extreme = {
        "greater": draws >= observed - slack,
        "less": draws <= observed + slack,
        "two-sided": np.abs(draws) >= abs(observed) - slack,
    }[alternative]
    p = (1 + int(extreme.sum())) / (1 + resamples)
    return TestOutcome(observed, math.nan, p, observed, "mean difference", n, alternative)


def _flipped(differences: FloatArray, rng: np.random.Generator, resamples: int) -> FloatArray:
    rows = max(1, BLOCK_ITEMS // differences.size)
    blocks = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    signs = (rng.integers(0, 2, size=(count, differences.size), dtype=np.int8) * 2 - 1 for count in blocks)
    return np.concatenate([sign @ differences for sign in signs]) / differences.size


def _permuted(first: FloatArray, second: FloatArray, rng: np.random.Generator, resamples: int) -> FloatArray:
    """Differences of means after random relabelling, from the sum that falls to the first sample."""
    pooled = np.concatenate([first, second])
    n, m, total = first.size, second.size, float(pooled.sum())
    if np.all((pooled == 0) | (pooled == 1)):
        ones = int(total)
        sums = rng.hypergeometric(ones, n + m - ones, n, size=resamples).astype(np.float64)
    else:
        rows = max(1, BLOCK_ITEMS // pooled.size)
        blocks = [min(rows, resamples - start) for start in range(0, resamples, rows)]
        tiles = (np.tile(pooled, (count, 1)) for count in blocks)
        sums = np.concatenate([rng.permuted(tile, axis=1)[:, :n].sum(axis=1) for tile in tiles])
    return sums / n - (total - sums) / m
