"""How well the mixture decides, beside the average, the best single scorer, and every other way of combining."""

from __future__ import annotations

from collections.abc import Mapping

from assaymark.audits.scorer_mixture.measures.evaluation import (
    BRIEF,
    METRICS,
    Judged,
    Paired,
    judge,
    measure,
    no_metrics,
    paired,
    with_prefix,
)
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Severity, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["NAMES", "performance_section", "undefined_performance"]

NAMES = {
    "ols": "least squares (the paper)",
    "ols_intercept": "least squares with intercept",
    "ridge": "ridge",
    "nnls": "weights >= 0",
    "simplex": "weights >= 0, sum 1",
    "logistic": "logistic on log-odds",
    "greedy": "greedy selection",
    "gbdt": "gradient boosting",
    "average": "average",
    "weighted_by_accuracy": "weighted by accuracy",
    "best_single": "best single scorer",
    "majority": "majority",
    "max": "maximum",
    "geometric": "mean log-odds",
}
AT_HALF = {
    "ols": "the paper's form, cut at 0.5",
    "ols_intercept": "with intercept, cut at 0.5",
    "average": "average, cut at 0.5",
}
"""As in the paper; short enough for the axis of a figure."""
SHOWN = ("accuracy", "balanced_accuracy", "recall", "fpr", "precision", "auroc")
TITLES = {"fpr": "FPR", "auroc": "AUROC"}
FULL = {"mixture": "mixture", "average": "average", "best_single": "best_single"}
NO_INTERCEPT_LOSS = 0.002
MATERIAL = 0.01
"""Accuracy behind the average that is a warning: among equally good scorers the choice of weights and cut costs less."""


def undefined_performance(reason: str, advice: str) -> Section:
    """What there is to say when nothing could be fitted, and the mend."""
    section = Section()
    for prefix in FULL:
        section.estimates |= no_metrics(prefix, reason)
    for other in ("average", "best_single"):
        section.estimates[f"gain.over_{other}.accuracy"] = undefined(reason, unit="percentage points")
        section.estimates[f"gain.over_{other}.auroc"] = undefined(reason)
    section.estimates["gain.over_plain_average.accuracy"] = undefined(reason, unit="percentage points")
    section.estimates["cross_fitted.accuracy"] = undefined(reason, unit="share")
    section.findings.append(Finding("note", f"No mixture was fitted: {reason}.", ("mixture.accuracy",), advice=advice))
    return section


def performance_section(study: Study) -> Section:
    section = Section()
    config, label = study.config, study.label
    full = {"mixture": study.main, "average": study.judged["average"], "best_single": study.judged["best_single"]}
    for prefix, judged in full.items():
        section.estimates |= with_prefix(prefix, measure(judged, label, config, rng=study.rng(prefix), metrics=METRICS))
    for name, judged in study.singles.items():
        found = measure(judged, label, config, rng=study.rng(name), metrics=BRIEF)
        section.estimates |= {f"single.{name}.{metric}": found[metric] for metric in ("accuracy", "auroc")}
    for name, variant in study.fitting.midpoints.items():
        found = measure(judge(variant, study.scores), label, config, rng=study.rng(name), metrics=BRIEF)
        section.estimates[f"midpoint.{name}.accuracy"] = found["accuracy"]
    gains = _gains(section, study)
    _comparison(section, study)
    _verdict(section, study, gains)
    _other_findings(section, study)
    section.methods.append(
        "Every way of combining is fitted, and its threshold chosen, on the fitting rows alone; all figures are of the test "
        "rows. Counts and AUROC have Wilson intervals (AUROC on DeLong's variance); differences are paired, with a bootstrap, "
        "DeLong's covariance and the exact McNemar test. A single scorer is shown at its own 0.5; `best_single` is chosen and "
        "cut on the fitting rows."
    )
    return section


