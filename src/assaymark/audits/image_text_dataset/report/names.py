"""How terms, queries and requests may be named in a report: neutral words in clear, words of harm lists masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from assaymark.data.lexicon import Term
from assaymark.report.redaction import leaks, mask_term

__all__ = ["NEUTRAL", "harmful_words", "shown_requests", "shown_terms", "shown_texts"]

NEUTRAL = frozenset({"", "terms", "query", "gender", "ethnicity", "nationality", "religion", "age", "kin", "role", "identity"})
"""Categories whose terms may be printed. Everything else is masked."""


def harmful_words(terms: Iterable[Term]) -> frozenset[str]:
    """Terms of the categories that are not neutral, case-folded."""
    return frozenset(term.term.strip().casefold() for term in terms if term.category not in NEUTRAL)


def shown_terms(terms: Sequence[Term], harmful: frozenset[str] = frozenset(), *, reveal: bool) -> list[str]:
    """Names of terms, all different: a term is masked for its category, or because another list calls it harmful."""
    if reveal:
        return [term.term for term in terms]
    return _distinct([term.term if term.category in NEUTRAL else mask_term(term.term) for term in terms], harmful)


def shown_texts(texts: Sequence[str], harmful: frozenset[str], *, reveal: bool) -> list[str]:
    """Names of queries or words, all different; one that holds a harmful word is masked whole."""
    return list(texts) if reveal else _distinct(texts, harmful)


def _distinct(names: Iterable[str], harmful: frozenset[str]) -> list[str]:
    """Masked words of one length look the same; a number keeps two of them from sharing one estimate."""
    seen: Counter[str] = Counter()
    answer = []
    for name in names:
        folded = name.casefold()
        shown = mask_term(name) if leaks(name, [word for word in harmful if word in folded]) else name
        seen[shown] += 1
        answer.append(shown if seen[shown] == 1 else f"{shown} ({seen[shown]})")
    return answer


def shown_requests(requests: Iterable[str], hashed: Callable[[str], str]) -> list[str]:
    """`name=Ada Example` as `name` and the salted hash of what was searched for: a report must not name who asked."""
    parts = [request.partition("=") for request in requests]
    return [f"{kind.strip()} {hashed(value.strip())}" for kind, _, value in parts]


def is_list(setting: str) -> bool:
    """Whether a setting of words names a file of them."""
    return Path(setting).suffix in (".csv", ".txt", ".json")
