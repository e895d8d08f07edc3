"""Which pictures are remembered: SSLMem of the four sets, the tests between them, and what it tells of membership."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assaymark.audits.encoder_memorization.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import bootstrap_difference, four_set_tests, mean, roc_auc
from assaymark.stats.memorization.four_sets import SETS, SetTest

__all__ = ["NAMES", "membership_section"]

NAMES = {"S": "shared", "C": "candidates", "I": "independent", "E": "external"}
TRAINED = {"S": "both", "C": "encoder only", "I": "reference only", "E": "neither"}
BINS = 40
SIGNIFICANT = 0.005


def membership_section(study: Study) -> Section:
    """SSLMem at the representation; empty, with a note, where there is one encoder only."""
    section = Section()
    if not study.paired:
        section.notes.append(
            "one encoder was given: units are compared, but which pictures are remembered takes a second training without them "
            "(--model reference=SPEC)"
        )
        return section
    level, raw = study.config.confidence, {letter: study.of_set(letter) for letter in SETS}
    section.estimates |= {f"sslmem.{NAMES[letter]}": mean(values, confidence=level) for letter, values in raw.items()}
    for name, other in (("calibrated", "E"), ("excess_over_shared", "S")):
        section.estimates[f"sslmem.{name}"] = _difference(study, raw, other)
    section.estimates["sslmem.auc"] = _auc(raw, level)
    tests = four_set_tests(study.raw[-1], study.letters, published=True, confidence=level)
    section.tables += [_sets(section, study), _tests(tests), _histogram(raw)]
    section.figures.append(
        Figure(
            "sslmem", "SSLMem by set", "lines", table="sslmem_histogram", x="sslmem", y="density", group="set",
            x_title="SSLMem of the representation, raw", y_title="density",
            caption="Right of zero the encoder aligns a picture better than the reference does.",
        )
    )  # fmt: skip
    section.findings += _findings(section, study, tests)
    section.methods.append(_method(study))
    return section


def _difference(study: Study, raw: dict[str, np.ndarray], other: str) -> Estimate:
    return bootstrap_difference(
        raw["C"], raw[other], rng=study.rng(f"C minus {other}"), resamples=study.config.resamples,
        confidence=study.config.confidence,
    )  # fmt: skip


def _auc(raw: dict[str, np.ndarray], level: float) -> Estimate:
    candidates, external = raw["C"], raw["E"]
    if not len(candidates) or not len(external):
        return undefined("there are no candidates, or no external pictures to compare them with")
    labels = np.repeat([1, 0], [len(candidates), len(external)])
    found = roc_auc(np.concatenate([candidates, external]), labels, confidence=level)
    return replace(found, unit="probability")  # a scale of its own beside distances


def _sets(section: Section, study: Study) -> Table:
    found = [section.estimates[f"sslmem.{NAMES[letter]}"] for letter in SETS]
    representation = {name: align[-1] for name, align in study.measured.align.items()}
    rows = [np.isfinite(study.raw[-1]) & (study.points.sets == number) for number in range(len(SETS))]
    scored = [int((study.points.scored & (study.points.sets == number)).sum()) for number in range(len(SETS))]
    values = {
        "set": [f"{letter}: {NAMES[letter]}" for letter in SETS],
        "trained": [TRAINED[letter] for letter in SETS],
        "points": [item.n for item in found],
        "undefined": [whole - item.n for whole, item in zip(scored, found, strict=True)],
        "align_f": [_mean(representation["encoder"][mine]) for mine in rows],
        "align_g": [_mean(representation["reference"][mine]) for mine in rows],
        **interval_values("sslmem", found),
    }
    columns = (
        Column("set", "label"),
        Column("trained", "label", "trained on by"),
        Column("points", "count", "pictures"),
        Column("undefined", "count", "without a score"),
        Column("align_f", "number", "distance, encoder"),
        Column("align_g", "number", "distance, reference"),
        *interval_columns("sslmem", "number", "SSLMem, raw"),
    )
    return Table.of(
        "sets", "SSLMem by set", values, columns,
        description="Mean distance of two views of a picture, as directions, and what the reference has more of it.",
    )  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _tests(tests: Sequence[SetTest]) -> Table:
    values = {
        "first": [item.first for item in tests],
        "second": [item.second for item in tests],
        "alternative": [item.welch.alternative for item in tests],
        "t": [_known(item.welch.statistic) for item in tests],
        "df": [_known(item.welch.df) for item in tests],
        "p_value": [_known(item.welch.p_value) for item in tests],
        "effect": [_known(item.welch.effect) for item in tests],
        **interval_values("auc", [item.auc for item in tests]),
        "reason": [item.welch.reason for item in tests],
    }
    columns = (
        Column("first", "label", "set"),
        Column("second", "label", "against"),
        Column("alternative", "label"),
        Column("t", "number", "Welch's t"),
        Column("df", "number"),
        Column("p_value", "p_value", "p"),
        Column("effect", "number", "Cohen's d"),
        *interval_columns("auc", "number", "rank AUC"),
        Column("reason", "text", "why not made"),
    )
    return Table.of(
        "set_tests", "Sets against one another", values, columns,
        description="The first four are the hypotheses of this audit; with S first, the tests of the published code.",
    )  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _histogram(raw: dict[str, np.ndarray]) -> Table:
    everything = np.concatenate(list(raw.values()))
    low, high = (float(everything.min()), float(everything.max())) if len(everything) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1e-6, BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    rows = [(NAMES[letter], np.histogram(values, edges, density=True)[0]) for letter, values in raw.items() if len(values)]
    return Table.of(
        "sslmem_histogram",
        "Distribution of SSLMem",
        {
            "set": [name for name, _ in rows for _ in centres],
            "sslmem": np.tile(centres, len(rows)),
            "density": np.concatenate([density for _, density in rows]) if rows else np.zeros(0),
        },
        (Column("set", "label"), Column("sslmem", "number", "SSLMem, raw"), Column("density", "number")),
    )


def _findings(section: Section, study: Study, tests: Sequence[SetTest]) -> list[Finding]:
    found, auc = section.estimates["sslmem.calibrated"], section.estimates["sslmem.auc"]
    against = {(item.first, item.second): item for item in reversed(tests)}
    names = ("sslmem.candidates", "sslmem.calibrated", "sslmem.auc")
    if not found.defined or not auc.defined:
        return [Finding("note", f"Nothing is known of what the encoder remembers: {found.reason or auc.reason}.", names)]
    p_value = against["C", "E"].welch.p_value
    beyond = (
        f"views of pictures that only the encoder was trained on are nearer together than under the reference by "
        f"{format_interval(found)} more than those of pictures that neither saw"
    )
    told = f"a candidate ranks above an outsider with probability {format_interval(auc)}"
    sentences = []
    if found.low is not None and found.low > 0 and auc.low is not None and auc.low > 0.5 and p_value < SIGNIFICANT:
        readable = (auc.value or 0.0) >= study.config.leak
        advice = (
            "A membership signal: treat the scores as private. Look who the most memorized are before any is removed: atypical "
            "pictures are often those of minorities."
        )
        severe = "The encoder gives its training pictures away" if readable else "The encoder remembers single pictures"
        sentences.append(Finding("warning", f"{severe}: {beyond}; {told}.", names, ("sets", "set_tests"), advice))
    else:
        sentences.append(
            Finding("note", f"No memorization of the candidates was detected: {beyond}; {told}.", names, ("sets", "set_tests"))
        )
    offset = against.get(("S", "E"))
    if offset is not None and offset.welch.p_value < SIGNIFICANT:
        sentences.append(
            Finding(
                "note",
                "Pictures that both models or neither were trained on do not score alike, so the two trainings differ by more "
                "than membership; sslmem.calibrated takes the part off that all pictures share.",
                ("sslmem.shared", "sslmem.external"),
                ("sets",),
            )
        )
    return sentences


def _method(study: Study) -> str:
    config = study.config
    drawn = "two views" if config.views == "pair" else "the clean picture and a view"
    return (
        f"SSLMem is the mean distance of {drawn} of a picture under the reference, which was not trained on it, minus that "
        f"under the encoder, over {config.n_views} draws of the augmentation {config.augmentation}, the same for both models "
        "and all layers. Outputs are flattened and scaled to length 1. Intervals over pictures, Student's t for "
        "means of sets and bootstrap for differences and layers, hold for this pair of trainings, not for others."
    )
