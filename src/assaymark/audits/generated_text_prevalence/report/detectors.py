"""How good the detectors are: the benchmark, the one that counts, what length alone gives away."""

from __future__ import annotations

from collections.abc import Iterator

from assaymark.audits.generated_text_prevalence.measures.benchmark import Benchmarked
from assaymark.audits.generated_text_prevalence.measures.fitting import Fitting
from assaymark.audits.generated_text_prevalence.measures.series import name_of
from assaymark.audits.generated_text_prevalence.method.benchmarking import Cell
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.result import Column, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson
from assaymark.stats.prevalence import LEAST_YOUDEN

__all__ = ["detector_section", "undefined_detector"]

MEASURES = (
    ("auroc", "number", "AUROC"),
    ("accuracy", "share", "accuracy"),
    ("weighted_f1", "number", "weighted F1"),
    ("macro_f1", "number", "macro F1"),
    ("tpr_at_1_fpr", "share", "TPR at 1 % FPR"),
    ("tpr_at_5_fpr", "share", "TPR at 5 % FPR"),
    ("fpr", "share", "FPR"),
    ("ece", "number", "ECE"),
)
CHANCE = 0.5
WEAK = 0.5
"""TPR - FPR below which a detector's corrected shares have intervals too wide for most claims."""


def undefined_detector(reason: str) -> Section:
    """The same names without numbers, and why."""
    section = Section()
    for name in ("sensitivity", "specificity"):
        section.estimates[f"detector.{name}"] = undefined(reason, unit="share")
    section.findings.append(
        Finding(
            "note",
            f"The detector's errors are not known: {reason}. Shares are shown as counted, not corrected.",
            ("detector.sensitivity", "detector.specificity"),
            advice="Give texts like the posts of which you know who wrote them, some hundred of each kind.",
        )
    )
    return section


def detector_section(study: Study, fitting: Fitting, found: Benchmarked) -> Section:
    section = Section()
    config = study.config
    sensitivity, specificity = study.sensitivity, study.specificity
    assert sensitivity is not None and specificity is not None
    for name, rate in (("sensitivity", sensitivity), ("specificity", specificity)):
        section.estimates[f"detector.{name}"] = wilson(rate.successes, rate.trials, confidence=config.confidence)
    for name, cells in found.cells.items():
        for measure in ("auroc", "accuracy", "fpr", "tpr_at_1_fpr", "tpr_at_5_fpr"):
            section.estimates[f"detector.{name_of(name)}.{measure}"] = getattr(cells[0], measure)
    section.tables.append(_benchmark_table(found))
    section.tables.append(_overall_table(found, fitting))
    section.figures.append(
        Figure(
            "detectors", "How well each detector tells machine-written texts", "intervals", table="detectors", x="detector",
            y="auroc", low="auroc_low", high="auroc_high", reference=((CHANCE, "chance"),), y_title="AUROC on test texts",
        )
    )  # fmt: skip
    _by_group(section, found)
    _published(section, found)
    _lengths(section, found)
    section.findings += _findings(study, fitting, section, found)
    section.notes += [f"{name} could not be calibrated: {why}" for name, why in fitting.failed.items()]
    if fitting.labelled.duplicates:
        section.notes.append(
            f"{fitting.labelled.duplicates:,} labelled texts nearly repeat another one; they stay on its side of every split"
        )
    section.methods.append(
        f"Sources of labelled texts are divided by a hash: {1 - config.test_share:.0%} fit each score's logistic regression "
        "(which also learns the score's sign), the others measure errors. A source, its twins and near-duplicates are never "
        "parted. The detector that counts has the largest AUROC on the fitting texts, unless the settings name one."
    )
    return section


def _rows(found: Benchmarked) -> Iterator[tuple[str, Cell]]:
    for name, cells in found.cells.items():
        for cell in cells:
            yield name, cell


def _benchmark_table(found: Benchmarked) -> Table:
    rows = list(_rows(found))
    values = {
        "detector": [name for name, _ in rows],
        "by": [cell.by for _, cell in rows],
        "group": [cell.group or "all" for _, cell in rows],
        "humans": [cell.humans for _, cell in rows],
        "machines": [cell.machines for _, cell in rows],
        "left_out": [cell.left_out for _, cell in rows],
        **{
            key: column
            for measure, _, _ in MEASURES
            for key, column in interval_values(measure, [getattr(cell, measure) for _, cell in rows]).items()
        },
    }
    columns = (
        Column("detector", "label"),
        Column("by", "label", "by"),
        Column("group", "label"),
        Column("humans", "count", "human texts"),
        Column("machines", "count", "machine-written"),
        Column("left_out", "count", "without a score"),
        *(column for measure, kind, title in MEASURES for column in interval_columns(measure, kind, title)),  # type: ignore[arg-type]
    )
    return Table.of(
        "benchmark", "Detectors on test texts, by platform, generator and length", values, columns,
        description="A generator's texts are judged against the human texts of all sources.",
    )  # fmt: skip


def _overall_table(found: Benchmarked, fitting: Fitting) -> Table:
    rows = [(name, cells[0]) for name, cells in found.cells.items()]
    values = {
        "detector": [name for name, _ in rows],
        "family": [fitting.scores[name].counter.detector.family for name, _ in rows],
        "counts": [name == fitting.chosen for name, _ in rows],
        "texts": [cell.humans + cell.machines for _, cell in rows],
        **{
            key: column
            for measure in ("auroc", "accuracy", "fpr", "tpr_at_1_fpr")
            for key, column in interval_values(measure, [getattr(cell, measure) for _, cell in rows]).items()
        },
    }
    shown = [item for item in MEASURES if item[0] in ("auroc", "accuracy", "fpr", "tpr_at_1_fpr")]
    order = ("auroc", "accuracy", "fpr", "tpr_at_1_fpr")
    shown.sort(key=lambda item: order.index(item[0]))
    columns = (
        Column("detector", "label"),
        Column("family", "label"),
        Column("counts", "flag", "counts the posts"),
        Column("texts", "count", "test texts"),
        *(column for measure, kind, title in shown for column in interval_columns(measure, kind, title)),  # type: ignore[arg-type]
    )
    return Table.of("detectors", "Detectors on all test texts", values, columns)


