"""Combine made-up detectors whose quality is known, and see what weights buy, what they cannot, and how they are fooled.

    python examples/scorer_mixture.py            # seconds on a CPU, no network
    python examples/scorer_mixture.py 20         # mean and standard deviation over 20 draws

Three planted score tables, each fitted on 400 rows and judged on 4,000. Unequal: four fair detectors and two weak ones, too
sure of themselves, that err together. Equal: five of one quality. Learnt: the first knows the fitting rows by heart.
"""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa

import assaymark as am
from assaymark.audits.scorer_mixture.planted import PlantedScores, planted_scores
from assaymark.result import Result

WAYS = {
    "best single detector, threshold fitted": "best_single.accuracy",
    "average, cut at 0.5": "midpoint.average.accuracy",
    "average, threshold fitted": "average.accuracy",
    "least squares (the paper), cut at 0.5": "midpoint.ols.accuracy",
    "with an intercept, cut at 0.5": "midpoint.ols_intercept.accuracy",
    "with an intercept, threshold fitted": "mixture.accuracy",
}


def audit(drawn: PlantedScores, split: np.ndarray, **settings: str) -> Result:
    columns = {name: pa.array(drawn.scores[:, i]) for i, name in enumerate(drawn.names)}
    table = pa.table({"label": drawn.labels, "split": split, **columns})
    return am.audit("scorer-mixture", table, compare=["ols", "ols_intercept"], resamples=200, **settings)


def show(title: str, results: list[Result]) -> None:
    print(f"\n{title}")
    for way, name in WAYS.items():
        values = [result[name].value for result in results]
        many = f"{np.mean(values):.4f} +- {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        print(f"  {way:40}{many or results[0][name]}")


def main(seeds: int = 1) -> None:
    fit_first = np.where(np.arange(4_400) < 400, "fit", "test")
    unequal = [audit(planted_scores(seed, 4_400, experiment="A"), fit_first) for seed in range(seeds)]
    show("Unequal detectors", unequal)
    weights = ", ".join(f"{unequal[0][f'weights.network_{i}'].value:.2f}" for i in range(1, 7))
    print(f"  {'their weights':40}{weights}")
    equal = [audit(planted_scores(seed, 4_400, experiment="E"), fit_first) for seed in range(seeds)]
    show("Equal detectors: weights cannot win", equal)

    fooled = []
    for seed in range(seeds):
        drawn = planted_scores(seed, 4_800, experiment="C")
        fooled.append(audit(drawn, np.where(drawn.trained_on, "train", "test"), source="train"))
    show("The first detector was trained on the fitting rows", fooled)
    print(f"  {'its weight':40}{fooled[0]['weights.network_1']}")
    print(f"  {fooled[0].findings[0].severity}: {fooled[0].findings[0].sentence}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
