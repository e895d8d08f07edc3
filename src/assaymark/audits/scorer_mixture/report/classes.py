"""Scorers of several classes: one least-squares mixture for each class, or one set of weights for all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assaymark.audits.scorer_mixture.config import ScorerMixtureConfig
from assaymark.audits.scorer_mixture.method.per_class import class_decisions, ols_per_class
from assaymark.audits.scorer_mixture.probes.row_keys import TEST
from assaymark.audits.scorer_mixture.reading import Rows, fitting_splits
from assaymark.result import Column, Estimate, Finding, Table, format_interval, undefined
from assaymark.section import Section, interval_columns, interval_values
from assaymark.stats import accuracy_difference, mcnemar, wilson

__all__ = ["classes_section"]

WAYS = ("per_class", "shared", "average", "best_single")
NAMES = {
    "per_class": "least squares, weights for each class",
    "shared": "least squares, weights for all classes",
    "average": "average",
    "best_single": "best single scorer",
}


def classes_section(rows: Rows, config: ScorerMixtureConfig, *, rng: np.random.Generator) -> Section:
    """Accuracy of the largest class score, for every way; rows with a missing class score are left out."""
    section = Section()
    networks, classes = len(rows.class_scorers), len(rows.classes)
    cube = rows.sample.classes.reshape(-1, networks, classes)
    target = rows.sample.class_label.astype(np.int64)
    whole = np.isfinite(cube).all(axis=(1, 2)) & (target >= 0)
    fit, test = rows.of(*fitting_splits(config)) & whole, rows.of(TEST) & whole
    if len(np.unique(target[fit])) < 2 or not test.any():
        reason = "the fitting rows hold fewer than two classes, or there are no test rows"
        section.estimates |= {f"classes.{way}.accuracy": undefined(reason, unit="share") for way in WAYS}
        return section
    per_class = ols_per_class(cube[fit], target[fit], intercept=True)
    shared = ols_per_class(cube[fit], target[fit], shared=True, intercept=True)
    best = int(np.argmax([(cube[fit][:, i].argmax(axis=1) == target[fit]).mean() for i in range(networks)]))
    decided = {
        "per_class": class_decisions(cube[test], per_class),
        "shared": class_decisions(cube[test], shared),
        "average": cube[test].mean(axis=1).argmax(axis=1),
        "best_single": cube[test][:, best].argmax(axis=1),
    }
    right = {way: found == target[test] for way, found in decided.items()}
    for way, hits in right.items():
        section.estimates[f"classes.{way}.accuracy"] = wilson(int(hits.sum()), len(hits), confidence=config.confidence)
    _comparison(section, right, config, rng)
    _weights(section, rows, per_class.weights, per_class.intercepts)
    gain = section.estimates["gain.classes.accuracy"]
    section.findings.append(
        Finding(
            "good" if (gain.low or 0.0) > 0 else "note",
            f"Over {classes} classes the mixture with weights for each class is right on "
            f"{format_interval(section.estimates['classes.per_class.accuracy'])}, the average on "
            f"{format_interval(section.estimates['classes.average.accuracy'])}.",
            ("classes.per_class.accuracy", "classes.average.accuracy", "gain.classes.accuracy"),
            ("classes",),
        )
    )
    return section


def _comparison(
    section: Section, right: dict[str, npt.NDArray[np.bool_]], config: ScorerMixtureConfig, rng: np.random.Generator
) -> None:
    main = right["per_class"]
    leads: list[Estimate] = []
    p_values: list[float | None] = []
    for way, hits in right.items():
        if way == "per_class":
            leads.append(undefined("itself"))
            p_values.append(None)
            continue
        leads.append(accuracy_difference(main, hits, rng=rng, resamples=config.resamples, confidence=config.confidence))
        only, other = int((main & ~hits).sum()), int((hits & ~main).sum())
        p_values.append(mcnemar(only, other).p_value if only + other else None)
    section.estimates["gain.classes.accuracy"] = leads[list(right).index("average")]
    values = {
        "way": [NAMES[way] for way in right],
        **interval_values("accuracy", [section.estimates[f"classes.{way}.accuracy"] for way in right]),
        **interval_values("lead", leads),
        "p_value": p_values,
    }
    columns = (
        Column("way", "label", "way of combining"),
        *interval_columns("accuracy", "share", "accuracy"),
        *interval_columns("lead", "points", "accuracy of weights for each class minus this"),
        Column("p_value", "p_value", "McNemar p"),
    )
    section.tables.append(Table.of("classes", "All classes, on the test rows", values, columns))


def _weights(section: Section, rows: Rows, weights: npt.NDArray[np.float64], intercepts: npt.NDArray[np.float64]) -> None:
    values: dict[str, list[object]] = {
        "class": list(rows.classes),
        **{f"weight {name}": weights[:, i].tolist() for i, name in enumerate(rows.class_scorers)},
        "intercept": intercepts.tolist(),
    }
    columns = (
        Column("class", "label"),
        *(Column(f"weight {name}", "number", name) for name in rows.class_scorers),
        Column("intercept", "number"),
    )
    section.tables.append(Table.of("class_weights", "Weights for each class", values, columns))
