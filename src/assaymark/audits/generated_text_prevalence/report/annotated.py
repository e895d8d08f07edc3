"""Prediction-powered shares: a random sample of the stream that people labelled, with the detector for the rest."""

from __future__ import annotations

import numpy as np

from assaymark.audits.generated_text_prevalence.measures.series import Series
from assaymark.audits.generated_text_prevalence.preparing import Annotated
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Estimate, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson
from assaymark.stats.prevalence import ppi_mean, predictions_of_bins

__all__ = ["annotated_section"]


def annotated_section(study: Study, annotated: Annotated, series: Series) -> Section:
    section = Section()
    known = np.isfinite(annotated.probability)
    label, probability = annotated.labelled.label[known].astype(np.float64), annotated.probability[known]
    counts = study.stream.periods.counts.sum(axis=(0, 1))
    estimates = _estimates(study, label, probability, counts)
    section.estimates |= {f"annotated.{name}": estimate for name, estimate in estimates.items()}
    titles = {"labels": "the labels alone", "ppi": "PPI", "ppi_tuned": "PPI++ (tuned weight)"}
    values = {
        "way": [titles[name] for name in estimates],
        "labelled": [int(known.sum())] * len(estimates),
        **interval_values("share", list(estimates.values())),
        "reason": [estimate.reason for estimate in estimates.values()],
    }
    columns = (
        Column("way", "label"),
        Column("labelled", "count", "labelled posts"),
        *interval_columns("share", "share", "share of the stream"),
        Column("reason", "text", "why undefined"),
    )
    section.tables.append(Table.of("annotated", "Share from posts that people labelled", values, columns))
    tuned = estimates["ppi_tuned"]
    if tuned.defined:
        section.findings.append(
            Finding(
                "note",
                f"By {int(known.sum()):,} posts that people labelled and the detector's probabilities of the others, "
                f"{format_interval(tuned)} of the whole stream are machine-written.",
                ("annotated.ppi_tuned", "annotated.labels"),
                ("annotated",),
                "This needs no labelled texts from elsewhere; it is true where the labelled posts are a random sample and "
                "people can tell.",
            )
        )
    section.notes += annotated.notes
    section.methods.append(
        "Prediction-powered inference takes the mean probability of the stream and the labelled posts' mean error of it; PPI++ "
        "weighs the detector by how well it predicts the labels."
    )
    return section


def _estimates(study: Study, label: np.ndarray, probability: np.ndarray, counts: np.ndarray) -> dict[str, Estimate]:
    confidence = study.config.confidence
    if not label.size:
        lost = undefined("no annotated post has a label and a score", unit="share")
        return {"labels": lost, "ppi": lost, "ppi_tuned": lost}
    rest = predictions_of_bins(counts)
    return {
        "labels": wilson(int(label.sum()), label.size, confidence=confidence),
        "ppi": _possible(ppi_mean(label, probability, rest, lam=1.0, confidence=confidence, bounds=(0.0, 1.0))),
        "ppi_tuned": _possible(ppi_mean(label, probability, rest, confidence=confidence, bounds=(0.0, 1.0))),
    }


def _possible(share: Estimate) -> Estimate:
    """An interval that lies beyond 0 or 1 as a whole ends as a point there, which is no certainty."""
    if share.low is None or share.low != share.high:
        return share
    why = "labels and detector contradict each other: the estimate lies beyond any share"
    return undefined(why, n=share.n, method=share.method, unit="share")
