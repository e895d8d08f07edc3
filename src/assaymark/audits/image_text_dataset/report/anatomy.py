"""What is in the table, as tables, figures and findings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.method.anatomy import (
    Duplicates,
    NearDuplicates,
    category_shares,
    concentration,
    duplicates,
    host_share,
    length_summary,
    size_shares,
)
from assaymark.audits.image_text_dataset.method.key_sketch import KeySketch
from assaymark.audits.image_text_dataset.method.near_duplicates import redundant_near
from assaymark.audits.image_text_dataset.probes.anatomy import SIZES, AnatomyCounts
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, exact_count, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["STOCK_AND_SHOP_HOSTS", "anatomy_section", "duplicate_section", "near_duplicate_section"]

STOCK_AND_SHOP_HOSTS = frozenset(
    {
        "shutterstock.com",
        "istockphoto.com",
        "gettyimages.com",
        "alamy.com",
        "dreamstime.com",
        "123rf.com",
        "depositphotos.com",
        "adobe.com",
        "fotolia.com",
        "pond5.com",
        "vectorstock.com",
        "bigstockphoto.com",
        "canstockphoto.com",
        "agefotostock.com",
        "picfair.com",
        "amazon.com",
        "media-amazon.com",
        "ssl-images-amazon.com",
        "ebay.com",
        "ebayimg.com",
        "etsy.com",
        "etsystatic.com",
        "alibaba.com",
        "alicdn.com",
        "aliexpress.com",
        "shopify.com",
        "walmart.com",
        "walmartimages.com",
        "redbubble.com",
        "redbubble.net",
        "zazzle.com",
        "rlcdn.com",
        "wayfair.com",
    }
)
"""Registered domains of stock-photo sites and shops. Our own short list: a lower bound of their share."""


def anatomy_section(
    counts: AnatomyCounts, languages: Mapping[str, int], config: ImageTextDatasetConfig, *, rng: np.random.Generator
) -> Section:
    section = Section()
    rows, confidence = counts.rows, config.confidence
    section.estimates["anatomy.rows"] = exact_count(rows)
    missing = wilson(counts.null_text + counts.blank_text, rows, confidence=confidence)
    section.estimates["anatomy.missing_text"] = missing
    _lengths(section, counts, config)
    _shares(
        section, "scripts", "Scripts", counts.scripts, "Rows that hold letters of a script; one row may hold several.", rows
    )
    spoken = counts.languages or dict(languages)
    guessed = f"Guessed for a sample of {sum(spoken.values()):,} distinct texts; on texts of a few words guesses often err."
    source = "From the language column." if counts.languages else guessed
    _shares(section, "languages", "Languages", spoken, source, sum(spoken.values()))
    _shares(section, "tags", "Safety tags", counts.tags, "As the data set gives them; EMPTY is a missing tag.", rows)
    _shares(section, "licences", "Licences", counts.licence, '"?" and empty mean unknown.', rows)
    if counts.sized:
        _sizes(section, counts, config)
    if counts.similarity.any():
        _similarity(section, counts)
    if counts.domains:
        _domains(section, counts, config, rng)
    if missing.defined and (missing.low or 0) > 0.01:
        section.findings.append(
            Finding("note", f"{format_interval(missing)} of rows lack a text.", ("anatomy.missing_text",), ("text_lengths",))
        )
    section.methods.append(
        f"Anatomy: all {rows:,} rows were counted; intervals treat them as a sample of what the crawl would give."
    )
    return section


def _lengths(section: Section, counts: AnatomyCounts, config: ImageTextDatasetConfig) -> None:
    summaries = {"characters": counts.characters, "words": counts.words}
    found = {unit: length_summary(histogram, confidence=config.confidence) for unit, histogram in summaries.items()}
    measures = ("mean", "median", "low_decile", "high_decile")
    cells = [(unit, measure, getattr(summary, measure)) for unit, summary in found.items() for measure in measures]
    for unit, summary in found.items():
        section.estimates[f"anatomy.median_{unit}"] = summary.median
    values = {
        "unit": [unit for unit, _, _ in cells],
        "measure": [measure.replace("_", " ") for _, measure, _ in cells],
        **interval_values("length", [estimate for _, _, estimate in cells]),
    }
    columns = (
        Column("unit", "label"),
        Column("measure", "label"),
        *interval_columns("length", "number", "length of the texts"),
    )
    section.tables.append(Table.of("text_lengths", "Text lengths", values, columns))
    edges = np.arange(0, 301, 15)
    histogram = np.add.reduceat(np.append(counts.characters[:300], counts.characters[300:].sum()), edges)
    drawn = {"from": edges, "texts": histogram}
    section.tables.append(
        Table.of(
            "text_length_histogram",
            "Texts by number of characters",
            drawn,
            (Column("from", "number", "characters from"), Column("texts", "count")),
            description="Bins of 15 characters; the last one holds all longer texts.",
        )
    )
    section.figures.append(
        Figure(
            "text_lengths",
            "Texts by number of characters",
            "bars",
            table="text_length_histogram",
            x="from",
            y="texts",
            x_title="characters, bins of 15",
            y_title="texts",
        )
    )


def _shares(section: Section, name: str, title: str, counts: Mapping[str, int], description: str, n: int) -> None:
    """Table of category shares; `n` is the denominator, which may exceed the sum (several per row) or fall below it."""
    if not counts:
        return
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:50]
    estimates = (
        category_shares(counts) if sum(counts.values()) == n else {key: wilson(min(k, n), n) for key, k in counts.items()}
    )
    values = {
        "value": [key or "(empty)" for key, _ in ranked],
        "rows": [count for _, count in ranked],
        **interval_values("share", [estimates[key] for key, _ in ranked]),
    }
    heading = title.lower().removesuffix("s")
    columns = (Column("value", "label", heading), Column("rows", "count"), *interval_columns("share", "share", "share of rows"))
    section.tables.append(Table.of(name, title, values, columns, description=description))


def _sizes(section: Section, counts: AnatomyCounts, config: ImageTextDatasetConfig) -> None:
    shares = size_shares(counts.either, counts.both, counts.sized, limits=SIZES, confidence=config.confidence)
    values = {
        "pixels": [share.limit for share in shares],
        **interval_values("either", [share.either for share in shares]),
        **interval_values("both", [share.both for share in shares]),
    }
    columns = (
        Column("pixels", "number", "at least"),
        *interval_columns("either", "share", "either side"),
        *interval_columns("both", "share", "both sides"),
    )
    section.tables.append(
        Table.of("image_sizes", "Image sizes", values, columns, description=f"{counts.sized:,} rows state a size.")
    )
    section.tables.append(
        Table.of(
            "aspect_ratios",
            "Aspect ratios",
            {"ratio": np.round(2.0 ** (np.arange(40) / 5 - 4), 3), "rows": counts.aspect},
            (Column("ratio", "number", "width / height from"), Column("rows", "count")),
        )
    )


def _similarity(section: Section, counts: AnatomyCounts) -> None:
    filled = np.flatnonzero(counts.similarity)
    chosen = slice(filled[0], filled[-1] + 1)
    values = {"cosine": np.round(np.arange(200) / 100 - 1, 2)[chosen], "rows": counts.similarity[chosen]}
    section.tables.append(
        Table.of(
            "similarity",
            "Similarity of image and text",
            values,
            (Column("cosine", "number", "cosine from"), Column("rows", "count")),
            description=f"{counts.similarity_missing:,} rows have none.",
        )
    )
    section.figures.append(
        Figure(
            "similarity",
            "Similarity of image and text",
            "bars",
            table="similarity",
            x="cosine",
            y="rows",
            x_title="cosine, bins of 0.01",
            y_title="rows",
        )
    )


def _domains(section: Section, counts: AnatomyCounts, config: ImageTextDatasetConfig, rng: np.random.Generator) -> None:
    total = sum(counts.domains.values()) + counts.other_domains
    found = concentration(list(counts.domains.values()), rng=rng, confidence=config.confidence)
    section.estimates["anatomy.domains"] = exact_count(found.sources, method="count of registered domains")
    section.estimates["anatomy.domain_gini"] = found.gini
    for k, share in found.top.items():
        section.estimates[f"anatomy.top_{k}_domains"] = share
    section.estimates["anatomy.stock_and_shop_share"] = host_share(
        counts.domains, STOCK_AND_SHOP_HOSTS, confidence=config.confidence
    )
    ranked = sorted(counts.domains.items(), key=lambda item: (-item[1], item[0]))[: config.top_domains]
    shares: list[Estimate] = [wilson(count, total, confidence=config.confidence) for _, count in ranked]
    values = {
        "domain": [domain for domain, _ in ranked],
        "rows": [count for _, count in ranked],
        **interval_values("share", shares),
    }
    columns = (Column("domain", "label"), Column("rows", "count"), *interval_columns("share", "share", "share of rows"))
    section.tables.append(Table.of("domains", "Registered domains", values, columns, description="Where the images come from."))
    section.figures.append(
        Figure(
            "domains",
            "Largest registered domains",
            "intervals",
            table="domains",
            x="domain",
            y="share",
            low="share_low",
            high="share_high",
            y_title="share of rows",
        )
    )
    if counts.other_domains:
        section.notes.append(
            f"domains: more distinct domains than are kept; {counts.other_domains:,} rows of rare domains are in no domain's "
            "count, "
            "and the Gini index is a lower bound"
        )


def duplicate_section(sketches: Mapping[str, KeySketch], config: ImageTextDatasetConfig) -> Section:
    section = Section()
    found: dict[str, Duplicates] = {
        kind: duplicates(sketch, confidence=config.confidence) for kind, sketch in sketches.items() if sketch.rows
    }
    if not found:
        return section
    if "phash" in found:
        sketch = sketches["phash"]
        section.estimates["anatomy.redundant.phash_near"] = (
            redundant_near(sketch.keys, sketch.counts, distance=min(config.find_distance, 8))
            if sketch.exact
            else undefined("more distinct perceptual hashes than are kept", n=sketch.rows, unit="share")
        )
    for kind, answer in found.items():
        section.estimates[f"anatomy.redundant.{kind.replace(' ', '_')}"] = answer.redundant
    repeated = section.estimates.get("anatomy.redundant.url_and_text")
    if repeated is not None and repeated.low is not None and repeated.low > 0.01:
        section.findings.append(
            Finding(
                "warning" if repeated.low > 0.1 else "note",
                f"{format_interval(repeated)} of the rows repeat the URL and text of another one.",
                ("anatomy.redundant.url_and_text",),
                ("duplicates",),
                "De-duplicate before training: repeated pairs are memorised first, and rates weigh them as often as they come.",
            )
        )
    values = {
        "key": list(found),
        "rows": [sketches[kind].rows for kind in found],
        **interval_values("distinct", [answer.distinct for answer in found.values()]),
        **interval_values("redundant", [answer.redundant for answer in found.values()]),
        **interval_values("repeated", [answer.repeated for answer in found.values()]),
        "largest": [max(answer.largest, default=0) for answer in found.values()],
        "exact": [answer.exact for answer in found.values()],
    }
    columns = (
        Column("key", "label", "same"),
        Column("rows", "count", "rows with it"),
        *interval_columns("distinct", "count", "distinct"),
        *interval_columns("redundant", "share", "removed by de-duplication"),
        *interval_columns("repeated", "share", "rows seen more than once"),
        Column("largest", "count", "most repeats seen"),
        Column("exact", "flag", "exact"),
    )
    section.tables.append(
        Table.of("duplicates", "Duplicates", values, columns, description="Exact up to 131,072 distinct keys, else estimated.")
    )
    section.methods.append(
        "Duplicates: counts per 64-bit key hash in a hash-threshold sample, exact until it is full and unbiased after that."
    )
    return section


def near_duplicate_section(found: NearDuplicates, searched: int, config: ImageTextDatasetConfig) -> Section:
    """Pictures that embeddings put within `duplicate_cosine` of one another."""
    section = Section()
    section.estimates["anatomy.redundant.images_near"] = found.redundant
    compared = found.redundant.n
    section.methods.append(
        f"Near-duplicate pictures: groups joined by a cosine of at least {config.duplicate_cosine:g} among {compared:,} "
        "embeddings."
    )
    if compared < searched:
        section.notes.append(
            f"near-duplicate pictures were counted in a sample of {compared:,} of {searched:,}: their share is a lower bound"
        )
    return section
