"""Which parts a report has, in reading order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assaymark.audit import Context
from assaymark.audits.scorer_mixture.columns import plan_columns, unique_names
from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.members import member_scorer
from assaymark.audits.scorer_mixture.measures.saving import saved_section
from assaymark.audits.scorer_mixture.measures.skin_pixels import judge_pixel_rules, unusable_pixels
from assaymark.audits.scorer_mixture.probes.histograms import ProductionScores, ScoreHistograms
from assaymark.audits.scorer_mixture.reading import Rows, row_rules
from assaymark.audits.scorer_mixture.report.classes import classes_section
from assaymark.audits.scorer_mixture.report.curves import curves_section
from assaymark.audits.scorer_mixture.report.drift import drift_section
from assaymark.audits.scorer_mixture.report.errors import errors_section
from assaymark.audits.scorer_mixture.report.performance import performance_section, undefined_performance
from assaymark.audits.scorer_mixture.report.protocol import fit_section, rows_section, source_section
from assaymark.audits.scorer_mixture.report.skin import skin_pictures_section, skin_pixels_section
from assaymark.audits.scorer_mixture.report.slices import slices_section
from assaymark.audits.scorer_mixture.report.use import undefined_use, use_section
from assaymark.audits.scorer_mixture.report.weights import undefined_weights, weights_section
from assaymark.audits.scorer_mixture.study import Study
from assaymark.calibrated import packaged_calibration
from assaymark.data.scan import scan
from assaymark.errors import SchemaError
from assaymark.section import Section

__all__ = ["side_sections", "study_sections", "undefined_sections"]


def study_sections(study: Study, production: Any, models: Mapping[str, Any]) -> Iterator[Section]:
    """All that rests on fitted mixtures."""
    yield source_section(study.config.source)
    yield performance_section(study)
    yield use_section(study)
    yield slices_section(study)
    yield weights_section(study)
    yield errors_section(study)
    yield curves_section(study)
    if study.rows.baselines:
        yield skin_pictures_section(study)
    if study.rows.classes:
        yield classes_section(study.rows, study.config, rng=study.rng("classes"))
    if production is not None:
        yield drift_section(study, production_histograms(production, study, models))
    yield rows_section(study.rows)
    yield fit_section(study.fitting, study)
    yield saved_section(study)


def undefined_sections(rows: Rows, reason: str, config: ScorerMixtureConfig) -> Iterator[Section]:
    """The same names without numbers, and why."""
    yield source_section(config.source)
    yield undefined_performance(reason, _mend(rows))
    yield undefined_weights(unique_names(rows.names), reason)
    yield undefined_use(config, reason)
    yield rows_section(rows)


def _mend(rows: Rows) -> str:
    """What to do about too few rows of both kinds, by what was lost."""
    unknown = rows.flows[0].skipped.get("label that is neither", 0)
    if unknown:
        return (
            f"{unknown:,} labels are neither safe nor unsafe: say which values mean unsafe, and safe, with --set "
            "'positive=[...]' --set 'negative=[...]'."
        )
    kinds = set(rows.label.tolist())
    if len(kinds) == 1:
        what = "unsafe" if kinds == {1} else "safe"
        return f"All rows are labelled {what}: give rows of both kinds, or say with positive=[...] which labels mean unsafe."
    return "Give more labelled rows of both kinds: a hash of their content divides them into fitting and test rows."


def side_sections(inputs: Mapping[str, Any], config: ScorerMixtureConfig, context: Context) -> Iterator[Section]:
    """What needs an input of its own."""
    pixels = inputs.get("pixels")
    if pixels is not None:
        table = pixels.read()
        yield skin_pixels_section(judge_pixel_rules(table, skin=config.skin_label, seed=context.seed), config)
        lost = unusable_pixels(table)
        if lost:
            yield Section(notes=[f"{lost:,} of {table.num_rows:,} labelled pixels lack a colour or the label and are left out"])
    calibration = packaged_calibration(__package__)
    if calibration is not None:
        yield Section(tables=[calibration])


def production_histograms(production: Any, study: Study, models: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of scores by scorer in an input without labels, in one pass."""
    config, context = study.config, study.context
    plan = plan_columns(production, config, models, labelled=False)
    asked = {name: models[name] for name in plan.models}
    scorer = member_scorer(asked, plan.content, config=config, skin=False, batch_size=context.batch_size) if asked else None
    rules = row_rules(plan, config, seed=context.seed, content=plan.content, labelled=False)
    with context.progress.task("reading production", total=production.rows, unit="rows") as task:
        outcome = scan(
            plan.dataset,
            [ScoreHistograms(rules)],
            engine=context.engine,
            scorers=[scorer] if scorer is not None else [],
            checkpoint=None if context.work is None else context.work / "production",
            task=task,
            log=context.log,
        )
    found: ProductionScores = outcome.answers["histograms"]
    for name, outside in zip(rules.scorers, found.outside.tolist(), strict=True):
        if outside and name in study.fitting.names:
            raise SchemaError(
                f"input 'production': scorer {name!r} has {outside:,} values outside [0, 1]; a score is a probability, as in "
                "the labelled rows"
            )
    return dict(zip(rules.scorers, found.counts, strict=True))
