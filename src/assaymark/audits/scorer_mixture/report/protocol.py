"""Which rows fitted what, which scorers were left out, and whether a scorer has learnt the fitting rows by heart."""

from __future__ import annotations

import numpy as np

from assaymark.audits.scorer_mixture.measures.fitting import Fitting
from assaymark.audits.scorer_mixture.measures.variants import fitter_of, midpoint
from assaymark.audits.scorer_mixture.method.splits import accuracy_gaps, cross_fitted_scores, fold_numbers
from assaymark.audits.scorer_mixture.probes.row_keys import SPLITS, TRAIN
from assaymark.audits.scorer_mixture.reading import Rows
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Estimate, Finding, Table, format_interval, undefined
from assaymark.section import Section, exact_count, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["fit_section", "rows_section", "source_section"]

CROSS_FITTED = ("ols", "ols_intercept", "ridge", "nnls", "simplex")
FOLDS = 5
MOST_ROWS = 100_000  # cross-fitted; the first in the order of a hash
LEARNT = 0.05
"""Accuracy on the fitting rows above that on the test rows from which a scorer is named, once chance is excluded."""


def rows_section(rows: Rows) -> Section:
    """The rows by split and class."""
    section = Section()
    counts = np.zeros((len(SPLITS), 2), dtype=int)
    if rows.complete:
        np.add.at(counts, (rows.sample.split, rows.sample.label), 1)
    else:
        for (split, label, _), n in rows.streamed.rows.items():
            counts[split, label] += n
    values = {
        "split": list(SPLITS),
        "use": ["the scorers were trained on these", "weights and threshold", "every figure"],
        "rows": counts.sum(axis=1).tolist(),
        **interval_values("unsafe", [wilson(int(one), int(zero + one)) for zero, one in counts]),
    }
    columns = (
        Column("split", "label"),
        Column("use", "text", "used for"),
        Column("rows", "count"),
        *interval_columns("unsafe", "share", "labelled unsafe"),
    )
    section.tables.append(Table.of("rows", "Which rows are used for what", values, columns))
    section.estimates["rows"] = exact_count(int(counts.sum()), of=max(int(counts.sum()), rows.flows[0].total))
    if not rows.complete:
        section.notes.append(
            f"{len(rows.sample.key):,} of {rows.streamed.kept + rows.streamed.beyond:,} labelled rows were kept, by the "
            "smallest hashes of their content, for what needs rows; least-squares fits on untransformed scores use all"
        )
    return section


def source_section(source: str) -> Section:
    """The loud warning about weights fitted on training rows; it comes before the figures that it spoils."""
    section = Section()
    if source == "train":
        section.findings.append(
            Finding(
                "warning",
                "THE WEIGHTS WERE FITTED ON ROWS THAT THE SCORERS WERE TRAINED ON. A scorer that has learnt them by heart "
                "looks perfect there and receives the weight, whatever it is worth elsewhere.",
                tables=("rows",),
                advice="Fit on rows that no scorer has seen (source=holdout), or on out-of-fold scores (source=oof).",
            )
        )
    return section


def fit_section(fitting: Fitting, study: Study) -> Section:
    """Scorers left out, patterns of missing scores, and scorers that know the fitting rows too well."""
    section = Section()
    section.notes += [f"scorer {name} was left out: {reason}" for name, reason in fitting.left_out.items()]
    section.notes += list(fitting.notes)
    if fitting.main.fit is not None and fitting.main.fit.note:
        section.notes.append(f"fit of the weights: {fitting.main.fit.note}")
    _missing(section, study)
    _learnt(section, study)
    _cross_fitted(section, study)
    return section


