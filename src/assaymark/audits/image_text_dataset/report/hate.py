"""Hate content rate, its curve, its shards and its comparison with a baseline, as tables, figures and findings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.measures.comparison import Comparison
from assaymark.audits.image_text_dataset.method.hate_content import mean_score, nexus, shard_bootstrap, shard_spread
from assaymark.audits.image_text_dataset.probes.hate_content import HateContentCounts
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import rogan_gladen, wilson
from assaymark.stats.prevalence import Rate

__all__ = ["DetectorError", "comparison_section", "hate_section"]


class DetectorError(NamedTuple):
    """The text model's own error, counted on labelled texts."""

    sensitivity: Rate
    specificity: Rate


def hate_section(
    counts: HateContentCounts, config: ImageTextDatasetConfig, *, error: DetectorError | None, rng: np.random.Generator
) -> Section:
    section = Section()
    theta = int(np.argmin(np.abs(counts.thresholds - config.theta)))
    for i, label in enumerate(counts.labels):
        section.estimates[f"hate_content_rate.{label}"] = wilson(
            int(counts.exceeding[i, theta]), counts.n, confidence=config.confidence
        )
        section.estimates[f"hate_content_mean.{label}"] = mean_score(
            counts.score_sums[i], counts.score_squares[i], counts.n, confidence=config.confidence
        )
    observed = Rate(int(counts.exceeding[-1, theta]), counts.n)
    if error is None:
        corrected = undefined("no labelled texts were given to measure the model's error", n=counts.n, unit="share")
    else:
        corrected = rogan_gladen(
            observed, error.sensitivity, error.specificity, method="bootstrap", rng=rng, confidence=config.confidence
        )
        section.estimates["hate_content_model.sensitivity"] = wilson(
            error.sensitivity.successes, error.sensitivity.trials, confidence=config.confidence
        )
        section.estimates["hate_content_model.specificity"] = wilson(
            error.specificity.successes, error.specificity.trials, confidence=config.confidence
        )
    section.estimates["hate_content_rate.any.corrected"] = corrected
    _curve(section, counts, config)
    _shards(section, counts, config, rng)
    if counts.tags:
        _nexus(section, counts, config)
    _finding(section, corrected, config)
    rule = "counted with score 0" if config.empty_text == "zero" else "left out"
    section.methods.append(
        f"Hate content rate: share of sampled texts whose probability exceeds {config.theta:g}, Wilson interval; "
        f"{counts.empty:,} empty texts were {rule}, {counts.unscored:,} could not be scored. 'any' is the largest label."
    )
    return section


def _finding(section: Section, corrected: Estimate, config: ImageTextDatasetConfig) -> None:
    raw = section.estimates["hate_content_rate.any"]
    if not raw.defined:
        return
    known = (
        f"corrected for the model's own error it is {format_interval(corrected)}"
        if corrected.defined
        else f"the corrected rate is undefined ({corrected.reason})"
    )
    section.findings.append(
        Finding(
            "note",
            f"{format_interval(raw)} of the texts exceed {config.theta:g} on hateful, targeted or aggressive; {known}.",
            ("hate_content_rate.any", "hate_content_rate.any.corrected"),
            ("hcr",),
            "Text models over-flag dialect and identity words: run a functional test of the model before acting on rows.",
        )
    )


def _curve(section: Section, counts: HateContentCounts, config: ImageTextDatasetConfig) -> None:
    cells = [(i, j) for i in range(len(counts.labels)) for j in range(len(counts.thresholds))]
    values = {
        "label": [counts.labels[i] for i, _ in cells],
        "theta": [float(counts.thresholds[j]) for _, j in cells],
        "texts": [int(counts.exceeding[i, j]) for i, j in cells],
        **interval_values(
            "rate", [wilson(int(counts.exceeding[i, j]), counts.n, confidence=config.confidence) for i, j in cells]
        ),
    }
    columns = (
        Column("label", "label"),
        Column("theta", "number", "threshold"),
        Column("texts", "count", "texts above"),
        *interval_columns("rate", "share", "hate content rate"),
    )
    section.tables.append(Table.of("hcr", "Hate content rate by threshold", values, columns))
    section.figures.append(
        Figure(
            "hcr_curve",
            "Hate content rate by threshold",
            "lines",
            table="hcr",
            x="theta",
            y="rate",
            low="rate_low",
            high="rate_high",
            group="label",
            x_title="threshold on the probability",
            y_title="share of texts",
            log_y=True,
        )
    )


def _shards(section: Section, counts: HateContentCounts, config: ImageTextDatasetConfig, rng: np.random.Generator) -> None:
    over, n = counts.shard_exceeding[:, -1], counts.shard_n
    if len(n) < 2:
        section.estimates["hate_content_rate.any.by_shard"] = undefined(
            "one shard: rows of a shard are not independent, and there is no second to compare", n=len(n), unit="share"
        )
        return
    section.estimates["hate_content_rate.any.by_shard"] = shard_bootstrap(
        over, n, rng=rng, resamples=config.resamples, confidence=config.confidence
    )
    section.estimates["hate_content_shards.within_2_sd"] = shard_spread(over, n, confidence=config.confidence).within
    rates = [wilson(int(k), int(m), confidence=config.confidence) for k, m in zip(over, n, strict=True)]
    values = {"shard": counts.shards, "texts": n, "above": over, **interval_values("rate", rates)}
    columns = (
        Column("shard", "count"),
        Column("texts", "count"),
        Column("above", "count", "texts above"),
        *interval_columns("rate", "share", "rate of any"),
    )
    section.tables.append(Table.of("hcr_shards", "Hate content rate by shard", values, columns))
    section.figures.append(
        Figure(
            "hcr_shards",
            "Hate content rate of the shards",
            "histogram",
            table="hcr_shards",
            x="rate",
            x_title="rate of 'any' in a shard",
            y_title="shards",
            caption="Shards that differ more than chance means that rows of a shard are alike.",
        )
    )


