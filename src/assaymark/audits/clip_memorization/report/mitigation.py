"""What each training bought and cost: memorization against utility, whom a removal takes, and which one to use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from assaymark.audit import Context
from assaymark.audits.clip_memorization.config import MitigationConfig
from assaymark.audits.clip_memorization.measures.retraining import BASELINE, Outcome, Sweep
from assaymark.audits.clip_memorization.measures.utility import Utility
from assaymark.audits.clip_memorization.method.removal import group_composition, pareto_front, recommended
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import bootstrap_difference, mean, newcombe

__all__ = ["chosen_condition", "mitigation_section"]

UTILITIES: dict[str, Callable[[Utility], Estimate]] = {
    "zero_shot": lambda found: found.zero_shot,
    "retrieval": lambda found: next((one.recall for one in reversed(found.retrieval) if one.k <= 5), found.zero_shot),
    "linear_probe": lambda found: found.probe.accuracy,
}
TITLES = {"zero_shot": "zero-shot accuracy", "retrieval": "pictures found by their caption", "linear_probe": "linear probe"}


def mitigation_section(found: Sweep, config: MitigationConfig, context: Context) -> Section:
    """Table T3/T4 of all trainings, the front, the recommendation, and the groups that a removal takes."""
    section = Section()
    kind = _kind(found, config)
    plain = found.outcomes[BASELINE.name]
    memories = {c.name: [o.memorization for o in found.outcomes[c.name]] for c in found.conditions}
    utilities = {c.name: [_value(UTILITIES[kind](o.utility)) for o in found.outcomes[c.name]] for c in found.conditions}
    rows = []
    for condition in found.conditions:
        own = found.outcomes[condition.name]
        memory = _level(memories[condition.name], own, config, context)
        utility = _utility_level(utilities[condition.name], own, kind)
        less = _gain(
            [one.among(other.ids) for one, other in zip(plain, own, strict=True)], own, config, context, condition.name
        )
        more = _utility_gain(utilities[condition.name], utilities[BASELINE.name], plain, own, kind)
        rows.append((condition, memory, utility, less, more))
        section.estimates |= {f"memorization.{condition.name}": memory, f"utility.{condition.name}": utility}
        if condition is not BASELINE:
            section.estimates |= {f"gain.memorization.{condition.name}": less, f"gain.utility.{condition.name}": more}
    section.tables.append(_table(rows, found, kind))
    section.figures.append(
        Figure(
            "pareto", "Memorization against utility", "points", table="trainings", x="memorization", y="utility",
            low="utility_low", high="utility_high", group="training", x_title="CLIPMem of the candidates, calibrated",
            y_title=TITLES[kind],
        )
    )  # fmt: skip
    _say(section, rows, kind, config)
    _removals(section, found, config)
    section.methods.append(
        f"Every training has {config.seeds} seeds with one split; each trains both models anew. Memorization: mean raw CLIPMem "
        f"of the candidates minus that of the external pairs; after a removal, of what is left, and compared with the plain "
        f"training on the same pairs. Utility: {TITLES[kind]} of the audited model on held-out pairs. "
        + ("Intervals: Student's t over seeds, differences paired by seed." if config.seeds > 1 else
           "With one seed, intervals hold the pairs alone, not the randomness of training: take several seeds.")
    )  # fmt: skip
    return section


def chosen_condition(section: Section, found: Sweep, config: MitigationConfig) -> str:
    """Name of the training that is recommended; the plain one where none is better."""
    names = [condition.name for condition in found.conditions]
    itself = Estimate(0.0, 0.0, 0.0, 1, "itself")
    less, more = (
        [section.estimates.get(f"gain.{kind}.{name}", itself) for name in names] for kind in ("memorization", "utility")
    )
    at = recommended([_more_than_plain(one) for one in less], more, worse=-config.tolerated)
    return names[at] if at is not None else BASELINE.name


def _more_than_plain(less: Estimate) -> Estimate:
    """Memorization on the pairs that a training and the plain one have in common, from what it has less."""
    if less.value is None or less.low is None or less.high is None:
        return less
    return Estimate(-less.value, -less.high, -less.low, less.n, less.method, less.unit)


def _kind(found: Sweep, config: MitigationConfig) -> str:
    if config.utility != "auto":
        return config.utility
    return "zero_shot" if found.outcomes[BASELINE.name][0].utility.zero_shot.defined else "retrieval"


def _value(estimate: Estimate) -> float:
    return float("nan") if estimate.value is None else estimate.value


def _level(values: Sequence[float], own: Sequence[Outcome], config: MitigationConfig, context: Context) -> Estimate:
    """Mean over seeds, or over the pairs of the only one."""
    if len(values) > 1:
        return mean(values, confidence=config.confidence) if np.isfinite(values).all() else _no_score()
    c, e = (_finite(own[0].raw[own[0].sets == letter]) for letter in "CE")
    if min(len(c), len(e)) < 2:
        return _no_score()
    return bootstrap_difference(c, e, rng=context.rng("level"), resamples=config.resamples, confidence=config.confidence)


def _no_score() -> Estimate:
    return undefined("fewer than two candidates or external pairs have a score")


def _finite(values: Any) -> Any:
    return values[np.isfinite(values)]


def _utility_level(values: Sequence[float], own: Sequence[Outcome], kind: str) -> Estimate:
    if len(values) == 1:
        return UTILITIES[kind](own[0].utility)
    if not np.isfinite(values).all():
        return undefined("a training has no such utility", unit="share")
    return _clipped(mean(values, unit="share"))


def _clipped(estimate: Estimate, *, least: float = 0.0) -> Estimate:
    """The t interval of a share within [0, 1], of a difference of shares within [-1, 1]."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(
        estimate.value, max(estimate.low, least), min(estimate.high, 1.0), estimate.n, estimate.method, estimate.unit
    )


