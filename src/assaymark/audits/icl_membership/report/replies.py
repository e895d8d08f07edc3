"""What the service said, apart from whom it gives away: empty, declined and ambiguous replies, texts too short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assaymark.audits.icl_membership.measures.attacks import Attacked
from assaymark.audits.icl_membership.measures.replies import OUTCOMES
from assaymark.audits.icl_membership.report.attacks import TITLES, short_title
from assaymark.result import Column, Table
from assaymark.section import Section

__all__ = ["reply_section"]

_ODD = {
    "empty": "are empty",
    "refusal": "decline",
    "several": "name several labels",
    "unparsed": "name no label",
}
_NEITHER = "say neither yes nor no"


def reply_section(attacked: Sequence[Attacked], *, prefix_words: int) -> Section:
    """Of the games that count."""
    return Section(tables=[_table(attacked)], notes=list(_notes(attacked, prefix_words)))


def _table(attacked: Sequence[Attacked]) -> Table:
    counts = [(name, found) for part in attacked for name, found in part.replies.counts.items()]
    values = {
        "attack": [TITLES[name] for name, _ in counts],
        "replies": [found.total() for _, found in counts],
        **{outcome: [found[outcome] for _, found in counts] for outcome in OUTCOMES},
    }
    columns = (
        Column("attack", "label"),
        Column("replies", "count", "replies"),
        *(Column(outcome, "count", meaning) for outcome, meaning in OUTCOMES.items()),
    )
    return Table.of(
        "replies", "What the replies were", values, columns,
        description="Each reply counts once. One that names no label or several is a wrong answer to GAP and no agreement to "
        "Brainwash, one that is neither yes nor no counts 1/2 for Inquiry, an empty one is unlike every text for Repeat.",
    )  # fmt: skip


def _notes(attacked: Sequence[Attacked], prefix_words: int) -> Iterator[str]:
    for part in attacked:
        for name, found in part.replies.counts.items():
            meanings = {**_ODD, "unparsed": _NEITHER} if name == "inquiry" else _ODD
            odd = [f"{found[outcome]:,} {meaning}" for outcome, meaning in meanings.items() if found[outcome]]
            if odd:
                yield f"{short_title(name)}: of {found.total():,} replies {', '.join(odd)}"
        if part.short:
            yield (
                f"{part.short:,} attacked texts have no more than the {prefix_words} words that Repeat gives away; it asks "
                "nothing about them, and they have no score"
            )
        if part.non_monotone:
            yield (
                f"{part.non_monotone:,} of {part.pairs:,} searches for the number of wrong statements were not monotone; "
                "they went on step by step"
            )
