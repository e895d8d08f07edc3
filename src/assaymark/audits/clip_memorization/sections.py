"""From scores to the sections of the result, in reading order."""

from __future__ import annotations

from collections.abc import Mapping

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.encoding import Encoder
from assaymark.audits.clip_memorization.measures.halves import HalfScores
from assaymark.audits.clip_memorization.measures.recall import measure_deja_vu
from assaymark.audits.clip_memorization.measures.scoring import Scores
from assaymark.audits.clip_memorization.measures.tower_scores import tower_scores
from assaymark.audits.clip_memorization.measures.utility import Utility, measure_utility
from assaymark.audits.clip_memorization.measures.wordings import CutCaptions
from assaymark.audits.clip_memorization.method.alignment import clip_memorization
from assaymark.audits.clip_memorization.report.detection import detection_section
from assaymark.audits.clip_memorization.report.halves import half_section
from assaymark.audits.clip_memorization.report.pairs import pair_section
from assaymark.audits.clip_memorization.report.proxies import deja_vu_section, similarity_section
from assaymark.audits.clip_memorization.report.sets import set_section, term_section, without_reference
from assaymark.audits.clip_memorization.report.tower_units import tower_unit_section, without_units
from assaymark.audits.clip_memorization.report.towers import tower_section
from assaymark.audits.clip_memorization.report.utility import utility_section
from assaymark.audits.clip_memorization.study import Measured
from assaymark.calibrated import packaged_calibration
from assaymark.result import Finding
from assaymark.section import Section

__all__ = ["sections"]

PACKAGE = "assaymark.audits.clip_memorization"
LOGIT_SCALE = 100.0
"""What cosines are multiplied by in the loss where no model says: the largest that the published training allows."""


def sections(
    measured: Measured,
    encoders: Mapping[str, Encoder],
    config: ClipMemorizationConfig,
    context: Context,
    *,
    halves: HalfScores | None = None,
) -> list[Section]:
    """CLIPMem where there are two models, else proxies; what needs neither in both cases."""
    scores = measured.scores
    raw: dict[str, float] = {}
    scale = encoders["f"].logit_scale if "f" in encoders else LOGIT_SCALE
    found: list[Section] = [input_section(scores, measured.cut)]
    if "g" in scores.models:
        f, g = (scores.models[name].alignment for name in ("f", "g"))
        memory = clip_memorization(f, g, sets=scores.pool.sets, views=config.views, normalisation=config.normalisation)
        raw = dict(zip(scores.pool.ids, memory.raw.tolist(), strict=True))
        found += [set_section(scores, memory, config, context), term_section(scores, memory, config, context)]
        found.append(detection_section(scores, memory, config, context, logit_scale=scale))
        found.append(pair_section(scores, memory, config, context))
        if config.towers:
            found.append(tower_section(scores, tower_scores(scores), config, context))
        reference = "the reference"
    else:
        found += [without_reference(), similarity_section(scores, config, context)]
        found.append(detection_section(scores, None, config, context, logit_scale=scale))
        reference = "a text encoder"
    if halves is not None:
        found.append(half_section(halves, raw, config, context))
    if measured.units is not None:
        found.append(tower_unit_section(measured.units, config, context))
    elif config.units:
        found.append(without_units("no model was given that shows its layers (records-activations)"))
    found.append(
        deja_vu_section(measure_deja_vu(scores, config, context, sentences=context.model("sentences")), reference=reference)
    )
    by_model: dict[str, Utility] = {
        name: measure_utility(encoders.get(name), scores.held_out[name], scores.tests, scores.models[name], scores.pool, config)
        for name in ("f", "g")
        if name in scores.models
    }
    found += [utility_section(by_model), calibration_section()]
    return found


def input_section(scores: Scores, cut: CutCaptions | None) -> Section:
    """What was not as it should be in pictures and captions."""
    section = Section()
    if scores.sizes > 1:
        section.notes.append(f"pictures of {scores.sizes:,} sizes were resized to that of the model")
    if cut is not None and cut.cut:
        partial = (
            f" (of the {cut.tested:,} longest that were tested, out of {cut.distinct:,})" if cut.tested < cut.distinct else ""
        )
        section.findings.append(
            Finding(
                "warning",
                f"{cut.cut:,} captions are longer than the model reads{partial}: captions that differ in their end alone are "
                "equal to it.",
                advice="Shorten them, or give the part that the model was trained on.",
            )
        )
        section.notes.append(f"{cut.cut:,} captions are cut by the context of the model")
    return section


def calibration_section() -> Section:
    """The calibration that is kept beside this room."""
    table = packaged_calibration(PACKAGE)
    return Section(tables=[] if table is None else [table])
