"""Does a detector see more than the length of a text? Machine texts end where the generator was told to, human texts do not.

Two answers, since neither alone is enough: the AUROC *within* buckets of length, and the AUROC after *weighting* both classes
to one distribution of length.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate
from assaymark.stats import bootstrap_statistic, roc_auc

__all__ = ["LengthMatched", "length_matched_auroc"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class LengthMatched(NamedTuple):
    """AUROC as it is, and without the help of length.

    Attributes
    ----------
    overall : of all texts
    within : P(machine text scores higher) over pairs of one human and one machine text of the same bucket
    matched : over all pairs, the texts of each class weighted so that both have the same share in each bucket
    of_length : of the length alone, turned to be at least 1/2: what a detector gets that sees nothing else
    overlap : share of either class that the common distribution of length keeps; 1 where both are distributed alike
    edges : array, bounds between the buckets
    """

    overall: Estimate
    within: Estimate
    matched: Estimate
    of_length: Estimate
    overlap: float
    edges: Floats


def length_matched_auroc(
    scores: Any,
    labels: Any,
    lengths: Any,
    *,
    bins: int = 30,
    rng: np.random.Generator,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> LengthMatched:
    """AUROC at equal length.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Texts without a score or a length (NaN, infinite) are left out.
    labels : array_like, shape (n,), 0 human, 1 machine
    lengths : array_like, shape (n,)
        In words or tokens.
    bins : int
        Buckets of equal mass. Within a bucket length can still help; more buckets leave less of that and fewer pairs.

    Returns
    -------
    LengthMatched
        `within` and `matched` are undefined where no bucket holds both classes. Intervals are bootstraps over texts, with the
        buckets held and the weights drawn anew.

    Notes
    -----
    In bucket b with shares h_b of the human and m_b of the machine texts, the common distribution is min(h_b, m_b), so that no
    text weighs more than it did: a text counts min(h_b, m_b) / h_b or min(h_b, m_b) / m_b. O(resamples * n) after two sorts.
    """
    score, machine, length, bucket, edges = _by_bucket(scores, labels, lengths, bins)
    by_score = np.argsort(score, kind="stable")

    def within(weights: Floats, *_: Any) -> Floats:
        return _within(weights * machine, weights * ~machine, score, bucket)

    def matched(weights: Floats, *_: Any) -> Floats:
        m, h = _matching_weights(weights * machine, weights * ~machine, bucket)
        return _within(m[:, by_score], h[:, by_score], score[by_score], np.zeros_like(bucket))

    drawn = [
        bootstrap_statistic(
            [score], statistic, rng=rng, resamples=resamples, takes_weights=True, confidence=confidence, unit="probability"
        )
        for statistic in (within, matched)
    ]
    alone = roc_auc(length, machine, confidence=confidence)
    if alone.value is not None and alone.value < 0.5:
        alone = roc_auc(-length, machine, confidence=confidence)
    shares = [np.bincount(bucket[side], minlength=edges.size + 1) / max(int(side.sum()), 1) for side in (machine, ~machine)]
    overlap = float(np.minimum(*shares).sum())
    return LengthMatched(roc_auc(score, machine, confidence=confidence), drawn[0], drawn[1], alone, overlap, edges)


class _Bucketed(NamedTuple):
    """Texts by bucket of length, and by score within it."""

    score: Floats
    machine: npt.NDArray[np.bool_]
    length: Floats
    bucket: Ints
    edges: Floats


def _by_bucket(scores: Any, labels: Any, lengths: Any, bins: int) -> _Bucketed:
    if bins < 1:
        raise ValueError(f"bins = {bins}: at least 1 is needed")
    score, length = np.asarray(scores, dtype=np.float64), np.asarray(lengths, dtype=np.float64)
    machine = np.asarray(labels) == 1
    if not score.shape == length.shape == machine.shape:
        raise ValueError(f"scores {score.shape}, labels {machine.shape} and lengths {length.shape} differ in shape")
    known = np.isfinite(score) & np.isfinite(length)
    score, length, machine = score[known], length[known], machine[known]
    edges = np.zeros(0)
    if length.size and bins > 1:
        edges = np.unique(np.quantile(length, np.arange(1, bins) / bins, method="inverted_cdf"))
    bucket = np.searchsorted(edges, length, side="left")
    # by class as well, so that the order of the texts cannot matter to a bootstrap
    order = np.lexsort((machine, score, bucket))
    return _Bucketed(score[order], machine[order], length[order], bucket[order], edges)


def _within(machine: Floats, human: Floats, score: Floats, bucket: Ints) -> Floats:
    """P(machine > human) + P(tie) / 2 over the weighted pairs of each bucket, for each row of weights; NaN without pairs.

    Weights have shape (rows, n), texts are sorted by bucket and by score within it.
    """
    first = np.flatnonzero(np.r_[True, (np.diff(score) != 0) | (np.diff(bucket) != 0)])
    tied_machine, tied_human = (np.add.reduceat(w, first, axis=1) for w in (machine, human))
    upto = np.cumsum(tied_human, axis=1)
    of = bucket[first]
    # human weight before the bucket of each group of ties
    opens = np.flatnonzero(np.r_[True, np.diff(of) != 0])
    before = (upto - tied_human)[:, opens]
    place = np.cumsum(np.r_[False, np.diff(of) != 0])
    won = (tied_machine * (upto - tied_human / 2 - before[:, place])).sum(axis=1)
    pairs = (np.add.reduceat(tied_machine, opens, axis=1) * np.add.reduceat(tied_human, opens, axis=1)).sum(axis=1)
    return np.asarray(np.divide(won, pairs, out=np.full(won.shape, np.nan), where=pairs > 0))


def _matching_weights(machine: Floats, human: Floats, bucket: Ints) -> tuple[Floats, Floats]:
    """Weights of both classes times min(h_b, m_b) / own share of the bucket."""
    opens = np.flatnonzero(np.r_[True, np.diff(bucket) != 0])
    place = np.cumsum(np.r_[False, np.diff(bucket) != 0])
    shares = []
    for weights in (machine, human):
        sums = np.add.reduceat(weights, opens, axis=1)
        total = sums.sum(axis=1, keepdims=True)
        shares.append(np.divide(sums, total, out=np.zeros_like(sums), where=total > 0))
    common = np.minimum(*shares)
    factors = [np.divide(common, own, out=np.zeros_like(own), where=own > 0)[:, place] for own in shares]
    return machine * factors[0], human * factors[1]
