"""Every word the probes look for, compiled once and matched once per batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.lexicon import PAPER_UNSAFE_TOKENS, Hits, Lexicon, Matcher, MatchMode, Normalisation, Term
from assaymark.data.probe import Batch

__all__ = ["Vocabulary", "texts"]

Mask = npt.NDArray[np.bool_]


class _Group(NamedTuple):
    """Terms of one purpose inside a matcher: `matcher.terms[start:stop]`."""

    mode: MatchMode
    start: int
    stop: int


def texts(batch: Batch, concept: str = "text") -> pa.Array:
    """The texts of a batch with nulls as empty strings (a null text is not the word "nan")."""
    return batch.once(("texts", concept), lambda: pc.fill_null(batch.column(concept).cast(pa.large_string()), ""))


class Vocabulary:
    """Lexicons, slice terms and unsafe tokens in (at most) two automata: one with word boundaries, one without.

    Parameters
    ----------
    lexicons : user's word lists, reported in both modes side by side.
    slices : terms of the slice test, matched by `term_mode`.
    unsafe : tokens of the weak unsafe label, matched by `unsafe_mode`; the paper's token list by default.
    """

    def __init__(
        self,
        *,
        lexicons: tuple[Lexicon, ...] = (),
        slices: tuple[Term, ...] = (),
        unsafe: tuple[Lexicon, ...] = (),
        term_mode: MatchMode = "word",
        unsafe_mode: MatchMode = "word",
        normalise: Normalisation | None = None,
    ) -> None:
        self.lexicons, self.slices = lexicons, slices
        tokens = unsafe or (paper_tokens(unsafe_mode),)
        self.unsafe_name = "+".join(f"{lexicon.name}@{lexicon.version}" for lexicon in tokens)
        members: dict[MatchMode, list[Lexicon]] = {"word": [], "substring": []}
        self._groups: dict[str, _Group] = {}

        def place(purpose: str, mode: MatchMode, lists: tuple[Lexicon, ...]) -> None:
            start = sum(len(lexicon.terms) for lexicon in members[mode])
            members[mode].extend(lists)
            self._groups[purpose] = _Group(mode, start, start + sum(len(lexicon.terms) for lexicon in lists))

        place("lexicons.word", "word", lexicons)
        place("lexicons.substring", "substring", lexicons)
        place("slices", term_mode, (Lexicon.of("slices", slices),) if slices else ())
        place("unsafe", unsafe_mode, tokens)
        normalise = normalise or Normalisation()
        self._matchers = {m: Matcher(lists, mode=m, normalise=normalise) for m, lists in members.items() if lists}
        self.lexicon_terms: tuple[Term, ...] = tuple(term for lexicon in lexicons for term in lexicon.terms)
        self.categories: tuple[str, ...] = tuple(sorted({term.category or "uncategorised" for term in self.lexicon_terms}))
        self.languages: tuple[str, ...] = tuple(sorted({term.language or "unknown" for term in self.lexicon_terms}))
        self.category_of = _group_index(self.categories, [t.category or "uncategorised" for t in self.lexicon_terms])
        self.language_of = _group_index(self.languages, [t.language or "unknown" for t in self.lexicon_terms])

    def hits(self, batch: Batch, purpose: str, concept: str = "text") -> Hits:
        """Unique (row, term) pairs for one purpose; `terms` count from 0 within it."""
        group = self._groups[purpose]
        if group.start == group.stop:
            return Hits(np.zeros(0, np.int64), np.zeros(0, np.int32))
        found = batch.once(("hits", group.mode, concept), lambda: self._matchers[group.mode].find(texts(batch, concept)))
        kept = (found.terms >= group.start) & (found.terms < group.stop)
        return Hits(found.rows[kept], found.terms[kept] - np.int32(group.start))

    def unsafe_slices(self) -> Mask:
        """Slice terms that hold an unsafe token themselves, (n_slices,): every row that names one is flagged by that alone."""
        mask = np.zeros(len(self.slices), dtype=bool)
        if self.slices:
            terms = Batch(pa.table({"text": pa.array([term.term for term in self.slices], pa.large_string())}))
            mask = self.unsafe_in(terms, "text")
        return mask

    def unsafe_in(self, batch: Batch, concept: str) -> Mask:
        """Rows whose text (or URL) holds an unsafe token."""
        mask = np.zeros(batch.rows, dtype=bool)
        if concept in batch:
            mask[self.hits(batch, "unsafe", concept).rows] = True
        return mask

    def unsafe(self, batch: Batch) -> Mask:
        """Weak unsafe label u_i: an unsafe token in URL or TEXT (2110.01963, appendix)."""
        return batch.once("unsafe", lambda: self.unsafe_in(batch, "text") | self.unsafe_in(batch, "url"))

    def lexicon_flag(self, batch: Batch) -> Mask:
        """Rows with any hit of the user's lexicons, word boundaries on."""

        def flag() -> Mask:
            mask = np.zeros(batch.rows, dtype=bool)
            mask[self.hits(batch, "lexicons.word").rows] = True
            return mask

        return batch.once("lexicon flag", flag)


def _group_index(groups: tuple[str, ...], of_terms: list[str]) -> npt.NDArray[np.int64]:
    """Position in `groups` of the group of each term."""
    index = {group: i for i, group in enumerate(groups)}
    return np.array([index[group] for group in of_terms], dtype=np.int64)


def paper_tokens(mode: MatchMode) -> Lexicon:
    """The paper's unsafe tokens; their blanks, which stand in for word boundaries, go when boundaries are checked properly."""
    tokens = PAPER_UNSAFE_TOKENS if mode == "substring" else tuple(token.strip() for token in PAPER_UNSAFE_TOKENS)
    return Lexicon.of("paper-unsafe", [Term(token, "en", "unsafe", mode) for token in tokens])
