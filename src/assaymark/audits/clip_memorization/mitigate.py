"""The cures: trainings that remember less, each against the plain one, with what they cost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assaymark.audit import AuditInfo, Context, Mitigation
from assaymark.audits.clip_memorization.config import MitigationConfig
from assaymark.audits.clip_memorization.data import CURE_INPUTS
from assaymark.audits.clip_memorization.measures.retraining import Sweep, sweep
from assaymark.audits.clip_memorization.report.mitigation import chosen_condition, mitigation_section
from assaymark.audits.clip_memorization.study import read_material
from assaymark.audits.clip_memorization.training import Trainable, trainable
from assaymark.errors import InputError
from assaymark.result import Artifact, Flow, Result
from assaymark.section import Section, assemble

__all__ = ["ForgetfulTraining"]


class ForgetfulTraining(Mitigation):
    """Trains pairs of models plainly and under each recipe, and shows memorization beside utility."""

    info = AuditInfo(
        id="clip-memorization",
        title="Trainings of image-text models that remember less",
        question="Which training remembers less of single pairs without being worse for it: several captions, noise on texts, "
        "removal of what is remembered most?",
        paper="Wang, Dziedzic, Kim, Backes, Boenisch. Captured by Captions: On Memorization and its Mitigation in CLIP Models. "
        "ICLR 2025, arXiv 2502.07830",
        inputs=CURE_INPUTS,
        needs=("vision",),
        cost="two trainings a recipe and seed: half a minute each for 600 pictures of 32 pixels on one core",
        limits="what helps small towers on some thousand pairs need not help large ones, noise least of all; "
        "removing what is remembered may remove what is rare: look at the groups first",
    )
    Config = MitigationConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: MitigationConfig = self.config
        material = read_material(inputs, config, context)
        prepared = trainable(material.pool, config, context)
        lacking = _without_captions(prepared, config)
        if context.work is not None:
            section, found = _compared(prepared, material.tests, config, context, context.work / "trainings")
        else:
            with TemporaryDirectory(prefix="assaymark-trainings-") as folder:
                section, found = _compared(prepared, material.tests, config, context, Path(folder))
        read = Flow(
            "pairs that are trained on", len(material.pool), len(prepared.pool), unit="pairs",
            failed={"no picture that can be read": prepared.unreadable} if prepared.unreadable else {},
        )  # fmt: skip
        tests = () if material.tests is None else (material.tests.flow,)
        return assemble(
            [section],
            audit=self.info.id,
            title=f"{self.info.title}: {inputs['pairs'].source}",
            flows=(material.pool.flow, *tests, read, found.scores.flow),
            notes=dict.fromkeys((*material.pool.notes, *lacking)),
        )


def _without_captions(prepared: Trainable, config: MitigationConfig) -> list[str]:
    """What is said where several captions a picture are asked for, and every picture has one.

    Raises
    ------
    InputError
        Nothing else is asked for.
    """
    wanted = [recipe for recipe in config.recipes if recipe in ("captions", "captions+images")]
    if not wanted or any(len(own) > 1 for own in prepared.pool.captions):
        return []
    if len(wanted) == len(config.recipes):
        raise InputError(
            f"input 'pairs': recipes={','.join(wanted)} draw among the captions of a picture, and every picture has one: give "
            "several (a list, or a row for each), or choose other recipes"
        )
    return [f"recipe {recipe} was left out: every picture has one caption, and it draws among several" for recipe in wanted]


def _compared(prepared: Any, tests: Any, config: MitigationConfig, context: Context, folder: Path) -> tuple[Section, Sweep]:
    found = sweep(prepared, tests, config, context, folder)
    section = mitigation_section(found, config, context)
    if context.artifacts is not None:
        name = chosen_condition(section, found, config)
        shutil.copytree(found.folders[name], context.artifacts / "recommended", dirs_exist_ok=True)
        section.artifacts.append(Artifact("recommended", "model", "recommended", f"the audited model of the training '{name}'"))
    return section, found
