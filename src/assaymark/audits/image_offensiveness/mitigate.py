"""The cure for zero-shot prompts: tune them on rated images, and show on the same held-out images what that bought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assaymark.audit import AuditInfo, Context, Mitigation
from assaymark.audits.image_offensiveness.config import PromptTuningConfig
from assaymark.audits.image_offensiveness.data import CURE_INPUTS, CURE_ROLES
from assaymark.audits.image_offensiveness.measures.cross_tuning import ErrorCounts
from assaymark.audits.image_offensiveness.measures.evaluation import evaluate
from assaymark.audits.image_offensiveness.measures.prompts import prompts_of_file, save_prompts, start_of_tuning, tuned_prompts
from assaymark.audits.image_offensiveness.measures.rated import read_rated, too_few_ratings
from assaymark.audits.image_offensiveness.report.evaluation import evaluation_section
from assaymark.audits.image_offensiveness.report.prompts import prompt_section
from assaymark.audits.image_offensiveness.report.tuned import tuning_section
from assaymark.errors import InputError
from assaymark.models.prompt_files import PromptSet
from assaymark.models.spec import absolute_spec
from assaymark.result import Result
from assaymark.section import Section, assemble

__all__ = ["PromptTuning"]


class PromptTuning(Mitigation):
    """Tunes two prompt vectors in embedding space (2 d numbers; the encoder stays as it is)."""

    info = AuditInfo(
        id="image-offensiveness",
        title="Prompts for offensive images, tuned",
        question="What does tuning the prompts on rated images buy over the words that they start from, and how many "
        "labels does it take?",
        paper="Schramowski, Kersting 2021, arXiv 2110.04222; Schramowski, Tauchmann, Kersting, FAccT 2022, arXiv 2202.06675",
        inputs=CURE_INPUTS,
        models=CURE_ROLES,
        cost="seconds for the tuning of 1,500 images; pictures cost the time of their encoder",
        limits="prompts learn the judgement of those who rated, and belong to one encoder; sexual content needs another "
        "detector",
    )
    Config = PromptTuningConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: PromptTuningConfig = self.config
        encoder, ratings = context.model("encoder"), inputs["ratings"]
        given, notes = (
            (None, ()) if config.prompts is None else prompts_of_file(config.prompts, config.prompts_key, config, encoder)
        )
        rated = read_rated(ratings, encoder, config, context, dimension=None if given is None else given.dimension)
        if not rated.trainable:
            raise InputError(f"input 'ratings': {too_few_ratings(rated, config)}")
        start = start_of_tuning(config, encoder, rated, given=given, rng=context.rng("start"))
        tuned = tuned_prompts(rated, start, config, encoder, source=str(ratings.fingerprint), rng=context.rng("tuning"))
        found = evaluate(rated, tuned, start, config, context, fitted=True, encoder=encoder)
        tuned = replace(tuned, training={**tuned.training, **_measured(found.errors, config.threshold)})
        if encoder is None:
            notes = (
                *notes,
                "no encoder was given, so the prompts do not say which one they belong to: give it with --model encoder=SPEC",
            )
        before = None if found.held is None or not start.decides else found.before
        sections = [
            tuning_section(found.held, before, rated, start, tuned, config, rng=context.rng("paired")),
            prompt_section(tuned, "ratings", config, notes),
            evaluation_section(found, rated, config),
            Section(artifacts=save_prompts(_from_anywhere(tuned, encoder, context), context.artifacts)),
        ]
        return assemble(
            sections, audit=self.info.id, title=f"{self.info.title}: {ratings.source}", flows=(rated.flow,), notes=ratings.notes
        )


def _from_anywhere(tuned: PromptSet, encoder: Any, context: Context) -> PromptSet:
    """The prompts with a spec by which their encoder is found from the folder of whoever opens them."""
    return tuned if encoder is None else replace(tuned, encoder_source=absolute_spec(encoder.spec, base=context.base))


def _measured(errors: ErrorCounts | None, threshold: float) -> dict[str, Any]:
    """What the prompts get wrong at their threshold, on images that did not tune them: travels with the file."""
    if errors is None:
        return {}
    return {
        "sensitivity": list(errors.sensitivity),
        "specificity": list(errors.specificity),
        "measured_at": threshold,
        "measured_on": "held-out folds of the ratings",
    }
