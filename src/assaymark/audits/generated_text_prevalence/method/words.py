"""How often each word stands in posts called a machine's and in the others: counts that add up over shards.

References
----------
.. [1] Agarwal, P. K. et al. (2013). Mergeable summaries. ACM Transactions on Database Systems 38 (4), section 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["COLUMNS", "MOST_DISTINCT", "WordCounts", "count_words", "merge_counts", "words_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_DISTINCT = 200_000
"""Distinct words that are kept: about 20 MB, and more than English has in use."""
LONGEST_WORD = 50
COLUMNS = ("machine", "human", "machine_posts", "human_posts", "machine_soft", "human_soft")
"""Uses of a word in posts called machine and human; posts of either that hold it; uses weighted by P(machine) and 1 - P."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SOFT_STEP = 2.0**-16


def words_of(text: str) -> list[str]:
    """Lower-case words: letters, digits and underscores, with apostrophes inside; at most 50 characters of each.

    Examples
    --------
    >>> words_of("Don’t delve; it's 'rich'!")
    ["don't", 'delve', "it's", 'rich']
    """
    return [word[:LONGEST_WORD] for word in _WORD.findall(text.lower().replace("’", "'"))]


@dataclass(frozen=True)
class WordCounts:
    """Counts of words in posts of both sides.

    Attributes
    ----------
    words : tuple of str, sorted
    counts : array, shape (words, 6)
        By `COLUMNS`.
    totals : array, shape (6,)
        The same over all words, kept or not; of the two columns of posts: posts that hold any word.
    dropped : array, shape (6,)
        No word that is missing here had larger counts than these, and no count here is too small by more. All 0 as long as
        there never were more than `most` distinct words: the counts are then exact.
    """

    words: tuple[str, ...]
    counts: Floats
    totals: Floats
    dropped: Floats

    def column(self, name: str) -> Floats:
        """One of `COLUMNS`, shape (words,)."""
        return self.counts[:, COLUMNS.index(name)]

    def total(self, name: str) -> float:
        """Of one of `COLUMNS`, over all words."""
        return float(self.totals[COLUMNS.index(name)])

    def state(self) -> dict[str, Any]:
        """Arrays alone, as a partial answer of a scan is kept; `from_state` reads them."""
        joined = "\n".join(self.words).encode()
        raw = np.frombuffer(joined, dtype=np.uint8).copy()
        return {"words": raw, "counts": self.counts, "totals": self.totals, "dropped": self.dropped}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> WordCounts:
        """The counts of which `state` was made."""
        joined = np.asarray(state["words"], dtype=np.uint8).tobytes().decode()
        words = tuple(joined.split("\n")) if joined else ()
        arrays = (np.asarray(state[name], dtype=np.float64) for name in ("counts", "totals", "dropped"))
        return cls(words, *arrays)


def count_words(
    texts: Iterable[str], machine_probability: Any, *, threshold: float = 0.5, most: int = MOST_DISTINCT
) -> WordCounts:
    """Counts of the words of some posts.

    Parameters
    ----------
    texts : iterable of str, n of them
    machine_probability : array_like, shape (n,), in [0, 1]
        P(machine), or the label 0 or 1. A post is called a machine's at or above `threshold`. Posts without one (NaN) are not
        counted.
    most : int
        Distinct words that are kept; see `merge_counts`.

    Notes
    -----
    Probabilities are rounded to 1/65,536, so that sums of them are exact and do not depend on the order of the posts. O(words):
    about half a million a second.
    """
    probability = np.asarray(machine_probability, dtype=np.float64)
    index: dict[str, int] = {}
    flat: list[int] = []
    lengths = []
    for text, p in zip(texts, probability.tolist(), strict=True):
        found = words_of(text) if p == p else []
        flat += [index.setdefault(word, len(index)) for word in found]
        lengths.append(len(found))
    words, sizes = np.array(flat, dtype=np.int64), np.array(lengths, dtype=np.int64)
    soft = np.round(np.nan_to_num(probability) / _SOFT_STEP) * _SOFT_STEP
    counts = _count(words, sizes, probability >= threshold, soft, len(index))
    called = np.where(probability >= threshold, 0, 1)[sizes > 0]
    totals = counts.sum(axis=0)
    totals[2:4] = np.bincount(called, minlength=2)
    names = sorted(index)
    order = np.array([index[name] for name in names], dtype=np.int64)
    return _bounded(WordCounts(tuple(names), counts[order], totals, np.zeros(len(COLUMNS))), most)


def _count(words: Ints, sizes: Ints, machine: npt.NDArray[np.bool_], soft: Floats, distinct: int) -> Floats:
    """Columns of `COLUMNS` for each word, from the words of all posts end to end."""
    post = np.repeat(np.arange(sizes.size), sizes)
    once = np.unique(post * max(distinct, 1) + words)
    pairs = once // max(distinct, 1), once % max(distinct, 1)
    weighed = [
        (words, machine[post]),
        (words, ~machine[post]),
        (pairs[1], machine[pairs[0]]),
        (pairs[1], ~machine[pairs[0]]),
        (words, soft[post]),
        (words, 1.0 - soft[post]),
    ]
    return np.column_stack([np.bincount(at, weights=w.astype(np.float64), minlength=distinct) for at, w in weighed])


def merge_counts(parts: Sequence[WordCounts], *, most: int = MOST_DISTINCT) -> WordCounts:
    """Counts of all posts from the counts of parts of them.

    Parameters
    ----------
    most : int
        Distinct words that are kept: those in most posts, of equals the first in the alphabet. What the others had is bounded
        in `dropped` ([1]).

    Notes
    -----
    While there are no more than `most` distinct words, merging is associative and commutative, and exact. Beyond that a rare
    word can miss uses, no more than `dropped`, and which rare words are kept can depend on how the posts were divided.
    """
    names = sorted(set().union(*(part.words for part in parts)))
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(COLUMNS)))
    totals, dropped = np.zeros(len(COLUMNS)), np.zeros(len(COLUMNS))
    for part in parts:
        counts[[place[name] for name in part.words]] += part.counts
        totals += part.totals
        dropped += part.dropped
    return _bounded(WordCounts(tuple(names), counts, totals, dropped), most)


def _bounded(whole: WordCounts, most: int) -> WordCounts:
    """The words in most posts; the largest counts of the others are added to `dropped`."""
    if most < 1:
        raise ValueError(f"most = {most}: at least one word is kept")
    if len(whole.words) <= most:
        return whole
    posts = whole.column("machine_posts") + whole.column("human_posts")
    # words are sorted, so that a stable sort leaves equals in the order of the alphabet
    order = np.argsort(-posts, kind="stable")
    kept = np.sort(order[:most])
    dropped = whole.dropped + whole.counts[order[most:]].max(axis=0)
    return WordCounts(tuple(whole.words[i] for i in kept.tolist()), whole.counts[kept], whole.totals, dropped)