def _by_group(section: Section, found: Benchmarked) -> None:
    """The chosen detector by generator, and by platform and length where there are several."""
    name, cells = next(iter(found.cells.items()))
    for by, measure, title in (
        ("generator", "auroc", f"{name} by generator"),
        ("platform", "fpr", f"False positives of {name} by platform"),
        ("length", "auroc", f"{name} by length"),
    ):
        rows = [cell for cell in cells if cell.by == by]
        if not rows:
            continue
        kind = "share" if measure == "fpr" else "number"
        values = {
            "group": [cell.group for cell in rows],
            "texts": [cell.humans + cell.machines for cell in rows],
            **interval_values(measure, [getattr(cell, measure) for cell in rows]),
        }
        columns = (
            Column("group", "label", by),
            Column("texts", "count", "test texts"),
            *interval_columns(measure, kind, "FPR" if measure == "fpr" else "AUROC"),  # type: ignore[arg-type]
        )
        section.tables.append(Table.of(f"chosen_by_{by}", title, values, columns))
        section.figures.append(
            Figure(
                f"chosen_by_{by}", title, "intervals", table=f"chosen_by_{by}", x="group", y=measure, low=f"{measure}_low",
                high=f"{measure}_high",
            )
        )  # fmt: skip


def _published(section: Section, found: Benchmarked) -> None:
    if not found.published:
        return
    values = {
        "detector": [item.detector for item in found.published],
        "purpose": [item.purpose for item in found.published],
        "threshold": [item.threshold for item in found.published],
        **interval_values("tpr", [item.tpr for item in found.published]),
        **interval_values("fpr", [item.fpr for item in found.published]),
    }
    columns = (
        Column("detector", "label"),
        Column("purpose", "label", "made for"),
        Column("threshold", "number", "published threshold"),
        *interval_columns("tpr", "share", "TPR"),
        *interval_columns("fpr", "share", "FPR"),
    )
    section.tables.append(
        Table.of(
            "published_thresholds", "Detectors at their published thresholds", values, columns,
            description="A published threshold holds for the models that it was published for.",
        )
    )  # fmt: skip


def _lengths(section: Section, found: Benchmarked) -> None:
    if found.lengths is None:
        return
    lengths = found.lengths
    rows = (
        ("as it is", lengths.overall),
        ("within buckets of length", lengths.within),
        ("both kinds weighted to one length", lengths.matched),
        ("of the length alone", lengths.of_length),
    )
    section.estimates |= {
        "detector.auroc.within_length": lengths.within,
        "detector.auroc.length_matched": lengths.matched,
        "detector.auroc.of_length": lengths.of_length,
    }
    values = {"auroc_of": [name for name, _ in rows], **interval_values("auroc", [value for _, value in rows])}
    columns = (Column("auroc_of", "label", "AUROC"), *interval_columns("auroc", "number", "AUROC"))
    section.tables.append(
        Table.of(
            "length", "What the length of a text gives away", values, columns,
            description=f"{lengths.overlap:.0%} of both kinds have the length in common.",
        )
    )  # fmt: skip


def _findings(study: Study, fitting: Fitting, section: Section, found: Benchmarked) -> Iterator[Finding]:
    sensitivity, specificity = section.estimates["detector.sensitivity"], section.estimates["detector.specificity"]
    names = ("detector.sensitivity", "detector.specificity")
    if sensitivity.value is None or specificity.value is None:
        return
    youden = sensitivity.value + specificity.value - 1.0
    said = (
        f"{fitting.chosen} finds {format_interval(sensitivity)} of the machine-written test texts and passes "
        f"{format_interval(specificity)} of the human ones."
    )
    if youden < LEAST_YOUDEN:
        yield Finding(
            "warning", f"No detector here can count: {said}", names, ("detectors",),
            "Nothing is corrected with it. Use another detector, longer posts (min_words), or labelled texts like the posts.",
        )  # fmt: skip
    elif youden < WEAK:
        yield Finding(
            "note", f"The detector is weak, so corrected shares are wide: {said}", names, ("detectors",),
            "Small shares cannot be told from none with it.",
        )  # fmt: skip
    else:
        yield Finding("note", said, names, ("detectors",))
    inverted = [name for name, item in fitting.scores.items() if item.counter.detector.rule is None and item.direction < 0]
    if inverted:
        yield Finding(
            "warning",
            f"{', '.join(inverted)} gives human texts the larger probability: its labels, or those of the labelled texts, are "
            "the wrong way round.",
            (), ("detectors",),
            "Check which label means machine-written (setting machine_label), and the labels of the labelled texts; the score "
            "is used turned round here.",
        )  # fmt: skip
    lengths = found.lengths
    if lengths is not None and lengths.of_length.low is not None and lengths.of_length.low > 0.6:
        yield Finding(
            "note",
            f"The length of the labelled texts alone tells the kinds apart (AUROC {format_interval(lengths.of_length)}); at "
            f"equal length the detector has {format_interval(lengths.within)}.",
            ("detector.auroc.of_length", "detector.auroc.within_length"), ("length",),
            "Errors measured on texts of other lengths than the posts' may not hold for them.",
        )  # fmt: skip