def _gains(section: Section, study: Study) -> dict[str, Paired]:
    gains = {}
    for other in ("average", "best_single"):
        if study.fitting.main_name == other:
            reason = f"the mixture is the {NAMES[other]}"
            section.estimates[f"gain.over_{other}.accuracy"] = undefined(reason, unit="percentage points")
            section.estimates[f"gain.over_{other}.auroc"] = undefined(reason)
            continue
        found = paired(study.main, study.judged[other], study.label, study.config, rng=study.rng(f"gain over {other}"))
        section.estimates[f"gain.over_{other}.accuracy"] = found.accuracy
        section.estimates[f"gain.over_{other}.auroc"] = found.auroc
        gains[other] = found
    plain = study.fitting.midpoints.get("average")
    if plain is not None and study.fitting.main_name != "average":
        judged = judge(plain, study.scores)
        found = paired(study.main, judged, study.label, study.config, rng=study.rng("gain over plain average"))
        section.estimates["gain.over_plain_average.accuracy"] = found.accuracy
        gains["plain_average"] = found
    return gains


def _comparison(section: Section, study: Study) -> None:
    """Table and figure of all ways, the best first."""
    config, label, main = study.config, study.label, study.main
    rows: list[tuple[str, Judged, Mapping[str, Estimate], Paired | None]] = []
    named = {NAMES[name]: judged for name, judged in study.judged.items()}
    named |= {f"{name} alone, cut at 0.5": judged for name, judged in study.singles.items()}
    named |= {AT_HALF[n]: judge(v, study.scores) for n, v in study.fitting.midpoints.items()}
    for name, judged in named.items():
        rng = study.rng(f"comparison {name}")
        found = measure(judged, label, config, rng=rng, metrics=BRIEF)
        versus = None if judged is main else paired(main, judged, label, config, rng=rng)
        rows.append((name, judged, found, versus))
    rows.sort(key=lambda row: -(row[2]["accuracy"].value or 0.0))
    differences = [undefined("itself") if versus is None else versus.accuracy for _, _, _, versus in rows]
    values = {
        "way": [name for name, *_ in rows],
        "mixture": [judged is main for _, judged, _, _ in rows],
        **{k: v for metric in SHOWN for k, v in interval_values(metric, [found[metric] for _, _, found, _ in rows]).items()},
        "threshold": [judged.threshold for _, judged, _, _ in rows],
        **interval_values("lead", differences),
        "p_value": [None if versus is None else versus.p_value for *_, versus in rows],
        "abstained": [int((~judged.known).sum()) for _, judged, _, _ in rows],
    }
    columns = (
        Column("way", "label", "way of combining"),
        Column("mixture", "flag", "the mixture"),
        *(
            c
            for m in SHOWN
            for c in interval_columns(m, "number" if m == "auroc" else "share", TITLES.get(m, m.replace("_", " ")))
        ),
        Column("threshold", "number"),
        *interval_columns("lead", "points", "accuracy of the mixture minus this"),
        Column("p_value", "p_value", "McNemar p"),
        Column("abstained", "count", "rows without a verdict"),
    )
    section.tables.append(
        Table.of(
            "comparison",
            "Every way of combining, on the test rows",
            values,
            columns,
            description="Thresholds were chosen on the fitting rows, unless the way says otherwise.",
        )
    )
    section.figures.append(
        Figure(
            "comparison", "Accuracy of every way of combining", "intervals", table="comparison", x="way", y="accuracy",
            low="accuracy_low", high="accuracy_high", y_title="accuracy on the test rows",
        )
    )  # fmt: skip


