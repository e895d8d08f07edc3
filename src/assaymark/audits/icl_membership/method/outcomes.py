"""Why a target has no score, and which replies are refusals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.words import folded

__all__ = ["REASONS", "REFUSALS", "Scored", "first_reasons", "is_refusal", "reply_reasons", "withheld"]

Floats = npt.NDArray[np.float64]
Reasons = npt.NDArray[np.str_]

REASONS = {
    "refusal": "the service declined to answer",
    "empty": "the service said nothing",
    "too_short": "the text has no words left after those that are given away",
    "unparsed": "the reply names no label, or several",
    "budget": "the question was not asked: the prompt or the number of queries is beyond the budget",
}
"""Code of a missing score to what it means. "" stands for: there is a score."""

REFUSALS = (
    "i can't", "i cannot", "i can not", "i'm unable", "i am unable", "i'm not able", "i am not able", "i won't", "i will not",
    "i must decline", "i decline", "unable to comply", "can't help with", "cannot help with", "can't assist", "cannot assist",
    "not allowed to", "not permitted to", "against my guidelines", "as an ai", "as a language model",
    "我不能", "我无法", "我無法", "无法回答", "無法回答", "不能回答", "无法提供", "無法提供", "不便透露", "我拒绝", "作为ai",
    "作为一个ai", "作为人工智能", "作为一个人工智能", "作為一個人工智能",
)  # fmt: skip
"""Phrases that open a refusal in English and Chinese, folded; an apology ("sorry", 抱歉) may stand before them."""

_OPENING = 12
"""Words within which a refusal declares itself: a sentence copied from a text can hold "I cannot" further on."""

_REFUSAL = re.compile("|".join(rf"(?<!\w){re.escape(p)}" if p[0].isascii() else re.escape(p) for p in REFUSALS))
_CHARACTERS = 100


class Scored(NamedTuple):
    """Scores and, where they are missing, why.

    Attributes
    ----------
    scores : array, shape (n,)
        NaN exactly where `reasons` is not "".
    reasons : array of str, shape (n,)
        Of `REASONS`, or "".
    """

    scores: Floats
    reasons: Reasons


def is_refusal(reply: str) -> bool:
    """Whether a reply declines, by `REFUSALS` within its first 12 words (100 characters).

    A small list that people can check: it finds the usual wordings and misses original ones. It tells why there is no score
    and must not decide whether somebody is a member.

    Examples
    --------
    >>> is_refusal("I'm sorry, but I can’t share that."), is_refusal("抱歉，我无法回答。"), is_refusal("Location")
    (True, True, False)
    """
    opening = " ".join(folded(reply).split()[:_OPENING])[:_CHARACTERS]
    return bool(_REFUSAL.search(opening))


def reply_reasons(replies: Sequence[str | None]) -> Reasons:
    """What is wrong with each reply by itself, shape (n,): "budget" for None, "empty", "refusal", or ""."""
    return _reasons(
        ["budget" if r is None else "empty" if not r.strip() else "refusal" if is_refusal(r) else "" for r in replies]
    )


def first_reasons(*reasons: Reasons) -> Reasons:
    """The first reason that applies to each of n targets; arrays of shape (n,), the weightiest first."""
    found = _reasons(reasons[0].tolist())
    for others in reasons[1:]:
        found = np.where(found == "", others, found)
    return found


def withheld(scores: npt.ArrayLike, reasons: Reasons) -> Scored:
    """Scores without those that have a reason to be missing.

    Raises
    ------
    ValueError
        A score is NaN without a reason, or a reason is none of `REASONS`.
    """
    unknown = set(np.unique(reasons).tolist()) - {"", *REASONS}
    if unknown:
        raise ValueError(f"unknown reasons {sorted(unknown)}; known: {', '.join(REASONS)}")
    kept = np.where(reasons == "", np.asarray(scores, dtype=np.float64), np.nan)
    unexplained = np.isnan(kept) & (reasons == "")
    if unexplained.any():
        raise ValueError(f"{int(unexplained.sum())} scores are missing without a reason")
    return Scored(kept, reasons)


def _reasons(found: list[str]) -> Reasons:
    width = max(map(len, REASONS))
    return np.array(found, dtype=f"<U{width}")