def _nexus(section: Section, counts: HateContentCounts, config: ImageTextDatasetConfig) -> None:
    tags = list(counts.tags)
    n, over, sums, squares = (np.array([counts.tags[tag][i] for tag in tags]) for i in range(4))
    rows = nexus(tags, n, sums[:, None], squares[:, None], over, confidence=config.confidence)
    values = {
        "tag": [row.tag for row in rows],
        "texts": [row.n for row in rows],
        **interval_values("rate", [row.failed for row in rows]),
        **interval_values("mean", [row.mean[-1] for row in rows]),
    }
    columns = (
        Column("tag", "label"),
        Column("texts", "count"),
        *interval_columns("rate", "share", "P(hateful text | tag)"),
        *interval_columns("mean", "number", "mean of the largest probability"),
    )
    section.tables.append(Table.of("hcr_by_tag", "Hateful texts by image tag", values, columns))


def comparison_section(found: Comparison | None) -> Section:
    section = Section()
    if found is None:
        section.notes.append("hcr_compare: one of the two data sets has no scored text")
        return section
    scale = found.any
    section.estimates |= {
        "hate_content_compare.baseline": scale.rate_a,
        "hate_content_compare.ratio": scale.ratio,
        "hate_content_compare.increase": scale.conservative,
        "hate_content_compare.row_effect": found.row_effect,
    }
    section.tables += [_label_table(found), _gap_table(found), _number_table(found)]
    section.figures.append(
        Figure(
            "hcr_gap",
            "Gap to the baseline by threshold",
            "lines",
            table="hcr_gap",
            x="theta",
            y="gap",
            low="gap_low",
            high="gap_high",
            x_title="threshold on the probability",
            y_title="rate of any, here minus baseline",
            reference=((0.0, "no difference"),),
        )
    )
    section.figures.append(
        Figure(
            "hcr_compare",
            "Hate content rate against the baseline",
            "intervals",
            table="hcr_compare",
            x="label",
            y="rate",
            low="rate_low",
            high="rate_high",
            group="data_set",
            y_title="share of texts",
        )
    )
    grows = scale.delta_ci > 0
    section.findings.append(
        Finding(
            "warning" if grows else "good",
            f"Against the baseline the hate content rate is {'higher' if grows else 'not shown to be higher'}: "
            f"{format_interval(scale.rate_b)} here, {format_interval(scale.rate_a)} there; the increase that chance cannot "
            f"take back is {scale.delta_ci:.2f} %"
            + (f", or {scale.excess:,} rows of {found.total:,} beyond what the baseline predicts." if grows else "."),
            ("hate_content_compare.ratio",),
            ("hcr_compare", "hcr_compare_numbers"),
            "With millions of texts any difference is significant: look at its size.",
        )
    )
    section.methods.append(
        "Scale comparison: delta_CI = (L_B - U_A) / U_A of the two Wilson intervals (2306.13141); shards are compared by a "
        "one-sided Welch test where both data sets have at least two."
    )
    return section


def _label_table(found: Comparison) -> Table:
    sides = ("baseline", "this data set")
    rows = [(label, *side) for label, s in found.scales.items() for side in zip(sides, (s.rate_a, s.rate_b), strict=True)]
    values = {
        "label": [label for label, _, _ in rows],
        "data_set": [name for _, name, _ in rows],
        **interval_values("rate", [rate for _, _, rate in rows]),
        "texts": [rate.n for _, _, rate in rows],
    }
    columns = (
        Column("label", "label"),
        Column("data_set", "label", "data set"),
        *interval_columns("rate", "share", "hate content rate"),
        Column("texts", "count"),
    )
    return Table.of("hcr_compare", "Hate content rate against the baseline", values, columns)


def _gap_table(found: Comparison) -> Table:
    values = {"theta": [theta for theta, _ in found.gaps], **interval_values("gap", [gap for _, gap in found.gaps])}
    columns = (Column("theta", "number", "threshold"), *interval_columns("gap", "number", "rate of any, here minus baseline"))
    return Table.of("hcr_gap", "Gap to the baseline by threshold", values, columns, description="Newcombe intervals.")


def _number_table(found: Comparison) -> Table:
    scale = found.any
    numbers: dict[str, float | None] = {
        "conservative increase delta_CI (%)": scale.delta_ci,
        "plain increase (%)": scale.increase,
        "rows beyond what the baseline predicts": float(scale.excess),
        "Cohen's d of the largest probability over rows": found.row_effect.value,
    }
    if found.shards is not None:
        welch, ranks = found.shards.welch, found.shards.mann_whitney
        numbers |= {
            "Welch t over shards, one-sided": welch.statistic,
            "its degrees of freedom": welch.df,
            "its p value": welch.p_value,
            "Cohen's d over shards": found.shards.cohen_d.value,
            "Mann-Whitney p over shards": ranks.p_value,
        }
    return Table.of(
        "hcr_compare_numbers",
        "Scale comparison",
        {"number": list(numbers), "value": [None if x is None or np.isnan(x) else float(x) for x in numbers.values()]},
        (Column("number", "label"), Column("value", "number")),
        description="delta_CI compares the lower limit here with the upper limit of the baseline. With millions of rows every "
        "difference is significant: Cohen's d says whether it is large.",
    )
