"""Lexicons from files: plain lists, folders of them, CSV and JSON; and the lists that come with the package."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast, get_args

from assaymark.data.lexicon_terms import Lexicon, MatchMode, Term, paper_unsafe_lexicon
from assaymark.errors import InputError, SchemaError, UnknownName, nearest

__all__ = ["PACKAGED_LEXICONS", "load_lexicon", "load_lexicons"]

PACKAGED_LEXICONS: tuple[str, ...] = ("identity-en", "paper-unsafe")
"""Names that `load_lexicon` knows without a file: neutral English identity terms by axis, and the paper's unsafe tokens."""

_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_COLUMNS = ("term", "language", "category", "mode", "exceptions")
_EXCEPTION_SEPARATOR = "|"


def load_lexicon(path: str | Path) -> Lexicon:
    """A lexicon from a file, a folder or the name of a packaged list.

    Parameters
    ----------
    path
        * `NAME.txt`: one term per line; blank lines and lines that begin with `#` are left out. The language is the file's
          name where that is a language code (`en.txt`, `fr-CA.txt`), the category is "profanity".
        * a folder: all its `.txt` files named by a language code, as one lexicon with the folder's name. Others
          (`LICENSE`, `SOURCE.txt`) are not lists.
        * `.csv`: header `term[,language,category,mode,exceptions]`, exceptions separated by `|`.
        * `.json`: a list of strings, a list of objects with the same keys, or `{category: [terms]}`.
        * "identity-en" or "paper-unsafe": a packaged list.

    Returns
    -------
    Lexicon, named by the file's stem. Repeated entries are kept once. Blanks around a term are dropped, save those of
    substring terms in CSV and JSON, where they may be meant.

    Raises
    ------
    InputError : the path does not exist, is not UTF-8, or holds no terms.
    SchemaError : a CSV without a column `term`, an unknown mode, or JSON of another shape.
    """
    if str(path) in PACKAGED_LEXICONS and not Path(path).exists():
        return _packaged(str(path))
    path = Path(path)
    if not path.exists():
        hint = nearest(str(path), PACKAGED_LEXICONS) or f"; packaged lists: {', '.join(PACKAGED_LEXICONS)}"
        raise InputError(f"no lexicon at {str(path)!r}{hint}")
    if path.is_dir():
        return _named(path, (term for part in _lists_in(path) for term in _plain(part)))
    readers = {".csv": _csv, ".json": _json, ".txt": _plain, "": _plain}
    if path.suffix.lower() not in readers:
        raise UnknownName("kind of lexicon file", path.suffix, [kind for kind in readers if kind], mend=f"({path.name})")
    return _named(path, readers[path.suffix.lower()](path))


def load_lexicons(paths: str | Path | Sequence[str | Path]) -> tuple[Lexicon, ...]:
    """One lexicon per path, folder or packaged name; see `load_lexicon`.

    Raises
    ------
    InputError : two of them have the same name, so that their figures could not be told apart.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    lexicons = tuple(load_lexicon(path) for path in paths)
    names = [lexicon.name for lexicon in lexicons]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two lexicons are named {name!r}: rename one of the files, or put both in one folder")
    return lexicons


def _packaged(name: str) -> Lexicon:
    if name == "paper-unsafe":
        return paper_unsafe_lexicon()
    source = resources.files("assaymark.data") / "lexicons" / f"{name.replace('-', '_')}.csv"
    return Lexicon.of(name, _csv_terms(source.read_text(encoding="utf-8"), name))


def _named(path: Path, terms: Iterator[Term]) -> Lexicon:
    listed = list(terms)
    if not listed:
        raise InputError(f"lexicon {str(path)!r} holds no terms: one term per line is expected, or see the other formats")
    return Lexicon.of(path.resolve().name if path.is_dir() else path.stem, listed)


def _lists_in(folder: Path) -> list[Path]:
    lists = sorted(part for part in folder.glob("*.txt") if _LANGUAGE_CODE.fullmatch(part.stem))
    if not lists:
        raise InputError(f"lexicon folder {str(folder)!r} holds no list named by a language code, such as en.txt")
    return lists


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"lexicon {str(path)!r} is not UTF-8 (byte {error.start}): save it as UTF-8") from error


def _plain(path: Path) -> Iterator[Term]:
    language = path.stem if _LANGUAGE_CODE.fullmatch(path.stem) else ""
    # not str.splitlines, which would also break lines at characters that can stand within a term
    for line in _text(path).split("\n"):
        text = line.strip()
        if text and not text.startswith("#"):
            yield Term(text, language, "profanity")


def _csv(path: Path) -> Iterator[Term]:
    return _csv_terms(_text(path), str(path))


def _csv_terms(text: str, source: str) -> Iterator[Term]:
    lines = csv.reader(io.StringIO("\n".join(line for line in text.split("\n") if not line.startswith("#"))), strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        if "term" not in header:
            raise SchemaError(
                f"lexicon {source!r} has no column 'term'; its columns: {', '.join(header) or 'none'}{nearest('term', header)}"
            )
        for number, cells in enumerate(lines, start=1):
            entry: dict[str, Any] = dict(zip(header, cells, strict=False))
            if not any(cell.strip() for cell in cells):
                continue
            entry["exceptions"] = [part for part in entry.get("exceptions", "").split(_EXCEPTION_SEPARATOR) if part.strip()]
            yield _term(entry, f"lexicon {source!r}, row {number}")
    except csv.Error as error:
        raise SchemaError(f"lexicon {source!r} is not a well-formed CSV (line {lines.line_num}): {error}") from error


def _json(path: Path) -> Iterator[Term]:
    where = f"lexicon {str(path)!r}"
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not valid JSON (line {error.lineno}, column {error.colno}): {error.msg}") from error
    groups = content if isinstance(content, dict) else {"": content}
    for category, entries in groups.items():
        if not isinstance(entries, list):
            raise SchemaError(f"{where}: expected a list of terms, a list of objects, or {{category: [terms]}}")
        for number, entry in enumerate(entries, start=1):
            at = f"{where}, {f'category {category!r}, ' if category else ''}entry {number}"
            fields = {"term": entry} if isinstance(entry, str) else entry
            if not isinstance(fields, dict):
                raise SchemaError(f"{at}: expected a string or an object with the key 'term', got {type(entry).__name__}")
            yield _term({"category": category, **fields}, at)


def _term(entry: dict[str, Any], where: str) -> Term:
    """A term from the fields of a CSV row or a JSON object; fields of other names are notes and left out."""
    mode = entry.get("mode") or "word"
    texts = [entry.get(name) or "" for name in ("term", "language", "category")]
    exceptions = entry.get("exceptions") or []
    if not all(isinstance(text, str) for text in [*texts, mode]) or not texts[0].strip():
        raise SchemaError(f"{where}: 'term' is missing or a field is not text")
    if not isinstance(exceptions, list) or not all(isinstance(text, str) and text.strip() for text in exceptions):
        raise SchemaError(f"{where}: 'exceptions' must be a list of words or phrases")
    mode = mode.strip().lower()
    if mode not in get_args(MatchMode):
        raise SchemaError(f"{where}: unknown mode {mode!r}: use 'word' or 'substring'")
    term, language, category = texts
    kept = [text if mode == "substring" else text.strip() for text in (term, *exceptions)]
    return Term(kept[0], language.strip(), category.strip(), cast(MatchMode, mode), tuple(kept[1:]))
