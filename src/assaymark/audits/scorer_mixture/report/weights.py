"""The weights with their limits, and whether single weights mean anything."""

from __future__ import annotations

from assaymark.audits.scorer_mixture.measures.weighing import Weighing, weigh
from assaymark.audits.scorer_mixture.report.performance import NAMES
from assaymark.audits.scorer_mixture.study import Study
from assaymark.result import Column, Estimate, Figure, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values

__all__ = ["undefined_weights", "weights_section"]

COLLINEAR = 1e3
"""Variance inflation above which single weights are not to be read (planted experiment B)."""

_JOINTLY = ", not necessarily all of them: those that err together stand in for each other."


def undefined_weights(names: tuple[str, ...], reason: str) -> Section:
    """Weights that could not be fitted."""
    kinds = ("weights", "vif", "shapley")
    estimates = {f"{kind}.{name}": undefined(reason) for kind in kinds for name in names}
    return Section(estimates={**estimates, "condition": undefined(reason), "effective_networks": undefined(reason)})


def weights_section(study: Study) -> Section:
    section, found = Section(), weigh(study)
    none = undefined("fewer than two test rows with every score", unit="percentage points")
    shapley = found.shapley.shares if found.shapley is not None else (none,) * len(study.names)
    loss = found.left_out.loss if found.left_out is not None else (none,) * len(study.names)
    for name, weight, inflation, share in zip(study.names, found.weights, found.vif, shapley, strict=True):
        section.estimates |= {f"weights.{name}": weight, f"vif.{name}": inflation, f"shapley.{name}": share}
    section.estimates |= {
        "weights.intercept": found.intercept,
        "condition": found.condition,
        "effective_networks": found.effective,
    }
    section.tables.append(_table(study, found, shapley, loss))
    section.figures += [
        Figure(
            "weights", "Weight of each scorer", "intervals", table="weights", x="scorer", y="weight", low="weight_low",
            high="weight_high", reference=((0.0, "no weight"),), y_title="weight",
        ),
        Figure(
            "shapley", "Share of each scorer in the accuracy", "intervals", table="weights", x="scorer", y="shapley",
            low="shapley_low", high="shapley_high", reference=((0.0, "nothing"),), y_title="accuracy it adds (Shapley)",
            caption="Averaged over all orders in which the scorers could have been added; least squares refitted each time.",
        ),
    ]  # fmt: skip
    _findings(section, study, found)
    section.methods.append(
        f"Weights: least squares in float64 from exact sums over all fitting rows; {_errors(study)} with Student's t (a 0/1 "
        "target has no one variance), and a bootstrap of rows beside them. VIF, condition number and effective number of "
        "scorers: percentile intervals. Shapley shares: test accuracy at 0.5 of the least-squares fits of all subsets of "
        "scorers."
    )
    return section


def _errors(study: Study) -> str:
    kind = study.config.covariance
    return "classical standard errors" if kind == "classic" else f"{kind} standard errors"


def _table(study: Study, found: Weighing, shapley: tuple[Estimate, ...], loss: tuple[Estimate, ...]) -> Table:
    mixture = study.fitting.main.mixture
    values = {
        "scorer": list(study.names),
        **interval_values("weight", found.weights),
        "p_value": list(found.p_values),
        **interval_values("resampled", found.resampled),
        **interval_values("vif", found.vif),
        **interval_values("shapley", shapley),
        **interval_values("loss", loss),
        "transform": [member.transform.kind for member in study.fitting.members],
        "cost": [member.cost for member in study.fitting.members],
    }
    columns = (
        Column("scorer", "label"),
        *interval_columns("weight", "number", "weight"),
        Column("p_value", "p_value", "p (weight is 0)"),
        *interval_columns("resampled", "number", "weight, bootstrap"),
        *interval_columns("vif", "number", "variance inflation"),
        *interval_columns("shapley", "number", "accuracy it adds (Shapley)"),
        *interval_columns("loss", "number", "accuracy lost without it"),
        Column("transform", "text", "score enters as"),
        Column("cost", "number"),
    )
    description = (
        f"Method: {NAMES[study.fitting.main_name]}; intercept {mixture.intercept:.4g}, threshold {mixture.threshold:.4g}. "
        "Weights may be negative and need not sum to 1."
    )
    return Table.of("weights", "Weights of the mixture", values, columns, description=description)


def _inflation(scorer: str, section: Section) -> str:
    found = section.estimates[f"vif.{scorer}"]
    if found.value == float("inf"):
        return f"{scorer} is a weighted sum of the others"
    return f"variance inflation of {scorer}: {format_interval(found)}"


def _findings(section: Section, study: Study, found: Weighing) -> None:
    inflated = [n for n, e in zip(study.names, found.vif, strict=True) if e.value is not None and e.value > COLLINEAR]
    if inflated:
        worst = max(inflated, key=lambda name: section.estimates[f"vif.{name}"].value or 0.0)
        section.findings.append(
            Finding(
                "warning",
                f"Scorers {', '.join(inflated)} repeat each other ({_inflation(worst, section)}): do not read single weights. "
                "The decisions stand.",
                (*(f"vif.{name}" for name in inflated), "condition"),
                ("weights",),
                "Leave one of them out, or fit with method=ridge; their summed weight is what the data determine.",
            )
        )
        return
    clear = [
        name for name, e in zip(study.names, found.weights, strict=True) if e.low is not None and e.low <= 0 <= (e.high or 0.0)
    ]
    negative = [name for name, e in zip(study.names, found.weights, strict=True) if e.high is not None and e.high < 0]
    if negative:
        section.findings.append(
            Finding(
                "note",
                f"Scorers {', '.join(negative)} carry a negative weight: they serve to take off what the others share.",
                tuple(f"weights.{name}" for name in negative),
                ("weights",),
            )
        )
    if clear:
        many = len(clear) > 1
        section.findings.append(
            Finding(
                "note",
                f"The weight of {', '.join(clear)} cannot be told from 0 beside the other scorers: "
                f"{'any one of them' if many else 'it'} could be left out{_JOINTLY if many else '.'}",
                tuple(f"weights.{name}" for name in clear),
                ("weights",),
            )
        )
