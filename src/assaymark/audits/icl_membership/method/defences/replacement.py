"""Data defences: public samples in place of the private texts, or no texts at all.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380.
.. [2] Min, S. et al. (2022). Rethinking the role of demonstrations. EMNLP (texts of the right kind and the set of labels
   carry much of what demonstrations do).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.defences.records import Change, DataDefence
from assaymark.audits.icl_membership.method.prompts import Demonstration
from assaymark.audits.icl_membership.method.words import words_of

__all__ = ["PublicIndex", "labels_only", "nearest_public"]


@dataclass(frozen=True)
class PublicIndex:
    """Public samples with the TF-IDF weights of their words, to be searched for many prompts.

    Attributes
    ----------
    samples : tuple of (text, label)
    words : tuple of tuples of str
        Of each sample.
    vectors : fitted vectoriser, or None where no sample has a word
    weights : sparse array, shape (samples, vocabulary), rows of length 1 or 0
    """

    samples: tuple[Demonstration, ...]
    words: tuple[tuple[str, ...], ...]
    vectors: Any
    weights: Any

    @classmethod
    def of(cls, samples: Sequence[Demonstration]) -> PublicIndex:
        """The index of some samples; O(words)."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = tuple(tuple(words_of(text)) for text, _ in samples)
        if not any(words):
            return cls(tuple(samples), words, None, None)
        vectors = TfidfVectorizer(analyzer=words_of)
        weights = vectors.fit_transform([text for text, _ in samples])
        return cls(tuple(samples), words, vectors, weights)

    def cosine(self, texts: Sequence[str], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Cosine of each text with each of these samples.

        Returns
        -------
        array, shape (texts, rows), in [0, 1]
            0 where a text has no word of the samples.
        """
        if self.vectors is None or not texts or not rows.size:
            return np.zeros((len(texts), rows.size))
        product = self.vectors.transform(texts) @ self.weights[rows].T
        return np.asarray(product.toarray(), dtype=np.float64)


def nearest_public(demonstrations: Sequence[Demonstration], *, public: Sequence[Demonstration] | PublicIndex) -> DataDefence:
    """The nearest public sample of the same label in place of each private demonstration.

    Parameters
    ----------
    demonstrations : sequence of (text, label)
    public : sequence of (text, label), or PublicIndex
        Public samples of the task. Those with the very words of a demonstration are not used: they would put it back. For many
        prompts index them once.

    Returns
    -------
    DataDefence
        The measure of a change is the TF-IDF cosine of the private text and its replacement. No public sample is used twice;
        of all such assignments the one of largest total cosine is taken. A demonstration for whose label no public sample is
        left is left out.

    Notes
    -----
    Source: nearest-public replacement of the data defences of [1]. Guarantee: none; which samples are nearest still depends on
    the private texts, and somebody who knows the public samples can search for the text behind them. Cost: no model call; per
    label private x public cosines and an assignment of O(private^2 x public). Does not stop: attacks that score nearness of
    meaning.

    Examples
    --------
    >>> public = [("who wrote a book", "Person"), ("where is a river", "Location"), ("who runs", "Person")]
    >>> nearest_public([("who wrote the poem", "Person")], public=public).demonstrations
    (('who wrote a book', 'Person'),)
    """
    from scipy.optimize import linear_sum_assignment

    index = public if isinstance(public, PublicIndex) else PublicIndex.of(public)
    private_words = {tuple(words_of(text)) for text, _ in demonstrations}
    usable = [i for i, words in enumerate(index.words) if words not in private_words]
    chosen: dict[int, tuple[str, float]] = {}
    for wanted in dict.fromkeys(label for _, label in demonstrations):
        own = [i for i, (_, label) in enumerate(demonstrations) if label == wanted]
        rows = np.array([i for i in usable if index.samples[i][1] == wanted], dtype=np.int64)
        cosine = index.cosine([demonstrations[i][0] for i in own], rows)
        for at, column in zip(*linear_sum_assignment(cosine, maximize=True), strict=True):
            chosen[own[at]] = index.samples[rows[column]][0], float(cosine[at, column])
    missing = "no public sample of its label is left"
    changes = tuple(
        Change(i, "replaced", chosen[i][1]) if i in chosen else Change(i, "left out", None, missing)
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
