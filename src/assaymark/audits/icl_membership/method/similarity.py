"""How near a reply is to what it should repeat: similarities of pairs of texts, and the score of the Repeat attack.

All take n candidates and n references in one call, and are 0 for a candidate without words and NaN for a reference without.

References
----------
.. [1] Lin, C.-Y. (2004). ROUGE: a package for automatic evaluation of summaries. Text Summarization Branches Out, section 3.
.. [2] Rajpurkar, P. et al. (2016). SQuAD: 100,000+ questions for machine comprehension of text. EMNLP, section 6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.outcomes import Scored, withheld
from assaymark.audits.icl_membership.method.words import words_of

__all__ = ["SIMILARITIES", "Similarity", "lcs_ratio", "repeat_scores", "rouge_l", "semantic", "tfidf_cosine", "token_f1"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Similarity = Callable[[Sequence[str], Sequence[str]], Floats]

_CELLS = 2**21


def token_f1(candidates: Sequence[str], references: Sequence[str]) -> Floats:
    """F1 of the two bags of words ([2]; articles stay): 2 * shared / (words of both), each use counted; shape (n,).

    Examples
    --------
    >>> token_f1(["the first man", ""], ["The man?", "a"])
    array([0.8, 0. ])
    """
    one, two = _numbers(candidates, references)
    bags = [_bags(side) for side in (one, two)]
    width = max(bag.shape[1] for bag in bags)
    for bag in bags:
        bag.resize(len(one), width)
    shared = np.asarray(bags[0].minimum(bags[1]).sum(axis=1), dtype=np.float64).reshape(-1)
    return _share(2.0 * shared, _sizes(one) + _sizes(two), two)


def rouge_l(candidates: Sequence[str], references: Sequence[str]) -> Floats:
    """ROUGE-L: F1 of the longest common subsequence of words, 2 * LCS / (words of both) ([1], eq. 3 with beta = 1)."""
    one, two = _numbers(candidates, references)
    return _share(2.0 * _lcs(one, two), _sizes(one) + _sizes(two), two)


def lcs_ratio(candidates: Sequence[str], references: Sequence[str]) -> Floats:
    """Share of the reference's words that the candidate has in order, LCS / (words of the reference): recall of ROUGE-L.

    What a chatty service says around the text does not lower it.
    """
    one, two = _numbers(candidates, references)
    return _share(_lcs(one, two), _sizes(two), two)


def tfidf_cosine(candidates: Sequence[str], references: Sequence[str], *, corpus: Sequence[str] | None = None) -> Floats:
    """Cosine of TF-IDF vectors of words: the offline stand-in for sentence embeddings; shape (n,), in [0, 1].

    Parameters
    ----------
    corpus : sequence of str, optional
        Texts that say how rare words are; the references without it, so that scores then depend on who else is scored. Words
        that are not in it do not count.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = [text for text in (references if corpus is None else corpus) if words_of(text)]
    bare = np.array([not words_of(text) for text in references], dtype=bool)
    if not known:
        return np.where(bare, np.nan, 0.0)
    vectorizer = TfidfVectorizer(analyzer=words_of).fit(known)
    cosine = vectorizer.transform(candidates).multiply(vectorizer.transform(references)).sum(axis=1)
    return np.where(bare, np.nan, np.asarray(cosine, dtype=np.float64).reshape(-1))


def semantic(candidates: npt.ArrayLike, references: npt.ArrayLike) -> Floats:
    """Cosine of given embeddings, row by row: (n, d) and (n, d) to (n,), in [-1, 1]; NaN for a row without direction."""
    one, two = (np.asarray(side, dtype=np.float64) for side in (candidates, references))
    length = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosine = np.divide(np.einsum("nd,nd->n", one, two), length, out=np.full(len(one), np.nan), where=length > 0)
    return np.asarray(np.clip(cosine, -1.0, 1.0))


SIMILARITIES: dict[str, Similarity] = {
    "token_f1": token_f1,
    "rouge_l": rouge_l,
    "lcs_ratio": lcs_ratio,
    "tfidf_cosine": tfidf_cosine,
}
"""Those that need no model, by name."""


