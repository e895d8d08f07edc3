"""Words of flagged content: three kinds of clouds, contrastive statistics, and bad words by image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.method.terms import (
    ChiSquare,
    LogOdds,
    TermWeights,
    chi_square_share,
    infrequent_classes,
    log_odds_z,
    most_frequent,
    paper_chi_square,
)
from assaymark.audits.image_offensiveness.method.tokens import (
    BadWords,
    TermCounts,
    add_counts,
    bad_word_histogram,
    collocations,
    count_tokens,
    term_counts,
)

__all__ = ["Words", "class_clouds", "compare_words", "listed_words"]


class Words(NamedTuple):
    """Words of flagged text against those of other text.

    `source` says where the texts come from; `bad` the words of the lists in flagged texts, None where no list was given;
    `flagged_texts`, `other_texts` count the texts that were compared; `places` are shard and row of the images that
    `bad.causes` points to.
    """

    source: str
    flagged: TermCounts
    others: TermCounts
    frequent: TermWeights
    log_odds: LogOdds
    chi_square: ChiSquare
    paper: ChiSquare
    bad: BadWords | None
    listed: frozenset[str]
    flagged_texts: int
    other_texts: int
    places: npt.NDArray[np.int64]


def listed_words(paths: tuple[str, ...]) -> frozenset[str]:
    """Single words of word lists, case-folded."""
    from assaymark.data.lexicon import load_lexicons

    terms = {term.term.casefold() for path in paths for lexicon in load_lexicons(path) for term in lexicon.terms}
    return frozenset(term for term in terms if " " not in term)


def compare_words(
    flagged: list[str],
    others: list[str],
    images: npt.NDArray[np.int64],
    config: ImageOffensivenessConfig,
    *,
    source: str,
    places: npt.NDArray[np.int64],
) -> Words:
    """All statistics of two sets of texts; `images[i]` is the image of flagged text i, `places` shard and row of the images."""
    inside, outside = count_tokens(flagged), count_tokens(others)
    # a pair of words is one term in both texts or in neither
    pairs = collocations(add_counts(inside, outside), threshold=float(config.bigram_threshold))
    own, reference = term_counts(inside, bigrams=pairs), term_counts(outside, bigrams=pairs)
    listed = listed_words(config.bad_words)
    return Words(
        source,
        own,
        reference,
        most_frequent(own, most=config.cloud_words),
        log_odds_z(own, reference, alpha=config.alpha, confidence=config.confidence),
        chi_square_share(own, reference, alpha=config.alpha),
        paper_chi_square(own, reference, use_not_expected=config.use_not_expected),
        bad_word_histogram(flagged, images, words=listed) if config.bad_words else None,
        listed,
        len(flagged),
        len(others),
        places,
    )


def class_clouds(names: list[str], flagged: npt.NDArray[np.int64], *, most: int) -> tuple[TermWeights, TermWeights]:
    """Most frequent classes among the flagged images, and the rare ones, weighted by 1 - relative frequency."""
    named = [(name, int(k)) for name, k in zip(names, flagged, strict=True) if name and k]
    named.sort()
    terms = TermCounts(tuple(name for name, _ in named), np.array([k for _, k in named], dtype=np.int64))
    return most_frequent(terms, most=most), infrequent_classes(terms, most=most)
