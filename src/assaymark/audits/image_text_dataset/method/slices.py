"""The longitudinal term audit: does a term attract unsafe rows, and does the tag notice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import Limits, benjamini_hochberg, fisher_exact, ratio_limits, ratio_points, wilson, wilson_limits

__all__ = ["PAPER_UNSAFE_TOKENS", "SliceTest", "TagRecall", "slice_test", "tag_recall", "tag_table"]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PAPER_UNSAFE_TOKENS = ("porn", "hot ", "adult", "xxx", "sex", "fuck", " rape ")
"""Weak-label tokens of the paper, substrings of the lower-cased URL or TEXT; the blanks belong to the tokens."""


class SliceTest(NamedTuple):
    """One entry per term, arrays of shape (n_terms,); NaN where the term has no row.

    Attributes
    ----------
    n, k : rows of the slice S_q, and the weakly unsafe ones among them
    rate, rate_limits : k / n with Wilson limits
    base_n, base_k, base_rate : the rows outside the slice
    risk_ratio, risk_limits : rate over base rate (points and limits corrected alike where a cell is zero)
    odds_ratio, odds_limits : likewise for the odds
    p_value : Fisher's exact test, two-sided
    p_adjusted : Benjamini-Hochberg over all terms with at least one row
    """

    n: Counts
    k: Counts
    rate: Floats
    rate_limits: Limits
    base_n: Counts
    base_k: Counts
    base_rate: Floats
    risk_ratio: Floats
    risk_limits: Limits
    odds_ratio: Floats
    odds_limits: Limits
    p_value: Floats
    p_adjusted: Floats

    def rate_of(self, term: int, *, confidence: float = 0.95) -> Estimate:
        """Unsafe rate of one slice as an estimate (undefined for a term without rows)."""
        return wilson(int(self.k[term]), int(self.n[term]), confidence=confidence)


def slice_test(
    n_term: npt.ArrayLike, k_term: npt.ArrayLike, *, n_total: int, k_total: int, confidence: float = 0.95
) -> SliceTest:
    """Compare the unsafe rate of each term's rows with that of all other rows.

    Parameters
    ----------
    n_term, k_term : int array, shape (n_terms,)
        Rows that contain the term; those among them with the weak unsafe label (an unsafe token in URL *or* TEXT).
    n_total, k_total : int
        The same over the whole table, slice included.

    Raises
    ------
    ValueError
        Counts that cannot belong together.

    Notes
    -----
    Outside the slice, n_total - n and k_total - k: a large slice does not dilute its own comparison. Terms without rows keep
    NaN and do not enter the correction, since nothing was tested.
    """
    n, k = np.atleast_1d(np.asarray(n_term, np.int64)), np.atleast_1d(np.asarray(k_term, np.int64))
    base_n, base_k = n_total - n, k_total - k
    if n.shape != k.shape or (k < 0).any() or (k > n).any() or (base_k < 0).any() or (base_k > base_n).any():
        raise ValueError("counts do not fit: 0 <= k_term <= n_term, and the rest of the table likewise")
    with np.errstate(divide="ignore", invalid="ignore"):
        rate, base_rate = k / n, base_k / base_n
    tested = (n > 0) & (base_n > 0)
    p_value, p_adjusted = np.full(len(n), np.nan), np.full(len(n), np.nan)
    if tested.any():
        p_value[tested] = fisher_exact(*(x[tested] for x in (k, n - k, base_k, base_n - base_k)))
        p_adjusted[tested] = benjamini_hochberg(p_value[tested])
    return SliceTest(
        n,
        k,
        rate,
        wilson_limits(k, n, confidence=confidence),
        base_n,
        base_k,
        base_rate,
        ratio_points(k, n, base_k, base_n, kind="risk"),
        ratio_limits(k, n, base_k, base_n, kind="risk", confidence=confidence),
        ratio_points(k, n, base_k, base_n, kind="odds"),
        ratio_limits(k, n, base_k, base_n, kind="odds", confidence=confidence),
        p_value,
        p_adjusted,
    )


class TagRecall(NamedTuple):
    """P(tag = NSFW | unsafe) and P(tag in {NSFW, UNSURE} | unsafe)."""

    strict: Estimate
    lenient: Estimate


def tag_recall(unsafe_by_tag: dict[str, int], *, confidence: float = 0.95) -> TagRecall:
    """How many weakly unsafe rows the tag marks, from the unsafe rows per tag value; any other value counts as unmarked."""
    total = sum(unsafe_by_tag.values())
    strict = unsafe_by_tag.get("NSFW", 0)
    lenient = strict + unsafe_by_tag.get("UNSURE", 0)
    return TagRecall(wilson(strict, total, confidence=confidence), wilson(lenient, total, confidence=confidence))


class TagTable(NamedTuple):
    """Weak label by tag: `share[i]` is P(tag_i | unsafe), `unsafe_rate[i]` is P(unsafe | tag_i), each with Wilson limits."""

    tags: tuple[str, ...]
    rows: Counts
    unsafe: Counts
    share: Floats
    share_limits: Limits
    unsafe_rate: Floats
    unsafe_rate_limits: Limits


def tag_table(rows_by_tag: dict[str, int], unsafe_by_tag: dict[str, int], *, confidence: float = 0.95) -> TagTable:
    """Cross-table of the weak label with the tag, within a slice or over the table; tags by number of rows."""
    tags = tuple(sorted(rows_by_tag, key=lambda tag: (-rows_by_tag[tag], tag)))
    rows = np.array([rows_by_tag[tag] for tag in tags], dtype=np.int64)
    unsafe = np.array([unsafe_by_tag.get(tag, 0) for tag in tags], dtype=np.int64)
    total = np.full_like(unsafe, unsafe.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        share, rate = unsafe / total, unsafe / rows
    return TagTable(
        tags,
        rows,
        unsafe,
        share,
        wilson_limits(unsafe, total, confidence=confidence),
        rate,
        wilson_limits(unsafe, rows, confidence=confidence),
    )
