"""Data defence: what singles a text out is generalised: names, numbers, addresses, and words that are rare in public.

References
----------
.. [1] Wen, R. et al. (2024). Membership inference attacks against in-context learning. CCS; arXiv:2409.01380.
.. [2] Pilan, I. et al. (2022). The text anonymization benchmark (TAB). Computational Linguistics 48 (4) (removing names alone
   leaves texts recognisable).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from assaymark.audits.icl_membership.method.defences.records import Change, DataDefence
from assaymark.audits.icl_membership.method.prompts import Demonstration

__all__ = ["PLACEHOLDERS", "RedactedText", "redact", "redact_text"]

PLACEHOLDERS = ("[EMAIL]", "[URL]", "[NUMBER]", "[NAME]", "[WORD]")

_TOKEN = re.compile(
    r"(?P<placeholder>\[(?:EMAIL|URL|NUMBER|NAME|WORD)\])"
    r"|(?P<email>[^\s@<>()\[\]]+@[^\s@<>()\[\]]+\.\w+)"
    r"|(?P<url>(?:https?://|www\.)[^\s<>]*[^\s<>.,;:!?)'\"]|\b(?:[\w-]+\.)+(?:com|org|net|edu|gov|io|de|uk|fr|cn)\b(?:/[^\s<>]*)?)"
    r"|(?P<number>[+-]?[$€£¥]?\w*\d\w*(?:[.,:/-]\w*\d\w*)*%?)"
    r"|(?P<word>[^\W\d_]+(?:[-'’_.&]+[^\W\d_]+)*)",
)
_PART = re.compile(r"[^\W\d_]+")
_ENDS_SENTENCE = re.compile(r"(?:^|[.!?:\n]['\"”)]*)\s*['\"“(`]*\s*$")
_REPEATED = re.compile(r"(\[(?:NAME|NUMBER|WORD)\])(?:\s+\1)+")
_CLITICS = frozenset({"s", "t", "re", "ve", "ll", "d", "m"})


class RedactedText(NamedTuple):
    """A text with placeholders, and how many words and numbers they replaced."""

    text: str
    replaced: int


def redact_text(text: str, *, document_frequency: Mapping[str, int], rare_below: int) -> RedactedText:
    """A text whose rare words, names, numbers and addresses are placeholders.

    Parameters
    ----------
    text : str
    document_frequency : mapping
        Public documents that hold each word; keys are case-folded words. From public texts only: counted on the private ones it
        would tell about them, and call a word common because it stands in several demonstrations.
    rare_below : int
        A word in fewer public documents is rare.

    Returns
    -------
    RedactedText

    Notes
    -----
    A word of several parts (well-known, Jean-Luc's) is rare where any part is. A capitalised word within a sentence is a name;
    so is one at the start unless it is a common word. Texts in capitals throughout have no names, only rare words. Placeholders
    are left alone, so that redacting twice is redacting once; equal ones in a row become one, so that they do not count the
    words of a name. O(characters).

    Examples
    --------
    >>> public = {"where": 90, "does": 80, "live": 70, "in": 99}
    >>> redact_text("Where does Ada Lovelace live in 1843?", document_frequency=public, rare_below=5).text
    'Where does [NAME] live in [NUMBER]?'
    """
    shouted = text.upper() == text
    pieces, end, replaced = [], 0, 0
    for token in _TOKEN.finditer(text):
        opens = _ENDS_SENTENCE.search(text, max(0, token.start() - 8), token.start()) is not None
        new = _placeholder(token, opens=opens, shouted=shouted, frequency=document_frequency, rare_below=rare_below)
        if new is not None:
            pieces += [text[end : token.start()], new]
            end = token.end()
            replaced += 1
    return RedactedText(_REPEATED.sub(r"\1", "".join([*pieces, text[end:]])), replaced)


def _placeholder(
    token: re.Match[str], *, opens: bool, shouted: bool, frequency: Mapping[str, int], rare_below: int
) -> str | None:
    """What replaces a token; None leaves it."""
    kind = token.lastgroup
    if kind == "placeholder":
        return None
    if kind != "word":
        return f"[{str(kind).upper()}]"
    word = token.group()
    parts = [part for part in _PART.findall(word.casefold()) if part not in _CLITICS] or [word.casefold()]
    rare = frequency.get(word.casefold(), 0) < rare_below and any(frequency.get(part, 0) < rare_below for part in parts)
    first, *others = _PART.findall(word)
    # I, I'm, I'd name nobody
    capitalised = not shouted and any(part[0].isupper() for part in (others if first == "I" else (first, *others)))
    if capitalised and (rare or not opens):
        return "[NAME]"
    return "[WORD]" if rare else None


def redact(
    demonstrations: Sequence[Demonstration], *, document_frequency: Mapping[str, int], rare_below: int = 5
) -> DataDefence:
    """Each text with its rare words, names, numbers and addresses as placeholders; labels stay.

    Parameters
    ----------
    demonstrations : sequence of (text, label)
    document_frequency : mapping
        Public documents that hold each word; keys are case-folded words.
    rare_below : int
        A word in fewer public documents is rare.

    Returns
    -------
    DataDefence
        The measure of a change is the number of words and numbers that were replaced.

    Notes
    -----
    Guarantee: none; common words in an uncommon order still single a text out ([2]). Cost: no model call. Does not stop: Repeat
    scored on what is left, Inquiry about the redacted text, Brainwash and GAP where the common words carry the label. Names
    that are common words ("Will", "May") at the start of a sentence stay.
    """
    done = [redact_text(text, document_frequency=document_frequency, rare_below=rare_below) for text, _ in demonstrations]
    changes = tuple(Change(i, "redacted" if new.replaced else "kept", float(new.replaced)) for i, new in enumerate(done))
    return DataDefence(tuple((new.text, label) for new, (_, label) in zip(done, demonstrations, strict=True)), changes)
