"""Data defence: the prompt holds paraphrases of the private demonstrations.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380 (data is one of
   its three targets of defence).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from assaymark.audits.icl_membership.method.defences.records import Change, DataDefence
from assaymark.audits.icl_membership.method.prompts import Demonstration
from assaymark.audits.icl_membership.method.words import words_of

__all__ = ["longest_common_run", "paraphrase"]


def longest_common_run(first: str, second: str) -> int:
    """Most consecutive words that two texts share.

    Notes
    -----
    O(words of one times words of the other), a row at a time.

    Examples
    --------
    >>> longest_common_run("who wrote the long book", "Say who wrote it, the long book!")
    3
    """
    index = {word: i for i, word in enumerate(dict.fromkeys([*words_of(first), *words_of(second)]))}
    a, b = (np.array([index[word] for word in words_of(text)], dtype=np.int64) for text in (first, second))
    ending = np.zeros(b.size + 1, dtype=np.int64)  # length of the common run that ends at each word of b
    longest = 0
    for word in a:
        ending[1:] = np.where(b == word, ending[:-1] + 1, 0)
        longest = max(longest, int(ending.max()))
    return longest


def paraphrase(
    demonstrations: Sequence[Demonstration],
    *,
    write: Callable[[Sequence[str]], Sequence[str | None]] | None,
    most_common_run: int | None = None,
) -> DataDefence:
    """Each text in other words, written by a model of the operator.

    Parameters
    ----------
    demonstrations : sequence of (text, label)
    write : callable, texts -> texts, or None
        The paraphrases in the same order; None for a text that could not be paraphrased. Without a model the recipe is
        undefined: replacing words by rule is not a paraphrase, and would be measured as if it were one.
    most_common_run : int, optional
        A paraphrase that shares more consecutive words with its source is left out.

    Returns
    -------
    DataDefence
        The measure of a change is the longest run of words shared with the source. Texts without a paraphrase, and copies, are
        left out with the reason; the private text never takes their place.

    Notes
    -----
    Guarantee: none; a paraphrase keeps the facts, and often the rare words. Cost: one model call for each demonstration when
    the prompt is made, none per query. Does not stop: attacks that score meaning instead of words (Repeat with sentence
    embeddings, Inquiry), Brainwash where the paraphrase stays near enough to anchor the label.

    Examples
    --------
    >>> done = paraphrase([("who wrote it", "Person")], write=lambda texts: ["name the author"])
    >>> done.demonstrations, done.changes[0].measure
    ((('name the author', 'Person'),), 0.0)
    """
    if write is None:
        return DataDefence((), (), undefined="no model writes paraphrases: give one that generates text")
    written = write([text for text, _ in demonstrations])
    if len(written) != len(demonstrations):
        raise ValueError(f"{len(written)} paraphrases of {len(demonstrations)} texts: expected one each, None where it failed")
    kept: list[Demonstration] = []
    changes = []
    for position, ((text, label), new) in enumerate(zip(demonstrations, written, strict=True)):
        run = 0 if new is None else longest_common_run(text, new)
        reason = _unfit(text, new, run, most_common_run)
        changes.append(Change(position, "left out" if reason else "paraphrased", None if new is None else float(run), reason))
        if new is not None and not reason:
            kept.append((new.strip(), label))
    if demonstrations and not kept:
        reasons = ", ".join(dict.fromkeys(change.reason for change in changes))
        return DataDefence((), tuple(changes), undefined=f"no text was paraphrased: {reasons}")
    return DataDefence(tuple(kept), tuple(changes))


def _unfit(text: str, new: str | None, run: int, most: int | None) -> str:
    """Why a paraphrase may not be used; empty where it may."""
    if new is None:
        return "the model gave no paraphrase"
    if not words_of(new):
        return "empty paraphrase"
    # a copy inside other words ("Sure: ...") is a copy
    if run == len(words_of(text)):
        return "copy of the source"
    return f"more than {most} common words in a row" if most is not None and run > most else ""