def _gain(plain: Sequence[Outcome], own: Sequence[Outcome], config: MitigationConfig, context: Context, name: str) -> Estimate:
    """How much less is remembered of the pairs that both trainings have; paired over seeds."""
    if len(plain) > 1:
        difference = np.subtract([one.memorization for one in plain], [one.memorization for one in own])
        return mean(difference, confidence=config.confidence) if np.isfinite(difference).all() else _no_score()
    sides = [_finite(one[0].raw[one[0].sets == "C"]) - _centre(one[0]) for one in (plain, own)]
    if min(map(len, sides)) < 2:
        return _no_score()
    rng = context.rng(f"gain {name}")
    return bootstrap_difference(sides[0], sides[1], rng=rng, resamples=config.resamples, confidence=config.confidence)


def _centre(outcome: Outcome) -> float:
    external = _finite(outcome.raw[outcome.sets == "E"])
    return float(external.mean()) if len(external) else float("nan")


def _utility_gain(
    after: Sequence[float], before: Sequence[float], plain: Sequence[Outcome], own: Sequence[Outcome], kind: str
) -> Estimate:
    if len(after) > 1:
        difference = np.subtract(after, before)
        if not np.isfinite(difference).all():
            return undefined("a training has no such utility", unit="percentage points")
        return _clipped(mean(difference, unit="percentage points"), least=-1.0)
    first, second = (UTILITIES[kind](one[0].utility) for one in (own, plain))
    if first.value is None or second.value is None:
        return undefined(first.reason or second.reason, unit="percentage points")
    return newcombe(first.value * first.n, first.n, second.value * second.n, second.n)


def _table(rows: list[Any], found: Sweep, kind: str) -> Table:
    front = pareto_front([_value(row[1]) for row in rows], [_value(row[2]) for row in rows])
    values: dict[str, Any] = {
        "training": [row[0].title for row in rows],
        **interval_values("memorization", (row[1] for row in rows)),
        **interval_values("less", (row[3] for row in rows)),
        **interval_values("utility", (row[2] for row in rows)),
        **interval_values("more", (row[4] for row in rows)),
        "front": front.tolist(),
        "seeds": [len(found.outcomes[row[0].name]) for row in rows],
    }
    columns = (
        Column("training", "label"), *interval_columns("memorization", "number", "CLIPMem, calibrated"),
        *interval_columns("less", "number", "less than plain by"), *interval_columns("utility", "share", TITLES[kind]),
        *interval_columns("more", "points", "more than plain by"), Column("front", "flag", "not beaten in both"),
        Column("seeds", "count"),
    )  # fmt: skip
    return Table.of("trainings", "Trainings compared with the plain one", values, columns)


def _say(section: Section, rows: list[Any], kind: str, config: MitigationConfig) -> None:
    at = recommended([_more_than_plain(row[3]) for row in rows], [row[4] for row in rows], worse=-config.tolerated)
    if at is None:
        section.findings.append(
            Finding("note", "No training has both a measured memorization and a measured utility.", tables=("trainings",))
        )
        return
    condition, memory, _, less, more = rows[at]
    if condition is BASELINE:
        section.findings.append(
            Finding(
                "note",
                f"No other training remembers less without a shown loss of {TITLES[kind]}; the plain one is at "
                f"{format_interval(memory)}.",
                (f"memorization.{BASELINE.name}",),
                ("trainings",),
            )
        )
        return
    sure = less.low is not None and less.low > 0
    section.findings.append(
        Finding(
            "good" if sure else "note",
            f"Of {len(rows)} trainings, '{condition.title}' remembers least without a shown loss of {TITLES[kind]}: CLIPMem is "
            f"lower by {format_interval(less)}, {TITLES[kind]} changes by {format_interval(more)}"
            + ("." if sure else "; the fall is not told from no change by these trainings."),
            (f"gain.memorization.{condition.name}", f"gain.utility.{condition.name}"),
            ("trainings",),
        )
    )  # fmt: skip


def _removals(section: Section, found: Sweep, config: MitigationConfig) -> None:
    """Whom the largest removal by score takes, by label."""
    names = [c for c in found.conditions if c.rule == "memorized" and not c.recaption]
    if not names:
        return
    largest = max(names, key=lambda c: c.count)
    candidates = np.flatnonzero(found.scores.pool.sets == "C")
    labels = [found.scores.pool.labels[row] or "no label" for row in candidates]
    if len(set(labels)) < 2:
        section.notes.append("pairs have no labels, so nobody can see which groups a removal takes")
        return
    groups = group_composition(labels, found.taken[largest.name], confidence=config.confidence)
    values: dict[str, Any] = {
        "group": [one.group for one in groups],
        **interval_values("pairs", (one.pairs for one in groups)),
        **interval_values("removed", (one.removed for one in groups)),
        **interval_values("lost", (one.lost for one in groups)),
    }
    columns = (
        Column("group", "label"), *interval_columns("pairs", "share", "of the candidates"),
        *interval_columns("removed", "share", "of what is removed"), *interval_columns("lost", "share", "of the group removed"),
    )  # fmt: skip
    section.tables.append(Table.of("removed_groups", f"Whom '{largest.title}' takes", values, columns))
    for one in groups:
        if one.lost.low is not None and one.lost.low > largest.count / len(candidates) * 2:
            section.findings.append(
                Finding(
                    "warning",
                    f"Removing the {largest.count:,} most remembered candidates takes {format_interval(one.lost)} of one "
                    f"group, against {largest.count / len(candidates):.0%} of all: look at the table before you drop any.",
                    tables=("removed_groups",),
                )
            )
            break
