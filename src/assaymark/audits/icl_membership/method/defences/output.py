"""Output defences: what is done to a reply before it is released.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380 (output is one
   of its three targets of defence).
.. [2] Ippolito, D. et al. (2023). Preventing generation of verbatim memorization in language models gives a false sense of
   privacy. INLG; arXiv:2210.17546.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.defences.records import OutputDefence, released
from assaymark.audits.icl_membership.method.words import words_of

__all__ = ["BLOCKED", "LONGEST_GRAM", "NO_COMMENT", "UNKNOWN", "gram_length", "label_only", "overlap_guard", "scrub"]

BLOCKED = "I cannot answer that."
NO_COMMENT = "I cannot talk about the examples."
UNKNOWN = "unknown"
LONGEST_GRAM = 5
"""Words of the n-gram that the guard looks for, at most."""
PREFIX_WORDS = 3
"""Words of the target that the Repeat attack gives away, so that a reply may hold them without leaking anything."""

Grams = frozenset[tuple[str, ...]]


def gram_length(words: int, *, prefix_words: int = PREFIX_WORDS, longest: int = LONGEST_GRAM) -> int:
    """n of the adaptive guard for a demonstration of so many words: min(longest, ceil(|suffix| / 2)).

    Parameters
    ----------
    words : int >= 1
        Words of the demonstration; the suffix is what follows its first `prefix_words`, or all of it where nothing follows.

    Notes
    -----
    The trap of n fixed at 5: a reply that is the whole suffix of a demonstration shares no 5-gram with it where the suffix has
    fewer than five words. Of the questions of TREC 36 % are such; the guard lets them all through.

    Examples
    --------
    >>> [gram_length(words) for words in (2, 4, 7, 10, 40)]
    [1, 1, 2, 4, 5]
    """
    if words < 1:
        raise ValueError(f"a demonstration of {words} words has no n-grams")
    suffix = words - prefix_words if words > prefix_words else words
    return min(longest, -(-suffix // 2))


def _grams(words: Sequence[str], n: int) -> Grams:
    return frozenset(zip(*(words[i:] for i in range(n)), strict=False))


def _forbidden(texts: Sequence[str], n: int | None, longest: int, prefix_words: int) -> dict[int, set[tuple[str, ...]]]:
    """n-grams that no reply may hold, by n."""
    by_length: dict[int, set[tuple[str, ...]]] = {}
    for text in texts:
        words = words_of(text)
        if not words:
            continue
        if n is None:
            length = gram_length(len(words), prefix_words=prefix_words, longest=longest)
            # short grams of the opening ("what is") would block half of all replies, and the attacker has them anyway
            words = words[prefix_words:] or words
        else:
            length = n
        by_length.setdefault(length, set()).update(_grams(words, length))
    return by_length


def overlap_guard(
    replies: Sequence[str],
    demonstrations: Sequence[str],
    *,
    n: int | None = None,
    longest: int = LONGEST_GRAM,
    prefix_words: int = PREFIX_WORDS,
    similarity: Callable[[Sequence[str], Sequence[str]], Any] | None = None,
    tau: float = 0.8,
    label_names: Sequence[str] = (),
    blocked: str = BLOCKED,
) -> OutputDefence:
    """Blocks replies that share an n-gram of words with a demonstration, or are too similar to one.

    Parameters
    ----------
    replies : sequence of str
        To queries of one prompt.
    demonstrations : sequence of str
        Texts of the demonstrations of that prompt.
    n : int, optional
        Words of the n-gram, anywhere in the demonstration. Default: adapted to each demonstration (`gram_length`) and sought in
        what follows its first `prefix_words`.
    longest, prefix_words : int
        Of the adaptive n.
    similarity : callable, optional
        (replies, texts) -> array (replies, texts); a reply is also blocked where any similarity is at least `tau`.
    label_names : sequence of str
        A reply that is just a label passes: "Person" repeats nothing of the short question "What is a person?".
    blocked : str
        What is released instead; always the same, so that it tells only that something was blocked.

    Returns
    -------
    OutputDefence
        Reasons: "overlap", "similarity".

    Notes
    -----
    Source: card of the paper ([1] names the target, not the recipe). Guarantee: none. Cost: no model call; O(words). Does not
    stop: a reply in another form (backwards, base64: `transforms`, [2]), a paraphrase below `tau`, Brainwash and GAP, which
    need only labels. That a reply was blocked is itself a sign of membership: an attacker may score it as one.

    Examples
    --------
    >>> guard = overlap_guard(["red fox", "a blue hen"], ["What is a red fox"], n=2)
    >>> guard.acted.tolist(), guard.reasons
    ([True, False], ('overlap', ''))
    """
    if n is not None and n < 1:
        raise ValueError(f"n = {n}: an n-gram has at least one word")
    forbidden = _forbidden(demonstrations, n, longest, prefix_words)
    held = [_holds(words_of(reply), forbidden) for reply in replies]
    near = np.zeros(len(replies), dtype=np.bool_)
    if similarity is not None and replies and demonstrations:
        near = _near(similarity(replies, demonstrations), tau, (len(replies), len(demonstrations)))
    labels = _label_words(label_names)
    reasons = [
        "" if tuple(words_of(reply)) in labels else "overlap" if shared else "similarity" if close else ""
        for reply, shared, close in zip(replies, held, near.tolist(), strict=True)
    ]
    return released(list(replies), [blocked if reason else None for reason in reasons], reasons)


def _label_words(label_names: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(words_of(name)) for name in label_names}


def _holds(words: Sequence[str], forbidden: dict[int, set[tuple[str, ...]]]) -> bool:
    return any(not grams.isdisjoint(_grams(words, n)) for n, grams in forbidden.items())


def _near(similarities: Any, tau: float, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    matrix = np.asarray(similarities, dtype=np.float64)
    if matrix.shape != shape:
        raise ValueError(f"similarities of shape {matrix.shape}: expected one for each reply and demonstration, {shape}")
    return np.asarray((matrix >= tau).any(axis=1))


def label_only(replies: Sequence[str], *, parse: Callable[[str], str | None], unknown: str = UNKNOWN) -> OutputDefence:
    """Releases the label that the reply names, and nothing else of it.

    Parameters
    ----------
    parse : callable, str -> str or None
        Reads the label off a reply; None where it names none, or several.
    unknown : str
        Released where no label was read.

    Returns
    -------
    OutputDefence
        Reasons: "label" where the label stood among other words, "no label".

    Notes
    -----
    Guarantee: none. Cost: no model call; free answers are no longer possible. Stops Repeat and Inquiry in any encoding, because
    nothing but one of a few labels passes. Does not stop Brainwash and GAP, which read labels alone.

    Examples
    --------
    >>> label_only(["It is Location.", "Yes!"], parse=lambda reply: "Location" if "Location" in reply else None).replies
    ('Location', 'unknown')
    """
    parsed = [parse(reply) for reply in replies]
    reasons = ["no label" if label is None else "label" for label in parsed]
    return released(list(replies), [unknown if label is None else label for label in parsed], reasons)


_EXAMPLES = r"(?:examples?|demonstrations?|samples?|prompt|context|instructions?|training data|data ?set)"
_META_QUESTION = re.compile(
    r"\b(?:have|had|did|do|were|are|could|can)\s+you\b[^.?!\n]{0,40}?"
    r"\b(?:seen?|encounter(?:ed)?|read|come across|know|recogni[sz]e|familiar|shown|given|told|remember)\b"
    r"|\b(?:this|that|following|above)\s+(?:text|sentence|question|article|document|sample|passage)\b[^.?!\n]{0,40}?"
    r"\b(?:seen|shown|given|known|familiar|before)\b|\b(?:seen|known|familiar|shown|given)\s+(?:to|by)\s+you\b"
    rf"|\b(?:in|among|part of|one of|from|of|to|repeat|reveal|list|print|show|quote)\s+(?:(?:any|all|each|some)\s+(?:of\s+)?)?"
    rf"(?:your|the|these|those|my)\s+(?:\w+\s+)?{_EXAMPLES}\b"
    rf"|\b(?:what|which|how many)\s+(?:\w+\s+)?{_EXAMPLES}\b",
    re.IGNORECASE,
)
_YES_NO = re.compile(
    r"^\W*(?:yes|yeah|yep|no|nope)\b"
    r"|\b(?:have|has|haven['’]t|hasn['’]t|had|not|never)\s+(?:\w+\s+)?(?:seen|encountered)\b"
    r"|\b(?:un)?familiar\b",
    re.IGNORECASE,
)


def scrub(
    replies: Sequence[str], questions: Sequence[str], *, label_names: Sequence[str] = (), sentence: str = NO_COMMENT
) -> OutputDefence:
    """Replaces answers to questions about the examples, and any yes or no about what was seen.

    Parameters
    ----------
    replies, questions : sequences of str, of one length
        The question is the last message of the user.
    label_names : sequence of str
        A reply that is just a label passes, whatever was asked; so tasks whose labels are Yes and No keep working.
    sentence : str
        What is released instead.

    Returns
    -------
    OutputDefence
        Reasons: "meta question", "yes or no".

    Notes
    -----
    Guarantee: none. Cost: no model call. Does not stop: Repeat, Brainwash, GAP, and inquiries in another language, in words
    that the patterns lack, or whose answer is asked for as a label. Questions of the task that happen to be worded like an
    inquiry ("How do you recognize anorexia?") lose their free answer: 4 of the 5,381 of TREC.

    Examples
    --------
    >>> scrub(["Yes, I have.", "Location"], ["Have you seen this: x", "Where is x?"], label_names=["Location"]).replies
    ('I cannot talk about the examples.', 'Location')
    """
    labels = _label_words(label_names)
    reasons = [
        "" if tuple(words_of(reply)) in labels else _about_examples(reply, question)
        for reply, question in zip(replies, questions, strict=True)
    ]
    return released(list(replies), [sentence if reason else None for reason in reasons], reasons)


def _about_examples(reply: str, question: str) -> str:
    if _META_QUESTION.search(question):
        return "meta question"
    return "yes or no" if _YES_NO.search(reply) else ""
