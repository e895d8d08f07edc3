"""Which words and class names may be shown: common ones; words of the lists, and words that only flagged texts hold, are "
"masked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from assaymark.report.redaction import mask_term
from assaymark.report.text import shorten, visible

__all__ = ["COMMON", "Mask", "mask_of"]

COMMON = 5
"""Occurrences in unflagged texts from which a word counts as common."""
LONGEST = 60


class Mask(NamedTuple):
    """`word(term, occurrences in unflagged texts)` and `name(class)` as a report may show them."""

    word: Callable[[str, int], str]
    name: Callable[[str], str]


def mask_of(listed: frozenset[str], *, reveal: bool) -> Mask:
    """Masking by the word lists of the settings; `reveal` shows everything."""

    def hidden(term: str) -> bool:
        return any(part in listed for part in (term.casefold(), *term.casefold().split()))

    def word(term: str, elsewhere: int) -> str:
        shown = term if reveal or (elsewhere >= COMMON and not hidden(term)) else mask_term(term)
        return shorten(visible(shown), LONGEST, counted=False)

    def name(term: str) -> str:
        shown = term if reveal or not hidden(term) else mask_term(term)
        return shorten(visible(shown), LONGEST, counted=False) or "(no class)"

    return Mask(word, name)
