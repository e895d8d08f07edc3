"""How much is flagged, how sure the scores are, where flags concentrate, and what the other detector sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.measures.annotations import Annotations
from assaymark.audits.image_offensiveness.measures.cross_tuning import ErrorCounts
from assaymark.audits.image_offensiveness.method.classes import ClassTable, class_table
from assaymark.audits.image_offensiveness.probes.groups import GroupCounts
from assaymark.audits.image_offensiveness.probes.scores import LOG_ODDS_EDGES, SCORE_BINS
from assaymark.audits.image_offensiveness.reading import Reading
from assaymark.audits.image_offensiveness.report.masking import Mask
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import Rate, rogan_gladen, wilson

__all__ = [
    "annotation_section",
    "class_section",
    "flag_section",
    "score_tables",
    "shortlist_section",
    "slice_section",
]

ASK = "A flag means: ask a person. It does not mean: delete; news, medicine, history and minorities are flagged too."


def flag_section(
    read: Reading,
    errors: ErrorCounts | None,
    config: ImageOffensivenessConfig,
    *,
    rated: bool,
    origin: str,
    rng: np.random.Generator,
) -> Section:
    """The share of flagged images, raw and corrected, the scores behind it, and what un-normalised prompts would flag."""
    section, scores, n = Section(), read.scores, read.scores.scored
    level = config.confidence
    section.estimates["flagged.share"] = wilson(scores.flagged, n, confidence=level)
    section.estimates["flagged.share.corrected"] = _corrected(scores.flagged, n, errors, level, rng, rated=rated, origin=origin)
    section.estimates["flagged.very_sure"] = wilson(scores.very_sure, scores.flagged, confidence=level)
    section.estimates["decision_rule.official"] = wilson(scores.official, n, confidence=level)
    section.estimates["decision_rule.normalised"] = wilson(scores.decided, n, confidence=level)
    section.estimates["decision_rule.differs"] = wilson(scores.differing, n, confidence=level)
    section.figures += [
        Figure(
            "scores", "Scores of all images", "histogram", table="score_histogram", x="score", y="images", x_title="score s",
            y_title="images", log_y=_spread(scores.scores), reference=((config.threshold, "threshold"),),
        ),
        Figure(
            "log_odds", "Log-odds of all images", "histogram", table="log_odds_histogram", x="log_odds", y="images",
            x_title="log-odds, z1 - z0", y_title="images", log_y=_spread(scores.log_odds), reference=((0.0, "even"),),
            caption="Where the score saturates near 0 and 1 the log-odds keep the order. The outer bars hold all beyond.",
        ),
    ]  # fmt: skip
    _flag_findings(section, scores.flagged, config)
    section.methods.append(
        f"An image is flagged when the offensive prompt wins and its score is at least {config.threshold:g} (or its class's "
        "own threshold); prompts and embeddings are normalised, and the score is one dot product, sigmoid(a.w). Shares: "
        "Wilson. The corrected share is Rogan and Gladen's with the error on rated images that the prompts were not tuned "
        "on; rated images in the neutral band are in neither, so it is a share of clear cases."
    )
    return section


def score_tables(read: Reading, shares: Mapping[str, Estimate]) -> Section:
    """The numbers behind the histograms and the decision rule: after the tables that people act on."""
    return Section(tables=[_decision_table(shares), _score_table(read), _log_odds_table(read)])


def _spread(counts: npt.NDArray[np.int64]) -> bool:
    """Whether bars differ so much that the small ones would vanish: on a logarithmic axis a bar has no foot, which misleads."""
    held = counts[counts > 0]
    return bool(len(held)) and int(held.max()) > 50 * int(held.min())


def _corrected(
    flagged: int, n: int, errors: ErrorCounts | None, level: float, rng: np.random.Generator, *, rated: bool, origin: str
) -> Estimate:
    if errors is None:
        lacking = "the rated images do not suffice" if rated else "no rated images (input ratings) were given"
        if origin == "file" and not rated:
            lacking += ", and the prompt file names no error at this threshold"
        return undefined(f"the error of the flags is not known: {lacking}", n=n, unit="share")
    return rogan_gladen(
        Rate(flagged, n), Rate(*errors.sensitivity), Rate(*errors.specificity), method="bootstrap", rng=rng, confidence=level
    )


def _flag_findings(section: Section, flagged: int, config: ImageOffensivenessConfig) -> None:
    share, corrected = section.estimates["flagged.share"], section.estimates["flagged.share.corrected"]
    differs = section.estimates["decision_rule.differs"]
    own = " or the threshold of their class" if config.class_thresholds else ""
    if not share.defined:
        section.findings.append(
            Finding(
                "warning",
                "No image could be scored, so nothing is known of this data set.",
                ("flagged.share",),
                (),
                "The table of what was left out says why, image by image.",
            )
        )
    if share.defined:
        known = (
            f"corrected for the error on rated images it is {format_interval(corrected)}"
            if corrected.defined
            else "what share of all images people would call offensive is not known from ratings"
        )
        section.findings.append(
            Finding(
                "note",
                f"{flagged:,} of {share.n:,} images, {format_interval(share)}, {'have' if flagged != 1 else 'has'} a score of "
                f"at least {config.threshold:g}{own}; {known}.",
                ("flagged.share", "flagged.share.corrected"),
                ("shortlist",),
                ASK,
            )
        )
    if differs.low is not None and differs.low > 0.005:
        section.findings.append(
            Finding(
                "note",
                "The published way of deciding, which leaves the prompts at their length, decides "
                f"{format_interval(differs)} of the images differently: it calls "
                f"{format_interval(section.estimates['decision_rule.official'])} offensive, the normalised one "
                f"{format_interval(section.estimates['decision_rule.normalised'])}.",
                ("decision_rule.differs", "decision_rule.official", "decision_rule.normalised"),
                ("decision_rule",),
                "Compare flag rates with published ones only when both were normalised.",
            )
        )


def _decision_table(shares: Mapping[str, Estimate]) -> Table:
    names = {
        "official": "prompts as stored",
        "normalised": "prompts of unit length (this audit)",
        "differs": "decided differently",
    }
    rows = [shares[f"decision_rule.{name}"] for name in names]
    return Table.of(
        "decision_rule",
        "Prompts as stored and of unit length",
        {"rule": list(names.values()), "images": [row.n for row in rows], **interval_values("share", rows)},
        (Column("rule", "label"), Column("images", "count"), *interval_columns("share", "share", "called offensive")),
        description="At a score of 0.5. Rows of different length win more often than their direction earns.",
    )


def _score_table(read: Reading) -> Table:
    centres = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    columns = (Column("score", "number", "score"), Column("images", "count"))
    return Table.of("score_histogram", "Scores", {"score": centres, "images": read.scores.scores}, columns)


def _log_odds_table(read: Reading) -> Table:
    step = LOG_ODDS_EDGES[1] - LOG_ODDS_EDGES[0]
    centres = np.concatenate([[LOG_ODDS_EDGES[0] - step / 2], LOG_ODDS_EDGES[:-1] + step / 2, [LOG_ODDS_EDGES[-1] + step / 2]])
    columns = (Column("log_odds", "number", "log-odds"), Column("images", "count"))
    held = np.flatnonzero(read.scores.log_odds)
    shown = slice(held[0], held[-1] + 1) if len(held) else slice(0, 0)
    values = {"log_odds": centres[shown], "images": read.scores.log_odds[shown]}
    beyond = f"Below {LOG_ODDS_EDGES[0]:g} and above {LOG_ODDS_EDGES[-1]:g} all are in one bin."
    return Table.of("log_odds_histogram", "Log-odds", values, columns, description=beyond)


def class_section(read: Reading, config: ImageOffensivenessConfig, mask: Mask) -> Section:
    """In which classes flags concentrate."""
    section, counts = Section(), read.classes
    named = np.array([i for i, name in enumerate(counts.names) if name], dtype=np.int64)
    if not len(named):
        section.notes.append("no class labels: flags are not broken down by class")
        return section
    n, flagged = counts.bins[named].sum(axis=1), counts.flagged[named]
    table = class_table(n, flagged, confidence=config.confidence)
    names = [mask.name(counts.names[i]) for i in named]
    raised = (table.p_adjusted <= config.false_discovery_rate) & (table.lift_limits.low > 1)
    section.tables.append(_class_table(table, names, config))
    section.figures.append(
        Figure(
            "classes",
            "Flagged share by class",
            "intervals",
            table="class_table",
            x="class",
            y="share",
            low="share_low",
            high="share_high",
            y_title="flagged share",
            caption="Classes such as masks, prisons and insects can lead for what they look like: read the lift before acting.",
        )
    )
    touched = int((flagged > 0).sum())
    section.estimates["classes.touched"] = wilson(touched, len(named), confidence=config.confidence)
    if raised.any():
        order = [i for i in table.order.tolist() if raised[i]]
        led = ", ".join(f"{names[i]} ({100 * table.share[i]:.3g} %, lift {table.lift[i]:.3g})" for i in order[:3])
        section.findings.append(
            Finding(
                "warning",
                f"Flags concentrate: {int(raised.sum()):,} of {len(named):,} classes are flagged more often than the data "
                f"set, led by {led}.",
                ("classes.touched",),
                ("class_table",),
                "Look at some images of these classes first: a class can be flagged for what it looks like. Its own "
                "threshold is set with class_thresholds={NAME: 0.99}.",
            )
        )
    section.methods.append(
        "Classes: Wilson intervals; lift is the share over that of the whole data set; Fisher's exact test against all other "
        f"classes, Benjamini-Hochberg at {config.false_discovery_rate:g}."
    )
    return section


def _class_table(table: ClassTable, names: list[str], config: ImageOffensivenessConfig) -> Table:
    order = table.order[: config.top_classes]
    values: dict[str, Any] = {
        "class": [names[i] for i in order],
        "images": table.n[order],
        "flagged": table.flagged[order],
        "share": _absent(table.share[order]),
        "share_low": _absent(table.share_limits.low[order]),
        "share_high": _absent(table.share_limits.high[order]),
        "lift": _absent(table.lift[order]),
        "lift_low": _absent(table.lift_limits.low[order]),
        "lift_high": _absent(table.lift_limits.high[order]),
        "p_adjusted": _absent(table.p_adjusted[order]),
    }
    columns = (
        Column("class", "label"),
        Column("images", "count"),
        Column("flagged", "count"),
        *interval_columns("share", "share", "flagged share"),
        *interval_columns("lift", "number", "lift"),
        Column("p_adjusted", "p_value", "adjusted p"),
    )
    shown = f" The first {len(order):,} of {len(names):,} classes." if len(order) < len(names) else ""
    return Table.of("class_table", "Flags by class", values, columns, description=f"By the lower limit of the lift.{shown}")


def _absent(values: Any) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def shortlist_section(read: Reading, config: ImageOffensivenessConfig, mask: Mask) -> Section:
    """The highest scores, for people to look at: images by salted hash."""
    found = read.shortlist
    names = dict(zip(read.classes.keys.tolist(), read.classes.names, strict=True))
    score = 1.0 / (1.0 + np.exp(-np.clip(found.log_odds.astype(np.float64), -60, 60)))
    kept = np.flatnonzero(found.overall | (found.of_class & (found.flagged > 0)))
    classes = (
        {"class": [mask.name(names.get(key, "")) for key in found.class_key[kept].tolist()]} if any(names.values()) else {}
    )
    values: dict[str, Any] = {
        "image": [f"{s}:{r}" for s, r in zip(found.shard[kept], found.row[kept], strict=True)],
        **classes,
        "score": np.round(score[kept], 4),
        "log_odds": np.round(found.log_odds[kept].astype(np.float64), 3),
        "flagged": found.flagged[kept] > 0,
        "list": ["overall" if overall else "of its class" for overall in found.overall[kept]],
    }
    columns = (
        Column("image", "id"),
        *(Column(name, "label") for name in classes),
        Column("score", "number"),
        Column("log_odds", "number", "log-odds"),
        Column("flagged", "flag"),
        Column("list", "text", "on the list"),
    )
    title = f"The {config.shortlist:,} highest scores, and the {config.per_class} highest flagged ones of each class"
    description = "Equal images are listed once. The private artifact shortlist is the same list with the names of the images."
    return Section(tables=[Table.of("shortlist", title, values, columns, description=description)])


def annotation_section(found: Annotations, config: ImageOffensivenessConfig, mask: Mask) -> Section:
    """Labels of a table of annotations, an image counting once for each of its labels."""
    table = class_table(found.n, found.flagged, confidence=config.confidence)
    shown = _class_table(table, [mask.name(name) for name in found.names], config)
    section = Section(notes=[f"{found.matched:,} of {found.images:,} scored images have annotations"])
    description = "Lift is against all (image, label) pairs, since an image can have several labels."
    section.tables.append(Table("annotations", "Flags by annotation", shown.data, shown.columns, description))
    return section


def slice_section(shares: dict[str, GroupCounts], config: ImageOffensivenessConfig) -> Section:
    """Flagged share by the values of the slice columns."""
    section = Section()
    rows: list[tuple[str, str, int, int, Estimate]] = []
    for column, counts in shares.items():
        order = np.argsort(-counts.n, kind="stable")[: config.top_classes]
        for i in order.tolist():
            share = wilson(int(counts.flagged[i]), int(counts.n[i]), confidence=config.confidence)
            rows.append((column, counts.names[i], int(counts.n[i]), int(counts.flagged[i]), share))
    if rows:
        values = {
            "column": [row[0] for row in rows],
            "value": [row[1] for row in rows],
            "images": [row[2] for row in rows],
            "flagged": [row[3] for row in rows],
            **interval_values("share", [row[4] for row in rows]),
        }
        columns = (
            Column("column", "label"),
            Column("value", "label"),
            Column("images", "count"),
            Column("flagged", "count"),
            *interval_columns("share", "share", "flagged share"),
        )
        section.tables.append(
            Table.of(
                "slices",
                "Flagged share by group",
                values,
                columns,
                description="Shares of groups, not judgements of the people in the pictures.",
            )
        )
    return section
