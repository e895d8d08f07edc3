"""Do the scorers err together, and on which images do they disagree most?"""

from __future__ import annotations

import numpy as np

from assaymark.audits.scorer_mixture.measures.listing import item_hash
from assaymark.audits.scorer_mixture.method.diversity import Pair, error_correlation, pairwise_diversity
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Figure, Finding, Table
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["errors_section"]

SHARED_ERRORS = 0.5
"""Correlation of errors within the classes from which two scorers are named: half of their variance is common."""
MOST_NAMED = 3


def errors_section(study: Study) -> Section:
    section = Section()
    scores, label = study.scores[study.whole], study.label[study.whole]
    if len(label) >= 2 and scores.shape[1] >= 2:
        correlation = error_correlation(scores, label)
        pairs = pairwise_diversity(scores, label, confidence=study.config.confidence)
        _correlation(section, study, correlation)
        _pairs(section, study, pairs)
        _finding(section, study, correlation)
    if study.config.examples:
        _disagreements(section, study)
    section.methods.append(
        "Errors are residuals within a class, so that scorers that are all too timid do not look as if they erred together."
    )
    return section


def _correlation(section: Section, study: Study, correlation: np.ndarray) -> None:
    k = len(study.names)
    cells = [(i, j) for i in range(k) for j in range(k)]
    values = {
        "scorer": [study.names[i] for i, _ in cells],
        "other": [study.names[j] for _, j in cells],
        "correlation": [float(correlation[i, j]) if np.isfinite(correlation[i, j]) else None for i, j in cells],
    }
    columns = (
        Column("scorer", "label"),
        Column("other", "label"),
        Column("correlation", "number", "correlation of the errors"),
    )
    section.tables.append(Table.of("error_correlation", "Do the scorers err together?", values, columns))
    section.figures.append(
        Figure(
            "error_correlation", "Correlation of the scorers' errors", "heatmap", table="error_correlation", x="other",
            y="correlation", group="scorer",
            caption="Within each class. Detectors trained on the same pictures err together, and add little to one another.",
        )
    )  # fmt: skip


def _pairs(section: Section, study: Study, pairs: tuple[Pair, ...]) -> None:
    values = {
        "first": [study.names[pair.first] for pair in pairs],
        "second": [study.names[pair.second] for pair in pairs],
        **interval_values("disagreement", [pair.disagreement for pair in pairs]),
        **interval_values("double_fault", [pair.double_fault for pair in pairs]),
        **interval_values("q", [pair.q for pair in pairs]),
        **interval_values("kappa", [pair.kappa for pair in pairs]),
    }
    columns = (
        Column("first", "label"),
        Column("second", "label"),
        *interval_columns("disagreement", "share", "only one is right"),
        *interval_columns("double_fault", "share", "both are wrong"),
        *interval_columns("q", "number", "Yule's Q"),
        *interval_columns("kappa", "number", "kappa of being right"),
    )
    section.tables.append(
        Table.of(
            "diversity", "Pairs of scorers, each cut at 0.5", values, columns, description="Q is 0 for independent errors."
        )
    )


def _finding(section: Section, study: Study, correlation: np.ndarray) -> None:
    upper = [(i, j) for i in range(len(study.names)) for j in range(i)]
    shared = sorted(((correlation[i, j], j, i) for i, j in upper if correlation[i, j] > SHARED_ERRORS), reverse=True)
    if not shared:
        return
    named = "; ".join(f"{study.names[i]} and {study.names[j]} ({value:.2f})" for value, i, j in shared[:MOST_NAMED])
    more = f", and {len(shared) - MOST_NAMED} more pairs" if len(shared) > MOST_NAMED else ""
    section.findings.append(
        Finding(
            "note",
            f"Scorers that err together: {named}{more}. A second vote of that kind is hardly a second opinion.",
            tables=("error_correlation",),
            advice="Look for scorers of another origin rather than for more of these.",
        )
    )


def _disagreements(section: Section, study: Study) -> None:
    """Test rows on which the scorers spread most, named by hash."""
    scores, sample = study.scores, study.rows.sample
    spread = np.nanmax(scores, axis=1, initial=-1.0) - np.nanmin(scores, axis=1, initial=2.0) if len(scores) else np.zeros(0)
    order = np.argsort(-spread, kind="stable")[: study.config.examples]
    if not len(order):
        return
    keys = sample.key[study.fitting.test]
    values = {
        "item": [item_hash(int(keys[i]), study.context.salt) for i in order],
        "unsafe": [bool(study.label[i]) for i in order],
        "called": [bool(study.main.called[i]) if study.main.known[i] else None for i in order],
        "mixture": [float(study.main.scores[i]) if study.main.known[i] else None for i in order],
        **{
            f"score {name}": [float(scores[i, k]) if np.isfinite(scores[i, k]) else None for i in order]
            for k, name in enumerate(study.names)
        },
    }
    columns = (
        Column("item", "id", "image (hash)"),
        Column("unsafe", "flag", "labelled unsafe"),
        Column("called", "flag", "called unsafe"),
        Column("mixture", "number", "mixture score"),
        *(Column(f"score {name}", "number", name) for name in study.names),
    )
    section.tables.append(
        Table.of(
            "disagreements",
            "Images on which the scorers disagree most",
            values,
            columns,
            description="The artifact `disagreements` says where they lie in the input.",
        )
    )
