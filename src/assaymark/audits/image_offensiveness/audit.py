"""The audit: choose the prompts, read once, measure what needs a model or people, and put the sections together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.image_offensiveness.columns import content_of
from assaymark.audits.image_offensiveness.config import ImageOffensivenessConfig
from assaymark.audits.image_offensiveness.data import INPUTS, ROLES
from assaymark.audits.image_offensiveness.planting import planting
from assaymark.audits.image_offensiveness.reading import read_images
from assaymark.audits.image_offensiveness.sections import (
    calibration_section,
    choose_prompts,
    datasheet_section,
    flag_sections,
    rating_sections,
)
from assaymark.audits.image_offensiveness.trials import method_trials
from assaymark.result import Result
from assaymark.section import assemble

__all__ = ["ImageOffensiveness"]


class ImageOffensiveness(Audit):
    """Question 16 of a datasheet, by prompts that were tuned on human ratings (see the README of this room)."""

    info = AuditInfo(
        id="image-offensiveness",
        title="Offensive images",
        question="Which images show what people would find offensive, insulting, threatening or frightening - and what is it?",
        paper="Schramowski, Tauchmann, Kersting, FAccT 2022, arXiv 2202.06675; Schramowski, Kersting 2021, arXiv 2110.04222",
        inputs=INPUTS,
        models=ROLES,
        cost="one pass; stored embeddings: about 10^5 rows a second and core, pictures: the time of their encoder",
        limits="scores follow the people who rated, at their time and place; hardly any sexual content is found; a flag "
        "means ask a person, never delete, and is no judgement of anybody in a picture",
    )
    Config = ImageOffensivenessConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: ImageOffensivenessConfig = self.config
        images = inputs["images"]
        content_of(images, context.model("encoder"), name="images")
        chosen = choose_prompts(inputs, config, context)
        read = read_images(images, chosen.prompts, config, context)
        sections = flag_sections(read, chosen, inputs, config, context)
        sections += rating_sections(sections, chosen, config, context)
        rated = () if chosen.rated is None else (chosen.rated.flow,)
        return assemble(
            [*sections, datasheet_section(sections, read, chosen, config, context), calibration_section()],
            audit=self.info.id,
            title=f"{self.info.title}: {images.source}",
            flows=(*read.flows, *rated),
            notes=dict.fromkeys((*images.notes, *read.dataset.notes, *read.notes)),
        )

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        return method_trials(seed)
