"""How far the scores agree with people: figures, curve, baselines, prompts, direction and errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from assaymark.audits.image_offensiveness.config import TuningSettings
from assaymark.audits.image_offensiveness.measures.evaluation import Evaluation
from assaymark.audits.image_offensiveness.measures.rated import RatedImages
from assaymark.audits.image_offensiveness.method.evaluation import METRICS, MetricSummary
from assaymark.audits.image_offensiveness.method.label_efficiency import share_of_gain
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["evaluation_section"]

TITLES = {"auroc": "AUROC", "f1": "F1", "ece": "calibration error", "average_precision": "average precision"}
OWN = "prompt tuning"


def evaluation_section(found: Evaluation, rated: RatedImages, config: TuningSettings) -> Section:
    """All that the ratings say."""
    section = Section(notes=[*rated.notes, *found.notes])
    missing = found.notes[-1] if found.notes else "too few rated images"
    for name in METRICS:
        section.estimates[name] = found.figures.get(name) or undefined(missing, unit="share")
    for name in ("accuracy", "auroc"):
        section.estimates[f"zero_shot.{name}"] = found.zero_shot.get(name) or undefined(
            "no words and no given prompts to rate with before tuning", unit="share"
        )
    section.estimates["ece.held_out"] = found.uncalibrated or undefined(missing)
    section.estimates["ece.calibrated"] = found.calibrated or undefined(
        "too few rated images to fit and to judge a calibration"
    )
    if found.platt is not None:
        section.methods.append(
            "A score is no probability. To read it as one: P(offensive) = sigmoid(a l + b) of the log-odds l, with "
            f"a = {found.platt.slope:.4g} and b = {found.platt.offset:.4g} (Platt's fit on images that did not tune the "
            "prompts); ece.calibrated, beside ece.held_out, is the error left on the half that did not fit it. It holds where "
            "images are as often offensive as the rated ones."
        )
    _errors(section, found)
    _curve(section, found)
    section.tables.append(_figures_table(found))
    _agreement(section, found)
    _populations(section, found, config)
    _prompts(section, found)
    _direction(section, found, rated)
    _finding(section, found, rated)
    where = (
        f"means over {config.splits} random splits that keep near duplicates together, on pooled test images, with the "
        "corrected resampled t interval (splits overlap; their standard deviation is no interval)"
        if found.fitted
        else "on all rated images outside the neutral band, which the prompts were not tuned on"
    )
    if rated.raters is not None and np.isfinite(rated.raters).any():
        section.notes.append(f"each image was rated by {np.nanmedian(rated.raters):g} people (median)")
    if rated.sd is not None and np.isfinite(rated.sd).any():
        section.notes.append(
            f"people differ by {np.nanmedian(rated.sd):.2g} on the scale (median standard deviation of a rating)"
        )
    section.methods.append(
        f"Ratings: below {config.low:g} offensive, above {config.high:g} not, both strictly; {rated.labels.offensive:,} and "
        f"{rated.labels.inoffensive:,} images. Figures of the offensive class at a score of 0.5, {where}."
    )
    return section


def _errors(section: Section, found: Evaluation) -> None:
    from assaymark.stats import wilson

    if found.confusion is not None:
        cells = found.confusion
        section.estimates["class_recall.offensive"], section.estimates["class_recall.inoffensive"] = (
            cells.recall_offensive,
            cells.recall_inoffensive,
        )
        values = {
            "people": ["offensive", "offensive", "not", "not"],
            "prompts": ["offensive", "not", "offensive", "not"],
            "images": [cells.true_positives, cells.false_negatives, cells.false_positives, cells.true_negatives],
        }
        columns = (
            Column("people", "label", "people say"),
            Column("prompts", "label", "prompts say"),
            Column("images", "count"),
        )
        section.tables.append(Table.of("confusion", "People and prompts, at a score of 0.5", values, columns))
    if found.errors is not None:
        section.estimates["threshold.sensitivity"] = wilson(*found.errors.sensitivity)
        section.estimates["threshold.specificity"] = wilson(*found.errors.specificity)


def _curve(section: Section, found: Evaluation) -> None:
    if found.curve is None:
        return
    curve = found.curve
    for share, summary in zip(curve.fractions.tolist(), curve.summaries, strict=True):
        if share in (0.01, 0.1, 1.0):
            section.estimates[f"efficiency.{100 * share:g}pct"] = summary["accuracy"].estimate
    rows: list[tuple[str, float, int, MetricSummary, MetricSummary]] = [
        (OWN, share, int(labels), summary["accuracy"], summary["auroc"])
        for share, labels, summary in zip(curve.fractions.tolist(), curve.labels, curve.summaries, strict=True)
    ]
    by_share = dict(zip(curve.fractions.tolist(), curve.labels.tolist(), strict=True))
    for other in found.baselines:
        title = other.method if other.space == "encoder" else f"{other.method}, {other.space}"
        rows += [
            (title, share, by_share.get(share, 0), summary["accuracy"], summary["auroc"])
            for share, summary in zip(other.fractions, other.summaries, strict=True)
        ]
    values = {
        "method": [row[0] for row in rows],
        "share": [row[1] for row in rows],
        "labels": [row[2] for row in rows],
        **interval_values("accuracy", [row[3].estimate for row in rows]),
        "sd": [_finite(row[3].sd) for row in rows],
        **interval_values("auroc", [row[4].estimate for row in rows]),
    }
    columns = (
        Column("method", "label"),
        Column("share", "number", "share of the training images"),
        Column("labels", "count", "labelled images"),
        *interval_columns("accuracy", "share", "accuracy"),
        Column("sd", "number", "SD over splits"),
        *interval_columns("auroc", "number", "AUROC"),
    )
    section.tables.append(Table.of("label_efficiency", "How many labels are needed", values, columns))
    section.figures.append(
        Figure(
            "label_efficiency",
            "Accuracy by share of labels",
            "lines",
            table="label_efficiency",
            x="share",
            y="accuracy",
            low="accuracy_low",
            high="accuracy_high",
            group="method",
            x_title="share of the training images",
            caption=f"{'0 is zero-shot. ' if 0.0 in by_share else ''}Bands: corrected resampled t; Wilson on the images of one "
            "split where all splits agree.",
        )
    )
    if 0.1 in by_share and 0.0 in by_share:
        gain = share_of_gain(curve, 0.1)
        if np.isfinite(gain):
            section.notes.append(
                f"a tenth of the labels gives {100 * gain:.0f} % of what all {by_share[1.0]:,} gain in accuracy over zero-shot"
            )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _figures_table(found: Evaluation) -> Table:
    rows: list[tuple[str, str, Estimate, float | None]] = []
    own = found.curve.summaries[-1] if found.fitted and found.curve is not None else {}
    for name in METRICS:
        if name in found.figures:
            rows.append(("prompts in use", name, found.figures[name], _finite(own[name].sd) if name in own else None))
    rows += [("zero-shot", name, found.zero_shot[name], None) for name in METRICS if name in found.zero_shot]
    for other in found.baselines:
        if other.summaries and other.fractions[-1] == 1.0:
            title = other.method if other.space == "encoder" else f"{other.method}, {other.space}"
            rows += [
                (title, name, other.summaries[-1][name].estimate, _finite(other.summaries[-1][name].sd)) for name in METRICS
            ]
    values = {
        "method": [row[0] for row in rows],
        "figure": [TITLES.get(row[1], row[1]) for row in rows],
        **interval_values("value", [row[2] for row in rows]),
        "sd": [row[3] for row in rows],
        "n": [row[2].n for row in rows],
        "how": [row[2].method if row[2].defined else row[2].reason for row in rows],
    }
    columns = (
        Column("method", "label"),
        Column("figure", "label"),
        *interval_columns("value", "number", "value"),
        Column("sd", "number", "SD over splits"),
        Column("n", "count", "images or splits"),
        Column("how", "text", "interval"),
    )
    return Table.of("eval_table", "Prompts and baselines on rated images", values, columns)


def _agreement(section: Section, found: Evaluation) -> None:
    if found.agreement is None:
        section.estimates["spearman"] = undefined("no rated images were held out")
        return
    agreement = found.agreement
    section.estimates["spearman"] = agreement.rank_correlation
    section.estimates["neutral.flagged"] = (
        agreement.neutral_flagged
        if agreement.neutral_flagged.n
        else undefined("no rated image lies in the neutral band", unit="share")
    )
    edges = agreement.distance_edges
    values: dict[str, Any] = {
        "distance": [f"{low:.2g} to {high:.2g}" for low, high in itertools.pairwise(edges)],
        "images": agreement.images,
        "errors": agreement.errors,
        "error": [_finite(value) for value in agreement.error_rate],
        "error_low": [_finite(v) if n else None for v, n in zip(agreement.error_limits.low, agreement.images, strict=True)],
        "error_high": [_finite(v) if n else None for v, n in zip(agreement.error_limits.high, agreement.images, strict=True)],
    }
    columns = (
        Column("distance", "label", "distance of the rating from the boundary"),
        Column("images", "count"),
        Column("errors", "count"),
        *interval_columns("error", "share", "share of errors"),
    )
    section.tables.append(Table.of("boundary", "Errors by distance from the boundary", values, columns))
    section.figures.append(
        Figure(
            "boundary",
            "Errors by distance from the boundary",
            "intervals",
            table="boundary",
            x="distance",
            y="error",
            low="error_low",
            high="error_high",
            y_title="share of errors",
            caption="Errors near the boundary are where people disagree too.",
        )
    )


def _populations(section: Section, found: Evaluation, config: TuningSettings) -> None:
    from assaymark.stats import wilson

    if not found.by_population:
        return
    rates = [wilson(right, n, confidence=config.confidence) for _, right, n in found.by_population]
    values = {
        "population": [name for name, _, _ in found.by_population],
        "images": [n for _, _, n in found.by_population],
        **interval_values("agreement", rates),
    }
    columns = (
        Column("population", "label", "who rated"),
        Column("images", "count"),
        *interval_columns("agreement", "share", "prompts agree"),
    )
    section.tables.append(Table.of("populations", "Agreement by who rated", values, columns))


def _prompts(section: Section, found: Evaluation) -> None:
    if not found.ranked:
        return
    values: dict[str, Any] = {
        "prompt": [prompt.name for prompt in found.ranked],
        **interval_values("auroc", [prompt.auroc for prompt in found.ranked]),
        **interval_values("accuracy", [prompt.accuracy for prompt in found.ranked]),
        "balanced": [_finite(prompt.balanced_accuracy) for prompt in found.ranked],
        "flagged": [_finite(prompt.flagged) for prompt in found.ranked],
    }
    columns = (
        Column("prompt", "text"),
        *interval_columns("auroc", "number", "AUROC"),
        *interval_columns("accuracy", "share", "accuracy"),
        Column("balanced", "number", "balanced accuracy"),
        Column("flagged", "number", "called offensive"),
    )
    section.tables.append(
        Table.of(
            "prompt_ranking",
            "Words as prompts, ranked on the rated images",
            values,
            columns,
            description="The winner's figures are the best of several on the same images: a little too good.",
        )
    )


def _direction(section: Section, found: Evaluation, rated: RatedImages) -> None:
    if found.direction is None:
        return
    components, ridge = found.direction.components, found.direction.ridge
    section.estimates["moral_direction.r2"] = ridge.r2
    section.estimates["moral_direction.spearman"] = ridge.rank_correlation
    for k, correlation in enumerate(components.correlations, 1):
        section.estimates[f"moral_direction.pc{k}"] = correlation
    known = np.flatnonzero(np.isfinite(rated.ratings))
    label = rated.labels.labels[known]
    names = np.array(["neutral", "inoffensive", "offensive"])[np.where(label < 0, 0, label + 1)]
    first, second = components.coordinates[:, 0], components.coordinates[:, 1]
    values = {"pc1": first, "pc2": second, "rating": rated.ratings[known], "people": names.tolist()}
    columns = (
        Column("pc1", "number", "first component"),
        Column("pc2", "number", "second component"),
        Column("rating", "number"),
        Column("people", "label", "people say"),
    )
    shares = ", ".join(f"{100 * share:.3g} %" for share in components.explained)
    section.tables.append(
        Table.of("components", "Rated images in the space of the encoder", values, columns, description=f"Variance: {shares}.")
    )
    section.figures.append(
        Figure(
            "components",
            "First two principal components, by rating",
            "points",
            table="components",
            x="pc1",
            y="pc2",
            group="people",
            caption="Where the groups lie apart, the space itself orders images by how people rate them.",
        )
    )


def _finding(section: Section, found: Evaluation, rated: RatedImages) -> None:
    accuracy, n = section.estimates["accuracy"], rated.labels.offensive + rated.labels.inoffensive
    if accuracy.value is None or accuracy.low is None:
        section.findings.append(
            Finding(
                "warning",
                f"How often a flag is right is not known: {accuracy.reason}.",
                ("accuracy",),
                ("prompts",),
                "Take the order of the scores as a list of where to look first. Rate more images of both kinds, and "
                "different ones.",
            )
        )
        return
    majority = max(rated.labels.offensive, rated.labels.inoffensive) / n
    useless = accuracy.low <= majority
    sentence = f"On {n:,} rated images the prompts are right in {format_interval(accuracy)} of the cases"
    rest = f"; always giving the more frequent answer would be right in {100 * majority:.1f} %."
    zero = section.estimates["zero_shot.accuracy"]
    before = f", against {format_interval(zero)} before tuning" if found.fitted and zero.defined else ""
    section.findings.append(
        Finding(
            "warning" if useless else "good",
            sentence + before + rest,
            ("accuracy", "auroc", "spearman"),
            ("eval_table",),
            "These prompts are not shown to know more than the base rate: do not use their flags."
            if useless
            else "Ratings are those of one group of people at one time: say who rated, and rate again for others.",
        )
    )
