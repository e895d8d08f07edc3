"""The audit: read once, measure what needs a model, estimate, and put the sections together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.image_text_dataset.config import ImageTextDatasetConfig
from assaymark.audits.image_text_dataset.data import INPUTS, ROLES, planting
from assaymark.audits.image_text_dataset.image_scores import with_decision
from assaymark.audits.image_text_dataset.measures.subjects import find_subjects
from assaymark.audits.image_text_dataset.reading import (
    Choice,
    build_vocabulary,
    check_probes,
    choose_probes,
    read_pairs,
)
from assaymark.audits.image_text_dataset.sections import calibration, datasheet, side_sections, table_sections
from assaymark.audits.image_text_dataset.trials import method_trials
from assaymark.data.scan import ScanOutcome
from assaymark.result import Result
from assaymark.section import assemble

__all__ = ["ImageTextDataset"]


class ImageTextDataset(Audit):
    """Audit of an image-text data set (2110.01963 and follow-ups). One pass over the rows, whatever the number of probes."""

    info = AuditInfo(
        id="image-text-dataset",
        title="Image-text data set",
        question="What harmful, mislabelled or unconsented content does the data set hold, whom does it hit, and do its own "
        "safety devices work?",
        paper="Birhane, Prabhu, Kahembwe 2021, arXiv 2110.01963; 2306.13141; 2311.03449; 2405.04623",
        inputs=INPUTS,
        models=ROLES,
        cost="one pass: about 10^5 rows a second and core for all text probes; a text model adds its own time for 100,000 rows "
        "of each shard",
        limits="lexicon, token and model flags are weak labels; rates describe the data set, not the people named in it",
    )
    Config = ImageTextDatasetConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config, decided = with_decision(self.config, context.model("image_unsafe"))
        check_probes(config)
        pairs = inputs["pairs"]
        if not ({"text", "url", "image"} & set(pairs.mapping)):
            pairs.require("text")
        plan = find_subjects(config, inputs.get("removed"))
        words = build_vocabulary(config)
        evidence = None if plan.removed is None else plan.removed.evidence()
        choice = choose_probes(pairs, words, plan.wanted, plan.queries, config, context, removed=evidence)
        read = read_pairs(pairs, choice, config, context, name="pairs")
        baseline = self._baseline(inputs.get("baseline"), choice, context)
        sections = [
            *table_sections(read, baseline, pairs, inputs, words, config, context),
            *side_sections(read, inputs, pairs, words, plan, config, context),
        ]
        return assemble(
            [*sections, datasheet(sections, context), calibration()],
            audit=self.info.id,
            title=f"{self.info.title}: {pairs.source}",
            flows=read.flows if baseline is None else (*read.flows, *baseline.flows),
            notes=dict.fromkeys((*pairs.notes, *read.notes, *choice.notes, *decided)),
        )

    def _baseline(self, baseline: Any, choice: Choice, context: Context) -> ScanOutcome | None:
        """The second data set is read for its hate content alone."""
        kept = tuple(probe for probe in choice.probes if probe.name == "hate_content")
        if baseline is None or not kept:
            return None
        scorers = tuple(scorer for scorer in choice.scorers if scorer.name == "text_toxicity")
        return read_pairs(baseline, Choice(kept, scorers, ()), self.config, context, name="baseline")

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        return method_trials(seed)