def repeat_scores(
    replies: Sequence[str], suffixes: Sequence[str], *, w: int | npt.ArrayLike, similarity: str | Similarity = "tfidf_cosine"
) -> Scored:
    """Score of the Repeat attack: similarity of the reply, as it is or without its first `w` words, to the rest of the text.

    The larger of the two, since a service may begin with the words that it was given.

    Parameters
    ----------
    replies : sequence of str, n of them
    suffixes : sequence of str
        The texts without their first `w` words (`words.split_texts`); "" where a text has no more, which has no score.
    w : int or array, shape (n,)
    similarity : str or callable
        Name in `SIMILARITIES`, or a function of candidates and references. It is called once, with 2n candidates (the replies,
        then what is left of them) and the n references twice: embed each distinct text once.

    Returns
    -------
    Scored
        Reason "too_short" where there is no suffix. An empty reply or a refusal scores like any other text (0 with the
        similarities above): to have nothing to continue with is what sets non-members apart. Who wants them left out uses
        `outcomes.withheld` with `outcomes.reply_reasons`.

    Raises
    ------
    ValueError
        The similarity has no value for a reply with words.
    """
    measure = SIMILARITIES[similarity] if isinstance(similarity, str) else similarity
    given = np.broadcast_to(np.asarray(w, dtype=np.int64), (len(replies),)).tolist()
    rest = [" ".join(reply.split()[n:]) for reply, n in zip(replies, given, strict=True)]
    short = np.array([not words_of(suffix) for suffix in suffixes], dtype=bool)
    both = np.asarray(measure([*replies, *rest], [*suffixes, *suffixes]), dtype=np.float64).reshape(2, len(replies))
    # a text without words has no embedding, and no likeness to anything
    blank = np.array([not words_of(text) for text in (*replies, *rest)], dtype=bool).reshape(2, len(replies))
    return withheld(np.maximum(*np.where(blank, 0.0, both)), np.where(short, "too_short", ""))


def _numbers(candidates: Sequence[str], references: Sequence[str]) -> tuple[list[Ints], list[Ints]]:
    """Words of all texts as numbers of one vocabulary."""
    if len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} candidates for {len(references)} references")
    known: dict[str, int] = {}
    one, two = (
        [np.array([known.setdefault(word, len(known)) for word in words_of(text)], dtype=np.int64) for text in side]
        for side in (candidates, references)
    )
    return one, two


def _sizes(rows: list[Ints]) -> Floats:
    return np.array([row.size for row in rows], dtype=np.float64)


def _bags(rows: list[Ints]) -> Any:
    """Counts of words, sparse, shape (n, words)."""
    from scipy.sparse import csr_array

    starts = np.concatenate([[0], np.cumsum([row.size for row in rows], dtype=np.int64)])
    flat = np.concatenate([np.zeros(0, np.int64), *rows])
    bags = csr_array((np.ones(flat.size), flat, starts), shape=(len(rows), int(flat.max(initial=0)) + 1))
    bags.sum_duplicates()
    return bags


def _share(part: Floats, whole: Floats, references: list[Ints]) -> Floats:
    shares = np.divide(part, whole, out=np.zeros(part.size), where=whole > 0)
    return np.where(_sizes(references) > 0, shares, np.nan)


def _lcs(one: list[Ints], two: list[Ints]) -> Floats:
    """Length of the longest common subsequence of each pair, shape (n,).

    A row of the usual table follows from the one before as the running maximum of max(above, above-left + equal), since a row
    never falls; so only the words of the candidates are looped over, for pairs of similar length at once.
    """
    lengths = np.zeros(len(one))
    order = sorted(range(len(one)), key=lambda i: (one[i].size, two[i].size))
    widest = max((row.size for row in two), default=0)
    block = max(_CELLS // max(widest, 1), 1)
    for start in range(0, len(order), block):
        places = order[start : start + block]
        lengths[places] = _lcs_block(_padded([one[i] for i in places], -1), _padded([two[i] for i in places], -2))
    return lengths


def _padded(rows: list[Ints], filling: int) -> Ints:
    padded = np.full((len(rows), max(row.size for row in rows)), filling, dtype=np.int64)
    for row, numbers in zip(padded, rows, strict=True):
        row[: numbers.size] = numbers
    return padded


def _lcs_block(one: Ints, two: Ints) -> Ints:
    table = np.zeros((len(two), two.shape[1] + 1), dtype=np.int64)
    for column in range(one.shape[1]):
        equal = one[:, column, None] == two
        np.maximum.accumulate(np.maximum(table[:, 1:], table[:, :-1] + equal), axis=1, out=table[:, 1:])
    return table[:, -1]
