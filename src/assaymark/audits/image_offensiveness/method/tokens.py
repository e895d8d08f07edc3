"""Words and collocations of captions, counted so that counts of parts add up.

A bigram counts as a term of its own where its two words occur together more often than chance has it: Dunning's likelihood
ratio above 30, the rule and default of word-cloud libraries. Its occurrences are then taken off the counts of its two words.

References
----------
.. [1] Dunning, T. (1993). Accurate methods for the statistics of surprise and coincidence. Computational Linguistics 19, 61-74.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "COLLOCATION_THRESHOLD",
    "BadWords",
    "TermCounts",
    "TokenCounts",
    "add_counts",
    "bad_word_histogram",
    "clean_caption",
    "collocations",
    "count_tokens",
    "term_counts",
    "words_of",
]

COLLOCATION_THRESHOLD = 30.0

_PERSON = re.compile("<person>")
_DROPPED = re.compile(r'\.\.\.|[,"()]')
_WORD = re.compile(r"\w[\w']+")


class TokenCounts(NamedTuple):
    """Occurrences of words and of neighbouring pairs ("first second"); parts add up with `add_counts`."""

    words: Counter[str]
    bigrams: Counter[str]


class TermCounts(NamedTuple):
    """Distinct terms and how often each occurs: shapes (m,), in the order of the terms."""

    terms: tuple[str, ...]
    counts: npt.NDArray[np.int64]


class BadWords(NamedTuple):
    """Words of a list that occur in captions, most images first.

    words : tuple of str
    occurrences, images : int64 arrays, shape (words,): how often, and in captions of how many images
    causes : tuple of int64 arrays: the images behind each word, in rising order
    any_image : int, images with at least one of the words
    """

    words: tuple[str, ...]
    occurrences: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    causes: tuple[npt.NDArray[np.int64], ...]
    any_image: int


def clean_caption(caption: str) -> str:
    """Lower-case, `<PERSON>` as `person`, without commas, ellipses, double quotes and round brackets (rule of the paper)."""
    return _DROPPED.sub("", _PERSON.sub("person", caption.lower()))


def words_of(caption: str) -> list[str]:
    """Words of a cleaned caption: two letters or more, apostrophes inside kept."""
    return [word[:-2] if word.endswith("'s") else word for word in _WORD.findall(clean_caption(caption))]


def count_tokens(captions: Iterable[str], *, stopwords: Collection[str] = frozenset()) -> TokenCounts:
    """Occurrences of words and bigrams.

    Parameters
    ----------
    captions : iterable of str
    stopwords : collection of str, lower-case
        Not counted; a pair with one of them is not a bigram, and the words beside it do not become neighbours.

    Notes
    -----
    A bigram never joins the end of a caption to the beginning of the next. O(tokens).
    """
    words: Counter[str] = Counter()
    bigrams: Counter[str] = Counter()
    dropped = frozenset(stopwords)
    for caption in captions:
        tokens = words_of(caption)
        words.update(token for token in tokens if token not in dropped)
        bigrams.update(f"{a} {b}" for a, b in pairwise(tokens) if a not in dropped and b not in dropped)
    return TokenCounts(words, bigrams)


def add_counts(first: TokenCounts, second: TokenCounts) -> TokenCounts:
    """Counts of two parts together."""
    return TokenCounts(first.words + second.words, first.bigrams + second.bigrams)


def _log_likelihood(k: Any, n: Any, x: Any) -> Any:
    return np.log(np.maximum(x, 1e-10)) * k + np.log(np.maximum(1 - x, 1e-10)) * (n - k)


def collocations(counts: TokenCounts, *, threshold: float = COLLOCATION_THRESHOLD) -> tuple[str, ...]:
    """Bigrams whose likelihood ratio exceeds `threshold` ([1]), sorted; vectorised over all bigrams."""
    names = sorted(counts.bigrams)
    total = sum(counts.words.values())
    if not names:
        return ()
    pairs = [name.split(" ") for name in names]
    c12, c1, c2 = (
        np.array(column, dtype=np.float64)
        for column in (
            [counts.bigrams[name] for name in names],
            [counts.words[a] for a, _ in pairs],
            [counts.words[b] for _, b in pairs],
        )
    )
    usable = (total > c1) & (total > c2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, p1, p2 = c2 / total, c12 / c1, (c2 - c12) / (total - c1)
        ratio = -2 * (
            _log_likelihood(c12, c1, p)
            + _log_likelihood(c2 - c12, total - c1, p)
            - _log_likelihood(c12, c1, p1)
            - _log_likelihood(c2 - c12, total - c1, p2)
        )
    return tuple(name for name, kept in zip(names, usable & (ratio > threshold), strict=True) if kept)


def term_counts(counts: TokenCounts, *, bigrams: Iterable[str] | None = None) -> TermCounts:
    """Words, and the given bigrams as terms of their own, whose occurrences are taken off their words.

    Parameters
    ----------
    counts : TokenCounts
    bigrams : iterable of str, optional
        From `collocations`. By default those of these very counts. To compare two texts take those of both together, so that a
        pair is one term in both or in neither.
    """
    kept = [b for b in (collocations(counts) if bigrams is None else bigrams) if counts.bigrams[b]]
    left = Counter(counts.words)
    for name in kept:
        for word in name.split(" "):
            left[word] -= counts.bigrams[name]
    left.update({name: counts.bigrams[name] for name in kept})
    # a word of several collocations can be taken off more often than it occurs
    terms = sorted(term for term, count in left.items() if count > 0)
    return TermCounts(tuple(terms), np.array([left[term] for term in terms], dtype=np.int64))


def bad_word_histogram(captions: Sequence[str], images: Any, *, words: Collection[str]) -> BadWords:
    """Which words of a list the captions hold, and which images caused them.

    Parameters
    ----------
    captions : sequence of str, length m
    images : int array, shape (m,): image of each caption; an image has several captions
    words : collection of str, lower-case single words
    """
    image = np.asarray(images, dtype=np.int64)
    if image.shape != (len(captions),):
        raise ValueError(f"{len(captions)} captions but images of shape {image.shape}")
    listed = frozenset(words)
    hits = [
        (word, at) for at, caption in zip(image.tolist(), captions, strict=True) for word in words_of(caption) if word in listed
    ]
    occurrences = Counter(word for word, _ in hits)
    causes: dict[str, set[int]] = {word: set() for word in occurrences}
    for word, at in hits:
        causes[word].add(at)
    order = sorted(causes, key=lambda word: (-len(causes[word]), -occurrences[word], word))
    return BadWords(
        tuple(order),
        np.array([occurrences[word] for word in order], dtype=np.int64),
        np.array([len(causes[word]) for word in order], dtype=np.int64),
        tuple(np.array(sorted(causes[word]), dtype=np.int64) for word in order),
        len(set().union(*causes.values())),
    )
