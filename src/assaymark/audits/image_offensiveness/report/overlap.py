"""What another detector flags, and what somebody else's list does, beside the flags of the prompts."""

from __future__ import annotations

from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.measures.flag_list import FlagListMatch
from assaymark.audits.image_offensiveness.method.overlap import overlap
from assaymark.audits.image_offensiveness.reading import Reading
from assaymark.result import Column, Figure, Finding, Table, format_interval
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["flag_list_section", "overlap_section"]


def overlap_section(read: Reading, config: ImageOffensivenessConfig) -> Section:
    """What the two detectors see, and what only one of them does."""
    section = Section()
    if not read.nsfw:
        return section
    cells = read.scores.overlap  # [flagged, nsfw]
    n = int(cells.sum())
    found = overlap([cells[0, 0], cells[1, 0], cells[0, 1], cells[1, 1]], ("prompts", "nsfw"), confidence=config.confidence)
    pair = found.pairs[0]
    names = {
        "only_prompts": (pair.first_only, "prompts only"),
        "only_nsfw": (pair.second_only, "other detector only"),
        "both": (pair.both, "both"),
        "neither": (pair.neither, "neither"),
    }
    for name, (count, _) in names.items():
        section.estimates[f"overlap.{name}"] = wilson(count, n, confidence=config.confidence)
    section.estimates["overlap.kappa"] = pair.kappa
    section.estimates["overlap.found_by_prompts"] = pair.first_finds
    values = {
        "region": [title for _, title in names.values()],
        "images": [count for count, _ in names.values()],
        **interval_values("share", [section.estimates[f"overlap.{name}"] for name in names]),
    }
    columns = (Column("region", "label"), Column("images", "count"), *interval_columns("share", "share", "share of images"))
    section.tables.append(Table.of("overlap", "Flags of the two detectors", values, columns))
    section.figures.append(
        Figure(
            "overlap",
            "What each detector flags",
            "bars",
            table="overlap",
            x="region",
            y="share",
            low="share_low",
            high="share_high",
        )
    )
    if pair.first_finds.defined:
        section.findings.append(
            Finding(
                "note",
                f"Of the images that the other detector calls positive the prompts flag {format_interval(pair.first_finds)}; "
                f"agreement beyond chance is {format_interval(pair.kappa)} (Cohen's kappa).",
                ("overlap.found_by_prompts", "overlap.kappa"),
                ("overlap",),
                "The two look for different things: report both, and either as 'may be offensive'.",
            )
        )
    section.methods.append(f"The other detector is positive above {read.nsfw_threshold:g}; {n:,} images have both scores.")
    return section


def flag_list_section(found: FlagListMatch, config: ImageOffensivenessConfig) -> Section:
    """Agreement with a list of flags; an image that is not on the list counts as not flagged by it."""
    section, pair = Section(), found.agreement.pairs[0]
    rows = {
        "both": (pair.both, "both"),
        "only_prompts": (pair.first_only, "prompts only"),
        "only_list": (pair.second_only, "list only"),
        "neither": (pair.neither, "neither"),
    }
    n = sum(count for count, _ in rows.values())
    shares = [wilson(count, n, confidence=config.confidence) for count, _ in rows.values()]
    section.estimates |= {
        "flag_list.in_data": wilson(found.matched, found.listed, confidence=config.confidence),
        "flag_list.found": pair.first_finds,
        "flag_list.kappa": pair.kappa,
        "flag_list.spearman": found.correlation,
    }
    values = {
        "region": [title for _, title in rows.values()],
        "images": [count for count, _ in rows.values()],
        **interval_values("share", shares),
    }
    columns = (Column("region", "label"), Column("images", "count"), *interval_columns("share", "share", "share of images"))
    section.tables.append(Table.of("flag_list", "Flags of the prompts and of the given list", values, columns))
    if not found.matched:
        section.notes.append("flag list: no listed image has the file name of a scored one, so nothing was compared")
        return section
    section.findings.append(
        Finding(
            "note",
            f"Of the {found.matched:,} listed images that are in this data the prompts flag "
            f"{format_interval(pair.first_finds)}; {pair.first_only:,} images are flagged here and not listed.",
            ("flag_list.found", "flag_list.kappa"),
            ("flag_list",),
            "Published lists were made with another encoder, and cover one data set whole: read them as a second opinion.",
        )
    )
    section.methods.append("The given list is matched by file name; images that it does not hold count as not flagged by it.")
    return section
