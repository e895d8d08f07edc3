"""Lexicons: named, versioned lists of terms, where they come from, and finding them in millions of texts.

`load_lexicon` reads a list, `Matcher` finds its terms in an Arrow array of texts:

>>> import pyarrow as pa
>>> matcher = Matcher(Lexicon.of("axes", ["sex", "age"]))
>>> hits = matcher.find(pa.array(["Age and sex", "Essex pages"]))
>>> hits.rows.tolist(), [matcher.terms[term].term for term in hits.terms]
([0, 0], ['sex', 'age'])
"""

from __future__ import annotations

from assaymark.data.lexicon_files import PACKAGED_LEXICONS, load_lexicon, load_lexicons
from assaymark.data.lexicon_match import Hits, Matcher, MatcherMode
from assaymark.data.lexicon_terms import (
    PAPER_UNSAFE_TOKENS,
    UNSEGMENTED_LANGUAGES,
    Lexicon,
    MatchMode,
    Term,
    paper_unsafe_lexicon,
)
from assaymark.data.lexicon_text import Normalisation

__all__ = [
    "PACKAGED_LEXICONS",
    "PAPER_UNSAFE_TOKENS",
    "UNSEGMENTED_LANGUAGES",
    "Hits",
    "Lexicon",
    "MatchMode",
    "Matcher",
    "MatcherMode",
    "Normalisation",
    "Term",
    "load_lexicon",
    "load_lexicons",
    "paper_unsafe_lexicon",
]
