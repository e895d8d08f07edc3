"""Words of a text: those a person types (between blanks), and those that are compared (without case and punctuation)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["EAST_ASIAN", "Split", "folded", "prefix_lengths", "split_texts", "words_of"]

Ints = npt.NDArray[np.int64]

EAST_ASIAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Characters of scripts without blanks between words, as they stand in a regular expression's brackets."""

_WORD = re.compile(rf"[{EAST_ASIAN}]|[^\W{EAST_ASIAN}]+(?:'[^\W{EAST_ASIAN}]+)*")


def folded(text: str) -> str:
    r"""The text as it is compared: compatibility forms (NFKC), without case, straight apostrophes, single blanks.

    Examples
    --------
    >>> folded(" Ｈaven’t \n SEEN ")
    "haven't seen"
    """
    return " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'").casefold().split())


def words_of(text: str) -> list[str]:
    """Words without case and punctuation; a Chinese or Japanese character is a word of its own.

    Examples
    --------
    >>> words_of("Who isn’t the N.Y. mayor ?")
    ['who', "isn't", 'the', 'n', 'y', 'mayor']
    """
    return _WORD.findall(folded(text))


class Split(NamedTuple):
    """Texts cut in two; `suffixes` are "" where a text has no more than its `lengths` of words."""

    prefixes: list[str]
    suffixes: list[str]
    lengths: Ints


def prefix_lengths(texts: Sequence[str], w: int | Literal["half"]) -> Ints:
    """Words that the attacker gives away: `w` of each text, or half of its words rounded down, at least 1; shape (n,)."""
    if w == "half":
        return np.array([max(len(text.split()) // 2, 1) for text in texts], dtype=np.int64)
    if w < 1:
        raise ValueError(f"w = {w}: at least one word of the text is given")
    return np.full(len(texts), w, dtype=np.int64)


def split_texts(texts: Sequence[str], w: int | Literal["half"] = 3) -> Split:
    """The first words of each text, and what is left of it; words are what stands between blanks.

    A text in a script without blanks is a single word: put blanks where it is to be cut.

    Parameters
    ----------
    w : int or "half"
        See `prefix_lengths`.

    Examples
    --------
    >>> split_texts(["Who was the first man ?", "Why ?"], 3)
    Split(prefixes=['Who was the', 'Why ?'], suffixes=['first man ?', ''], lengths=array([3, 3]))
    """
    lengths = prefix_lengths(texts, w)
    words = [text.split() for text in texts]
    pairs = list(zip(words, lengths.tolist(), strict=True))
    return Split([" ".join(row[:n]) for row, n in pairs], [" ".join(row[n:]) for row, n in pairs], lengths)
