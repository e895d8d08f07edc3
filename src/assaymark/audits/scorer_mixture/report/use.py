"""What the decisions mean in use: where the cut is, what a flag is worth, what a cascade saves, what goes to people."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.measures.fitting import threshold_draws
from assaymark.audits.scorer_mixture.method.cascade import cost_accuracy_curve, plan_cascade, run_cascade
from assaymark.audits.scorer_mixture.method.operating import abstention, coverage_risk_curve
from assaymark.audits.scorer_mixture.report.performance import NAMES
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, format_number, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import percentile_estimate, predictive_value, wilson
from assaymark.stats.prevalence import Rate

__all__ = ["error_rates", "undefined_use", "use_section"]

THRESHOLD_DRAWS = 100
MOST_ROWS = 50_000
LOW_VALUE = 0.5
FLAT = 0.05
"""Share of the cost below which a curve over costs has nothing to show."""
_COST_NAMES = {"accuracy": "most decisions right", "balanced_accuracy": "both classes alike", "cost": "least cost"}


def undefined_use(config: ScorerMixtureConfig, reason: str) -> Section:
    """Names of the estimates, when there is no mixture."""
    shares: tuple[str, ...] = (
        "mixture.sensitivity",
        "mixture.specificity",
        "mixture.abstained",
        "abstention.coverage",
        "abstention.risk",
    )
    shares += ("cascade.identical", *(f"ppv.{prevalence:g}" for prevalence in config.prevalences))
    estimates = {name: undefined(reason, unit="share") for name in shares}
    return Section(estimates={**estimates, "threshold": undefined(reason), "cascade.mean_cost": undefined(reason)})


def error_rates(study: Study) -> tuple[tuple[int, int], tuple[int, int]]:
    """(found, unsafe) and (passed, safe) of the test rows with a verdict, at the threshold."""
    judged = study.main
    label, called = study.label[judged.known], judged.called[judged.known]
    return (int((called & label).sum()), int(label.sum())), (int((~called & ~label).sum()), int((~label).sum()))


def use_section(study: Study) -> Section:
    section = Section()
    _confusion(section, study)
    _predictive_values(section, study)
    _threshold(section, study)
    _cascade(section, study)
    _abstention(section, study)
    return section


def _threshold(section: Section, study: Study) -> None:
    config, fitting = study.config, study.fitting
    rows = np.flatnonzero(fitting.fit)[:MOST_ROWS]
    point = fitting.main.mixture.threshold
    if config.threshold == "midpoint":
        section.estimates["threshold"] = Estimate(point, point, point, len(rows), "fixed half way between the labels")
    else:
        draws = threshold_draws(
            fitting.main, fitting.scores[rows], fitting.label[rows], config, rng=study.rng("threshold"), draws=THRESHOLD_DRAWS
        )
        section.estimates["threshold"] = percentile_estimate(point, draws, n=len(rows), confidence=config.confidence)
    values = {
        "way": [NAMES[name] for name in study.judged],
        "threshold": [judged.threshold for judged in study.judged.values()],
        # gradient boosting is nearly always right on the rows it was fitted to, which cannot choose its cut
        "chosen": ["fixed" if name == "gbdt" else _COST_NAMES.get(config.threshold, "fixed") for name in study.judged],
        "rows": [int(fitting.fit.sum())] * len(study.judged),
    }
    columns = (
        Column("way", "label", "way of combining"),
        Column("threshold", "number"),
        Column("chosen", "text", "chosen for"),
        Column("rows", "count", "fitting rows"),
    )
    section.tables.append(Table.of("thresholds", "Thresholds, chosen on the fitting rows alone", values, columns))


def _confusion(section: Section, study: Study) -> None:
    """What became of the test rows at the threshold."""
    (found, unsafe), (passed, safe) = error_rates(study)
    unknown, label = ~study.main.known, study.label
    values = {
        "labelled": ["unsafe", "safe"],
        "flagged": [found, safe - passed],
        "passed": [unsafe - found, passed],
        "abstained": [int((unknown & label).sum()), int((unknown & ~label).sum())],
    }
    columns = (
        Column("labelled", "label"),
        Column("flagged", "count"),
        Column("passed", "count"),
        Column("abstained", "count", "without a verdict"),
    )
    section.tables.append(Table.of("confusion", "Labels and verdicts of the test rows", values, columns))


def _predictive_values(section: Section, study: Study) -> None:
    config = study.config
    (found, unsafe), (passed, safe) = error_rates(study)
    section.estimates["mixture.sensitivity"] = wilson(found, unsafe, confidence=config.confidence)
    section.estimates["mixture.specificity"] = wilson(passed, safe, confidence=config.confidence)
    known = int(study.main.known.sum())
    section.estimates["mixture.abstained"] = wilson(len(study.label) - known, len(study.label), confidence=config.confidence)
    rates = Rate(found, unsafe), Rate(passed, safe)
    values = {p: predictive_value(*rates, prevalence=p, confidence=config.confidence) for p in config.prevalences}
    section.estimates |= {f"ppv.{prevalence:g}": value for prevalence, value in values.items()}
    columns = (
        Column("prevalence", "number", "share of images that are unsafe"),
        *interval_columns("ppv", "share", "flagged images that are unsafe"),
    )
    table = {"prevalence": list(values), **interval_values("ppv", values.values())}
    section.tables.append(
        Table.of(
            "ppv",
            "What a flag is worth",
            table,
            columns,
            description="Sensitivity and specificity of the test rows, at other shares of unsafe images than theirs.",
        )
    )
    section.figures.append(
        Figure(
            "ppv", "What a flag is worth where unsafe images are rare", "lines", table="ppv", x="prevalence", y="ppv",
            low="ppv_low", high="ppv_high", log_x=True, x_title="share of images that are unsafe",
            y_title="flagged images that are unsafe",
        )
    )  # fmt: skip
    _worth_finding(section, values)


def _worth_finding(section: Section, values: dict[float, Estimate]) -> None:
    """The number that nobody should miss: accuracy is not the share of flags that are right."""
    rare = sorted((p for p, value in values.items() if value.value is not None and value.value < LOW_VALUE), reverse=True)
    if not rare:
        return
    value = values[rare[0]]
    sensitivity, specificity = (section.estimates[f"mixture.{name}"] for name in ("sensitivity", "specificity"))
    section.findings.append(
        Finding(
            "note",
            f"Where {format_number(rare[0], 'share')} of the images are unsafe, {format_interval(value)} of the flagged ones "
            f"are, with a sensitivity of {format_interval(sensitivity)} and a specificity of {format_interval(specificity)}.",
            (f"ppv.{rare[0]:g}", "mixture.sensitivity", "mixture.specificity"),
            ("ppv",),
            "Do not read the accuracy as the share of flagged images that are unsafe.",
        )
    )


def _cascade(section: Section, study: Study) -> None:
    """Ask cheap scorers first, stop when the others cannot change the decision."""
    variant, none = study.fitting.main, "a cascade needs a weighted sum of scores in [0, 1]"
    bounded = all(member.transform.kind != "logit" for member in variant.mixture.members)
    values = study.fitting.values[study.fitting.test][study.whole][:, list(variant.columns)]
    if variant.mixture.rule != "linear" or not bounded or len(values) < 2:
        reason = none if len(values) >= 2 else "fewer than two test rows with every score"
        section.estimates |= {
            "cascade.mean_cost": undefined(reason),
            "cascade.identical": undefined(reason, unit="share"),
        }
        return
    mixture = variant.mixture
    costs = [member.cost for member in mixture.members]
    plan = plan_cascade(mixture.weights, costs=costs, threshold=mixture.threshold, intercept=mixture.intercept)
    values = np.clip(values, 0.0, 1.0)
    run = run_cascade(values, plan)
    same = int((run.decisions == (values @ plan.weights + plan.intercept >= plan.threshold)).sum())
    section.estimates |= {
        "cascade.mean_cost": run.mean_cost,
        "cascade.identical": wilson(same, len(values), confidence=study.config.confidence),
    }
    _cost_curve(section, study, values, plan)
    if study.config.costs and run.full_cost > 0 and run.mean_cost.value is not None:
        section.findings.append(
            Finding(
                "note",
                f"A cascade costs {format_interval(run.mean_cost)} for each image in the place of {run.full_cost:g}, with the "
                f"same decision on {same:,} of {len(values):,} test images.",
                ("cascade.mean_cost", "cascade.identical"),
                ("cost_accuracy",),
            )
        )
    section.methods.append(
        "Cascade: scorers in the order of their cost; it stops when the bounds on what is left of the weighted sum lie on one "
        "side of the threshold, so that no decision changes."
    )


def _cost_curve(section: Section, study: Study, values: npt.NDArray[np.float64], plan: object) -> None:
    label = study.label[study.whole]
    expected = values.mean(axis=0)
    points = cost_accuracy_curve(values, label, plan, expected=expected)  # type: ignore[arg-type]
    table = {
        "slack": [point.slack for point in points],
        **interval_values("cost", [point.mean_cost for point in points]),
        **interval_values("accuracy", [point.accuracy for point in points]),
        **interval_values("changed", [point.changed for point in points]),
    }
    columns = (
        Column("slack", "number", "how early it may stop"),
        *interval_columns("cost", "number", "mean cost of an image"),
        *interval_columns("accuracy", "share", "accuracy"),
        *interval_columns("changed", "share", "decisions that differ"),
    )
    section.tables.append(
        Table.of(
            "cost_accuracy", "Cost against accuracy", table, columns, description="At 0 no decision differs from the mixture's."
        )
    )
    costs = [point.mean_cost.value or 0.0 for point in points]
    if max(costs) - min(costs) < FLAT * max(costs):
        return
    section.figures.append(
        Figure(
            "cost_accuracy", "Cost against accuracy of the cascade", "lines", table="cost_accuracy", x="cost", y="accuracy",
            low="accuracy_low", high="accuracy_high", x_title="mean cost of an image", y_title="accuracy",
        )
    )  # fmt: skip


def _abstention(section: Section, study: Study) -> None:
    """Images near the threshold to people: the width of the band is chosen on the fitting rows."""
    config, fitting = study.config, study.fitting
    threshold = fitting.main.mixture.threshold
    near = np.abs(fitting.main.score(fitting.scores[fitting.fit]) - threshold)
    near = near[np.isfinite(near)]
    judged = study.main
    scores, label = judged.scores[judged.known], study.label[judged.known]
    if not len(scores) or not len(near):
        reason = "no test row has a verdict"
        section.estimates |= {f"abstention.{name}": undefined(reason, unit="share") for name in ("coverage", "risk")}
        return
    found = abstention(
        scores, label, threshold=threshold, delta=float(np.quantile(near, config.abstain)), confidence=config.confidence
    )
    section.estimates |= {"abstention.coverage": found.coverage, "abstention.risk": found.risk}
    curve = coverage_risk_curve(scores, label, threshold=threshold, confidence=config.confidence)
    coverage = [wilson(round(share * len(scores)), len(scores), confidence=config.confidence) for share in curve.coverage]
    values = {
        "band": curve.delta.tolist(),
        **interval_values("coverage", coverage),
        "risk": curve.risk.tolist(),
        "risk_low": curve.low.tolist(),
        "risk_high": curve.high.tolist(),
    }
    columns = (
        Column("band", "number", "half width of the band"),
        *interval_columns("coverage", "share", "images decided"),
        *interval_columns("risk", "share", "errors among them"),
    )
    section.tables.append(Table.of("coverage_risk", "What is left to people", values, columns))
    section.figures.append(
        Figure(
            "coverage_risk", "Errors among the images that are decided", "lines", table="coverage_risk", x="coverage", y="risk",
            low="risk_low", high="risk_high", x_title="images decided", y_title="errors among them",
        )
    )  # fmt: skip
