"""Which terms set the captions of flagged images apart: the paper's chi-square, ours on shares, and log-odds with a prior.

A plain word cloud shows what is frequent, and what is frequent everywhere leads it. The contrastive statistics ask for what is
more frequent in flagged text than elsewhere. The log-odds ratio with an informative Dirichlet prior [2] is the one to read: it
has a variance, so a word seen twice does not lead, and a p value, so a list of nothing can be told from a list of something.

References
----------
.. [1] Schramowski, P., Tauchmann, C. and Kersting, K. (2022). Can machines help us answering question 16 in datasheets, and in
   turn reflecting on inappropriate content? FAccT, 1350-1361.
.. [2] Monroe, B., Colaresi, M. and Quinn, K. (2008). Fightin' words: lexical feature selection and evaluation for identifying
   the content of political conflict. Political Analysis 16, 372-403 (eqs. 16, 22, 23).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.method.tokens import TermCounts
from assaymark.stats import Limits, benjamini_hochberg, word_contrast

__all__ = [
    "PRIOR_SHARE",
    "UNSEEN_EXPECTED",
    "ChiSquare",
    "LogOdds",
    "TermWeights",
    "chi_square_share",
    "infrequent_classes",
    "log_odds_z",
    "most_frequent",
    "paper_chi_square",
]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

PRIOR_SHARE = 0.01
"""Pseudo-counts of a term, as a share of its occurrences in both texts together."""

UNSEEN_EXPECTED = 100.0
"""Expected weight of a term that the reference does not hold, in the authors' code; it sets the term's weight to 0."""


class TermWeights(NamedTuple):
    """Terms of a plain cloud with weights in [0, 1], largest first."""

    terms: tuple[str, ...]
    weights: Floats


class ChiSquare(NamedTuple):
    """Contrast by chi-square, largest weight first, then by term; arrays of shape (terms,).

    flagged, reference : int64, occurrences
    observed, expected : float64, relative weights in flagged and in reference text
    weight : float64, (o - e)^2 / e where o >= e, else 0
    reason : why there is nothing to contrast; empty otherwise
    """

    terms: tuple[str, ...]
    flagged: Counts
    reference: Counts
    observed: Floats
    expected: Floats
    weight: Floats
    reason: str


class LogOdds(NamedTuple):
    """Contrast by log-odds ratio, largest z first, then by term; arrays of shape (terms,).

    flagged, reference : int64, occurrences
    log_odds_ratio, limits : float64, of flagged against reference text; above 0 is typical of flagged text
    z, p_value, p_adjusted : float64; two-sided, Benjamini-Hochberg over all terms
    reason : why there is nothing to contrast; empty otherwise
    """

    terms: tuple[str, ...]
    flagged: Counts
    reference: Counts
    log_odds_ratio: Floats
    limits: Limits
    z: Floats
    p_value: Floats
    p_adjusted: Floats
    reason: str


class _Joined(NamedTuple):
    terms: tuple[str, ...]
    flagged: Counts
    reference: Counts


def _joined(flagged: TermCounts, reference: TermCounts) -> _Joined:
    """Both counts over the union of their terms, sorted: one hash look-up per term, however long the lists."""
    terms = tuple(sorted(set(flagged.terms).union(reference.terms)))
    position = dict(zip(terms, range(len(terms)), strict=True))
    sides = np.zeros((2, len(terms)), dtype=np.int64)
    for side, text in zip(sides, (flagged, reference), strict=True):
        np.add.at(side, np.fromiter(map(position.__getitem__, text.terms), np.int64, len(text.terms)), text.counts)
    return _Joined(terms, sides[0], sides[1])


def _lack(joined: _Joined) -> str:
    empty = [name for name, side in (("flagged", joined.flagged), ("reference", joined.reference)) if not side.sum()]
    return f"there are no words in the {' and the '.join(empty)} text" if empty else ""


def most_frequent(counts: TermCounts, *, most: int = 150) -> TermWeights:
    """The plain cloud: the `most` frequent terms, weight = frequency over the largest frequency."""
    order = np.lexsort((np.arange(len(counts.terms)), -counts.counts))[:most]
    top = float(counts.counts.max(initial=0)) or 1.0
    return TermWeights(tuple(counts.terms[i] for i in order), counts.counts[order] / top)


def infrequent_classes(counts: TermCounts, *, most: int = 150) -> TermWeights:
    """Classes of flagged images weighted by 1 - relative frequency, relative to the largest frequency, rarest first."""
    seen = np.flatnonzero(counts.counts > 0)
    weight = 1.0 - counts.counts / (float(counts.counts.max(initial=0)) or 1.0)
    order = seen[np.argsort(-weight[seen], kind="stable")][:most]
    return TermWeights(tuple(counts.terms[i] for i in order), weight[order])


def _contrast(joined: _Joined, observed: Floats, expected: Floats, reason: str) -> ChiSquare:
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(observed >= expected, (observed - expected) ** 2 / expected, 0.0)
    order = np.argsort(-weight, kind="stable")
    terms = tuple(joined.terms[i] for i in order)
    return ChiSquare(
        terms, joined.flagged[order], joined.reference[order], observed[order], expected[order], weight[order], reason
    )


def paper_chi_square(flagged: TermCounts, reference: TermCounts, *, use_not_expected: bool = False) -> ChiSquare:
    """Chi-square weights as the paper's code computes them ([1], contrastive word clouds).

    Parameters
    ----------
    flagged, reference : TermCounts
        Of the captions of flagged images and of the others.
    use_not_expected : bool
        A term that the reference lacks gets the least weight of the reference, not 100, which leaves it without weight.

    Returns
    -------
    ChiSquare
        Over the terms of the flagged text. With an empty side there is nothing to contrast: no terms, and a reason.

    Notes
    -----
    Weights are frequencies over the largest frequency of the same text, as word-cloud libraries store them: they are no shares,
    and one very frequent word in either text changes all of them. `chi_square_share` does not have this. O(terms log terms).
    """
    joined = _joined(flagged, reference)
    if reason := _lack(joined):
        return _nothing(reason)
    kept = np.flatnonzero(joined.flagged > 0)
    terms = _Joined(tuple(joined.terms[i] for i in kept), joined.flagged[kept], joined.reference[kept])
    observed = terms.flagged / joined.flagged.max()
    largest = joined.reference.max()
    least = joined.reference[joined.reference > 0].min() / largest
    unseen = least if use_not_expected else UNSEEN_EXPECTED
    expected = np.where(terms.reference > 0, terms.reference / largest, unseen)
    return _contrast(terms, observed, expected, "")


def _nothing(reason: str) -> ChiSquare:
    none, zero = np.empty(0), np.empty(0, dtype=np.int64)
    return ChiSquare((), zero, zero, none, none, none, reason)


def _pseudo_counts(joined: _Joined, alpha: float) -> Floats:
    if not alpha > 0:
        raise ValueError(f"alpha {alpha!r} is not above 0: without pseudo-counts an unseen term has no logarithm")
    return np.asarray(alpha * (joined.flagged + joined.reference), dtype=np.float64)


def chi_square_share(flagged: TermCounts, reference: TermCounts, *, alpha: float = PRIOR_SHARE) -> ChiSquare:
    """The same contrast on smoothed shares of all tokens: o = (f + a) / (F + A), e = (r + a) / (R + A).

    Parameters
    ----------
    alpha : float > 0
        Pseudo-counts a of a term as a share of its occurrences in both texts; A is their sum. Unseen terms keep a weight.
    """
    joined = _joined(flagged, reference)
    if reason := _lack(joined):
        return _nothing(reason)
    pseudo = _pseudo_counts(joined, alpha)
    observed, expected = ((side + pseudo) / (side.sum() + pseudo.sum()) for side in (joined.flagged, joined.reference))
    return _contrast(joined, observed, expected, "")


def log_odds_z(flagged: TermCounts, reference: TermCounts, *, alpha: float = PRIOR_SHARE, confidence: float = 0.95) -> LogOdds:
    """Log-odds ratio of each term with an informative Dirichlet prior ([2]).

    delta = log (f + a) / (F + A - f - a) - log (r + a) / (R + A - r - a), variance 1 / (f + a) + 1 / (r + a), z = delta / sd,
    with a = alpha times the occurrences in both texts.

    Returns
    -------
    LogOdds
        No terms, and a reason, where a text is empty or both hold one and the same single term.
    """
    joined = _joined(flagged, reference)
    reason = _lack(joined) or ("both texts consist of one term" if len(joined.terms) == 1 else "")
    if reason:
        none, zero = np.empty(0), np.empty(0, dtype=np.int64)
        return LogOdds((), zero, zero, none, Limits(none, none), none, none, none, reason)
    found = word_contrast(joined.flagged, joined.reference, _pseudo_counts(joined, alpha))
    delta, p = found.log_odds, found.p_values()
    adjusted = benjamini_hochberg(p)
    half = _two_sided(confidence) * found.sd
    order = np.argsort(-found.z, kind="stable")
    return LogOdds(
        tuple(joined.terms[i] for i in order),
        joined.flagged[order],
        joined.reference[order],
        delta[order],
        Limits((delta - half)[order], (delta + half)[order]),
        found.z[order],
        p[order],
        adjusted[order],
        "",
    )


def _two_sided(confidence: float) -> float:
    from scipy.special import ndtri

    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence!r} is not between 0 and 1")
    return float(ndtri(0.5 + confidence / 2.0))
