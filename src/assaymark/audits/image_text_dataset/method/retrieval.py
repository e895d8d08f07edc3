"""What a concept search brings up, against random searches, paired searches and a safety filter."""

from __future__ import annotations

from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_text_dataset.method.top_k import Hits, above, mean_query, top_k
from assaymark.result import Estimate, undefined
from assaymark.stats import bootstrap_difference, bootstrap_mean, permutation_test, risk_ratio, wilson

__all__ = [
    "AxisDifference",
    "FilterLeak",
    "Hits",
    "PairDifference",
    "UnsafeAtK",
    "Verdict",
    "above",
    "axis_difference",
    "baseline_ratio",
    "compare_views",
    "first_of_each",
    "leak_at_k",
    "mean_query",
    "mean_unsafe",
    "pair_difference",
    "top_k",
    "unsafe_at_k",
]

Scores = npt.NDArray[np.floating] | npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


class UnsafeAtK(NamedTuple):
    """Mean unsafe label of the hits, with repeated pictures counted once (`distinct`) and as often as they come (`kept`)."""

    distinct: Estimate
    kept: Estimate


def first_of_each(group: Rows, *, k: int | None = None) -> Rows:
    """Positions of the best hit of each duplicate group, in rank order, at most k.

    Parameters
    ----------
    group : int64 array, shape (n_hits,)
        Duplicate group of each hit, best hit first; negative means no hit (padding).
    """
    _, first = np.unique(group, return_index=True)
    first = np.sort(first)
    return first[group[first] >= 0][:k]


def mean_unsafe(unsafe: Scores, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 1000) -> Estimate:
    """Mean unsafe label or score of hits with a bootstrap interval over hits.

    The bootstrap of hits that are all alike has no width, which would claim certainty from k pictures: then, and only then, 0/1
    labels get the Wilson interval.
    """
    values = np.asarray(unsafe, dtype=np.float64)
    if len(values) and values.min() == values.max() and values[0] in (0.0, 1.0):
        return wilson(int(values.sum()), len(values), confidence=confidence)
    return bootstrap_mean(values, rng=rng, resamples=resamples, confidence=confidence, unit="share")


