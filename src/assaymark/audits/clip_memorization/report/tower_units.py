"""Single pictures and captions in single units: UnitMem by layer of both towers, and beside other image encoders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import ClipMemorizationConfig
from assaymark.audits.clip_memorization.measures.tower_units import LayerUnits, TowerUnits
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, exact_count, interval_columns, interval_values
from assaymark.stats import bootstrap_difference, bootstrap_mean, wilson

__all__ = ["tower_unit_section", "without_units"]

TITLES = {"image": "image tower", "text": "text tower", "supervised": "supervised", "self_supervised": "self-supervised"}
COMPARED = {
    "unitmem.text_minus_image": ("text", "image"),
    "unitmem.image_minus_supervised": ("image", "supervised"),
    "unitmem.image_minus_self_supervised": ("image", "self_supervised"),
}
LACKING = {
    "image": "the model shows no layers of its image tower (records-activations)",
    "text": "the model shows no layers of its text tower (records-text-activations)",
    "supervised": "no supervised encoder was given (role supervised)",
    "self_supervised": "no self-supervised encoder was given (role self_supervised)",
}
Floats = npt.NDArray[np.float64]


def without_units(reason: str) -> Section:
    """Undefined comparisons, where no model can be looked into."""
    return Section(estimates={name: undefined(reason) for name in COMPARED})


def tower_unit_section(found: TowerUnits, config: ClipMemorizationConfig, context: Context) -> Section:
    """Mean UnitMem of every layer, its course over the depth, and the towers against one another."""
    section = Section(estimates={"unit_pairs": exact_count(found.pairs, method="pairs that units are compared on")})
    means = {
        f"unitmem.{tower}.{one.layer.name}": _mean(one, tower, found.pairs, config, context)
        for tower, layers in found.towers.items()
        for one in layers
    }
    section.estimates |= means
    everything = [one for layers in found.towers.values() for one in layers]
    dead, total = sum(int(one.units.dead.sum()) for one in everything), sum(len(one.units.unitmem) for one in everything)
    section.estimates["dead_units"] = wilson(dead, total if found.pairs > 1 else 0, confidence=config.confidence)
    for name, (first, second) in COMPARED.items():
        section.estimates[name] = _difference(found, first, second, config, context)
    section.tables.append(_table(found, list(means.values())))
    section.figures.append(
        Figure(
            "units", "UnitMem by depth", "lines", table="units", x="depth", y="unitmem", group="tower",
            x_title="depth: first layer 0, last 1", y_title="mean UnitMem",
            caption="0: units react to all pairs alike; 1: each to a single one.",
        )
    )  # fmt: skip
    _say(section, found)
    _note(section, found, config)
    return section


def _alive(layers: Iterable[LayerUnits]) -> Floats:
    values = [one.units.unitmem for one in layers]
    joined = np.concatenate(values) if values else np.zeros(0)
    return np.asarray(joined[np.isfinite(joined)])


def _mean(one: LayerUnits, tower: str, pairs: int, config: ClipMemorizationConfig, context: Context) -> Estimate:
    values = _alive([one])
    if not len(values):
        return undefined("no unit of the layer is alive" if pairs > 1 else "one pair cannot be compared")
    rng = context.rng(f"units {tower} {one.layer.name}")
    return bootstrap_mean(values, rng=rng, resamples=config.resamples, confidence=config.confidence)


def _shared(found: TowerUnits, first: str, second: str) -> tuple[Sequence[LayerUnits], Sequence[LayerUnits]]:
    """Layers whose kind and block the other one has too; all, where none has."""
    sides = found.towers.get(first, ()), found.towers.get(second, ())
    places = [{(one.layer.kind, one.layer.block) for one in side} for side in sides]
    both = places[0] & places[1]
    a, b = ([one for one in side if (one.layer.kind, one.layer.block) in both] for side in sides)
    return (a, b) if both else sides


def _difference(found: TowerUnits, first: str, second: str, config: ClipMemorizationConfig, context: Context) -> Estimate:
    for tower in (first, second):
        if not found.towers.get(tower):
            return undefined(LACKING[tower])
    a, b = (_alive(side) for side in _shared(found, first, second))
    if not len(a) or not len(b):
        return undefined(f"no unit of the {TITLES[second if len(a) else first]} is alive")
    rng = context.rng(f"units {first} {second}")
    return bootstrap_difference(a, b, rng=rng, resamples=config.resamples, confidence=config.confidence)


def _table(found: TowerUnits, means: Sequence[Estimate]) -> Table:
    rows = [
        (tower, place / max(len(layers) - 1, 1), one)
        for tower, layers in found.towers.items()
        for place, one in enumerate(layers)
    ]
    values: dict[str, Any] = {
        "tower": [TITLES[tower] for tower, _, _ in rows],
        "layer": [one.layer.name for _, _, one in rows],
        "kind": [one.layer.kind for _, _, one in rows],
        "block": [one.layer.block for _, _, one in rows],
        "depth": [depth for _, depth, _ in rows],
        "units": [len(one.units.unitmem) for _, _, one in rows],
        "dead": [int(one.units.dead.sum()) for _, _, one in rows],
        "undefined": [int((~np.isfinite(one.units.unitmem) & ~one.units.dead).sum()) for _, _, one in rows],
        **interval_values("unitmem", means),
        "rectified": [one.layer.rectified for _, _, one in rows],
    }
    columns = (
        Column("tower", "label"), Column("layer", "label"), Column("kind", "label"), Column("block", "count"),
        Column("depth", "number"), Column("units", "count"), Column("dead", "count"), Column("undefined", "count"),
        *interval_columns("unitmem", "number", "mean UnitMem"), Column("rectified", "flag", "never negative by itself"),
    )  # fmt: skip
    return Table.of("units", "UnitMem by layer", values, columns)


def _say(section: Section, found: TowerUnits) -> None:
    sentences = {
        "unitmem.text_minus_image": "UnitMem of the text tower minus that of the image tower is {}",
        "unitmem.image_minus_supervised": "UnitMem of the image tower minus that of the supervised encoder is {}",
        "unitmem.image_minus_self_supervised": "UnitMem of the image tower minus that of the self-supervised encoder is {}",
    }
    known = [name for name in sentences if section.estimates[name].defined]
    if known:
        told = "; ".join(sentences[name].format(format_interval(section.estimates[name])) for name in known)
        section.findings.append(
            Finding("note", f"{told}, over layers of one kind and place, on {found.pairs:,} pairs.", tuple(known), ("units",))
        )


def _note(section: Section, found: TowerUnits, config: ClipMemorizationConfig) -> None:
    everything = [one for layers in found.towers.values() for one in layers]
    lost = sum(int((~np.isfinite(one.units.unitmem) & ~one.units.dead).sum()) for one in everything)
    if lost and found.pairs > 1:
        section.notes.append(f"{lost:,} units put out numbers that are not finite, and have no UnitMem")
    if "text" in found.towers and found.views["text"] < 2:
        section.notes.append(
            f"UnitMem: captions have {found.views['text']:.2g} views on average and pictures {found.views['image']:g}; a mean "
            "over fewer views singles out more, so the text tower is not told from the image tower by it (paraphrases help)"
        )
    section.methods.append(
        f"UnitMem compares the largest activation of a unit with the mean of the others, over {found.pairs:,} pairs that the "
        f"model was trained on; of pictures each is the mean over {config.views} views, of captions over the "
        f"{found.views['text']:.2g} wordings that a pair has on average. Compare it on equally many pairs only. "
        "Intervals: bootstrap over the units."
    )
