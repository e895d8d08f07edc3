"""Where the machine-written posts are: by topic, by followers of the author, and how they spread over authors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from assaymark.audits.generated_text_prevalence.measures.groups import Group, grouped
from assaymark.audits.generated_text_prevalence.measures.series import name_of
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Figure, Finding, Table, format_interval
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["authors_section", "followers_section", "topics_section"]

AUTHOR_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
LEAST_POSTS = 5
"""Posts of an author below which a share says nothing about the author's ways."""


def topics_section(study: Study) -> Section:
    section = Section()
    strata = [stratum for stratum in study.stream.strata if stratum.kind == "topic"]
    if not strata:
        section.notes.append(_missing(study, "topic", "topics"))
        return section
    pooled = grouped(study, strata, lambda stratum: (stratum.value,))[: study.config.topics]
    apart = grouped(study, strata, lambda stratum: (stratum.platform, stratum.value))
    apart = _most_of_each(apart, study.config.topics)
    years = grouped(study, strata, lambda stratum: (stratum.value, str(stratum.year)))
    shown = {group.key[0] for group in pooled}
    pooled.sort(key=lambda group: -(group.corrected.value if group.corrected.value is not None else group.called.value or 0.0))
    for group in pooled:
        section.estimates[f"topic.{name_of(group.key[0])}"] = group.corrected
    section.tables += [
        _table("topics", "Share by topic, all platforms together", ("topic",), pooled),
        _table("topics_by_platform", "Share by platform and topic", ("platform", "topic"), apart),
        _table("topics_by_year", "Share by topic and year", ("topic", "year"), [g for g in years if g.key[0] in shown]),
    ]
    section.figures.append(
        Figure(
            "topics", "Share of machine-written posts by topic", "intervals", table="topics", x="topic", y="corrected",
            low="corrected_low", high="corrected_high", y_title="corrected share",
        )
        if study.fitting is not None
        else Figure(
            "topics", "Share called machine-written by topic", "intervals", table="topics", x="topic", y="called",
            low="called_low", high="called_high", y_title="share called machine-written",
        )
    )  # fmt: skip
    _topic_finding(section, pooled)
    section.methods.append(
        "Groups are corrected by Rogan and Gladen with the same errors of the detector in all of them; an error that differs "
        "between topics or authors moves a group's share without any machine."
    )
    return section


def _missing(study: Study, concept: str, what: str) -> str:
    if study.counter is None:
        return f"{what} are not compared: {study.reason}"
    return f"{what} are not compared: the posts have no column for it (--column {concept}=COLUMN)"


def _most_of_each(groups: Sequence[Group], most: int) -> list[Group]:
    counts: dict[str, int] = {}
    kept = []
    for group in groups:
        counts[group.key[0]] = counts.get(group.key[0], 0) + 1
        if counts[group.key[0]] <= most:
            kept.append(group)
    return kept


def _table(name: str, title: str, keys: tuple[str, ...], groups: Sequence[Group]) -> Table:
    values = {
        **{key: [group.key[i] for group in groups] for i, key in enumerate(keys)},
        "posts": [group.posts for group in groups],
        **interval_values("called", [group.called for group in groups]),
        **interval_values("corrected", [group.corrected for group in groups]),
        **interval_values("gap", [group.gap for group in groups]),
    }
    columns = (
        *(Column(key, "label") for key in keys),
        Column("posts", "count", "posts counted"),
        *interval_columns("called", "share", "called machine-written"),
        *interval_columns("corrected", "share", "corrected"),
        *interval_columns("gap", "number", "called, minus that of the others"),
    )
    return Table.of(name, title, values, columns)


def _topic_finding(section: Section, pooled: Sequence[Group]) -> None:
    apart = [group for group in pooled if group.gap.low is not None and group.gap.low > 0]
    if not apart:
        return
    first = apart[0]
    share = first.corrected if first.corrected.defined else first.called
    names = (f"topic.{name_of(first.key[0])}",)
    section.findings.append(
        Finding(
            "note",
            f"The topic with the largest share of machine-written posts is {first.key[0]}: {format_interval(share)}; "
            f"{format_interval(first.gap)} more of its posts are called machine-written than of the others.",
            names,
            ("topics",),
        )
    )


def followers_section(study: Study) -> Section:
    section = Section()
    strata = [stratum for stratum in study.stream.strata if stratum.kind == "followers"]
    if not strata:
        section.notes.append(_missing(study, "followers", "authors of more and fewer followers"))
        return section
    names = _bins(study.config.follower_edges)
    groups = grouped(study, strata, lambda stratum: (stratum.platform, names[int(stratum.value)]))
    groups.sort(key=lambda group: (group.key[0], names.index(group.key[1])))
    section.tables.append(_table("followers", "Share by followers of the author", ("platform", "followers"), groups))
    y = "corrected" if study.fitting is not None else "called"
    section.figures.append(
        Figure(
            "followers", "Share of machine-written posts by followers of the author", "intervals", table="followers",
            x="followers", y=y, low=f"{y}_low", high=f"{y}_high", group="platform",
            y_title=f"{y} share",
        )
    )  # fmt: skip
    return section


def _bins(edges: tuple[int, ...]) -> list[str]:
    inner = [f"over {low:,} to {high:,}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]:,}", *inner, f"over {edges[-1]:,}"] if edges else ["any"]


def authors_section(study: Study) -> Section:
    section = Section()
    authors = study.stream.authors
    if authors is None:
        if study.config.author_level and study.counter is not None:
            section.notes.append(_missing(study, "author", "authors"))
        return section
    posts, called = authors[:, 0], authors[:, 1]
    known = posts >= LEAST_POSTS
    share = called[known] / posts[known]
    cell = np.clip(np.searchsorted(AUTHOR_EDGES, share, side="right") - 1, 0, len(AUTHOR_EDGES) - 2)
    counts = np.bincount(cell, minlength=len(AUTHOR_EDGES) - 1)
    if known.sum() > 0 and (counts[counts > 0] < study.config.anonymity).any():
        section.notes.append(f"cells of fewer than {study.config.anonymity} authors are not shown in the table of authors")
    rows = [i for i, count in enumerate(counts.tolist()) if count >= study.config.anonymity]
    values = {
        "share_called": [f"{AUTHOR_EDGES[i]:.0%} to {AUTHOR_EDGES[i + 1]:.0%}" for i in rows],
        "authors": [int(counts[i]) for i in rows],
        **interval_values(
            "share", [wilson(int(counts[i]), int(known.sum()), confidence=study.config.confidence) for i in rows]
        ),
    }
    columns = (
        Column("share_called", "label", "of the author's posts called machine-written"),
        Column("authors", "count"),
        *interval_columns("share", "share", "share of authors"),
    )
    section.tables.append(
        Table.of(
            "authors", "Authors by the share of their posts that is called machine-written", values, columns,
            description=f"{int(known.sum()):,} authors with at least {LEAST_POSTS} counted posts, of a sample by salted hash; "
            "no author is named, and errors of the detector spread authors who are alike.",
        )
    )  # fmt: skip
    return section
