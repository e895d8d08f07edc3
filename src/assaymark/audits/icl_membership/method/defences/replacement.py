"""Data defences: public samples in place of the private texts, or no texts at all.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380.
.. [2] Min, S. et al. (2022). Rethinking the role of demonstrations. EMNLP (texts of the right kind and the set of labels
   carry much of what demonstrations do).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.defences.records import Change, DataDefence, Demonstration, words_of

__all__ = ["labels_only", "nearest_public", "tfidf_similarity"]


def tfidf_similarity(first: Sequence[str], second: Sequence[str], *, fitted_on: Sequence[str]) -> npt.NDArray[np.float64]:
    """Cosine of the TF-IDF weights of words, each text of `first` with each of `second`.

    Parameters
    ----------
    fitted_on : sequence of str
        Texts that give words and weights.

    Returns
    -------
    array, shape (len(first), len(second)), in [0, 1]
        0 where a text has no word of `fitted_on`.

    Notes
    -----
    Weights of the last few `fitted_on`, and with them of `second`, are kept: public samples are the same for every prompt.
    """
    if not first or not second or not any(_bags(tuple(fitted_on))):
        return np.zeros((len(first), len(second)))
    weights = _fitted(tuple(fitted_on))
    product: Any = weights.transform(first) @ _weighted(tuple(second), tuple(fitted_on)).T
    return np.asarray(product.toarray(), dtype=np.float64)


@lru_cache(maxsize=4)
def _bags(texts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The words of each text."""
    return tuple(tuple(words_of(text)) for text in texts)


@lru_cache(maxsize=4)
def _fitted(texts: tuple[str, ...]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=words_of).fit(texts)


@lru_cache(maxsize=4)
def _weighted(texts: tuple[str, ...], fitted_on: tuple[str, ...]) -> Any:
    return _fitted(fitted_on).transform(texts)


def nearest_public(demonstrations: Sequence[Demonstration], *, public: Sequence[Demonstration]) -> DataDefence:
    """The nearest public sample of the same label in place of each private demonstration.

    Parameters
    ----------
    demonstrations : sequence of (text, label)
    public : sequence of (text, label)
        Public samples of the task. Those with the very words of a demonstration are not used: they would put it back.

    Returns
    -------
    DataDefence
        The measure of a change is the TF-IDF cosine of the private text and its replacement. No public sample is used twice;
        of all such assignments the one of largest total cosine is taken. A demonstration for whose label no public sample is
        left is left out.

    Notes
    -----
    Guarantee: none; which samples are nearest still depends on the private texts, and somebody who knows the public samples
    can search for the text behind them. Cost: no model call; private x public cosines, and an assignment of O(n^3) for each
    label. Does not stop: attacks that score nearness of meaning.

    Examples
    --------
    >>> public = [("who wrote a book", "Person"), ("where is a river", "Location"), ("who runs", "Person")]
    >>> nearest_public([("who wrote the poem", "Person")], public=public).demonstrations
    (('who wrote a book', 'Person'),)
    """
    from scipy.optimize import linear_sum_assignment

    private, samples = [text for text, _ in demonstrations], tuple(text for text, _ in public)
    private_words = {tuple(words_of(text)) for text in private}
    usable = [words not in private_words for words in _bags(samples)]
    cosines = tfidf_similarity(private, samples, fitted_on=samples)
    chosen: dict[int, tuple[str, float]] = {}
    for wanted in dict.fromkeys(label for _, label in demonstrations):
        rows = [i for i, (_, label) in enumerate(demonstrations) if label == wanted]
        columns = [j for j, (_, label) in enumerate(public) if label == wanted and usable[j]]
        cosine = cosines[np.ix_(rows, columns)]
        for at, column in zip(*linear_sum_assignment(cosine, maximize=True), strict=True):
            chosen[rows[at]] = samples[columns[column]], float(cosine[at, column])
    changes = tuple(
        Change(i, "replaced", chosen[i][1])
        if i in chosen
        else Change(i, "left out", None, "no public sample of its label is left")
        for i in range(len(demonstrations))
    )
    if demonstrations and not chosen:
        return DataDefence((), changes, undefined="no public sample of the labels of the demonstrations is left")
    return DataDefence(tuple((chosen[i][0], demonstrations[i][1]) for i in sorted(chosen)), changes)


def labels_only(demonstrations: Sequence[Demonstration]) -> DataDefence:
    """The labels without their texts: the prompt shows the form of the answers, and how often each occurs.

    Returns
    -------
    DataDefence
        Texts are empty; the measure of a change is the number of words that went.

    Notes
    -----
    Source: label-free replacement of the data defences of [1]; why it can work, [2]. Guarantee: none in the sense of
    differential privacy, for labels and their order stay; nothing of the texts does. Cost: no model call; accuracy falls to
    that of a prompt without demonstrations or below. Does not stop: GAP where labels alone tell (one demonstration of a
    label).
    """
    changes = tuple(Change(i, "emptied", float(len(words_of(text)))) for i, (text, _) in enumerate(demonstrations))
    return DataDefence(tuple(("", label) for _, label in demonstrations), changes)
