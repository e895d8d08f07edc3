"""The audit: measure the detectors, choose one, read the posts once with it, and say what it found and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.generated_text_prevalence.config import GeneratedTextPrevalenceConfig
from assaymark.audits.generated_text_prevalence.data import INPUTS, ROLES, planting
from assaymark.audits.generated_text_prevalence.preparing import fit, prepare, read_annotated
from assaymark.audits.generated_text_prevalence.reading import read_posts
from assaymark.audits.generated_text_prevalence.scoring import rewriting
from assaymark.audits.generated_text_prevalence.sections import sections
from assaymark.audits.generated_text_prevalence.study import Study
from assaymark.audits.generated_text_prevalence.trials import method_trials
from assaymark.result import Result
from assaymark.section import assemble

__all__ = ["GeneratedTextPrevalence"]


class GeneratedTextPrevalence(Audit):
    """Share of machine-written posts over time, with the detector's own error in every interval (2412.18148)."""

    info = AuditInfo(
        id="generated-text-prevalence",
        title="Machine-written posts",
        question="How much of a stream of posts is machine-written, since when, and how do those posts differ from the others?",
        paper="Sun et al. 2025, ACL; arXiv 2412.18148",
        inputs=INPUTS,
        models=ROLES,
        cost="one pass; 10^6 posts with precomputed scores take seconds, else the time of the detector's model; estimates rest "
        "on counts by bin, whatever the number of posts",
        limits="a share of the stream, never a verdict on a post or a person; it is as true as the labelled texts are like the "
        "stream",
    )
    Config = GeneratedTextPrevalenceConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: GeneratedTextPrevalenceConfig = self.config
        how = rewriting(config, context.model("span_filler"), context.seed)
        prepared = prepare(inputs, config, context)
        fitted = fit(prepared, config, context, rewriting=how)
        annotated = None
        if "annotated" in inputs and fitted.counter is not None:  # before the posts: a mistake in a small file is found early
            annotated = read_annotated(inputs["annotated"], fitted.counter, prepared.family, config, context, rewriting=how)
        stream = read_posts(inputs["posts"], fitted, prepared, config, context, rewriting=how)
        study = Study(config, context, stream, prepared, fitted, annotated)
        return assemble(
            sections(study),
            audit=self.info.id,
            title=f"{self.info.title}: {stream.source}",
            flows=(*stream.flows, *prepared.flows, *(() if annotated is None else (annotated.flow,))),
            notes=dict.fromkeys((*stream.notes, *prepared.family.notes, *prepared.notes)),
        )

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        return method_trials(seed, full=full)
