"""The audit: who is there and who was left out, one pass through all layers, scores, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.encoder_memorization.config import EncoderMemorizationConfig
from assaymark.audits.encoder_memorization.data import INPUTS, ROLES, planting
from assaymark.audits.encoder_memorization.measures.pair import Pair, encoders_of
from assaymark.audits.encoder_memorization.measures.passing import measure
from assaymark.audits.encoder_memorization.reading import flow_of, point_ids, read_points, sets_of_split, size_notes
from assaymark.audits.encoder_memorization.sections import sections
from assaymark.audits.encoder_memorization.study import Study
from assaymark.audits.encoder_memorization.trials import method_trials
from assaymark.models.layer_patterns import matching_layers, same_architecture
from assaymark.result import Result
from assaymark.section import Section, assemble

__all__ = ["EncoderMemorization"]


class EncoderMemorization(Audit):
    """Which pictures an encoder remembers, in which layers and in which units (2401.12233, 2409.19069)."""

    info = AuditInfo(
        id="encoder-memorization",
        title="Pictures that an encoder remembers",
        question="Which training pictures does an image encoder remember, and in which of its layers and units?",
        paper="Wang et al. 2024, ICLR, arXiv 2401.12233; Wang et al. 2024, NeurIPS, arXiv 2409.19069",
        inputs=INPUTS,
        models=ROLES,
        needs=("vision",),
        cost="20 forward passes of both models for a scored picture, 10 of the encoder for one that only units are compared on",
        limits="a score compares two trainings, and another pair gives others; an encoder alone shows units, not which "
        "pictures are remembered; what is not detected may be there",
    )
    Config = EncoderMemorizationConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        images, split = inputs["images"], inputs.get("split")
        images.require("image")
        pair = encoders_of(images, None if split is None else sets_of_split(split), self.config, context)
        config, paired = pair.config, pair.reference is not None
        if paired:
            same_architecture(pair.encoder.layers, pair.reference.layers)
        layers = matching_layers(pair.encoder.layers, (*config.layers, pair.encoder.layers[-1].name))
        points = read_points(
            images, pair.split, config, context, candidates=config.candidates, others=config.points, scored=paired
        )
        measured = measure(
            images, points, layers, encoder=pair.encoder, reference=pair.reference, config=config, views=config.views,
            context=context,
        )  # fmt: skip
        study = Study(points, measured, config, context)
        return assemble(
            [*sections(study, point_ids(images, points)), Section(artifacts=list(pair.artifacts))],
            audit=self.info.id,
            title=f"{self.info.title}: {images.source}",
            flows=(flow_of(points, measured.unread),),
            notes=dict.fromkeys((*points.notes, *pair.notes, *_model_notes(pair), *size_notes(measured.sizes, pair.encoder))),
        )

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        return method_trials(seed, full=full)


def _model_notes(pair: Pair) -> list[str]:
    """Asked for after the pass: what is wrong with weights shows when they are loaded."""
    return [note for model in (pair.encoder, pair.reference) if model is not None for note in model.notes]