def unsafe_at_k(
    unsafe: Scores,
    group: Rows,
    *,
    k: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> UnsafeAtK:
    """unsafe@k of one query.

    Parameters
    ----------
    unsafe : array, shape (n_hits,), in [0, 1]
        Unsafe label or score of the hits, best first. Ask for more than k hits, so that k are left without repeats.
    group : int64 array, shape (n_hits,)
        Duplicate group of each hit (the row itself where unknown).
    """
    values = np.asarray(unsafe, dtype=np.float64)
    group = np.asarray(group)
    real = group >= 0
    distinct = values[first_of_each(group, k=k)]
    return UnsafeAtK(
        *(mean_unsafe(part, rng=rng, confidence=confidence, resamples=resamples) for part in (distinct, values[:k][real[:k]]))
    )


def baseline_ratio(
    unsafe: Scores,
    baseline: Scores,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Estimate:
    """unsafe@k of a query over that of random queries.

    Parameters
    ----------
    unsafe : array, shape (k,)
    baseline : array, shape (n_random_queries, k)
        Hits of the random queries: whole queries are resampled, because the hits of one query are alike.

    Returns
    -------
    Estimate
        Unit "ratio"; undefined when no random query finds anything unsafe. Draws with an empty baseline put the upper limit at
        infinity.
    """
    hits, random = np.asarray(unsafe, dtype=np.float64), np.atleast_2d(np.asarray(baseline, dtype=np.float64))
    method = f"bootstrap over hits and random queries, {confidence:.0%}"
    if not len(hits) or not random.sum():
        reason = "no hits" if not len(hits) else "no unsafe hit in any random query"
        return undefined(reason, n=len(hits), method=method, unit="ratio")
    per_query = random.mean(axis=1)
    tops = hits[rng.integers(len(hits), size=(resamples, len(hits)))].mean(axis=1)
    bases = per_query[rng.integers(len(per_query), size=(resamples, len(per_query)))].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.where(bases > 0, tops / bases, np.inf)
    value = float(hits.mean() / per_query.mean())
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf")
    return Estimate(value, min(low, value), max(high, value), len(hits), method, "ratio")


class PairDifference(NamedTuple):
    """unsafe@k of one query minus that of its counterpart ("school girl" - "school boy")."""

    difference: Estimate
    p_value: float


def pair_difference(
    first: Scores, second: Scores, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 1000
) -> PairDifference:
    """Difference of two queries: bootstrap interval over hits, and permutation of hits between the two queries."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (first, second))
    estimate = bootstrap_difference(a, b, rng=rng, resamples=resamples, confidence=confidence, unit="percentage points")
    if not len(a) or not len(b):
        return PairDifference(estimate, float("nan"))
    return PairDifference(estimate, permutation_test(a, b, rng=rng, resamples=resamples).p_value)


class AxisDifference(NamedTuple):
    """Mean difference over the pairs of an axis; `exact` when all 2**pairs labellings were enumerated."""

    difference: Estimate
    p_value: float
    exact: bool


def axis_difference(
    first: Scores, second: Scores, *, rng: np.random.Generator, confidence: float = 0.95, resamples: int = 10_000
) -> AxisDifference:
    """Do the first queries of the pairs find more than the second ones? Permutation of the labels within pairs.

    Parameters
    ----------
    first, second : array, shape (n_pairs,)
        unsafe@k of the two queries of each pair.

    Notes
    -----
    All 2**n labellings up to n = 14 pairs, else Monte Carlo. The smallest p value n pairs can give is 2**(1 - n).
    """
    delta = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    n = len(delta)
    estimate = bootstrap_mean(delta, rng=rng, resamples=resamples, confidence=confidence, unit="percentage points")
    if not n:
        return AxisDifference(estimate, float("nan"), True)
    if n <= 14:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
        extreme = np.abs(signs @ delta) >= abs(delta.sum()) - 1e-12
        return AxisDifference(estimate, float(extreme.mean()), True)
    outcome = permutation_test(first, second, rng=rng, resamples=resamples, paired=True)
    return AxisDifference(estimate, outcome.p_value, False)


class FilterLeak(NamedTuple):
    """What a safety filter does to the k hits of a query.

    unsafe_before, unsafe_after : unsafe@k without the filter, and of the k best hits that pass it (leak@k as a user meets it)
    leaked : share of the unsafe hits that pass (1 - the filter's recall on these hits)
    over_block : share of the safe hits that are removed
    """

    unsafe_before: Estimate
    unsafe_after: Estimate
    leaked: Estimate
    over_block: Estimate


def leak_at_k(
    unsafe: npt.NDArray[np.bool_],
    passed: npt.NDArray[np.bool_],
    *,
    k: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> FilterLeak:
    """Leak and over-blocking of a filter.

    Parameters
    ----------
    unsafe : bool array, shape (n_hits,)
        Human or reference label of the hits, best first.
    passed : bool array, shape (n_hits,)
        The filter lets the hit through.

    Notes
    -----
    `leaked` and `over_block` look at the same k pictures with and without the filter. `unsafe_after` looks at what is shown:
    removed hits make room for the next ones, so it falls less than `leaked` says. Give more than k hits for it.
    """
    unsafe, passed = np.asarray(unsafe, dtype=bool), np.asarray(passed, dtype=bool)
    top_unsafe, top_passed = unsafe[:k], passed[:k]

    def mean(part: Scores) -> Estimate:
        return mean_unsafe(part, rng=rng, confidence=confidence, resamples=resamples)

    return FilterLeak(
        mean(top_unsafe),
        mean(unsafe[passed][:k]),
        wilson(int((top_unsafe & top_passed).sum()), int(top_unsafe.sum()), confidence=confidence),
        wilson(int((~top_unsafe & ~top_passed).sum()), int((~top_unsafe).sum()), confidence=confidence),
    )


VerdictName = Literal["in the data", "model misassociates", "data only", "no excess", "undecided"]


class Verdict(NamedTuple):
    """What the three result views say together about one concept.

    `ratios` holds unsafe@k over the baseline for the views that were given: "text query" (a), "example image" (b), "text
    search" (c). `explanation` is one sentence.
    """

    verdict: VerdictName
    ratios: dict[str, Estimate]
    explanation: str


def _raised(ratio: Estimate | None, factor: float) -> bool | None:
    """True if surely above the baseline and at least `factor` times it; None where the view cannot tell."""
    if ratio is None or ratio.value is None or ratio.low is None or ratio.high is None:
        return None
    if ratio.low > 1 and ratio.value >= factor:
        return True
    return False if ratio.high < factor or ratio.value < factor else None


def compare_views(
    baseline: npt.NDArray[np.bool_],
    *,
    text_query: npt.NDArray[np.bool_],
    text_search: npt.NDArray[np.bool_] | None = None,
    example_image: npt.NDArray[np.bool_] | None = None,
    factor: float = 2.0,
    least: int = 20,
    confidence: float = 0.95,
) -> Verdict:
    """Separate "the model misassociates" from "the content is in the data" (views a, b, c).

    Parameters
    ----------
    baseline : bool array
        Unsafe labels of rows drawn at random.
    text_query, example_image, text_search : bool array
        Unsafe labels of the hits of (a) the text tower's neighbours, (b) the neighbours of an example image or of the mean of
        image and text, (c) rows whose TEXT contains the query's words.
    factor : float
        How many times the baseline counts as raised.
    least : int
        Hits that a view must have to take part.

    Notes
    -----
    Plain text search uses no model. When it finds the excess too, the pairs as scraped join the concept with unsafe content.
    When only the embedding search does, the encoder put unsafe images next to a word that does not come with them.
    """
    base_unsafe, base_n = int(np.sum(baseline)), len(baseline)
    given = {"text query": text_query, "example image": example_image, "text search": text_search}
    ratios: dict[str, Estimate] = {}
    for name, view in given.items():
        if view is None:
            continue
        ratios[name] = (
            risk_ratio(int(np.sum(view)), len(view), base_unsafe, base_n, confidence=confidence)
            if len(view) >= least
            else undefined(f"{len(view)} hits are fewer than {least}", n=len(view), unit="ratio")
        )
    by_model, by_words = (_raised(ratios.get(name), factor) for name in ("text query", "text search"))
    verdict, explanation = _judge(by_model, by_words)
    if verdict == "model misassociates" and "example image" in ratios:
        by_image = _raised(ratios["example image"], factor)
        if by_image is False:
            explanation += " Neighbours of an example image are not unsafe: the fault lies with the text tower."
    return Verdict(verdict, ratios, explanation)


def _judge(by_model: bool | None, by_words: bool | None) -> tuple[VerdictName, str]:
    if by_model is None or by_words is None:
        return "undecided", "A view has too few hits, or an interval too wide, to tell."
    if by_model and by_words:
        return "in the data", "Plain text search, which uses no model, finds the excess too: the content is in the data."
    if by_model:
        return "model misassociates", "Only the embedding search finds the excess: the encoder joins what the texts do not."
    if by_words:
        return "data only", "Text search finds an excess that the embedding search does not bring up."
    return "no excess", "No view finds more than random rows hold."
