"""What was made on the way: machine-written twins, and the detector that was trained."""

from __future__ import annotations

from pathlib import PurePosixPath

from assaymark.audits.generated_text_prevalence.detectors import TRAINED
from assaymark.audits.generated_text_prevalence.measures.training import Trained
from assaymark.audits.generated_text_prevalence.measures.twins import FILE, Twins
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Artifact, Column, Figure, Finding, Table, format_interval
from assaymark.section import Section

__all__ = ["preparing_section"]


def preparing_section(study: Study) -> Section:
    section = Section()
    if study.prepared.twins is not None:
        _twins(section, study.prepared.twins)
    if study.prepared.trained is not None:
        _trained(section, study.prepared.trained)
    return section


def _twins(section: Section, twins: Twins) -> None:
    keys = list(twins.written)
    values = {
        "generator": [name for name, _ in keys],
        "style": [style for _, style in keys],
        "written": [twins.written[key] for key in keys],
        "empty": [twins.empty[key] for key in keys],
    }
    columns = (
        Column("generator", "label"),
        Column("style", "label", "asked to"),
        Column("written", "count", "twins written"),
        Column("empty", "count", "empty replies"),
    )
    section.tables.append(Table.of("twins", "Machine-written twins of the labelled human texts", values, columns))
    if twins.saved:
        about = "the twins, with source, generator, style and decoding: labelled texts for later runs"
        section.artifacts.append(Artifact("twins", "data", FILE, about, private=True))


def _trained(section: Section, trained: Trained) -> None:
    found = trained.found
    section.estimates |= {f"training.{name}": estimate for name, estimate in found.metrics.items()}
    values = {
        "epoch": [epoch.number for epoch in found.history],
        "loss": [epoch.loss for epoch in found.history],
        "weighted_f1": [epoch.weighted_f1 for epoch in found.history],
        "kept": [epoch.number == found.chosen_epoch for epoch in found.history],
    }
    columns = (
        Column("epoch", "count"),
        Column("loss", "number", "mean loss"),
        Column("weighted_f1", "number", "weighted F1, validation"),
        Column("kept", "flag"),
    )
    section.tables.append(
        Table.of(
            "training", "Training of the detector", values, columns,
            description=f"{found.training_texts:,} texts trained it, {found.validation_texts:,} chose the epoch.",
        )
    )  # fmt: skip
    section.figures.append(
        Figure("training", "Training of the detector", "lines", table="training", x="epoch", y="weighted_f1")
    )
    f1 = found.metrics["weighted_f1"]
    section.findings.append(
        Finding(
            "note",
            f"A detector was trained on {found.training_texts:,} labelled texts; weighted F1 on held-out sources is "
            f"{format_interval(f1)}.",
            ("training.weighted_f1",),
            ("training",),
        )
    )
    if trained.kept:
        section.artifacts.append(
            Artifact(
                TRAINED, "model", str(PurePosixPath(TRAINED)), "the trained detector: a model spec of its own (scores-texts)"
            )
        )
