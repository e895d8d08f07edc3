"""How well CLIPMem finds captions that are known to be wrong, beside what needs no memorization at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.scoring import Scores
from assaymark.audits.clip_memorization.method.alignment import ClipMem
from assaymark.audits.clip_memorization.method.detection import Detection, contrastive_losses, detections
from assaymark.result import Column, Figure, Finding, Table, format_interval, format_number
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import bootstrap_difference, roc_curve

__all__ = ["TITLES", "detection_section", "suspicion"]

TITLES = {
    "clipmem": "CLIPMem",
    "similarity_f": "low similarity, the model",
    "similarity_g": "low similarity, the reference",
    "similarity_independent": "low similarity, an independent model",
    "loss_f": "loss of the model",
    "random": "chance",
}
POINTS = 60


def suspicion(
    scores: Scores, found: ClipMem | None, rows: Any, *, logit_scale: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Scores of all detectors on some pairs, larger = more suspicious."""
    f = scores.models["f"]
    columns = {} if found is None else {"clipmem": found.raw[rows]}
    names = {"f": "similarity_f", "g": "similarity_g", "independent": "similarity_independent"}
    columns |= {title: -scores.models[name].pair[rows] for name, title in names.items() if name in scores.models}
    known = np.isfinite(f.pair[rows])
    loss = np.full(len(rows), np.nan)
    loss[known] = contrastive_losses(f.first_image[rows][known], f.first_text[rows][known], logit_scale=logit_scale)
    return {**columns, "loss_f": loss, "random": rng.random(len(rows))}


def detection_section(
    scores: Scores, found: ClipMem | None, config: ClipMemorizationConfig, context: Context, *, logit_scale: float
) -> Section:
    """Area, recall in the top, and the curve of each detector on the candidates; nothing where no caption is known wrong."""
    section = Section()
    wrong = scores.pool.wrong
    rows = np.flatnonzero(scores.pool.sets == "C") if found is not None else np.arange(len(scores.pool))
    if wrong is None or not wrong[rows].any() or wrong[rows].all():
        if wrong is not None:
            section.notes.append("no candidate's caption is known to be wrong (or all are): detectors are not compared")
        return section
    flags = wrong[rows]
    columns = suspicion(scores, found, rows, logit_scale=logit_scale, rng=context.rng("random detector"))
    judged = detections(columns, flags, depth=config.depth or None, confidence=config.confidence)
    for one in judged:
        section.estimates[f"wrong_captions.auc.{one.detector}"] = replace(one.auc, unit="probability")
        section.estimates[f"wrong_captions.recall.{one.detector}"] = one.recall
    section.tables += [_table(judged, int(flags.sum()), len(flags)), _curves(columns, flags)]
    section.figures.append(
        Figure(
            "wrong_caption_curves",
            "Finding wrong captions",
            "lines",
            table="wrong_caption_curves",
            x="false_positives",
            y="true_positives",
            group="detector",
            x_title="right captions called wrong",
            y_title="wrong captions found",
        )
    )
    if found is not None:
        _means(section, found, rows, flags, config, context)
        _say(section, judged, int(flags.sum()), len(flags))
    return section


def _table(judged: Sequence[Detection], wrong: int, total: int) -> Table:
    values: dict[str, Any] = {
        "detector": [TITLES[one.detector] for one in judged],
        **interval_values("auc", (one.auc for one in judged)),
        **interval_values("against", (one.against for one in judged)),
        **interval_values("recall", (one.recall for one in judged)),
        "depth": [one.depth for one in judged],
    }
    columns = (
        Column("detector", "label"), *interval_columns("auc", "number", "AUC"),
        *interval_columns("against", "number", "AUC minus that of the first"),
        *interval_columns("recall", "share", "wrong ones among the highest"), Column("depth", "count", "looked at"),
    )  # fmt: skip
    note = f"{wrong:,} of {total:,} candidates have a caption that is known to be wrong."
    return Table.of("wrong_captions", "Finding wrong captions", values, columns, description=note)


def _curves(columns: dict[str, Any], flags: Any) -> Table:
    rows: dict[str, list[Any]] = {"detector": [], "false_positives": [], "true_positives": []}
    for name, values in columns.items():
        known = np.isfinite(values)
        curve = roc_curve(values[known], flags[known])
        x, y = np.asarray(curve.fpr), np.asarray(curve.tpr)
        at = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
        rows["detector"] += [TITLES[name]] * len(at)
        rows["false_positives"] += x[at].tolist()
        rows["true_positives"] += y[at].tolist()
    kinds = (
        Column("detector", "label"), Column("false_positives", "number", "right captions called wrong"),
        Column("true_positives", "number", "wrong captions found"),
    )  # fmt: skip
    return Table.of("wrong_caption_curves", "Curves of the detectors of wrong captions", rows, kinds)


def _means(section: Section, found: ClipMem, rows: Any, flags: Any, config: ClipMemorizationConfig, context: Context) -> None:
    raw = found.raw[rows]
    known = np.isfinite(raw)
    section.estimates["wrong_captions.gap"] = bootstrap_difference(
        raw[known & flags], raw[known & ~flags], rng=context.rng("wrong captions"), resamples=config.resamples,
        confidence=config.confidence,
    )  # fmt: skip


def _say(section: Section, judged: Sequence[Detection], wrong: int, total: int) -> None:
    by_name = {one.detector: one for one in judged}
    own, held_out = by_name["clipmem"], by_name.get("similarity_g")
    if own.auc.value is None:
        return
    sentence = f"CLIPMem ranks wrong captions above right ones with probability {format_interval(own.auc)}"
    sentence += f"; {format_interval(own.recall)} of the {wrong:,} are among the {own.depth:,} highest of {total:,}."
    advice = ""
    if held_out is not None and held_out.against.low is not None and held_out.against.low > 0:
        sentence += (
            f" Low similarity under the reference, which never saw the pairs, does it better "
            f"({format_number(held_out.auc.value or 0.0, 'number')})."
        )
        advice = "Look for wrong captions by the similarity under a model that never saw them; CLIPMem says what is stored."
    section.findings.append(
        Finding(
            "note",
            sentence,
            ("wrong_captions.auc.clipmem", "wrong_captions.recall.clipmem", "wrong_captions.gap"),
            ("wrong_captions",),
            advice,
        )
    )