def _verdict(section: Section, study: Study, gains: Mapping[str, Paired]) -> None:
    """The first sentence: what the mixture is worth against what is simpler."""
    estimates = section.estimates
    single, average = gains.get("best_single"), gains.get("average")
    worse = _behind(single) or _behind(average, by=MATERIAL)
    over_single = single is not None and (single.accuracy.low or 0.0) > 0
    # Where few rows choose it, a threshold can cost the average more than weights gain: the plain one has to be beaten as well.
    plain = gains.get("plain_average", average)
    over_average = all(found is not None and (found.accuracy.low or 0.0) > 0 for found in (average, plain))
    # Never "good": findings are shown worst first, and this sentence has to be read before the notes on details.
    severity: Severity = "warning" if worse else "note"
    way = NAMES[study.fitting.main_name]
    sentence = (
        f"The mixture ({way}) is right on {format_interval(estimates['mixture.accuracy'])} of the test images, the average on "
        f"{format_interval(estimates['average.accuracy'])}, the best single scorer on "
        f"{format_interval(estimates['best_single.accuracy'])}."
    )
    if worse:
        simpler = "best single scorer" if _behind(single) else "average"
        advice = f"Use the {simpler}, or look for what changed between fitting and test rows."
    elif len(study.names) == 1:
        advice = "There is one scorer only, so nothing is combined: give others."
    elif over_single and not over_average:
        advice = "The weights do not beat the plain average here: where scorers are equally good, average them."
    elif not over_single:
        advice = "The best single scorer does as well: the other scorers add nothing that these test rows can show."
    else:
        advice = "Read the weights and their limits before dropping a scorer."
    used = ("mixture.accuracy", "average.accuracy", "best_single.accuracy", *(f"gain.over_{n}.accuracy" for n in gains))
    section.findings.append(Finding(severity, sentence, used, ("comparison",), advice))


def _behind(found: Paired | None, *, by: float = 0.0) -> bool:
    """Whether the mixture is worse, chance excluded, and by at least so much."""
    if found is None or found.accuracy.value is None or found.accuracy.high is None:
        return False
    return found.accuracy.high < 0 and found.accuracy.value <= -by


def _other_findings(section: Section, study: Study) -> None:
    estimates, config = section.estimates, study.config
    average, best = study.judged["average"], study.judged["best_single"]
    between = paired(average, best, study.label, config, rng=study.rng("average against best single"))
    if between.accuracy.high is not None and between.accuracy.high < 0:
        section.findings.append(
            Finding(
                "note",
                "The plain average is worse than the best single scorer "
                f"({format_interval(between.accuracy)}): weak or over-confident scorers pull it down.",
                ("average.accuracy", "best_single.accuracy"),
                ("comparison",),
                "Weigh the scorers, or leave the weak ones out.",
            )
        )
    for name, judged in study.singles.items():
        auroc = estimates[f"single.{name}.auroc"]
        if auroc.defined and (auroc.low or 0.0) <= 0.5 and judged.known.any():
            how = "cannot be told from chance" if (auroc.high or 0.0) >= 0.5 else "ranks safe images above unsafe ones"
            section.findings.append(
                Finding(
                    "warning",
                    f"Scorer {name} {how}: AUROC {format_interval(auroc)}.",
                    (f"single.{name}.auroc",),
                    ("comparison",),
                    "Check the order of its classes, its preprocessing, and whether it fits these images at all.",
                )
            )
    _missing_intercept(section, study)


def _missing_intercept(section: Section, study: Study) -> None:
    """The trap of the paper's form: without an intercept a common bias of the scorers moves the scores away from 1/2."""
    plain, shifted = (study.fitting.midpoints.get(name) for name in ("ols", "ols_intercept"))
    if plain is None or shifted is None:
        return
    loss = paired(
        judge(shifted, study.scores), judge(plain, study.scores), study.label, study.config, rng=study.rng("intercept")
    ).accuracy
    section.estimates["midpoint.gain_of_intercept"] = loss
    if (loss.low or 0.0) > NO_INTERCEPT_LOSS:
        section.findings.append(
            Finding(
                "note",
                f"Cut at 0.5, least squares without an intercept loses {format_interval(loss)} of accuracy against the fit "
                "with one: the scorers share a bias that no weights can take off.",
                ("midpoint.ols.accuracy", "midpoint.ols_intercept.accuracy", "midpoint.gain_of_intercept"),
                ("comparison",),
                "Keep the intercept (method=ols_intercept), and choose the threshold on fitting rows.",
            )
        )
