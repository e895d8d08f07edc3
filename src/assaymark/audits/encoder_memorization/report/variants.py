"""What pruning or tuning changed: memory and accuracy before and after, paired, on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assaymark.audit import Context
from assaymark.audits.encoder_memorization.config import MemorizingPartsConfig
from assaymark.audits.encoder_memorization.measures.variants import Variant
from assaymark.result import Artifact, Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import accuracy_difference, bootstrap_difference, bootstrap_mean, wilson

__all__ = ["HANDED_ON", "variant_section"]

HANDED_ON = "encoder.safetensors"
OWN, OTHER = "own", "other"
NO_OTHER = "no second set of labelled pictures was given (input other)"
NO_SCORES = "no reference was given, or there are no candidates or no external pictures"
MEASURES = ("accuracy", "other_accuracy", "sslmem", "unitmem")


def variant_section(found: Sequence[Variant], config: MemorizingPartsConfig, context: Context) -> Section:
    """`found` begins with the encoder as it is."""
    section, before = Section(), found[0]
    for variant in found:
        for measure in MEASURES:
            section.estimates[f"{measure}.{variant.name}"] = _value(variant, measure, config, context)
            if variant is not before:
                section.estimates[f"{measure}.{variant.name}.difference"] = _change(before, variant, measure, config, context)
    section.tables.append(_table(found, section))
    section.figures += [
        Figure(
            "accuracy", "Accuracy on held-out pictures", "intervals", table="variants", x="variant", y="accuracy",
            low="accuracy_low", high="accuracy_high",
        ),
        Figure(
            "unitmem", "Mean UnitMem", "intervals", table="variants", x="variant", y="unitmem", low="unitmem_low",
            high="unitmem_high",
        ),
    ]  # fmt: skip
    section.findings.append(_finding(found, section, config))
    section.artifacts += _handed_on(found, config, context)
    section.methods.append(
        "A linear head is trained on a random part of the labelled pictures, anew for every pruned encoder, and counted on the "
        "others. Differences are paired: the same held-out pictures, the same candidates and views. SSLMem is that of "
        "candidates minus that of external pictures, because a change of the encoder moves all of them. Units that are "
        "silenced have no UnitMem, and means before and after are over the units that are alive in both. What is silenced or "
        "tuned is chosen on the encoder as it is; choices at random are one draw."
    )
    return section


def _value(variant: Variant, measure: str, config: MemorizingPartsConfig, context: Context) -> Estimate:
    if measure in ("accuracy", "other_accuracy"):
        hits = variant.hits.get(OWN if measure == "accuracy" else OTHER)
        if hits is None:
            return undefined(NO_OTHER, unit="share")
        return wilson(int(hits.sum()), len(hits), confidence=config.confidence)
    rng, options = context.rng(f"{measure} {variant.name}"), _options(config)
    if measure == "unitmem":
        return bootstrap_mean(variant.unitmem[np.isfinite(variant.unitmem)], rng=rng, **options)
    if not len(variant.sslmem) or not len(variant.external):
        return undefined(NO_SCORES)
    own, external = (values[np.isfinite(values)] for values in (variant.sslmem, variant.external))
    return bootstrap_difference(own, external, rng=rng, **options)


def _options(config: MemorizingPartsConfig) -> dict[str, Any]:
    return {"resamples": config.resamples, "confidence": config.confidence}


def _change(before: Variant, after: Variant, measure: str, config: MemorizingPartsConfig, context: Context) -> Estimate:
    """After minus before, paired where items are the same in both."""
    rng, options = context.rng(f"change {measure} {after.name}"), _options(config)
    if measure in ("accuracy", "other_accuracy"):
        which = OWN if measure == "accuracy" else OTHER
        if which not in after.hits:
            return undefined(NO_OTHER, unit="percentage points")
        return accuracy_difference(after.hits[which], before.hits[which], rng=rng, **options)
    if measure == "unitmem":
        both = np.isfinite(after.unitmem) & np.isfinite(before.unitmem)
        return bootstrap_difference(after.unitmem[both], before.unitmem[both], rng=rng, paired=True, **options)
    if not len(after.sslmem) or not len(after.external):
        return undefined(NO_SCORES)
    own, external = after.sslmem - before.sslmem, after.external - before.external
    return bootstrap_difference(own[np.isfinite(own)], external[np.isfinite(external)], rng=rng, **options)


def _table(found: Sequence[Variant], section: Section) -> Table:
    values: dict[str, Any] = {"variant": [item.title for item in found], "parts": [item.parts for item in found]}
    columns = [Column("variant", "label"), Column("parts", "count", "units or modules changed")]
    titles = {
        "accuracy": "accuracy",
        "other_accuracy": "on the other set",
        "sslmem": "SSLMem beyond external",
        "unitmem": "mean UnitMem",
    }
    for measure, title in titles.items():
        kind: Any = "share" if "accuracy" in measure else "number"
        values |= interval_values(measure, [section.estimates[f"{measure}.{item.name}"] for item in found])
        columns += interval_columns(measure, kind, title)
    for measure in ("accuracy", "sslmem"):
        name, kind = f"{measure}_change", "points" if measure == "accuracy" else "number"
        changes = [section.estimates.get(f"{measure}.{item.name}.difference", undefined("the start")) for item in found]
        values |= interval_values(name, changes)
        columns += interval_columns(name, kind, f"change of {titles[measure]}")
    return Table.of("variants", "Before and after", values, columns)


def _finding(found: Sequence[Variant], section: Section, config: MemorizingPartsConfig) -> Finding:
    if config.method == "prune":
        share = f"{round(100 * max(config.shares))}"
        names = [f"{choice}_{share}" for choice in ("highest", "lowest", "random")]
        told = "; ".join(
            f"{name.partition('_')[0]} UnitMem {format_interval(section.estimates[f'accuracy.{name}.difference'])}"
            for name in names
        )
        sentence = f"Silencing {share} % of the units changes the accuracy by: {told}."
    else:
        names = ["most", "last"]
        most, last = (format_interval(section.estimates[f"accuracy.{name}"]) for name in names)
        sentence = f"Tuning the most memorizing layers gives an accuracy of {most}, tuning the last ones {last}."
    advice = "Look at who is classified worse before any of these is used: what is remembered is often what is rare."
    return Finding("note", sentence, tuple(f"accuracy.{name}" for name in names), ("variants",), advice)


def _handed_on(found: Sequence[Variant], config: MemorizingPartsConfig, context: Context) -> list[Artifact]:
    """The encoder without its most memorizing units, or with its most memorizing layers tuned, where its layout is known."""
    chosen = f"highest_{round(100 * max(config.shares))}" if config.method == "prune" else "most"
    variant = next(item for item in found if item.name == chosen)
    if context.artifacts is None or not hasattr(variant.encoder.module, "layout"):
        return []
    from assaymark.models.trained_encoder import save_encoder

    scale, shift = variant.encoder.normalisation
    facts = {"changed": config.method, "variant": variant.name, "from": variant.encoder.spec.rpartition("/")[2]}
    save_encoder(context.artifacts / HANDED_ON, variant.encoder.module, mean=-shift / scale, std=1 / scale, facts=facts)
    return [Artifact("encoder", "model", HANDED_ON, f"the encoder, {variant.title}")]
