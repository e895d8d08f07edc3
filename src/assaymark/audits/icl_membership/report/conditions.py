"""How the leak depends on what was varied: demonstrations, their place, outsiders like members, no prompt at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from assaymark.audits.icl_membership.report.attacks import TITLES, short_title
from assaymark.audits.icl_membership.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import wilson

__all__ = ["condition_section", "control_section", "position_section"]

FEW_MEMBERS = 10


def condition_section(study: Study) -> Section:
    section = Section()
    others = study.conditions[1:]
    if not others:
        return section
    for condition in others:
        for name in study.attacks:
            section.estimates[f"advantage.{name}.{condition.name}"] = condition.judged[name].advantage
    rows = [(condition, name) for condition in study.conditions for name in study.attacks]
    values = {
        "condition": [condition.title for condition, _ in rows],
        "demonstrations": [str(condition.demonstrations) for condition, _ in rows],
        "attack": [short_title(name) for _, name in rows],
        **interval_values("advantage", [condition.judged[name].advantage for condition, name in rows]),
        **interval_values("auc", [condition.judged[name].auc for condition, name in rows]),
        "reason": [condition.judged[name].advantage.reason for condition, name in rows],
    }
    columns = (
        Column("condition", "label"),
        Column("demonstrations", "label"),
        Column("attack", "label"),
        *interval_columns("advantage", "points", "advantage"),
        *interval_columns("auc", "number", "AUC"),
        Column("reason", "text", "why undefined"),
    )
    section.tables.append(Table.of("conditions", "Advantage by condition", values, columns))
    section.figures.append(
        Figure(
            "conditions", "Advantage by condition", "heatmap", table="conditions", x="attack", y="condition", group="advantage"
        )
    )
    hard = next((condition for condition in others if condition.name == "hard"), None)
    if hard is not None:
        found = int(hard.played.games.hard.sum())
        section.notes.append(
            f"hard outsiders begin with the same words as the member or are the texts most like it; {found:,} of "
            f"{hard.played.trials:,} games have one, the others keep a random one"
        )
    return section


def position_section(study: Study) -> Section:
    """Members found, by their place in the prompt; the share of outsiders accused is the same for all places."""
    section = Section()
    condition = study.main
    k = condition.demonstrations
    if k < 2 or study.config.position != "any":
        return section
    places = condition.played.games.position
    rows: list[tuple[str, int, Estimate]] = []
    for name in study.attacks:
        found = condition.judged[name]
        if not found.advantage.defined:
            continue
        called = found.member >= found.threshold
        known = np.isfinite(found.member) | np.isinf(found.member)
        for place in range(k):
            here = (places == place) & known
            if here.sum() >= FEW_MEMBERS:
                rows.append((name, place, wilson(int(called[here].sum()), int(here.sum()), confidence=study.config.confidence)))
    values = {
        "attack": [short_title(name) for name, _, _ in rows],
        "place": [str(place + 1) for _, place, _ in rows],
        "members": [found.n for _, _, found in rows],
        **interval_values("tpr", [found for _, _, found in rows]),
    }
    columns = (
        Column("attack", "label"),
        Column("place", "label", "place in the prompt"),
        Column("members", "count", "members"),
        *interval_columns("tpr", "share", "members found"),
    )
    section.tables.append(Table.of("positions", "Members found, by their place in the prompt", values, columns))
    section.figures.append(
        Figure(
            "positions",
            "Members found, by their place in the prompt",
            "lines",
            table="positions",
            x="place",
            y="tpr",
            low="tpr_low",
            high="tpr_high",
            group="attack",
            x_title="place in the prompt",
            y_title="members found",
        )
    )  # fmt: skip
    return section


def control_section(study: Study) -> Section:
    """What the attacks say where there are no demonstrations: texts that the model knew before."""
    section = Section()
    control = study.control
    if control is None:
        return section
    names = [name for name in study.attacks if name in control.judged]
    for name in names:
        section.estimates[f"control.advantage.{name}"] = control.judged[name].advantage
    values = {
        "attack": [TITLES[name] for name in names],
        **interval_values("called", [_called(study, name) for name in names]),
        **interval_values("advantage", [control.judged[name].advantage for name in names]),
    }
    columns = (
        Column("attack", "label"),
        *interval_columns("called", "share", "texts called members without a prompt"),
        *interval_columns("advantage", "points", "advantage"),
    )
    section.tables.append(
        Table.of(
            "control",
            "The same texts before a service without demonstrations",
            values,
            columns,
            description=f"{control.played.trials:,} games. Nobody is a member here: what is called one the model had learnt "
            "before, or it resembles what it says anyway.",
        )
    )  # fmt: skip
    section.findings += _known_before(study)
    return section


def _called(study: Study, name: str) -> Estimate:
    assert study.control is not None
    found = study.control.judged[name]
    if not found.advantage.defined:
        return undefined(found.advantage.reason, unit="share")
    scores = np.concatenate([found.member, found.nonmember])
    scores = scores[~np.isnan(scores)]
    return wilson(int((scores >= found.threshold).sum()), len(scores), confidence=study.config.confidence)


def _known_before(study: Study) -> Iterator[Finding]:
    """Only of continuations that are like the text: a service that says nothing, or declines, goes on with none."""
    if "repeat" not in study.attacks or study.control is None or "repeat" not in study.control.judged:
        return
    threshold = study.control.judged["repeat"].threshold
    sides = study.control.played.sides["repeat"]
    scores = np.concatenate([side.score for side in sides])
    refused = np.concatenate([side.refused for side in sides])
    known = ~np.isnan(scores)
    if not known.any() or not threshold > 0:
        return
    goes_on = known & ~refused & (scores >= threshold)
    share = wilson(int(goes_on.sum()), int(known.sum()), confidence=study.config.confidence)
    if share.low is not None and share.low > study.config.leak:
        yield Finding(
            "note",
            f"The model goes on with {format_interval(share)} of the texts as if they stood in the prompt, though none does: "
            "it knows them from its training, or they are predictable.",
            ("control.advantage.repeat",),
            ("control",),
            "Use texts that are not public where the advantage of Repeat is to be read as a leak of the prompt.",
        )
