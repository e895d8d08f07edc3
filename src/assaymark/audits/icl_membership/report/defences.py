"""Before and after: what each defence takes from the attacks, and what it takes from the users."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from assaymark.audit import Context
from assaymark.audits.icl_membership.config import DefenceConfig
from assaymark.audits.icl_membership.measures.defending import Defences, Defended
from assaymark.audits.icl_membership.measures.evaluation import Judged
from assaymark.audits.icl_membership.measures.written import generation
from assaymark.audits.icl_membership.method.defences.combinations import extra_calls
from assaymark.audits.icl_membership.report.attacks import TITLES, short_title, worst_of
from assaymark.audits.icl_membership.report.replies import reply_section
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import (
    AttackScores,
    TestOutcome,
    accuracy_difference,
    advantage_difference,
    holm,
    wilson,
)

__all__ = ["defence_section"]

NONE = "none"


@dataclass(frozen=True)
class _Row:
    """A defence with its figures; `attack` is the strongest one behind it."""

    name: str
    found: Defended
    attack: str
    worst: Estimate
    static: Estimate
    gain: Estimate
    test: TestOutcome | None
    accuracy: Estimate
    cost: Estimate
    refused: Estimate


def defence_section(defences: Defences, config: DefenceConfig, context: Context) -> Section:
    section = Section()
    none = _row(NONE, [defences.none], None, config, context)
    rows = [none, *(_row(each.defence.name, [each], none, config, context) for each in defences.single)]
    known = {row.name for row in rows}
    combined = [_row(_combined_name(group), list(group), none, config, context) for group in defences.combined]
    rows += [row for row in combined if row.name not in known]
    for row in rows:
        key = _key(row.name)
        section.estimates |= {
            f"advantage.{key}": row.worst,
            f"accuracy.{key}": row.accuracy,
            f"refused.{key}": row.refused,
        }
        if row.name != NONE:
            section.estimates |= {f"gain.{key}": row.gain, f"cost.{key}": row.cost}
    section.tables += [_table(rows, config), _attack_table(rows)]
    section.figures += [
        Figure(
            "defences", "Strongest attack behind each defence", "intervals", table="defences", x="defence", y="advantage",
            low="advantage_low", high="advantage_high", y_title="advantage", reference=((config.leak, "leak"),),
        ),
        Figure(
            "by_attack", "Advantage by defence and attack", "heatmap", table="by_attack", x="attack", y="defence",
            group="advantage",
        ),
    ]  # fmt: skip
    section.findings += _findings(rows, none, config)
    section.notes += _latency(rows)
    replies = reply_section(defences.none.attacked, prefix_words=config.prefix_words)
    section.tables += replies.tables
    section.notes += replies.notes
    section.methods.append(_method(defences, config))
    return section


def _combined_name(group: Sequence[Defended]) -> str:
    """The wording is left out of the name where the weakest of all is reported."""
    defence = group[0].defence
    if len(group) == 1 or defence.instruction is None:
        return defence.name
    return defence._replace(instruction="instruction").name


def _key(name: str) -> str:
    return "_".join(name.replace("+", " ").split())


def _row(name: str, group: list[Defended], none: _Row | None, config: DefenceConfig, context: Context) -> _Row:
    """A defence, or the weakest wording of one."""
    lack = next((each.lack for each in group if each.lack), "")
    if lack:
        lost = undefined(lack, unit="percentage points")
        share = undefined(lack, unit="share")
        return _Row(name, group[0], "", lost, lost, lost, None, share, lost, share)
    rng = context.rng(f"worst {name}")
    judged = {f"{attack}|{place}": found for place, each in enumerate(group) for attack, found in each.judged.items()}
    found = worst_of(judged, rng, confidence=config.confidence)
    attack, _, place = found.attack.partition("|")
    weakest = group[int(place or 0)]
    assert weakest.utility is not None
    right, refused = weakest.utility.right, weakest.utility.refused
    accuracy = wilson(int(right.sum()), len(right), confidence=config.confidence)
    declined = wilson(int(refused.sum()), len(refused), confidence=config.confidence)
    static = worst_of(weakest.static, context.rng(f"static {name}"), confidence=config.confidence).advantage
    if none is None:
        nothing = undefined("there is nothing to compare with", unit="percentage points")
        return _Row(name, weakest, attack, found.advantage, static, nothing, None, accuracy, nothing, declined)
    assert none.found.utility is not None
    cost = accuracy_difference(
        right, none.found.utility.right, rng=rng, resamples=config.resamples, confidence=config.confidence
    )
    if not (found.advantage.defined and none.worst.defined):
        reason = found.advantage.reason or none.worst.reason
        return _Row(
            name, weakest, attack, found.advantage, static, undefined(reason, unit="percentage points"), None, accuracy, cost,
            declined,
        )  # fmt: skip
    compared = advantage_difference(
        _scores(none.found.judged[none.attack]), _scores(weakest.judged[attack]), confidence=config.confidence
    )
    return _Row(
        name, weakest, attack, found.advantage, static, compared.difference, compared.test, accuracy, cost, declined
    )  # fmt: skip


def _scores(judged: Judged) -> AttackScores:
    return AttackScores(judged.member, judged.nonmember, judged.threshold)


def _table(rows: list[_Row], config: DefenceConfig) -> Table:
    tested = [row for row in rows if row.test is not None and not row.test.reason]
    adjusted = holm([row.test.p_value for row in tested if row.test is not None]) if tested else np.empty(0)
    p_values = {row.name: float(p) for row, p in zip(tested, adjusted, strict=True)}
    utility = [row.found.utility for row in rows]
    extra = [_extra(row, config) for row in rows]
    values = {
        "defence": [row.name for row in rows],
        "changes": [", ".join(row.found.defence.targets) or "nothing" for row in rows],
        **interval_values("advantage", [row.worst for row in rows]),
        "attack": [short_title(row.attack) if row.attack else "" for row in rows],
        **interval_values("static", [row.static for row in rows]),
        **interval_values("gain", [row.gain for row in rows]),
        "p_value": [p_values.get(row.name) for row in rows],
        **interval_values("accuracy", [row.accuracy for row in rows]),
        **interval_values("cost", [row.cost for row in rows]),
        **interval_values("refused", [row.refused for row in rows]),
        "shown": [None if found is None else found.shown_each for found in utility],
        "calls": [None if found is None else found.calls_each for found in utility],
        "setup": extra,
        "words": [None if found is None else found.words_each for found in utility],
        "guarantee": [row.found.guarantee for row in rows],
        "reason": [row.found.lack for row in rows],
    }
    columns = (
        Column("defence", "label"),
        Column("changes", "label", "changes"),
        *interval_columns("advantage", "points", "advantage of the strongest attack"),
        Column("attack", "label", "which"),
        *interval_columns("static", "points", "by an attacker who does not know of it"),
        *interval_columns("gain", "points", "change of the strongest attack"),
        Column("p_value", "p_value", "p (Holm)"),
        *interval_columns("accuracy", "share", "right labels"),
        *interval_columns("cost", "points", "change in right labels"),
        *interval_columns("refused", "share", "declined queries"),
        Column("shown", "number", "examples left in a prompt"),
        Column("calls", "number", "model calls a query"),
        Column("setup", "count", "calls to set up a prompt, at most"),
        Column("words", "number", "words of prompt a query"),
        Column("guarantee", "text", "guarantee"),
        Column("reason", "text", "why not tried"),
    )
    return Table.of(
        "defences", "Defences: what they take from the attacks and from the users", values, columns,
        description="Thresholds and the hybrid attack are fitted anew behind every defence. Where all wordings of the "
        "instruction were tried, the weakest of them is shown.",
    )  # fmt: skip


def _extra(row: _Row, config: DefenceConfig) -> int | None:
    defence = row.found.defence
    if row.found.lack:
        return None
    return extra_calls(
        defence,
        demonstrations=config.demonstrations,
        prompts=config.ensemble_parts,
        generation=generation(config),
        generated=config.demonstrations,
    ).setup


def _attack_table(rows: list[_Row]) -> Table:
    cells = [(row, name) for row in rows for name in TITLES if name in row.found.judged]
    values = {
        "defence": [row.name for row, _ in cells],
        "attack": [short_title(name) for _, name in cells],
        **interval_values("advantage", [row.found.judged[name].advantage for row, name in cells]),
        **interval_values("auc", [row.found.judged[name].auc for row, name in cells]),
        "reason": [row.found.judged[name].advantage.reason for row, name in cells],
    }
    columns = (
        Column("defence", "label"),
        Column("attack", "label"),
        *interval_columns("advantage", "points", "advantage"),
        *interval_columns("auc", "number", "AUC"),
        Column("reason", "text", "why undefined"),
    )
    return Table.of("by_attack", "Every attack behind every defence", values, columns)


def _findings(rows: list[_Row], none: _Row, config: DefenceConfig) -> Iterator[Finding]:
    tried = [row for row in rows if row.name != NONE and row.worst.defined]
    if none.worst.low is None or none.worst.low <= 0:
        why = none.worst.reason or f"the strongest attack on it has {format_interval(none.worst)}"
        yield Finding(
            "note",
            f"The service without a defence is not seen to leak, so that no defence can be seen to help: {why}.",
            (f"advantage.{NONE}",),
            ("defences",),
        )
    elif tried:
        yield _best(tried, none, config)
    for row in tried:
        if row.gain.low is not None and row.gain.low > 0:
            yield Finding(
                "warning",
                f"{row.name} makes it worse: the strongest attack gains {format_interval(row.gain)}.",
                (f"gain.{_key(row.name)}",),
                ("defences", "by_attack"),
            )


def _best(tried: list[_Row], none: _Row, config: DefenceConfig) -> Finding:
    best = min(tried, key=lambda row: (row.worst.high if row.worst.high is not None else 1.0, -(row.accuracy.value or 0.0)))
    holds = best.worst.high is not None and best.worst.high <= config.leak
    return Finding(
        "good" if holds else "warning",
        f"{'Best defended by' if holds else 'No defence that was tried keeps the examples safe; least leaks'} {best.name}: the "
        f"strongest attack has {format_interval(best.worst)} instead of {format_interval(none.worst)}, right labels change by "
        f"{format_interval(best.cost)}.",
        (f"advantage.{_key(best.name)}", f"advantage.{NONE}", f"cost.{_key(best.name)}"),
        ("defences",),
        "No defence here but synthetic demonstrations is a guarantee: a better attack may come.",
    )


def _latency(rows: list[_Row]) -> Iterator[str]:
    """Time is told in words: it is not the same twice."""
    timed = [
        (row.name, row.found.utility.seconds)
        for row in rows
        if row.found.utility is not None and not math.isnan(row.found.utility.seconds)
    ]
    if timed:
        yield "seconds for a reply, on this machine: " + ", ".join(f"{name} {seconds:.3g}" for name, seconds in timed)


def _method(defences: Defences, config: DefenceConfig) -> str:
    encoded = ", also with the reply asked for in other encodings" if config.transforms else ""
    return (
        f"{defences.trials:,} games with prompts of {config.demonstrations} demonstrations, the same for every defence, and "
        f"{config.shadow_trials:,} shadow games behind the same defence{encoded}. Differences are paired by game. Right labels "
        f"are counted on {len(defences.customers.row):,} other texts, the same for every defence."
    )
