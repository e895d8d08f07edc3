"""The audit: read the pairs, choose, score them under both models over common views, and say what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assaymark.audit import Audit, AuditInfo, Context, Planting, Trial
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.data import INPUTS, ROLES, planting
from assaymark.audits.clip_memorization.measures.halves import score_by_halves
from assaymark.audits.clip_memorization.sections import sections
from assaymark.audits.clip_memorization.study import (
    choose_pairs,
    given_encoders,
    measure,
    model_notes,
    read_material,
    trained_here,
)
from assaymark.audits.clip_memorization.training import trainable
from assaymark.audits.clip_memorization.trials import method_trials
from assaymark.result import Result
from assaymark.section import Section, assemble

__all__ = ["ClipMemorization"]


class ClipMemorization(Audit):
    """CLIPMem and what surrounds it (see the README of this room)."""

    info = AuditInfo(
        id="clip-memorization",
        title="Memorization in image-text models",
        question="Which picture-caption pairs has a CLIP-like model stored one by one, and in which tower?",
        paper="Wang, Dziedzic, Kim, Backes, Boenisch. Captured by Captions: On Memorization and its Mitigation in CLIP Models. "
        "ICLR 2025, arXiv 2502.07830",
        inputs=INPUTS,
        models=ROLES,
        cost="K (10) forward passes of both towers a pair and model, K of the model for a pair that units are compared on; "
        "10^6 pairs on ViT-B/32: about an hour of one GPU a model; subsampled=8 trains eight models",
        limits="CLIPMem compares two trainings: it says nothing of a model without its reference; one pair of trainings holds "
        "their randomness, which no interval here covers; a score is a sign of membership, no proof",
    )
    Config = ClipMemorizationConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: ClipMemorizationConfig = self.config
        material = read_material(inputs, config, context)
        encoders = given_encoders(context)
        trained: list[Section] = []
        prepared = None
        if not encoders and inputs.get("embeddings") is None and len(material.pool):
            material, encoders, trained, config, prepared = trained_here(material, config, context)
        chosen = choose_pairs(material, config, seed=context.seed)
        measured = measure(chosen, encoders, inputs, config, context)
        halves = None
        if config.subsampled:
            halves = score_by_halves(prepared or trainable(material.pool, config, context), *chosen, config, context)
        read = [part for part in material if part is not None]
        return assemble(
            [*trained, *sections(measured, encoders, config, context, halves=halves)],
            audit=self.info.id,
            title=f"{self.info.title}: {inputs['pairs'].source}",
            flows=(*(part.flow for part in read), measured.scores.flow),
            notes=dict.fromkeys((*(note for part in read for note in part.notes), *model_notes(encoders, context))),
        )

    @classmethod
    def planted(cls, seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
        return planting(seed, folder, null=null, full=full)

    @classmethod
    def experiments(cls, seed: int, *, full: bool = False) -> Sequence[Trial]:
        return method_trials(seed, full=full)
