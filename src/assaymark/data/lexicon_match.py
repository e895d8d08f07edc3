"""Which terms occur in which rows: one automaton over all lists, scanned over whole Arrow buffers.

A naive search costs rows x terms. Here the terms are compiled once into one Aho-Corasick automaton that reads the bytes of
thousands of rows in one call; rows, word boundaries and exceptions are then settled with array operations on the few places
where something was found. An occurrence may straddle two neighbouring rows of the buffer; such a one is dropped.

References
----------
A. V. Aho, M. J. Corasick. "Efficient string matching: an aid to bibliographic search". CACM 18(6), 1975.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args

import ahocorasick_rs
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assaymark.data.lexicon_terms import Lexicon, Term
from assaymark.data.lexicon_text import Normalisation, StringBuffer, is_word_after, is_word_before, string_buffer, to_strings
from assaymark.errors import ConfigError, InputError

__all__ = ["Hits", "Matcher", "MatcherMode", "Normalisation"]

MatcherMode = Literal["word", "substring", "as-listed"]

_CHUNK_BYTES = 1 << 20  # bounds the found places held as Python objects, and lets threads share a batch
_FAST_AUTOMATON_BYTES = 1 << 20  # a deterministic automaton scans four times faster but its size grows with the terms


class Hits(NamedTuple):
    """Rows and terms that occur together: `rows` int64 and `terms` int32, (n_hits,), unique pairs sorted by row, then term."""

    rows: npt.NDArray[np.int64]
    terms: npt.NDArray[np.int32]


class Matcher:
    r"""Finds the terms of some lexicons in texts.

    In word mode a term counts where the regular expression `(?:\W|^)(term)(?:\W|$)` finds it in the normalised text, terms
    taken one by one: overlapping terms all count and neighbours may share a separator. Terms of languages without word
    separators match anywhere. In substring mode a term counts where `term in text`. An occurrence that lies within one of the
    term's exceptions (which match in the same mode as the term) does not count.

    Parameters
    ----------
    lexicons : one lexicon or several; terms keep their order, those listed twice stay two.
    mode : "word", "substring", or "as-listed" for each term's own.
    normalise : what is done to texts and terms alike before they are compared.

    Attributes
    ----------
    terms : tuple of Term, (n_terms,); `Hits.terms` are positions in it.
    term_lexicons : the name of the lexicon each term comes from, (n_terms,).
    categories : the distinct categories in order of first occurrence; the bits of `category_mask`.

    Raises
    ------
    InputError : no lexicon, or a term of which nothing is left after normalisation.
    ConfigError : an unknown mode.

    Notes
    -----
    Linear in the bytes of the texts plus the number of occurrences, whatever the number of terms. Picklable: the automaton
    is compiled again where it is first used.
    """

    def __init__(
        self,
        lexicons: Lexicon | Sequence[Lexicon],
        *,
        mode: MatcherMode = "word",
        normalise: Normalisation | None = None,
    ) -> None:
        if mode not in get_args(MatcherMode):
            raise ConfigError(f"unknown match mode {mode!r}: use one of {', '.join(get_args(MatcherMode))}")
        self.lexicons = (lexicons,) if isinstance(lexicons, Lexicon) else tuple(lexicons)
        if not self.lexicons:
            raise InputError("no lexicon to match: name at least one")
        self.mode: MatcherMode = mode
        self.normalise = Normalisation() if normalise is None else normalise
        self.terms: tuple[Term, ...] = tuple(chain.from_iterable(lexicon.terms for lexicon in self.lexicons))
        self.term_lexicons: tuple[str, ...] = tuple(lexicon.name for lexicon in self.lexicons for _ in lexicon.terms)
        self.categories: tuple[str, ...] = tuple(dict.fromkeys(term.category for term in self.terms))
        self._patterns = _patterns(self.terms, self.term_lexicons, self.normalise)
        self._bounded = np.array([term.needs_boundaries and self._is_word(term) for term in self.terms])
        self._automaton: ahocorasick_rs.BytesAhoCorasick | None = None

    def find(self, texts: pa.Array | pa.ChunkedArray, *, threads: int = 1, normalised: bool = False) -> Hits:
        """The terms that occur in each text.

        Parameters
        ----------
        texts : strings, (n_rows,); a null row holds nothing.
        threads : chunks of about 1 MB are shared by that many threads; the answer does not depend on it.
        normalised : the texts went through `self.normalise` already, so that several matchers can share that work.

        Raises
        ------
        SchemaError : if the values are not strings.
        """
        chunks = _chunks(to_strings(texts))
        self._automaton = self._automaton or _automaton(self._patterns.texts)
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                keys = list(pool.map(partial(self._find_chunk, normalised=normalised), chunks))
        else:
            keys = [self._find_chunk(chunk, normalised=normalised) for chunk in chunks]
        rows, terms = np.divmod(np.concatenate([np.zeros(0, np.int64), *keys]), len(self.terms))
        return Hits(rows, terms.astype(np.int32))

    def counts(self, hits: Hits) -> npt.NDArray[np.int64]:
        """Number of rows that hold each term, (n_terms,)."""
        return np.bincount(hits.terms, minlength=len(self.terms)).astype(np.int64)

    def category_mask(self, hits: Hits, n_rows: int) -> npt.NDArray[np.uint64]:
        """The categories of each row's hits as bits, (n_rows,): bit b stands for `categories[b]`.

        Raises
        ------
        InputError : more than 64 categories.
        """
        if len(self.categories) > 64:
            raise InputError(f"{len(self.categories)} term categories, but at most 64 fit: merge some or split the lexicons")
        bit_of = {category: np.uint64(1 << bit) for bit, category in enumerate(self.categories)}
        bits = np.array([bit_of[term.category] for term in self.terms], dtype=np.uint64)
        mask = np.zeros(n_rows, dtype=np.uint64)
        np.bitwise_or.at(mask, hits.rows, bits[hits.terms])
        return mask

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_automaton": None}

    def _is_word(self, term: Term) -> bool:
        return (term.mode if self.mode == "as-listed" else self.mode) == "word"

    def _find_chunk(self, chunk: _Chunk, *, normalised: bool) -> npt.NDArray[np.int64]:
        """row x n_terms + term of every hit of some rows, sorted and unique."""
        buffer = string_buffer(chunk.texts if normalised else self.normalise.apply(chunk.texts))
        assert self._automaton is not None
        places = _occurrences(self._automaton, buffer)
        whole = _stand_alone(places, buffer)
        hits = _expand(places.patterns, self._patterns)
        keep = whole[hits.places] | ~self._bounded[hits.terms]
        for term, allowed in self._patterns.exceptions.items():
            mine = np.flatnonzero(keep & (hits.terms == term))
            if mine.size:
                excuses = np.isin(places.patterns, allowed) & (whole | ~self._bounded[term])
                keep[mine] = ~_inside(places, hits.places[mine], excuses)
        rows = places.rows[hits.places[keep]] + chunk.first_row
        return np.unique(rows * len(self.terms) + hits.terms[keep])


class _Chunk(NamedTuple):
    first_row: int
    texts: pa.LargeStringArray


class _Patterns(NamedTuple):
    """Distinct byte strings to seek, and what they stand for.

    The terms of pattern p are `by_pattern[first[p] : first[p + 1]]` (none where p is only an exception); `exceptions` maps a
    term to the patterns that excuse it.
    """

    texts: tuple[bytes, ...]
    by_pattern: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    exceptions: dict[int, npt.NDArray[np.int64]]


class _Places(NamedTuple):
    """Occurrences of patterns in a buffer, (n_places,) each: row, and first and one past last byte."""

    patterns: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


class _TermPlaces(NamedTuple):
    places: npt.NDArray[np.int64]
    terms: npt.NDArray[np.int64]


def _patterns(terms: Sequence[Term], lexicons: Sequence[str], normalise: Normalisation) -> _Patterns:
    excused = [index for index, term in enumerate(terms) for _ in term.exceptions]
    listed = [term.term for term in terms] + [text for term in terms for text in term.exceptions]
    normal = normalise.apply(pa.array(listed, pa.large_string())).to_pylist()
    if "" in normal:
        at = normal.index("")
        owner = lexicons[at if at < len(terms) else excused[at - len(terms)]]
        raise InputError(f"lexicon {owner!r}: a term or exception consists of invisible characters only: remove it")
    pattern_of = {text: index for index, text in enumerate(dict.fromkeys(normal))}
    ids = np.array([pattern_of[text] for text in normal], dtype=np.int64)
    owned, excuses = ids[: len(terms)], ids[len(terms) :]
    owners = np.array(excused, dtype=np.int64)
    return _Patterns(
        texts=tuple(text.encode() for text in pattern_of),
        by_pattern=np.argsort(owned, kind="stable"),
        first=np.concatenate([[0], np.cumsum(np.bincount(owned, minlength=len(pattern_of)))]),
        exceptions={int(term): excuses[owners == term] for term in np.unique(owners)},
    )


def _automaton(patterns: Sequence[bytes]) -> ahocorasick_rs.BytesAhoCorasick:
    small = sum(map(len, patterns)) <= _FAST_AUTOMATON_BYTES
    kind = ahocorasick_rs.Implementation.DFA if small else ahocorasick_rs.Implementation.ContiguousNFA
    return ahocorasick_rs.BytesAhoCorasick(list(patterns), implementation=kind)


def _chunks(texts: pa.LargeStringArray) -> Iterator[_Chunk]:
    """Consecutive slices of about `_CHUNK_BYTES`, at least one row each."""
    edges = string_buffer(texts).edges
    start, rows = 0, len(texts)
    while start < rows:
        stop = int(np.searchsorted(edges, edges[start] + _CHUNK_BYTES, side="right")) - 1
        stop = min(rows, max(stop, start + 1))
        yield _Chunk(start, texts.slice(start, stop - start))
        start = stop


def _occurrences(automaton: ahocorasick_rs.BytesAhoCorasick, buffer: StringBuffer) -> _Places:
    """All places where a pattern lies within one row, overlapping ones included."""
    found = automaton.find_matches_as_indexes(buffer.data.data, overlapping=True)
    flat = np.fromiter(chain.from_iterable(found), np.int64, count=3 * len(found)).reshape(-1, 3)
    # side="right" skips empty rows: of several rows that begin at one byte only the last has any
    rows = np.searchsorted(buffer.edges, flat[:, 1], side="right") - 1
    within = flat[:, 2] <= buffer.edges[rows + 1]
    patterns, starts, ends = flat[within].T
    return _Places(patterns, rows[within], starts, ends)


def _stand_alone(places: _Places, buffer: StringBuffer) -> npt.NDArray[np.bool_]:
    """Whether no word character touches a place on either side within its row, (n_places,)."""
    whole = np.ones(len(places.starts), dtype=np.bool_)
    inner = np.flatnonzero(places.starts > buffer.edges[places.rows])
    whole[inner] = ~is_word_before(buffer.data, places.starts[inner])
    inner = np.flatnonzero(places.ends < buffer.edges[places.rows + 1])
    whole[inner] &= ~is_word_after(buffer.data, places.ends[inner])
    return whole


def _expand(found: npt.NDArray[np.int64], patterns: _Patterns) -> _TermPlaces:
    """One entry per place and term: a pattern may stand for terms of several lists."""
    copies = np.diff(patterns.first)[found]
    places = np.repeat(np.arange(len(found)), copies)
    rank = np.arange(len(places)) - np.repeat(np.cumsum(copies) - copies, copies)
    return _TermPlaces(places, patterns.by_pattern[patterns.first[found[places]] + rank])


def _inside(places: _Places, at: npt.NDArray[np.int64], excuses: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether each of the places `at` lies within one of the excusing places, (n_at,)."""
    order = np.flatnonzero(excuses)
    if not order.size:
        return np.zeros(len(at), dtype=np.bool_)
    order = order[np.argsort(places.starts[order], kind="stable")]
    reach = np.maximum.accumulate(places.ends[order])  # furthest byte covered by excuses that begin no later
    last = np.searchsorted(places.starts[order], places.starts[at], side="right") - 1
    covered: npt.NDArray[np.bool_] = (last >= 0) & (reach[last] >= places.ends[at])
    return covered
