"""What each attack achieves: the verdict, a table, the curve of true against false positives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from assaymark.audits.icl_membership.config import IclMembershipConfig
from assaymark.audits.icl_membership.measures.attacks import ENCODED
from assaymark.audits.icl_membership.measures.evaluation import FPRS, Judged
from assaymark.audits.icl_membership.study import Condition, Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, format_number
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import (
    AttackScores,
    WorstAdvantage,
    advantage,
    advantage_difference,
    detectable_advantage,
    holm,
    log_roc,
    worst_advantage,
)

__all__ = ["TITLES", "attack_section", "curve_section", "short_title", "worst_of"]

TITLES = {
    "gap": "GAP: is the label right?",
    "inquiry": "Inquiry: have you seen it?",
    "repeat": "Repeat: how does it go on?",
    "brainwash": "Brainwash: when does it agree?",
    "hybrid": "Hybrid: of Repeat and others",
    "likelihood": "log-probability: of the label",
    ENCODED: "Repeat, encoded",
}

TEXT_ONLY = ("gap", "inquiry", "repeat", "brainwash", "hybrid", ENCODED)
"""Attacks of an outsider, who sees no probabilities: the verdict is about them."""


def short_title(attack: str) -> str:
    """The name of an attack without what it asks."""
    return TITLES[attack].partition(":")[0]


def worst_of(judged: Mapping[str, Judged], rng: np.random.Generator, *, confidence: float) -> WorstAdvantage:
    """The strongest attack that needs text alone; undefined, for the reason of the first, where none has an advantage."""
    text_only = {name: found for name, found in judged.items() if name.partition("|")[0] in TEXT_ONLY}
    scores = {
        name: AttackScores(found.member, found.nonmember, found.threshold)
        for name, found in text_only.items()
        if found.advantage.defined
    }
    if scores:
        return worst_advantage(scores, rng=rng, confidence=confidence)
    lost = {name: found.advantage for name, found in text_only.items()}
    return WorstAdvantage("", next(iter(lost.values())), lost)


def attack_section(study: Study) -> Section:
    section = Section()
    condition, config = study.main, study.config
    least = detectable_advantage(config.trials, confidence=config.confidence)
    if any(name in TEXT_ONLY for name in study.attacks):
        worst = worst_of(condition.judged, study.rng("worst"), confidence=config.confidence)
        section.estimates["advantage.worst"] = worst.advantage
        section.findings.append(_verdict(study, worst, least))
    for name in study.attacks:
        found = condition.judged[name]
        section.estimates |= {f"advantage.{name}": found.advantage, f"auc.{name}": found.auc}
        section.estimates |= {f"tpr_at_{round(100 * fpr)}.{name}": found.tpr_at[fpr] for fpr in FPRS}
    if "brainwash" in study.attacks:
        section.estimates["advantage.brainwash.fixed"] = _fixed(condition.judged["brainwash"], config)
    section.estimates["detectable_advantage"] = least
    section.tables.append(_table(study, condition))
    section.figures += [
        Figure(
            "advantages", "Advantage of each attack", "intervals", table="attacks", x="attack", y="advantage",
            low="advantage_low", high="advantage_high", y_title="true minus false positives",
            reference=((config.leak, "leak"),),
        ),
        Figure(
            "roc", "True against false positives", "lines", table="roc", x="fpr", y="tpr", group="attack",
            log_x=True, log_y=True, x_title="outsiders called members", y_title="members found",
            caption="Both axes are logarithmic: what counts is who is found while hardly anybody is accused.",
        ),
    ]  # fmt: skip
    section.methods.append(_method(study))
    if "likelihood" in config.attacks and "likelihood" not in study.attacks:
        section.notes.append("the reference attack was left out: the service, or its shadow, gives no log-probabilities")
    return section


def curve_section(study: Study) -> Section:
    """The points of the curves, which few will read: behind the other tables."""
    return Section(tables=[_roc(study, study.main)])


def _fixed(judged: Judged, config: IclMembershipConfig) -> Estimate:
    """The advantage at a threshold out of a paper: how many statements a label withstands differs between models."""
    return advantage(judged.member, judged.nonmember, config.fixed_threshold, confidence=config.confidence)


def _verdict(study: Study, worst: WorstAdvantage, least: Estimate) -> Finding:
    """Leaks, weak, or not detected: by the lower limit of the strongest attack, whatever attack that is."""
    k, found, config = study.main.demonstrations, worst.advantage, study.config
    if not found.defined:
        return Finding("note", f"Nothing is known of a leak: {found.reason}.", ("advantage.worst",), ("attacks",))
    low = found.low if found.low is not None else 0.0
    shown = f"the {k} demonstrations" if k > 1 else "the demonstration"
    tells = (
        f"{short_title(worst.attack)} tells {shown} of a prompt from other texts with an advantage of {format_interval(found)}"
    )
    if low > config.leak:
        return Finding(
            "warning", f"The prompt leaks its examples: {tells}.", ("advantage.worst", f"advantage.{worst.attack}"),
            ("attacks",), "Try defences: assaymark mitigate icl-membership. Of those here only differential privacy is a "
            "guarantee; leave out what nobody may know.",
        )  # fmt: skip
    if low > 0:
        return Finding("note", f"The prompt leaks a little: {tells}.", ("advantage.worst",), ("attacks",))
    seen = format_number(least.value, "percentage points") if least.value is not None else "any advantage"
    return Finding(
        "note",
        f"No attack tells {shown} of a prompt from other texts; the strongest has {format_interval(found)}, and "
        f"{seen} would have been seen.",
        ("advantage.worst", "detectable_advantage"),
        ("attacks",),
    )


def _table(study: Study, condition: Condition) -> Table:
    names = list(study.attacks)
    judged = [condition.judged[name] for name in names]
    values = {
        "attack": [TITLES[name] for name in names],
        **interval_values("advantage", [each.advantage for each in judged]),
        **interval_values("auc", [each.auc for each in judged]),
        **{
            key: column
            for fpr in FPRS
            for key, column in interval_values(f"tpr_at_{round(100 * fpr)}", [each.tpr_at[fpr] for each in judged]).items()
        },
        **interval_values("tpr", [each.tpr for each in judged]),
        **interval_values("fpr", [each.fpr for each in judged]),
        "threshold": [each.threshold if each.advantage.defined else None for each in judged],
        "p_value": _p_values(study, condition, names),
        "questions": [each.questions for each in judged],
        "missing": [each.missing for each in judged],
        "refused": [each.refused for each in judged],
        "reason": [each.advantage.reason for each in judged],
    }
    columns = (
        Column("attack", "label"),
        *interval_columns("advantage", "points", "advantage"),
        *interval_columns("auc", "number", "AUC"),
        *(
            column
            for fpr in FPRS
            for column in interval_columns(f"tpr_at_{round(100 * fpr)}", "share", f"found at {100 * fpr:g} % false")
        ),
        *interval_columns("tpr", "share", "members found"),
        *interval_columns("fpr", "share", "outsiders accused"),
        Column("threshold", "number", "threshold from shadow games"),
        Column("p_value", "p_value", "p against GAP (Holm)"),
        Column("questions", "number", "questions a text"),
        Column("missing", "count", "without a score"),
        Column("refused", "count", "refused"),
        Column("reason", "text", "why undefined"),
    )
    return Table.of(
        "attacks", f"Attacks on prompts of {condition.title}", values, columns,
        description=f"{condition.played.trials:,} games, a member and an outsider each; thresholds and the hybrid attack were "
        f"fitted on {study.config.shadow_trials:,} shadow games with other texts.",
    )  # fmt: skip


def _p_values(study: Study, condition: Condition, names: list[str]) -> list[float | None]:
    """Against the baseline, adjusted over the attacks; None for the baseline and where there is nothing to compare."""
    found: dict[str, float] = {}
    base = condition.judged.get("gap")
    if base is not None and base.advantage.defined:
        for name in names:
            other = condition.judged[name]
            if name == "gap" or not other.advantage.defined:
                continue
            test = advantage_difference(_scores(base), _scores(other), confidence=study.config.confidence).test
            if not test.reason:
                found[name] = test.p_value
    adjusted = dict(zip(found, holm(list(found.values())).tolist(), strict=True)) if found else {}
    return [adjusted.get(name) for name in names]


def _scores(judged: Judged) -> AttackScores:
    return AttackScores(judged.member, judged.nonmember, judged.threshold)


def _roc(study: Study, condition: Condition) -> Table:
    attack: list[str] = []
    fpr: list[float] = []
    tpr: list[float] = []
    low: list[float] = []
    high: list[float] = []
    for name in study.attacks:
        found = condition.judged[name]
        if not found.advantage.defined:
            continue
        curve = log_roc(found.member, found.nonmember, confidence=study.config.confidence)
        attack += [short_title(name)] * len(curve.fpr)
        fpr += curve.fpr.tolist()
        for kept, share in ((tpr, curve.tpr), (low, curve.tpr_low), (high, curve.tpr_high)):
            kept += np.maximum(share, curve.floor).tolist()  # a logarithmic axis has no 0
    columns = (
        Column("attack", "label"),
        Column("fpr", "number", "outsiders accused"),
        Column("tpr", "share", "members found"),
        Column("tpr_low", "low", of="tpr"),
        Column("tpr_high", "high", of="tpr"),
    )
    values = {"attack": attack, "fpr": fpr, "tpr": tpr, "tpr_low": low, "tpr_high": high}
    return Table.of("roc", "Members found at every share of outsiders accused", values, columns)


def _method(study: Study) -> str:
    config = study.config
    turns = "earlier turns of the assistant" if config.assistant_turns else "one message"
    return (
        f"Each game draws {study.main.demonstrations} demonstrations for a prompt, and attacks one of them and one text that "
        "is not in the prompt, in a fresh conversation for each question. Advantage is the share of members found minus that "
        f"of outsiders accused. Repeat gives the first {config.prefix_words} words; Brainwash states up to "
        f"{min(config.wrong_labels, len(study.pool.names) - 1)} wrong labels up to {config.repetitions} times, in {turns}, and "
        f"counts until the service agrees ({config.search}). The service is asked at temperature {config.temperature:g}."
        + (f" It has the defence: {study.shield.name}." if study.shield.name != "none" else "")
    )
