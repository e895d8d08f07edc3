"""The skin-colour baseline that the paper argues against: as pixel rules, and as network 0 on pictures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.evaluation import BRIEF, Judged, measure, paired
from assaymark.audits.scorer_mixture.measures.skin_pixels import RuleCounts
from assaymark.audits.scorer_mixture.measures.variants import CRITERIA
from assaymark.audits.scorer_mixture.method.operating import best_threshold
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["skin_pictures_section", "skin_pixels_section"]

Floats = npt.NDArray[np.float64]


def skin_pictures_section(study: Study) -> Section:
    """Skin fraction plus largest piece as an image score, cut on the fitting rows like everything else."""
    section = Section()
    fitting, config = study.fitting, study.config
    rows = []
    for i, column in enumerate(study.rows.baselines):
        rule, scores = column.partition(":")[2], study.rows.sample.baselines[:, i]
        known = np.isfinite(scores) & fitting.fit
        label = fitting.label[known]
        if len(label) < 2 or label.all() or not label.any():
            none = undefined("too few fitting rows with a picture", unit="share")
            section.estimates |= {f"skin.{rule}.{name}": none for name in ("accuracy", "fpr")}
            continue
        threshold = best_threshold(
            scores[known],
            label,
            criterion=CRITERIA[config.threshold],
            cost_fn=config.cost_false_negative,
            cost_fp=config.cost_false_positive,
        ).threshold
        judged = _judged(rule, scores[fitting.test], threshold)
        found = measure(judged, study.label, config, rng=study.rng(column), metrics=BRIEF)
        section.estimates |= {f"skin.{rule}.{name}": found[name] for name in ("accuracy", "fpr", "auroc")}
        versus = paired(study.main, judged, study.label, config, rng=study.rng(column))
        rows.append((rule, found, versus))
    if not rows:
        return section
    values = {
        "rule": [row[0] for row in rows],
        **{k: v for m in ("accuracy", "recall", "fpr") for k, v in interval_values(m, [row[1][m] for row in rows]).items()},
        **interval_values("lead", [row[2].accuracy for row in rows]),
        "p_value": [row[2].p_value for row in rows],
    }
    columns = (
        Column("rule", "label"),
        *(c for m in ("accuracy", "recall", "fpr") for c in interval_columns(m, "share", m.replace("fpr", "FPR"))),
        *interval_columns("lead", "points", "accuracy of the mixture minus this"),
        Column("p_value", "p_value", "McNemar p"),
    )
    section.tables.append(Table.of("skin_pictures", "Skin-colour rules on the same pictures", values, columns))
    # By the ranking, not by accuracy: where unsafe images are rare, a rule that flags nothing is accurate.
    ahead = [row for row in rows if row[2].auroc.high is not None and row[2].auroc.high < 0]
    if ahead:
        section.findings.append(
            Finding(
                "warning",
                f"The skin-colour rule {ahead[0][0]} ranks these pictures better than the mixture does (AUROC of the mixture "
                f"minus its: {format_interval(ahead[0][2].auroc)}).",
                (f"skin.{ahead[0][0]}.auroc", "mixture.auroc"),
                ("skin_pictures",),
                "Something is wrong with the scorers: a rule that only counts pixels of skin colour should not win.",
            )
        )
    return section


def _judged(rule: str, scores: Floats, threshold: float) -> Judged:
    known = np.isfinite(scores)
    called = np.where(known, scores, -np.inf) >= threshold
    return Judged(rule, scores, np.clip(scores, 0.0, 1.0), called, known, threshold)


def skin_pixels_section(counts: tuple[RuleCounts, ...], config: ScorerMixtureConfig) -> Section:
    """Pixel rules on labelled pixels: fixed against learnt."""
    section = Section()
    level = config.confidence
    accuracy = [wilson(c.true_positives + c.true_negatives, c.positives + c.negatives, confidence=level) for c in counts]
    fpr = [wilson(c.negatives - c.true_negatives, c.negatives, confidence=level) for c in counts]
    recall = [wilson(c.true_positives, c.positives, confidence=level) for c in counts]
    for count, right, false in zip(counts, accuracy, fpr, strict=True):
        section.estimates |= {f"skin.pixels.{count.rule}.accuracy": right, f"skin.pixels.{count.rule}.fpr": false}
    values = {
        "rule": [count.rule for count in counts],
        **interval_values("accuracy", accuracy),
        **interval_values("recall", recall),
        **interval_values("fpr", fpr),
        "pixels": [count.positives + count.negatives for count in counts],
    }
    columns = (
        Column("rule", "label"),
        *interval_columns("accuracy", "share", "accuracy"),
        *interval_columns("recall", "share", "skin found"),
        *interval_columns("fpr", "share", "other pixels called skin"),
        Column("pixels", "count", "test pixels"),
    )
    section.tables.append(
        Table.of(
            "skin_pixels",
            "Skin-colour rules on labelled pixels",
            values,
            columns,
            description="Learnt on half of the colours, tested on the other half. Neighbouring pixels are alike, so that the "
            "intervals, made for independent ones, are too short.",
        )
    )
    return section
