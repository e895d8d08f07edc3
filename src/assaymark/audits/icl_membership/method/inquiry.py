"""Yes, no, or neither: replies to "have you seen this sentence before?"."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from assaymark.audits.icl_membership.method.words import folded

__all__ = ["NO", "UNDECIDED", "YES", "inquiry_outcomes", "inquiry_scores"]

Floats = npt.NDArray[np.float64]

YES, UNDECIDED, NO = 1.0, 0.5, 0.0

_NEGATIVE = r"no|not|unfamiliar|haven't seen|have not seen"
_POSITIVE = r"yes|seen|encountered|familiar"
# "never seen" and "don't recall" hold no word of the published list, or a positive one; a dropped apostrophe is common
_FURTHER_NEGATIVE = r"never|nope|none|cannot|\w+n't|\w*(?:ca|wo|do|did|does|have|has)nt|unseen|new to me"
_FURTHER_POSITIVE = r"yeah|yep|indeed|correct|recognize|recognise|remember|recall|true"
_CHINESE_NEGATIVE = re.compile("没|沒|不|否|未曾|从未|從未")
_CHINESE_POSITIVE = re.compile("是|有|见过|見過|看过|看過|熟悉|对|對")
_PUNCTUATION = re.compile(r"[^\w\s']|(?<!\w)'|'(?!\w)|_")


def inquiry_outcomes(replies: Sequence[str | None], *, extended: bool = False) -> Floats:
    """`YES`, `NO` or `UNDECIDED` for each reply, shape (n,); NaN for None, a question that was not asked.

    Without case and punctuation, in this order: `NO` where a word is no, not or unfamiliar, or "haven't seen" occurs; `YES`
    where a word is yes, seen, encountered or familiar; `YES` or `NO` where the reply begins with 1 or 0; else `UNDECIDED`.

    Parameters
    ----------
    extended : bool
        Also reads never, negated verbs ("don't recall"), further words for yes, and Chinese: by the published order alone "I
        have never seen it" is a yes.

    Notes
    -----
    Published re-implementations toss a coin where nothing is decided, which makes the same replies score differently; here
    they count as 0.5, and the share of them is for the caller to report.
    """
    negative = re.compile(rf"(?<!\S)(?:{_NEGATIVE}{'|' + _FURTHER_NEGATIVE if extended else ''})(?!\S)")
    positive = re.compile(rf"(?<!\S)(?:{_POSITIVE}{'|' + _FURTHER_POSITIVE if extended else ''})(?!\S)")
    found = [np.nan if reply is None else _outcome(reply, negative, positive, extended) for reply in replies]
    return np.array(found, dtype=np.float64)


def _outcome(reply: str, negative: re.Pattern[str], positive: re.Pattern[str], extended: bool) -> float:
    text = " ".join(_PUNCTUATION.sub(" ", folded(reply)).split())
    if negative.search(text) or (extended and _CHINESE_NEGATIVE.search(text)):
        return NO
    if positive.search(text) or (extended and _CHINESE_POSITIVE.search(text)):
        return YES
    return {"1": YES, "0": NO}.get(text.partition(" ")[0], UNDECIDED)


def inquiry_scores(outcomes: npt.ArrayLike) -> Floats:
    """Mean outcome over wordings and samples: outcomes of shape (n, m) to scores of shape (n,), in [0, 1].

    NaN outcomes (questions that were not asked) are left out; a target without any other is NaN.
    """
    asked = np.asarray(outcomes, dtype=np.float64)
    known = ~np.isnan(asked)
    count = known.sum(axis=1)
    total = np.where(known, asked, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(asked), np.nan), where=count > 0))
