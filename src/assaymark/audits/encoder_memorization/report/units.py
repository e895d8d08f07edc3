"""In which units: UnitMem and ClassMem by layer, the units with the highest, the pictures that own units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from assaymark.audits.encoder_memorization.method.owners import owner_tests, units_owned
from assaymark.audits.encoder_memorization.study import LayerUnits, Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, exact_count, interval_columns, interval_values
from assaymark.stats import bootstrap_difference, bootstrap_mean, mean, wilson
from assaymark.stats.memorization.four_sets import SETS

__all__ = ["owner_section", "unit_section"]

Floats = npt.NDArray[np.float64]

BINS = 20
DRAWN = 7
"""Layers in a figure that has a curve or a mark for each: as many as can be told apart."""
SCATTERED = 60
"""Units of each layer in the scatter plot of ClassMem against UnitMem."""


def unit_section(study: Study, ids: Sequence[str]) -> Section:
    section, level = Section(), study.config.confidence
    units = study.units
    count = units[0].points if units else 0
    section.estimates["unit_points"] = exact_count(count, method="pictures that units are compared on")
    means = {layer.name: undefined("there are no pictures to compare") for layer in study.layers}
    means |= {found.layer.name: _mean(study, found) for found in units}
    section.estimates |= {f"unitmem.{name}": value for name, value in means.items()}
    alive = sum(int(np.isfinite(found.units.unitmem).sum()) for found in units)
    dead = sum(int(found.units.dead.sum()) for found in units)
    total = sum(len(found.units.unitmem) for found in units) if count > 1 else 0
    section.estimates["dead_units"] = wilson(dead, total, confidence=level)
    section.estimates["unitmem.share_above_classmem"] = _above(units, level)
    section.tables += [_layer_table(units, means, level), _unit_table(study, ids), _histogram(units), _scatter(study)]
    section.figures += [
        Figure(
            "unitmem_layers", "UnitMem by depth", "intervals", table="unit_layers", x="layer", y="unitmem", low="unitmem_low",
            high="unitmem_high", y_title="mean UnitMem",
        ),
        Figure(
            "unitmem", "UnitMem of the units of each layer", "lines", table="unit_histogram", x="unitmem", y="units",
            group="layer", x_title="UnitMem", y_title="units", caption="0 reacts to all pictures alike, 1 to one picture only.",
        ),
        Figure(
            "class_units", "Classes or single pictures?", "points", table="class_units", x="classmem", y="unitmem",
            group="layer", x_title="ClassMem", y_title="UnitMem",
            caption="Above the diagonal a unit singles out one picture more than one class.",
        ),
    ]  # fmt: skip
    section.findings += _findings(section, total, alive, dead)
    section.notes += _notes(study, total - alive - dead)
    section.methods.append(_method(study, count))
    return section


def _mean(study: Study, found: LayerUnits) -> Estimate:
    values = found.units.unitmem[np.isfinite(found.units.unitmem)]
    if not len(values):
        return undefined("no unit of the layer is alive" if found.points > 1 else "one picture cannot be compared")
    rng, config = study.rng(f"units {found.layer.name}"), study.config
    return bootstrap_mean(values, rng=rng, resamples=config.resamples, confidence=config.confidence)


def _above(units: Sequence[LayerUnits], level: float) -> Estimate:
    """Share of units that single out a picture more than a class."""
    above = both = 0
    for found in units:
        if found.classes is not None:
            known = np.isfinite(found.units.unitmem) & np.isfinite(found.classes.classmem)
            both += int(known.sum())
            above += int((found.units.unitmem > found.classes.classmem)[known].sum())
    if not both:
        return undefined("there are no two classes to compare units on (column label)", unit="share")
    return wilson(above, both, confidence=level)


def _layer_table(units: Sequence[LayerUnits], means: dict[str, Estimate], level: float) -> Table:
    above = [_above([found], level) for found in units]
    values = {
        "layer": [found.layer.name for found in units],
        "kind": [found.layer.kind for found in units],
        "units": [len(found.units.unitmem) for found in units],
        "dead": [int(found.units.dead.sum()) for found in units],
        "undefined": [int((~np.isfinite(found.units.unitmem) & ~found.units.dead).sum()) for found in units],
        **interval_values("unitmem", [means[found.layer.name] for found in units]),
        "median": [_middle(found.units.unitmem) for found in units],
        "classmem": [None if found.classes is None else _average(found.classes.classmem) for found in units],
        **interval_values("above", above),
        "rectified": [found.layer.rectified for found in units],
    }
    columns = (
        Column("layer", "label"),
        Column("kind", "label"),
        Column("units", "count"),
        Column("dead", "count"),
        Column("undefined", "count"),
        *interval_columns("unitmem", "number", "mean UnitMem"),
        Column("median", "number", "median UnitMem"),
        Column("classmem", "number", "mean ClassMem"),
        *interval_columns("above", "share", "UnitMem above ClassMem"),
        Column("rectified", "flag", "never negative by itself"),
    )
    return Table.of("unit_layers", "Units by layer", values, columns)


def _average(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _middle(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


def _unit_table(study: Study, ids: Sequence[str]) -> Table:
    """The units with the highest UnitMem, over all layers."""
    units = study.units
    flat = [(place, unit) for place, found in enumerate(units) for unit in np.flatnonzero(np.isfinite(found.units.unitmem))]
    flat.sort(key=lambda item: (-units[item[0]].units.unitmem[item[1]], item))
    rows = flat[: study.config.units_shown]
    by_key = {int(key): place for place, key in enumerate(study.points.key)}
    owners = [by_key[int(units[place].units.owner[unit])] for place, unit in rows]
    sets = study.points.sets
    values = {
        "layer": [units[place].layer.name for place, _ in rows],
        "unit": [int(unit) for _, unit in rows],
        "unitmem": [float(units[place].units.unitmem[unit]) for place, unit in rows],
        "classmem": [_class_value(units[place], int(unit)) for place, unit in rows],
        "mu_max": [float(units[place].units.largest[unit]) for place, unit in rows],
        "mu_rest": [float(units[place].units.rest[unit]) for place, unit in rows],
        "owner": [ids[owner] for owner in owners],
        "set": [SETS[sets[owner]] if sets[owner] >= 0 else "" for owner in owners],
    }
    columns = (
        Column("layer", "label"),
        Column("unit", "count"),
        Column("unitmem", "number", "UnitMem"),
        Column("classmem", "number", "ClassMem"),
        Column("mu_max", "number", "largest activation"),
        Column("mu_rest", "number", "of the others"),
        Column("owner", "id", "picture"),
        Column("set", "label"),
    )
    return Table.of("units", f"The {len(rows)} units with the highest UnitMem", values, columns)


def _class_value(found: LayerUnits, unit: int) -> float | None:
    if found.classes is None or not np.isfinite(found.classes.classmem[unit]):
        return None
    return float(found.classes.classmem[unit])


def _across(units: Sequence[LayerUnits]) -> list[LayerUnits]:
    """Evenly from the first layer to the last, where there are more than a figure can show."""
    places = np.unique(np.linspace(0, len(units) - 1, min(DRAWN, len(units))).round().astype(int))
    return [units[place] for place in places]


def _histogram(units: Sequence[LayerUnits]) -> Table:
    edges = np.linspace(0, 1, BINS + 1)
    kept = _across([found for found in units if np.isfinite(found.units.unitmem).any()])
    counts = [np.histogram(np.clip(found.units.unitmem, 0, 1), edges)[0] for found in kept]
    return Table.of(
        "unit_histogram",
        "Units by UnitMem",
        {
            "layer": [found.layer.name for found in kept for _ in range(BINS)],
            "unitmem": np.tile((edges[1:] + edges[:-1]) / 2, len(kept)),
            "units": np.concatenate(counts) if counts else np.zeros(0, np.int64),
        },
        (Column("layer", "label"), Column("unitmem", "number", "UnitMem"), Column("units", "count")),
        description=f"Of more than {DRAWN} layers as many, from the first to the last.",
    )


def _scatter(study: Study) -> Table:
    layers: list[str] = []
    classmem: list[float] = []
    unitmem: list[float] = []
    for found in _across([found for found in study.units if found.classes is not None]):
        assert found.classes is not None
        known = np.flatnonzero(np.isfinite(found.units.unitmem) & np.isfinite(found.classes.classmem))
        drawn = np.sort(study.rng(f"scatter {found.layer.name}").permutation(known)[:SCATTERED])
        layers += [found.layer.name] * len(drawn)
        classmem += found.classes.classmem[drawn].tolist()
        unitmem += found.units.unitmem[drawn].tolist()
    return Table.of(
        "class_units",
        "ClassMem and UnitMem of units",
        {"layer": layers, "classmem": classmem, "unitmem": unitmem},
        (Column("layer", "label"), Column("classmem", "number", "ClassMem"), Column("unitmem", "number", "UnitMem")),
        description=f"At most {SCATTERED} units of each layer, drawn at random; of more than {DRAWN} layers as many.",
    )


def _findings(section: Section, total: int, alive: int, dead: int) -> list[Finding]:
    above = section.estimates["unitmem.share_above_classmem"]
    found = []
    if total and above.defined:
        found.append(
            Finding(
                "note",
                f"{format_interval(above)} of the units react more to one single picture than to one class.",
                ("unitmem.share_above_classmem",),
                ("unit_layers",),
            )
        )
    if total and not alive:
        found.append(Finding("warning", "No unit is alive: nothing is known of any.", ("dead_units",), ("unit_layers",)))
    elif dead:
        share = section.estimates["dead_units"]
        found.append(
            Finding("note", f"{dead:,} of {total:,} units are dead, {format_interval(share)}: they react to no picture.",
                    ("dead_units",), ("unit_layers",))
        )  # fmt: skip
    return found


def _notes(study: Study, lost: int) -> list[str]:
    notes = []
    if lost > 0 and study.units and study.units[0].points > 1:
        notes.append(f"{lost:,} units put out numbers that are not finite, and have no UnitMem")
    other = [layer.name for layer in study.layers if not layer.rectified]
    if other:
        ways = {"relu": "negative activations count as 0", "abs": "activations count by their size",
                "shift": "the smallest activation is subtracted", "none": "UnitMem may leave [0, 1]"}  # fmt: skip
        notes.append(f"{len(other)} of {len(study.layers)} layers have outputs below zero; there {ways[study.config.rectify]}")
    return notes


def _method(study: Study, count: int) -> str:
    config = study.config
    largest = "largest activation" if config.top_points == 1 else f"mean of the {config.top_points} largest activations"
    return (
        f"UnitMem compares the {largest} of a unit with the {config.rest} of the others, over {count:,} pictures of the "
        f"training set, each averaged over {config.n_views} views; compare it between runs on equally many pictures only, "
        "since the largest of more is larger. Units of a map are averaged over space. ClassMem does the same with class "
        "means, of the same views. Intervals of means: bootstrap over the units."
    )


def owner_section(study: Study) -> Section:
    """Are the pictures that own units the ones that are remembered? Over candidates among those that units are compared on."""
    section = Section()
    if not study.paired or not study.units:
        return section
    points = study.points
    rows = np.flatnonzero((points.sets == SETS.index("C")) & points.in_units & np.isfinite(study.raw[-1]))
    alive = [found.units.unitmem > 0 for found in study.units]  # a unit that reacts to all alike is nobody's
    unitmem = np.concatenate([found.units.unitmem[mask] for found, mask in zip(study.units, alive, strict=True)])
    owners = np.concatenate([found.units.owner[mask] for found, mask in zip(study.units, alive, strict=True)])
    raw, keys = study.raw[-1, rows], points.key[rows]
    tests = owner_tests(raw, keys, unitmem=unitmem, owners=owners, size=study.config.group_size)
    section.estimates["owners.sslmem_difference"] = bootstrap_difference(
        tests.owning,
        tests.others,
        rng=study.rng("owners"),
        resamples=study.config.resamples,
        confidence=study.config.confidence,
    )
    groups = {
        "SSLMem of candidates that own a unit": tests.owning,
        "SSLMem of the other candidates": tests.others,
        "UnitMem of units that the most memorized own": tests.of_most,
        "UnitMem of units that the least memorized own": tests.of_least,
    }
    means = [mean(values, confidence=study.config.confidence) for values in groups.values()]
    outcomes = [tests.scores, None, tests.units, None]
    values = {
        "group": list(groups),
        "n": [len(group) for group in groups.values()],
        **interval_values("mean", means),
        "p_value": [None if test is None or test.reason else test.p_value for test in outcomes],
        "effect": [None if test is None or test.reason else test.effect for test in outcomes],
    }
    columns = (
        Column("group", "label"),
        Column("n", "count"),
        *interval_columns("mean", "number", "mean"),
        Column("p_value", "p_value", "p that it is larger than the next"),
        Column("effect", "number", "Cohen's d"),
    )
    section.tables += [Table.of("owners", "Pictures that own units", values, columns), _owned(raw, keys, unitmem, owners)]
    section.figures.append(
        Figure(
            "owned", "Owned units and SSLMem", "points", table="owned", x="sslmem", y="units", x_title="SSLMem, raw",
            y_title="units owned",
        )
    )  # fmt: skip
    return section


def _owned(raw: Floats, keys: npt.NDArray[np.int64], unitmem: Floats, owners: npt.NDArray[np.int64]) -> Table:
    counts = units_owned(owners, keys)
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], owners), max(len(keys) - 1, 0))
    mine = keys[order][place] == owners if len(keys) else np.zeros(len(owners), bool)
    sums = np.bincount(order[place[mine]], weights=unitmem[mine], minlength=len(keys)) if len(keys) else np.zeros(0)
    shown = np.flatnonzero(counts)
    return Table.of(
        "owned",
        "Candidates that own a unit",
        {"sslmem": raw[shown], "units": counts[shown], "unitmem": sums[shown] / counts[shown]},
        (Column("sslmem", "number", "SSLMem, raw"), Column("units", "count", "units owned"),
         Column("unitmem", "number", "their mean UnitMem")),
    )  # fmt: skip
