"""The audit: read once, fit every way of combining, judge it on rows that nothing was fitted to, and say what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.scorer_mixture.columns import Plan, plan_columns
from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.data import INPUTS, ROLES, planting
from assaymark.audits.scorer_mixture.measures.fitting import Unfit, fit_mixtures
from assaymark.audits.scorer_mixture.measures.trained import Trained, train_scorers
from assaymark.audits.scorer_mixture.reading import Rows, read_rows
from assaymark.audits.scorer_mixture.sections import side_sections, study_sections, undefined_sections
from assaymark.audits.scorer_mixture.study import Study
from assaymark.audits.scorer_mixture.trials import method_trials, texture_trials
from assaymark.result import Result
from assaymark.section import Section, assemble

__all__ = ["ScorerMixture"]


class ScorerMixture(Audit):
    """Mixture of scorers with weights by least squares (1612.09506), and what each scorer is worth in it."""

    info = AuditInfo(
        id="scorer-mixture",
        title="Mixture of scorers",
        question="Is an image unsafe, decided more reliably by several scorers together than by any one, and what does each "
        "add?",
        paper="Al-Shabi, Connie, Teoh 2016, arXiv 1612.09506",
        inputs=INPUTS,
        models=ROLES,
        cost="one pass; a score table of 10^6 rows takes a minute on one core and 1 GB, pictures the time of their scorers",
        limits="weights and threshold hold for images like the labelled ones; scorers trained on the same pictures err "
        "together",
    )
    Config = ScorerMixtureConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: ScorerMixtureConfig = self.config
        models = context.models_of("scorer")
        plan = plan_columns(inputs["scores"], config, models)
        trained = self._rows(plan, models, context)
        sections = [*self._sections(trained, plan, models, inputs, context), *side_sections(inputs, config, context)]
        return assemble(
            sections,
            audit=self.info.id,
            title=f"{self.info.title}: {plan.dataset.source}",
            flows=trained.rows.flows,
            notes=dict.fromkeys((*plan.dataset.notes, *plan.notes, *trained.rows.notes, *trained.notes)),
        )

    def _rows(self, plan: Plan, models: Mapping[str, Any], context: Context) -> Trained:
        """The labelled rows, and networks trained on their pictures where the settings ask for them."""
        rows = read_rows(plan, self.config, context, models)
        specs = {name: models[name].spec for name in plan.models}
        if not self.config.zoo:
            return Trained(rows, specs, ())
        # Their files are copied beside the mixture when it is saved; those here go with the work folder.
        folder = None if context.work is None else context.work / "networks"
        trained = train_scorers(rows, plan.dataset, self.config, context, folder=folder)
        return trained._replace(specs={**specs, **trained.specs})

    def _sections(
        self, trained: Trained, plan: Plan, models: Mapping[str, Any], inputs: Mapping[str, Any], context: Context
    ) -> Iterator[Section]:
        rows: Rows = trained.rows
        fitting = fit_mixtures(rows, self.config, context, trained.specs)
        if isinstance(fitting, Unfit):
            yield from undefined_sections(rows, fitting.reason, self.config)
            return
        study = Study(rows, fitting, plan.dataset.fingerprint, self.config, context)
        yield from study_sections(study, inputs.get("production"), models)

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        if not full:
            return method_trials(seed)
        from assaymark.audits.scorer_mixture.measures.textures import texture_scores

        return [*method_trials(seed), *texture_trials(texture_scores(seed))]
