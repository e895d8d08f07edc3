"""The nouns of a lexicon: one `Term` with its own way of matching, and a named, versioned `Lexicon` of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from assaymark.errors import InputError

__all__ = ["PAPER_UNSAFE_TOKENS", "UNSEGMENTED_LANGUAGES", "Lexicon", "MatchMode", "Term", "paper_unsafe_lexicon"]

MatchMode = Literal["word", "substring"]

PAPER_UNSAFE_TOKENS: tuple[str, ...] = ("porn", "hot ", "adult", "xxx", "sex", "fuck", " rape ")
"""Weak unsafe label of the LAION-400M audit (arXiv 2110.01963): a row is unsafe if the lower-cased URL or the lower-cased TEXT
holds one of these as a plain substring. The blanks are part of two tokens: `hot ` does not match at the end of a text, ` rape `
neither at its start nor at its end."""

UNSEGMENTED_LANGUAGES: frozenset[str] = frozenset({"ja", "th", "zh", "lo", "km", "my"})
"""Languages written without blanks between words: their terms match without boundaries (as C4 does for ja, th and zh)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One entry of a lexicon.

    Parameters
    ----------
    term : a word, a phrase or an emoji, as listed. Blanks at its edges count.
    language : BCP 47 code ("en", "fr-CA"), "" if unknown.
    category : what it stands for ("profanity", "gender", ...), "" if not said.
    mode : how it matches where a matcher follows the list: as whole words, or anywhere.
    exceptions : innocent words or phrases that hold the term ("Essex" for a substring term); a hit inside one does not count.
    """

    term: str
    language: str = ""
    category: str = ""
    mode: MatchMode = "word"
    exceptions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.term.strip():
            raise InputError("a lexicon term is empty: remove the entry")
        if self.mode not in get_args(MatchMode):
            raise InputError(f"unknown match mode {self.mode!r} of a lexicon term: use 'word' or 'substring'")

    @property
    def needs_boundaries(self) -> bool:
        """Whether word mode asks for non-word characters around this term.

        Not in languages without word separators, unless the term is plain ASCII: the two Latin letters of a term in a Japanese
        list lie within every other English word.
        """
        return self.term.isascii() or self.language.partition("-")[0].lower() not in UNSEGMENTED_LANGUAGES


@dataclass(frozen=True)
class Lexicon:
    """A named list of terms. `version` is a short hash of the content unless given, whatever the order of the terms."""

    name: str
    version: str = ""
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        if not self.terms:
            raise InputError(f"lexicon {self.name!r} holds no terms")
        if not self.version:
            object.__setattr__(self, "version", _content_hash(self.terms))

    @classmethod
    def of(cls, name: str, terms: Iterable[Term | str]) -> Lexicon:
        """A lexicon from terms or plain strings; repeated entries are kept once, in the order of their first occurrence."""
        listed = dict.fromkeys(term if isinstance(term, Term) else Term(term) for term in terms)
        return cls(name, terms=tuple(listed))

    def only(self, *, categories: Iterable[str] | None = None, languages: Iterable[str] | None = None) -> Lexicon:
        """The part of the list in some categories or languages, under the same name, with a version of its own."""
        categories, languages = (None if keep is None else frozenset(keep) for keep in (categories, languages))
        kept = tuple(
            term
            for term in self.terms
            if (categories is None or term.category in categories) and (languages is None or term.language in languages)
        )
        return replace(self, version="", terms=kept)

    def __len__(self) -> int:
        return len(self.terms)


def paper_unsafe_lexicon() -> Lexicon:
    """`PAPER_UNSAFE_TOKENS` as substring terms of the category "unsafe" (load_lexicon("paper-unsafe") gives the same)."""
    return Lexicon.of("paper-unsafe", (Term(token, "en", "unsafe", "substring") for token in PAPER_UNSAFE_TOKENS))


def _content_hash(terms: Iterable[Term]) -> str:
    lines = sorted(json.dumps(asdict(term), sort_keys=True, ensure_ascii=True) for term in terms)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