def _missing(section: Section, study: Study) -> None:
    """How rows with missing scores are decided."""
    present = np.isfinite(study.fitting.values)
    if present.all():
        return
    mixture = study.fitting.main.mixture
    found, which, counts = np.unique(present, axis=0, return_inverse=True, return_counts=True)
    known = np.isfinite(study.fitting.main.score(study.fitting.scores))
    order = np.argsort(-counts, kind="stable")[:50]
    decided = [bool(known[which.ravel() == i].any()) for i in order]
    values = {
        "missing": [", ".join(n for n, here in zip(study.names, found[i], strict=True) if not here) or "none" for i in order],
        "rows": [int(counts[i]) for i in order],
        "decided": decided,
    }
    columns = (
        Column("missing", "label", "missing scores"),
        Column("rows", "count"),
        Column("decided", "flag", "has a fit of its own"),
    )
    section.tables.append(
        Table.of(
            "missing_scores",
            "Rows with missing scores",
            values,
            columns,
            description="Each pattern has weights of its own, fitted on all rows with at least these scores; without enough "
            "such rows the mixture abstains. A missing score is never taken for 0.",
        )
    )
    lost = int((~known).sum())
    if lost:
        share = wilson(lost, len(known), confidence=study.config.confidence)
        section.findings.append(
            Finding(
                "note",
                f"The mixture has no verdict on {format_interval(share)} of the rows, because scores are missing "
                f"({len(mixture.patterns)} patterns of missing scores have a fit).",
                tables=("missing_scores",),
                advice="Find out why scorers did not answer; let people look at these images.",
            )
        )


def _learnt(section: Section, study: Study) -> None:
    """A scorer much better on the fitting rows than on the test rows has seen them, whatever was declared."""
    fitting, config = study.fitting, study.config
    level = 1.0 - (1.0 - config.confidence) / (5 * max(1, len(study.names)))
    gaps = accuracy_gaps(
        fitting.scores[fitting.fit],
        fitting.label[fitting.fit],
        fitting.scores[fitting.test],
        fitting.label[fitting.test],
        confidence=level,
    )
    for name, raw, gap in zip(study.names, fitting.names, gaps, strict=True):
        if gap.low is None or gap.low <= 0 or (gap.value or 0.0) < LEARNT:
            continue
        section.estimates[f"learnt.{name}"] = gap
        section.findings.append(_learnt_finding(name, gap, folded=raw in study.rows.out_of_fold))


def _learnt_finding(name: str, gap: Estimate, *, folded: bool) -> Finding:
    if folded:
        sentence = (
            f"The networks {name} of the folds do better on the fitting rows than the one that is kept does on the test rows, "
            f"by {format_interval(gap)}: weights fitted on the scores of the former do not suit the latter."
        )
        advice = "Train longer (zoo_epochs) or on more pictures; calibrating each scorer (transform=platt) can help."
    else:
        sentence = (
            f"Scorer {name} is better on the fitting rows than on the test rows by {format_interval(gap)}: it looks as if it "
            "was trained on them, and its weight is then too large."
        )
        advice = "Fit on rows that it has not seen, or on out-of-fold scores."
    return Finding("warning", sentence, (f"learnt.{name}",), advice=advice)


def _cross_fitted(section: Section, study: Study) -> None:
    """Every row judged by weights fitted on other rows: all rows count, which matters where there are few."""
    fitting, config = study.fitting, study.config
    rows = np.flatnonzero(np.isfinite(fitting.values).all(axis=1) & (study.rows.sample.split != TRAIN))[:MOST_ROWS]
    if fitting.main_name not in CROSS_FITTED:
        section.estimates["cross_fitted.accuracy"] = undefined("only linear fits are cross-fitted", unit="share")
        return
    label = fitting.label[rows]
    units = study.rows.sample.unit[rows]
    folds = fold_numbers(label, folds=FOLDS, rng=study.rng("folds"), groups=units)
    spread = [label[folds != fold] for fold in range(FOLDS)]
    if any(part.all() or not part.any() for part in spread):
        section.estimates["cross_fitted.accuracy"] = undefined("a fold leaves one class alone to fit on", unit="share")
        return
    fitter = fitter_of(fitting.main_name, balanced=config.balanced)
    scores = cross_fitted_scores(fitting.values[rows], label.astype(float), folds, fitter=fitter)
    right = (scores >= midpoint(fitting.main_name, config.transform)) == label
    section.estimates["cross_fitted.accuracy"] = wilson(int(right.sum()), len(right), confidence=config.confidence)
    section.methods.append(
        f"Cross-fitted accuracy: each row is judged, at 1/2, by weights fitted on the other {FOLDS - 1} of {FOLDS} folds; rows "
        "of a group share a fold."
    )
