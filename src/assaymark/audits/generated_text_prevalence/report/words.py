"""Words that machine-written posts over-use, by log-odds with an informative Dirichlet prior."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.audits.generated_text_prevalence.probes.words import WordCounts
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.data.lexicon import load_lexicons
from assaymark.report.redaction import mask_term
from assaymark.result import Column, Figure, Table
from assaymark.section import Section
from assaymark.stats import WordContrast, benjamini_hochberg, word_contrast

__all__ = ["words_section"]

EXPLICIT = ("fuck", "porn", "rape", "sex", "xxx")
"""Beginnings of words that are masked whatever lists are given."""

LEAST_POSTS = 10
"""Posts in which a word must stand to be ranked: rarer ones are names and slips."""


def words_section(study: Study) -> Section:
    section = Section()
    counts = study.stream.words
    if counts is None:
        return section
    ranked = _ranked(study, counts)
    if ranked is None:
        section.notes.append("words are not compared: one of the two kinds has no posts")
        return section
    order, contrast, adjusted, posts = ranked
    most = study.config.words
    rows = [*order[:most], *order[::-1][:most][::-1]] if len(order) > 2 * most else order.tolist()
    values = {
        "word": _shown([counts.words[i] for i in rows], study),
        "log_odds": [float(contrast.log_odds[i]) for i in rows],
        "z": [float(contrast.z[i]) for i in rows],
        "p_adjusted": [float(adjusted[i]) for i in rows],
        "posts": [int(posts[i]) for i in rows],
    }
    columns = (
        Column("word", "label"),
        Column("log_odds", "number", "log-odds ratio"),
        Column("z", "number", "z"),
        Column("p_adjusted", "p_value", "p, Benjamini-Hochberg"),
        Column("posts", "count", "posts with it"),
    )
    section.tables.append(
        Table.of(
            "words", "Words that posts called machine-written use more, and less, than the others", values, columns,
            description=f"Of words in at least {max(LEAST_POSTS, study.config.anonymity)} posts; each counts once a post. The "
            "first rows are typical of machine-written posts, the last of the others.",
        )
    )  # fmt: skip
    section.figures.append(
        Figure("words", "Words that tell the kinds apart", "bars", table="words", x="word", y="z", y_title="z of the log-odds")
    )
    section.methods.append(
        "Words are ranked by the z of their log-odds ratio with an informative Dirichlet prior, all posts together (Monroe et "
        "al. 2008); a word counts once a post, since words come in bursts."
    )
    if counts.dropped.any():
        section.notes.append("there were more distinct words than are kept: counts of rare ones are a little low")
    return section


def _shown(words: list[str], study: Study) -> list[str]:
    """Words as they may be read: those of the lists in `masked`, and explicit ones, by their first letter alone."""
    if study.context.reveal:
        return words
    lists = [lexicon for path in study.config.masked for lexicon in load_lexicons(path)]
    hidden = {term.term.lower() for found in lists for term in found.terms}
    return [mask_term(word) if word in hidden or word.startswith(EXPLICIT) else word for word in words]


class _Ranked(NamedTuple):
    """`order` of the words by falling z; adjusted p and posts of every word."""

    order: npt.NDArray[np.int64]
    contrast: WordContrast
    adjusted: npt.NDArray[np.float64]
    posts: npt.NDArray[np.float64]


def _ranked(study: Study, counts: WordCounts) -> _Ranked | None:
    """Order of the words by falling z, and what it rests on; None where a side is empty."""
    soft = study.config.weights == "posterior"
    posts = counts.column("machine_posts") + counts.column("human_posts")
    sides = ("machine_soft", "human_soft") if soft else ("machine_posts", "human_posts")
    machine, human = (counts.column(side) for side in sides)
    if not machine.sum() or not human.sum():
        return None
    contrast = word_contrast(machine, human, machine + human)
    known = np.flatnonzero(np.isfinite(contrast.z) & (posts >= max(LEAST_POSTS, study.config.anonymity)))
    if not known.size:
        return None
    adjusted = np.full(len(posts), np.nan)
    adjusted[known] = benjamini_hochberg(contrast.p_values()[known])
    order = known[np.argsort(-contrast.z[known], kind="stable")]
    return _Ranked(order, contrast, adjusted, posts)
