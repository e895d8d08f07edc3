"""A list of words that machines are fond of, and how much of a text they make up.

References
----------
.. [1] Kobak, D. et al. (2025). Delving into LLM-assisted writing in biomedical publications through excess vocabulary. Science
   Advances 11 (27). Its list of 900 excess words with type and part of speech is public (MIT).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.method.words import words_of
from assaymark.errors import InputError, SchemaError, UnknownName, nearest

__all__ = ["DictionaryHits", "DictionaryWord", "StyleDictionary", "dictionary_hits", "read_dictionary"]

Ints = npt.NDArray[np.int64]


class DictionaryWord(NamedTuple):
    """A lower-case word with what the list says of it; "" where it says nothing."""

    word: str
    kind: str = ""
    part_of_speech: str = ""


@dataclass(frozen=True)
class StyleDictionary:
    """A word list, each word once; `name` is the file's stem."""

    name: str
    words: tuple[DictionaryWord, ...]

    def of_kind(self, kind: str) -> StyleDictionary:
        """The words of one type alone, e.g. "style" of a list that also holds words of content.

        Raises
        ------
        UnknownName : no word is of this type.
        """
        kept = tuple(entry for entry in self.words if entry.kind == kind)
        if not kept:
            raise UnknownName(f"type of word in {self.name!r}", kind, {entry.kind for entry in self.words} - {""})
        return StyleDictionary(self.name, kept)


class DictionaryHits(NamedTuple):
    """Words of each text, and how many of them the dictionary holds; arrays of shape (n,)."""

    hits: Ints
    words: Ints

    @property
    def per_thousand(self) -> npt.NDArray[np.float64]:
        """Dictionary words per 1,000 words of each text; NaN for a text without words."""
        rates = np.full(self.words.shape, np.nan)
        return np.asarray(np.divide(1000.0 * self.hits, self.words, out=rates, where=self.words > 0))


def read_dictionary(path: str | Path) -> StyleDictionary:
    """A dictionary from a file.

    Parameters
    ----------
    path
        * `.csv`: a header with `word` and, optionally, `type` and `part_of_speech`; other columns are notes.
        * anything else: one word a line; blank lines and lines that begin with `#` are left out.

    Raises
    ------
    InputError : the file does not exist, is not UTF-8, holds no words, or an entry is not a single word.
    SchemaError : a CSV without a column `word`, or not well-formed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no dictionary at {str(path)!r}: a text file with one word a line, or a CSV with a column 'word'")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"dictionary {str(path)!r} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    entries: dict[str, DictionaryWord] = {}
    for line, entry in _csv(text, path) if path.suffix.lower() == ".csv" else _plain(text):
        found = words_of(entry.word)
        if len(found) != 1:
            raise InputError(f"dictionary {str(path)!r}, line {line}: {entry.word!r} is not one word: phrases are not counted")
        entries.setdefault(found[0], entry._replace(word=found[0]))
    if not entries:
        raise InputError(f"dictionary {str(path)!r} holds no words: one word a line is expected, or a CSV with a column 'word'")
    return StyleDictionary(path.stem, tuple(entries.values()))


def _plain(text: str) -> Iterator[tuple[int, DictionaryWord]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, DictionaryWord(line.strip())


def _csv(text: str, path: Path) -> Iterator[tuple[int, DictionaryWord]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        if "word" not in header:
            names = ", ".join(name for name in header if name) or "none"
            raise SchemaError(f"dictionary {str(path)!r} has no column 'word'; its columns: {names}{nearest('word', header)}")
        for cells in rows:
            fields = dict(zip(header, (cell.strip() for cell in cells), strict=False))
            if fields.get("word"):
                yield rows.line_num, DictionaryWord(fields["word"], fields.get("type", ""), fields.get("part_of_speech", ""))
    except csv.Error as error:
        raise SchemaError(f"dictionary {str(path)!r} is not a well-formed CSV (line {rows.line_num}): {error}") from error


def dictionary_hits(texts: Iterable[str | None], dictionary: StyleDictionary) -> DictionaryHits:
    """Dictionary words and all words of each text; hits and words of many texts add up.

    Notes
    -----
    A word counts as often as it stands there, in exactly the listed form: the list holds inflected forms. O(words).
    """
    wanted = {entry.word for entry in dictionary.words}
    found = [words_of(text or "") for text in texts]
    hits = [sum(word in wanted for word in words) for words in found]
    return DictionaryHits(np.array(hits, dtype=np.int64), np.array([len(words) for words in found], dtype=np.int64))
