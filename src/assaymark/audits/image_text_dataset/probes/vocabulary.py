"""Every word the probes look for, compiled once and matched once per batch."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from assaymark.data.lexicon import PAPER_UNSAFE_TOKENS, Hits, Lexicon, Matcher, MatchMode, Normalisation, Term
from assaymark.data.probe import Batch

__all__ = ["Vocabulary", "blank_texts", "normalised", "texts", "trimmed_texts"]

Mask = npt.NDArray[np.bool_]


class _Group(NamedTuple):
    """Terms of one purpose inside the matcher: `matcher.terms[start:stop]`."""

    start: int
    stop: int


def texts(batch: Batch, concept: str = "text") -> pa.Array:
    """The texts of a batch with nulls as empty strings (a null text is not the word "nan")."""
    return batch.once(("texts", concept), lambda: pc.fill_null(batch.column(concept).cast(pa.large_string()), ""))


def trimmed_texts(batch: Batch) -> pa.Array:
    """The texts without blanks at their ends."""
    return batch.once("trimmed texts", lambda: pc.utf8_trim_whitespace(texts(batch)))


def blank_texts(batch: Batch) -> Mask:
    """Rows whose text is null, empty or nothing but blanks."""

    def blank() -> Mask:
        empty = pc.equal(pc.binary_length(trimmed_texts(batch)), 0)
        return np.asarray(empty.to_numpy(zero_copy_only=False), dtype=bool)

    return batch.once("blank texts", blank)


def normalised(batch: Batch, normalise: Normalisation, concept: str = "text") -> pa.Array:
    """The texts as matchers with this normalisation read them, made once for all of these."""
    return batch.once(("normalised", concept, normalise), lambda: normalise.apply(texts(batch, concept)))


class Vocabulary:
    """Lexicons, slice terms and unsafe tokens in one automaton that reads the texts once, whatever their modes.

    URLs are searched for the unsafe tokens alone, by a small automaton of their own.

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
        members: list[Lexicon] = []
        self._groups: dict[str, _Group] = {}

        def place(purpose: str, mode: MatchMode, lists: tuple[Lexicon, ...]) -> None:
            start = sum(len(lexicon.terms) for lexicon in members)
            members.extend(_in_mode(lexicon, mode) for lexicon in lists)
            self._groups[purpose] = _Group(start, start + sum(len(lexicon.terms) for lexicon in lists))

        place("lexicons.word", "word", lexicons)
        place("lexicons.substring", "substring", lexicons)
        place("slices", term_mode, (Lexicon.of("slices", slices),) if slices else ())
        place("unsafe", unsafe_mode, tokens)
        self.normalise = normalise or Normalisation()
        self._texts = Matcher(members, mode="as-listed", normalise=self.normalise)
        self._urls = Matcher(tokens, mode=unsafe_mode, normalise=self.normalise)
        self.lexicon_terms: tuple[Term, ...] = tuple(term for lexicon in lexicons for term in lexicon.terms)
        self.categories: tuple[str, ...] = tuple(sorted({term.category or "uncategorised" for term in self.lexicon_terms}))
        self.languages: tuple[str, ...] = tuple(sorted({term.language or "unknown" for term in self.lexicon_terms}))
        self.category_of = _group_index(self.categories, [t.category or "uncategorised" for t in self.lexicon_terms])
        self.language_of = _group_index(self.languages, [t.language or "unknown" for t in self.lexicon_terms])

    def hits(self, batch: Batch, purpose: str) -> Hits:
        """Unique (row, term) pairs for one purpose in the texts; `terms` count from 0 within it."""
        group = self._groups[purpose]
        if group.start == group.stop:
            return Hits(np.zeros(0, np.int64), np.zeros(0, np.int32))
        found = batch.once(("hits", id(self)), lambda: self._found(batch, self._texts, "text"))
        kept = (found.terms >= group.start) & (found.terms < group.stop)
        return Hits(found.rows[kept], found.terms[kept] - np.int32(group.start))

    def unsafe_slices(self) -> Mask:
        """Slice terms that hold an unsafe token themselves, (n_slices,): every row that names one is flagged by that alone."""
        mask = np.zeros(len(self.slices), dtype=bool)
        if self.slices:
            terms = Batch(pa.table({"text": pa.array([term.term for term in self.slices], pa.large_string())}))
            mask = self.unsafe_in(terms, "text")
        return mask

    def _found(self, batch: Batch, matcher: Matcher, concept: str) -> Hits:
        return matcher.find(normalised(batch, self.normalise, concept), normalised=True)

    def unsafe_in(self, batch: Batch, concept: str) -> Mask:
        """Rows whose text (or URL) holds an unsafe token."""
        mask = np.zeros(batch.rows, dtype=bool)
        if concept in batch:
            hits = self.hits(batch, "unsafe") if concept == "text" else self._found(batch, self._urls, concept)
            mask[hits.rows] = True
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


def _in_mode(lexicon: Lexicon, mode: MatchMode) -> Lexicon:
    """The list with all its terms in one mode, terms and their order kept."""
    return replace(lexicon, terms=tuple(replace(term, mode=mode) for term in lexicon.terms))


def paper_tokens(mode: MatchMode) -> Lexicon:
    """The paper's unsafe tokens; their blanks, which stand in for word boundaries, go when boundaries are checked properly."""
    tokens = PAPER_UNSAFE_TOKENS if mode == "substring" else tuple(token.strip() for token in PAPER_UNSAFE_TOKENS)
    return Lexicon.of("paper-unsafe", [Term(token, "en", "unsafe", mode) for token in tokens])
