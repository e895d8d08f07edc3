"""ROC and precision-recall curves, calibration, and what is left to people: pictures of the scores on the test rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.measures.evaluation import MOST_DRAWN, Judged
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Figure, Finding, Table, format_interval
from assaymark.section import Section, interval_columns
from assaymark.stats import brier_score, expected_calibration_error, log_loss, pr_curve, reliability_curve, roc_curve

__all__ = ["curves_section"]

POINTS = 150
"""Points of a curve that are kept."""


def curves_section(study: Study) -> Section:
    section = Section()
    ways = {"mixture": study.main, "average": study.judged["average"], "best single scorer": study.judged["best_single"]}
    _roc(section, study, ways)
    _precision_recall(section, study, ways)
    _calibration(section, study)
    return section


def _thinned(size: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, size - 1, min(size, POINTS)).round().astype(np.int64)) if size else np.zeros(0, np.int64)


def _known(judged: Judged, label: npt.NDArray[np.bool_]) -> tuple[Any, Any]:
    return judged.scores[judged.known], label[judged.known]


def _shares(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]


def _roc(section: Section, study: Study, ways: dict[str, Judged]) -> None:
    columns: dict[str, list[Any]] = {"way": []}
    for way, judged in ways.items():
        curve = roc_curve(*_known(judged, study.label), confidence=study.config.confidence)
        picked = _thinned(len(curve.fpr))
        columns["way"] += [way] * len(picked)
        for name in ("fpr", "fpr_low", "fpr_high", "tpr", "tpr_low", "tpr_high"):
            columns.setdefault(name, []).extend(_shares(getattr(curve, name)[picked]))
    fpr, tpr = interval_columns("fpr", "share", "false positive rate"), interval_columns("tpr", "share", "recall")
    kinds = (Column("way", "label"), *fpr, *tpr)
    section.tables.append(Table.of("roc", "Recall against false positive rate", columns, kinds))
    section.figures.append(
        Figure(
            "roc", "Recall against false positive rate", "lines", table="roc", x="fpr", y="tpr", low="tpr_low",
            high="tpr_high", group="way", x_title="false positive rate", y_title="recall",
        )
    )  # fmt: skip


def _precision_recall(section: Section, study: Study, ways: dict[str, Judged]) -> None:
    columns: dict[str, list[Any]] = {"way": []}
    for way, judged in ways.items():
        curve = pr_curve(*_known(judged, study.label), confidence=study.config.confidence)
        picked = _thinned(len(curve.recall))
        columns["way"] += [way] * len(picked)
        for name in ("recall", "recall_low", "recall_high", "precision", "precision_low", "precision_high"):
            columns.setdefault(name, []).extend(_shares(getattr(curve, name)[picked]))
    recall, precision = interval_columns("recall", "share", "recall"), interval_columns("precision", "share", "precision")
    kinds = (Column("way", "label"), *recall, *precision)
    section.tables.append(
        Table.of(
            "precision_recall",
            "Precision against recall",
            columns,
            kinds,
            description="At the share of unsafe images of the test rows; where they are rarer, precision is lower (table ppv).",
        )
    )
    section.figures.append(
        Figure(
            "precision_recall", "Precision against recall", "lines", table="precision_recall", x="recall", y="precision",
            low="precision_low", high="precision_high", group="way", x_title="recall", y_title="precision",
        )
    )  # fmt: skip


def _calibration(section: Section, study: Study) -> None:
    """Raw mixture score and its calibration as probabilities, against what was observed."""
    config, judged = study.config, study.main
    scores, label = _known(judged, study.label)
    kinds = {"score as it is": judged.probability[judged.known], "calibrated": study.fitting.main.mixture.probability(scores)}
    columns: dict[str, list[Any]] = {"score": [], "probability": [], "observed": [], "observed_low": [], "observed_high": []}
    items: list[int] = []
    for name, values in kinds.items():
        curve = reliability_curve(values, label, confidence=config.confidence)
        columns["score"] += [name] * len(curve.probability)
        for column, numbers in zip(
            ("probability", "observed", "observed_low", "observed_high"),
            (curve.probability, curve.observed, curve.low, curve.high),
            strict=True,
        ):
            columns[column] += _shares(numbers)
        items += curve.items.tolist()
    shown = (
        Column("score", "label"),
        Column("probability", "number", "mean score of the bin"),
        *interval_columns("observed", "share", "unsafe among them"),
        Column("images", "count"),
    )
    section.tables.append(Table.of("calibration_curve", "Reliability of the mixture", {**columns, "images": items}, shown))
    section.figures.append(
        Figure(
            "calibration_curve", "Reliability of the mixture", "lines", table="calibration_curve", x="probability",
            y="observed", low="observed_low", high="observed_high", group="score", x_title="mean score",
            y_title="share that is unsafe",
            caption="15 bins of equal mass. The raw score is no probability; where it leaves [0, 1] it is clipped.",
        )
    )  # fmt: skip
    p, few, draws = kinds["calibrated"], label[:MOST_DRAWN], config.resamples
    rng = study.rng("calibrated")
    ece = expected_calibration_error(p[:MOST_DRAWN], few, rng=rng, resamples=draws, confidence=config.confidence)
    section.estimates |= {
        "mixture.calibrated.brier": brier_score(p, label, confidence=config.confidence),
        "mixture.calibrated.log_loss": log_loss(p, label, clip=1e-6, confidence=config.confidence),
        "mixture.calibrated.ece": ece,
    }
    if ece.defined and (ece.low or 0.0) > 0.05:
        section.findings.append(
            Finding(
                "note",
                f"The calibrated probability of the mixture is off by {format_interval(ece)} on average.",
                ("mixture.calibrated.ece",),
                ("calibration_curve",),
                "Use its decisions and its ranking; do not read the probability as a frequency.",
            )
        )
    section.methods.append("P(unsafe) is the sigmoid of a line through the mixture score, fitted on the fitting rows (Platt).")
