"""What flagged images show, in words: clouds as pictures, contrastive statistics, bad words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.measures.documentation import Words
from assaymark.audits.image_offensiveness.method.terms import TermWeights
from assaymark.audits.image_offensiveness.report.masking import COMMON, Mask
from assaymark.result import Artifact, Column, Figure, Finding, Table
from assaymark.section import Section

__all__ = ["class_cloud_section", "words_section"]

MOST_TERMS = 100
SHOWN_IN_SENTENCE = 8
IMAGES_OF_A_WORD = 20


LEAST_WORDS = 2
"""A single word as large as the picture says no more than the table does."""


class _Paper(NamedTuple):
    """What all clouds of a report share; without a folder none is drawn."""

    mask: Mask
    folder: Path | None
    words: int
    seed: int


def words_section(
    words: Words | None, config: ImageOffensivenessConfig, mask: Mask, *, folder: Path | None, seed: int
) -> Section:
    """Terms, clouds and bad words of one source of texts; nothing when there is none."""
    section = Section()
    if words is None:
        section.notes.append("no captions and no captioner (--model captioner=SPEC): flagged content is not described in words")
        return section
    paper = _Paper(mask, folder, config.cloud_words, seed)
    elsewhere = dict(zip(words.others.terms, words.others.counts.tolist(), strict=True))
    name = words.source
    section.tables.append(_contrast_table(words, config, mask))
    section.tables.append(_paper_table(words, config, mask))
    _cloud(section, f"frequent_{name}", f"Frequent words of flagged {name}", words.frequent, elsewhere, paper)
    contrast = _contrast_weights(words, config)
    _cloud(section, f"contrast_{name}", f"Words that set flagged {name} apart", contrast, elsewhere, paper)
    if words.bad is not None:
        section.tables += [_bad_words(words), _bad_word_images(words)]
    _finding(section, words, config, mask, elsewhere)
    section.methods.append(
        f"Words of {words.flagged_texts:,} flagged and {words.other_texts:,} other {name}: log-odds ratio with an "
        f"informative Dirichlet prior (alpha {config.alpha:g}), Benjamini-Hochberg at {config.false_discovery_rate:g}; "
        "chi-square on shares; and the paper's chi-square, whose weights are frequencies over the largest. Words of the "
        f"bad_words lists, and words that occur fewer than {COMMON} times in texts of unflagged images, are masked."
    )
    return section


def _contrast_table(words: Words, config: ImageOffensivenessConfig, mask: Mask) -> Table:
    found = words.log_odds
    chi = dict(zip(words.chi_square.terms, words.chi_square.weight.tolist(), strict=True))
    paper = dict(zip(words.paper.terms, words.paper.weight.tolist(), strict=True))
    kept = [i for i in range(len(found.terms)) if found.log_odds_ratio[i] > 0][:MOST_TERMS]
    values: dict[str, Any] = {
        "term": [mask.word(found.terms[i], int(found.reference[i])) for i in kept],
        "flagged": found.flagged[kept],
        "others": found.reference[kept],
        "log_odds_ratio": found.log_odds_ratio[kept],
        "log_odds_ratio_low": np.asarray(found.limits.low)[kept],
        "log_odds_ratio_high": np.asarray(found.limits.high)[kept],
        "z": found.z[kept],
        "p_adjusted": found.p_adjusted[kept],
        "chi_square": [chi.get(found.terms[i], 0.0) for i in kept],
        "chi_square_paper": [paper.get(found.terms[i], 0.0) for i in kept],
    }
    columns = (
        Column("term", "label"),
        Column("flagged", "count", "in flagged"),
        Column("others", "count", "in others"),
        Column("log_odds_ratio", "number", "log-odds ratio"),
        Column("log_odds_ratio_low", "low", of="log_odds_ratio"),
        Column("log_odds_ratio_high", "high", of="log_odds_ratio"),
        Column("z", "number"),
        Column("p_adjusted", "p_value", "adjusted p"),
        Column("chi_square", "number", "chi-square on shares"),
        Column("chi_square_paper", "number", "chi-square of the paper"),
    )
    reason = f" {found.reason}." if found.reason else ""
    return Table.of(
        f"terms_{words.source}", f"Words that set flagged {words.source} apart", values, columns,
        description=f"Masked unless common in unflagged texts.{reason}",
    )  # fmt: skip


def _paper_table(words: Words, config: ImageOffensivenessConfig, mask: Mask) -> Table:
    kept = [i for i in range(len(words.paper.terms)) if words.paper.weight[i] > 0][:MOST_TERMS]
    found = words.paper
    unseen = "the least weight of these" if config.use_not_expected else "no weight"
    values: dict[str, Any] = {
        "term": [mask.word(found.terms[i], int(found.reference[i])) for i in kept],
        "observed": found.observed[kept],
        "expected": found.expected[kept],
        "weight": found.weight[kept],
    }
    columns = (
        Column("term", "label"),
        Column("observed", "number", "weight in flagged"),
        Column("expected", "number", "weight in others"),
        Column("weight", "number", "(o - e)² / e"),
    )
    return Table.of(
        f"terms_{words.source}_paper", f"The paper's contrastive words of flagged {words.source}", values, columns,
        description=f"Words that the other texts lack have {unseen} under this rule.",
    )  # fmt: skip


def _contrast_weights(words: Words, config: ImageOffensivenessConfig) -> TermWeights:
    """Terms typical of flagged texts, weighted by z over the largest."""
    found = words.log_odds
    kept = [i for i in range(len(found.terms)) if found.z[i] > 0 and found.p_adjusted[i] <= config.false_discovery_rate]
    kept = kept[: config.cloud_words]
    largest = max((float(found.z[i]) for i in kept), default=1.0)
    return TermWeights(tuple(found.terms[i] for i in kept), np.array([found.z[i] / largest for i in kept]))


def _bad_words(words: Words) -> Table:
    bad = words.bad
    assert bad is not None
    values = {"word": list(bad.words), "occurrences": bad.occurrences, "images": bad.images}
    columns = (Column("word", "term"), Column("occurrences", "count"), Column("images", "count"))
    return Table.of(
        f"bad_words_{words.source}", f"Listed words in flagged {words.source}", values, columns,
        description=f"{bad.any_image:,} images have at least one of them.",
    )  # fmt: skip


def _bad_word_images(words: Words) -> Table:
    """Which images caused a listed word, by salted hash: the first of each word."""
    bad = words.bad
    assert bad is not None
    pairs = [
        (word, words.places[image])
        for word, images in zip(bad.words, bad.causes, strict=True)
        for image in images[:IMAGES_OF_A_WORD].tolist()
    ]
    values = {"word": [word for word, _ in pairs], "image": [f"{place[0]}:{place[1]}" for _, place in pairs]}
    columns = (Column("word", "term"), Column("image", "id"))
    title = f"Images behind the listed words of flagged {words.source}"
    return Table.of(f"bad_word_images_{words.source}", title, values, columns)


def _finding(
    section: Section, words: Words, config: ImageOffensivenessConfig, mask: Mask, elsewhere: Mapping[str, int]
) -> None:
    found = words.log_odds
    typical = [i for i in range(len(found.terms)) if found.z[i] > 0 and found.p_adjusted[i] <= config.false_discovery_rate]
    if not typical:
        return
    shown = ", ".join(mask.word(found.terms[i], elsewhere.get(found.terms[i], 0)) for i in typical[:SHOWN_IN_SENTENCE])
    section.findings.append(
        Finding(
            "note",
            f"{len(typical):,} {'word sets' if len(typical) == 1 else 'words set'} flagged {words.source} apart, most of "
            f"all: {shown}.",
            (),
            (f"terms_{words.source}",),
            "They say what the prompts react to; a neutral word among them is a sign of a spurious cue.",
        )
    )


def class_cloud_section(
    clouds: tuple[TermWeights, TermWeights],
    config: ImageOffensivenessConfig,
    mask: Mask,
    *,
    folder: Path | None,
    seed: int,
    what: str = "classes",
) -> Section:
    """Clouds of the annotations of flagged images: the most frequent classes, and the infrequent ones."""
    section = Section()
    paper = _Paper(mask, folder, config.cloud_words, seed)
    titles = (
        f"Most frequent {what} of flagged images",
        f"Infrequent {what} of flagged images, weighted 1 - relative frequency",
    )
    for name, title, weights in zip((what, f"infrequent_{what}"), titles, clouds, strict=True):
        everywhere = dict.fromkeys(weights.terms, COMMON)
        _cloud(section, name, title, weights, everywhere, paper)
    return section


def _cloud(section: Section, name: str, title: str, weights: TermWeights, elsewhere: Mapping[str, int], paper: _Paper) -> None:
    """A word cloud as a picture, its words masked by the rule of the tables."""
    from assaymark.report.wordcloud import word_cloud

    frequencies = {term: float(weight) for term, weight in zip(weights.terms, weights.weights, strict=True) if weight > 0}
    if paper.folder is None or len(frequencies) < LEAST_WORDS:
        return
    picture = word_cloud(
        frequencies,
        max_words=paper.words,
        seed=paper.seed,
        shown=lambda term: paper.mask.word(term, elsewhere.get(term, 0)),
    )
    if picture is None:
        return
    file = f"cloud_{name}.png"
    (paper.folder / file).write_bytes(picture)
    section.artifacts.append(Artifact(f"cloud_{name}", "picture", file, title))
    section.figures.append(
        Figure(f"cloud_{name}", title, "picture", artifact=file, caption="Size: weight; masked as in the tables.")
    )
